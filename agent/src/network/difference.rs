//! From how things should be and how they are to the steps between, in an order in which each can be done. Pure.

use std::collections::BTreeSet;

use super::model::{Desired, Found, Op, Up};
use super::table_difference;

/// The steps that make `found` into `desired`; none when it is that already.
#[must_use]
pub fn difference(desired: &Desired, found: &Found) -> Vec<Op> {
    let mut ops = Vec::new();
    let bare;
    let mut found = found;
    if device_goes(desired, found) {
        ops.push(Op::RemoveDevice);
        bare = found.clone().without_device();
        found = &bare;
    }
    device(&mut ops, desired, found);
    on_device(&mut ops, desired, found);
    let (late_routes, late_rules) = routing(&mut ops, desired, found);
    settings(&mut ops, desired, found);
    ops.extend(
        table_difference::difference(desired.ruleset.as_ref(), found.ruleset.as_ref())
            .into_iter()
            .map(Op::Ruleset),
    );
    // What traffic may still use goes last.
    ops.extend(late_rules);
    ops.extend(late_routes);
    left_on_device(&mut ops, desired, found);
    ops
}

/// True when the device of our name must not stay: there shall be none, or it was made otherwise.
fn device_goes(desired: &Desired, found: &Found) -> bool {
    let Some(is) = found.device else {
        return false;
    };
    let wanted = desired.device.map(|device| device.tunnel);
    is.tunnel.is_none() || is.tunnel != wanted
}

fn device(ops: &mut Vec<Op>, desired: &Desired, found: &Found) {
    let Some(wanted) = desired.device else {
        return;
    };
    match found.device {
        None => ops.push(Op::MakeDevice(wanted)),
        Some(is) if is.mtu != wanted.mtu => ops.push(Op::SetMtu(wanted.mtu)),
        Some(_) => {}
    }
    if found.device.is_none_or(|is| is.up == Up::No) {
        ops.push(Op::RaiseDevice);
    }
}

fn on_device(ops: &mut Vec<Op>, desired: &Desired, found: &Found) {
    let wanted = desired.addresses.difference(&found.addresses);
    ops.extend(wanted.map(|address| Op::AddAddress(*address)));
    for (address, link) in &desired.neighbours {
        if found.neighbours.get(address) != Some(link) {
            ops.push(Op::SetNeighbour(*address, *link));
        }
    }
    for (link, host) in &desired.forwarding {
        let is = found.forwarding.get(link);
        if is == Some(host) {
            continue;
        }
        ops.extend(is.map(|other| Op::RemoveForwarding(*link, *other)));
        ops.push(Op::AddForwarding(*link, *host));
    }
}

fn left_on_device(ops: &mut Vec<Op>, desired: &Desired, found: &Found) {
    let left = |address: &&_| !desired.neighbours.contains_key(*address);
    let neighbours = found.neighbours.keys().filter(left);
    ops.extend(neighbours.map(|address| Op::RemoveNeighbour(*address)));
    for (link, host) in &found.forwarding {
        if !desired.forwarding.contains_key(link) {
            ops.push(Op::RemoveForwarding(*link, *host));
        }
    }
    let left = found.addresses.difference(&desired.addresses);
    ops.extend(left.map(|address| Op::RemoveAddress(*address)));
}

/// Adds routes and rules; answers the removals that can wait. A route to the same place goes before its successor comes.
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
    // From the end: a rule that leads on finds the one that it leads to.
    let wanted = desired.rules.iter().rev();
    let wanted = wanted.filter(|rule| !found.rules.contains(*rule));
    ops.extend(wanted.map(|rule| Op::AddRule(rule.clone())));
    let left = found.rules.difference(&desired.rules);
    (late, left.map(|rule| Op::RemoveRule(rule.clone())).collect())
}

fn settings(ops: &mut Vec<Op>, desired: &Desired, found: &Found) {
    for (path, value) in &desired.sysctls {
        if found.sysctls.get(path) != Some(value) {
            ops.push(Op::SetSysctl(path.clone(), value.clone()));
        }
    }
    let wrong = desired.ports.iter();
    let wrong = wrong.filter(|(port, how)| found.ports.get(*port) != Some(how));
    ops.extend(wrong.map(|(port, how)| Op::SetPort(port.clone(), *how)));
}

#[cfg(test)]
#[path = "difference_test.rs"]
mod tests;
