//! What a step does to a node's network, in values: the agent's memory of what it did, and the fake kernel. Pure.

use super::kernel::{Sight, Thing};
use super::model::{End, Found, FoundDevice, Lane, Op, Up};
use super::side::Family;
use super::table::{Chain, Change, Elements, FoundRuleset};

impl Found {
    /// Without a tunnel's device, and all that goes with it.
    #[must_use]
    pub fn without_device(mut self, lane: Lane) -> Self {
        let of_device = |path: &str| path.contains(&format!("/{}/", lane.device()));
        *self.end_mut(lane) = End::default();
        self.routes.retain(|route| route.lane != lane);
        self.sysctls.retain(|path, _| !of_device(path));
        self
    }

    /// Whether what was told is as it was left: our own doing, told back to us.
    #[must_use]
    pub fn explains(&self, sight: &Sight) -> bool {
        match sight {
            Sight::Came(thing) => self.has(thing),
            Sight::Went(thing) => !self.has(thing),
            Sight::Links | Sight::Ruleset | Sight::Missed => false,
        }
    }

    fn has(&self, thing: &Thing) -> bool {
        match thing {
            Thing::Route(route) => self.routes.contains(route),
            Thing::Rule(rule) => self.rules.contains(rule),
            Thing::Neighbour(lane, address, link) => {
                let known = self.end(*lane).neighbours.get(address);
                known.is_some_and(|known| link.is_none_or(|link| link == *known))
            }
            Thing::Forwarding(lane, link, host) => self.end(*lane).forwarding.get(link) == Some(host),
            Thing::Address(lane, address) => self.end(*lane).addresses.contains(address),
        }
    }

    /// Carries out one step.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::RemoveDevice(lane) => *self = std::mem::take(self).without_device(*lane),
            Op::MakeDevice(lane, device) => {
                self.end_mut(*lane).device = Some(FoundDevice {
                    tunnel: Some(device.tunnel),
                    mtu: device.mtu,
                    up: Up::No,
                });
            }
            Op::SetMtu(lane, _) | Op::RaiseDevice(lane) => self.change_device(*lane, op),
            Op::Ruleset(family, changes) => {
                for change in changes {
                    self.apply_change(*family, change);
                }
            }
            Op::AddAsking(bridge) => {
                self.asking.insert(bridge.clone());
            }
            Op::RemoveAsking(bridge) => {
                self.asking.remove(bridge);
            }
            Op::AddProxy(proxy) => {
                self.proxies.insert(proxy.clone());
            }
            Op::RemoveProxy(proxy) => {
                self.proxies.remove(proxy);
            }
            Op::SetSysctl(path, value) => {
                self.sysctls.insert(path.clone(), value.clone());
            }
            Op::SetPort(port, how) => {
                self.ports.insert(port.clone(), *how);
            }
            Op::AddRoute(route) => {
                self.routes.insert(*route);
            }
            Op::RemoveRoute(route) => {
                self.routes.remove(route);
            }
            Op::AddRule(rule) => {
                self.rules.insert(rule.clone());
            }
            Op::RemoveRule(rule) => {
                self.rules.remove(rule);
            }
            _ => self.change_on_device(op),
        }
    }

    fn change_device(&mut self, lane: Lane, op: &Op) {
        let Some(device) = &mut self.end_mut(lane).device else {
            return;
        };
        match op {
            Op::SetMtu(_, mtu) => device.mtu = *mtu,
            _ => device.up = Up::Yes,
        }
    }

    fn change_on_device(&mut self, op: &Op) {
        match op {
            Op::AddAddress(lane, address) => {
                self.end_mut(*lane).addresses.insert(*address);
            }
            Op::RemoveAddress(lane, address) => {
                self.end_mut(*lane).addresses.remove(address);
            }
            Op::SetNeighbour(lane, address, link) => {
                self.end_mut(*lane).neighbours.insert(*address, *link);
            }
            Op::RemoveNeighbour(lane, address) => {
                self.end_mut(*lane).neighbours.remove(address);
            }
            Op::AddForwarding(lane, link, host) => {
                self.end_mut(*lane).forwarding.insert(*link, *host);
            }
            Op::RemoveForwarding(lane, link, _) => {
                self.end_mut(*lane).forwarding.remove(link);
            }
            _ => {}
        }
    }

    fn apply_change(&mut self, family: Family, change: &Change) {
        if matches!(change, Change::RemoveTable) {
            self.rulesets.remove(&family);
            return;
        }
        change_table(self.rulesets.entry(family).or_default(), family, change);
    }
}

fn change_table(table: &mut FoundRuleset, family: Family, change: &Change) {
    match change {
        Change::AddTable | Change::RemoveTable => {}
        Change::AddMemory(name) => {
            table.memories.insert(name.clone());
        }
        Change::AddSet(name, kind) => {
            table
                .sets
                .insert(name.clone(), (kind.text(family), Elements::new()));
        }
        Change::RemoveSet(name) => {
            table.sets.remove(name);
        }
        Change::AddChain(name, base) => {
            let chain = Chain {
                base: *base,
                rules: Vec::new(),
            };
            table.chains.insert(name.clone(), chain.found());
        }
        Change::FillChain(name, rules) => {
            let chain = table.chains.entry(name.clone()).or_default();
            chain.seals = rules.iter().map(super::table::Rule::seal).collect();
        }
        Change::RemoveChain(name) => {
            table.chains.remove(name);
        }
        Change::AddElement(set, key, value) => {
            if let Some((_, elements)) = table.sets.get_mut(set) {
                elements.insert(key.clone(), value.clone());
            }
        }
        Change::RemoveElement(set, key) => {
            if let Some((_, elements)) = table.sets.get_mut(set) {
                elements.remove(key);
            }
        }
    }
}
