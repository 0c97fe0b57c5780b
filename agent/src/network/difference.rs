//! From how things should be and how they are to the steps between, in an order in which each can be done. Pure.

use std::collections::BTreeSet;

use super::model::{Desired, Device, End, Found, FoundDevice, Lane, Op, Rule, Up};
use super::settings::FORWARDING;
use super::side::Family;
use super::table_difference;

/// The steps that make `found` into `desired`; none when it is that already.
#[must_use]
pub fn difference(desired: &Desired, found: &Found) -> Vec<Op> {
    let mut ops = Vec::new();
    let goes = |lane: &Lane| device_goes(desired.end(*lane), found.end(*lane));
    let gone: Vec<Lane> = Lane::ALL.into_iter().filter(goes).collect();
    ops.extend(gone.iter().map(|lane| Op::RemoveDevice(*lane)));
    let bare = gone
        .iter()
        .fold(found.clone(), |found, lane| found.without_device(*lane));
    let found = &bare;
    for lane in Lane::ALL {
        device(&mut ops, lane, (desired.end(lane), found.end(lane)));
        on_device(&mut ops, lane, (desired.end(lane), found.end(lane)));
    }
    let (late_routes, late_rules) = routing(&mut ops, desired, found);
    settings(&mut ops, desired, found);
    for family in Family::ALL {
        let (wanted, is) = (desired.rulesets.get(&family), found.rulesets.get(&family));
        let changes = table_difference::difference(wanted, is).into_iter();
        ops.extend(changes.map(|changes| Op::Ruleset(family, changes)));
    }
    // What traffic may still use goes last.
    let left = found.asking.difference(&desired.asking);
    ops.extend(left.map(|bridge| Op::RemoveAsking(bridge.clone())));
    let left = found.proxies.difference(&desired.proxies);
    ops.extend(left.map(|proxy| Op::RemoveProxy(proxy.clone())));
    ops.extend(late_rules);
    ops.extend(late_routes);
    for lane in Lane::ALL {
        left_on_device(&mut ops, lane, (desired.end(lane), found.end(lane)));
    }
    ops
}

/// True when the device of our name must not stay: there shall be none, or it was made otherwise.
fn device_goes(desired: &End<Device>, found: &End<FoundDevice>) -> bool {
    let Some(is) = found.device else {
        return false;
    };
    let wanted = desired.device.map(|device| device.tunnel);
    is.tunnel.is_none() || is.tunnel != wanted
}

fn device(ops: &mut Vec<Op>, lane: Lane, (desired, found): (&End<Device>, &End<FoundDevice>)) {
    let Some(wanted) = desired.device else {
        return;
    };
    match found.device {
        None => ops.push(Op::MakeDevice(lane, wanted)),
        Some(is) if is.mtu != wanted.mtu => ops.push(Op::SetMtu(lane, wanted.mtu)),
        Some(_) => {}
    }
    if found.device.is_none_or(|is| is.up == Up::No) {
        ops.push(Op::RaiseDevice(lane));
    }
}

fn on_device(ops: &mut Vec<Op>, lane: Lane, (desired, found): (&End<Device>, &End<FoundDevice>)) {
    let wanted = desired.addresses.difference(&found.addresses);
    ops.extend(wanted.map(|address| Op::AddAddress(lane, *address)));
    for (address, link) in &desired.neighbours {
        if found.neighbours.get(address) != Some(link) {
            ops.push(Op::SetNeighbour(lane, *address, *link));
        }
    }
    for (link, host) in &desired.forwarding {
        let is = found.forwarding.get(link);
        if is == Some(host) {
            continue;
        }
        ops.extend(is.map(|other| Op::RemoveForwarding(lane, *link, *other)));
        ops.push(Op::AddForwarding(lane, *link, *host));
    }
}

fn left_on_device(ops: &mut Vec<Op>, lane: Lane, (desired, found): (&End<Device>, &End<FoundDevice>)) {
    let left = |address: &&_| !desired.neighbours.contains_key(*address);
    let neighbours = found.neighbours.keys().filter(left);
    ops.extend(neighbours.map(|address| Op::RemoveNeighbour(lane, *address)));
    for (link, host) in &found.forwarding {
        if !desired.forwarding.contains_key(link) {
            ops.push(Op::RemoveForwarding(lane, *link, *host));
        }
    }
    let left = found.addresses.difference(&desired.addresses);
    ops.extend(left.map(|address| Op::RemoveAddress(lane, *address)));
}

/// Adds routes and rules; answers the removals that can wait. A route to the same place goes before its successor comes,
/// and a rule for the same packets.
fn routing(ops: &mut Vec<Op>, desired: &Desired, found: &Found) -> (Vec<Op>, Vec<Op>) {
    let places: BTreeSet<_> = desired
        .routes
        .iter()
        .map(|route| (route.table, route.to))
        .collect();
    let mut late = Vec::new();
    for route in found.routes.difference(&desired.routes) {
        let replaced = places.contains(&(route.table, route.to));
        let list = if replaced { &mut *ops } else { &mut late };
        list.push(Op::RemoveRoute(*route));
    }
    let wanted = desired.routes.difference(&found.routes);
    ops.extend(wanted.map(|route| Op::AddRoute(*route)));
    // The kernel takes no second rule for the same packets, whatever it does with them.
    let packets = |rule: &Rule| (rule.family, rule.preference, rule.from.clone(), rule.mark);
    let wanted: BTreeSet<_> = desired.rules.iter().map(packets).collect();
    let left = found.rules.difference(&desired.rules);
    let (replaced, left): (Vec<_>, Vec<_>) = left.partition(|rule| wanted.contains(&packets(rule)));
    ops.extend(replaced.into_iter().map(|rule| Op::RemoveRule(rule.clone())));
    // From the end: a rule that leads on finds the one that it leads to.
    let wanted = desired.rules.iter().rev();
    let wanted = wanted.filter(|rule| !found.rules.contains(*rule));
    ops.extend(wanted.map(|rule| Op::AddRule(rule.clone())));
    let left = left.into_iter().map(|rule| Op::RemoveRule(rule.clone()));
    (late, left.collect())
}

fn settings(ops: &mut Vec<Op>, desired: &Desired, found: &Found) {
    let wrong = desired.sysctls.iter();
    let wrong = wrong.filter(|(path, value)| found.sysctls.get(*path) != Some(value));
    // Devices are told to go on listening to routers before the host begins to pass packets on.
    let (last, first): (Vec<_>, Vec<_>) = wrong.partition(|(path, _)| *path == FORWARDING);
    let wrong = first.into_iter().chain(last);
    ops.extend(wrong.map(|(path, value)| Op::SetSysctl(path.clone(), value.clone())));
    let asking = desired.asking.difference(&found.asking);
    ops.extend(asking.map(|bridge| Op::AddAsking(bridge.clone())));
    let proxies = desired.proxies.difference(&found.proxies);
    ops.extend(proxies.map(|proxy| Op::AddProxy(proxy.clone())));
    let wrong = desired.ports.iter();
    let wrong = wrong.filter(|(port, how)| found.ports.get(*port) != Some(how));
    ops.extend(wrong.map(|(port, how)| Op::SetPort(port.clone(), *how)));
}

#[cfg(test)]
#[path = "difference_test.rs"]
mod tests;
