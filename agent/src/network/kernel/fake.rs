//! A kernel in memory for tests: it obeys, and refuses what a real one would refuse.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Ended, Kernel, KernelError, Led, Sight};
use crate::network::model::{Found, Lane, Local, Op, Rule, Up};
use crate::network::settings::{sysctls, sysctls6};
use crate::network::table::{Change, FoundRuleset};
use crate::network::{beside, wireguard};

/// The fake. Its contents can be changed by hand, as somebody else would.
#[derive(Debug, Default)]
pub struct FakeKernel {
    found: Mutex<Found>,
    ended: Mutex<Vec<Ended>>,
    looks: AtomicUsize,
    watcher: Mutex<Option<mpsc::UnboundedSender<Sight>>>,
    refusals: Mutex<BTreeSet<&'static str>>,
}

impl FakeKernel {
    /// A kernel that holds this.
    #[must_use]
    pub fn new(found: Found) -> Self {
        Self {
            found: Mutex::new(found),
            ..Self::default()
        }
    }

    /// The connections it was asked to end, since it was asked this last.
    pub fn ended(&self) -> Vec<Ended> {
        std::mem::take(&mut lock(&self.ended))
    }

    /// How often all of it was looked at.
    pub fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }

    /// Tells whoever watches that something happened.
    pub fn tell(&self, sight: Sight) {
        let watcher = lock(&self.watcher);
        watcher
            .iter()
            .for_each(|watcher| drop(watcher.send(sight.clone())));
    }

    /// From now on steps whose name begins so are refused; none: all are carried out.
    pub fn refuse(&self, steps: &[&'static str]) {
        *lock(&self.refusals) = steps.iter().copied().collect();
    }

    /// What it holds, to be looked at or changed.
    pub fn found(&self) -> MutexGuard<'_, Found> {
        lock(&self.found)
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Kernel for FakeKernel {
    async fn look(&self, _host: Option<Ipv4Addr>) -> Result<Found, KernelError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        Ok(self.found().clone())
    }

    async fn glance(&self, _host: Option<Ipv4Addr>, found: &mut Found) -> Result<(), KernelError> {
        let now = self.found().clone();
        (found.local, found.open.device) = (now.local, now.open.device);
        found.sealed.device = now.sealed.device;
        (found.ports, found.sysctls) = (now.ports, now.sysctls);
        (found.proxies, found.asking) = (now.proxies, now.asking);
        Ok(())
    }

    async fn end_connections(&self, ended: &Ended) -> Result<usize, KernelError> {
        lock(&self.ended).push(ended.clone());
        Ok(ended.aside.len() + ended.gone.len())
    }

    async fn count_connections(&self, _led: &Led) -> Result<usize, KernelError> {
        Ok(0)
    }

    async fn beside(&self, openings: Option<&beside::Openings>) -> beside::State {
        beside::State {
            cleared: openings.is_none(),
            ..beside::State::default()
        }
    }

    async fn seal(
        &self,
        wish: Option<&wireguard::Wish>,
        _before: Option<&wireguard::Wish>,
    ) -> wireguard::State {
        let refused = wish.is_some() && lock(&self.refusals).contains("seal");
        wireguard::State {
            means: wish.filter(|_| !refused).map(|_| wireguard::Means::Kernel),
            problem: refused.then(|| "refused".to_owned()),
        }
    }

    fn watch(&self) -> Result<mpsc::UnboundedReceiver<Sight>, KernelError> {
        let (sights_to, sights) = mpsc::unbounded_channel();
        *lock(&self.watcher) = Some(sights_to);
        Ok(sights)
    }

    async fn apply(&self, op: &Op) -> Result<(), KernelError> {
        let mut found = self.found();
        let name = format!("{op:?}");
        let refused = lock(&self.refusals).iter().any(|step| name.starts_with(step));
        need(!refused, "leave to do this")?;
        check(&found, op)?;
        found.apply(op);
        if let Op::MakeDevice(lane, _) = op {
            reveal_settings(&mut found, *lane);
        }
        Ok(())
    }
}

/// A new device brings settings at their defaults.
fn reveal_settings(found: &mut Found, lane: Lane) {
    let settings = sysctls(&Local::default(), &[lane]).into_keys();
    let of_six = sysctls6(&Local::default(), &[lane], std::iter::empty()).into_keys();
    for path in settings.chain(of_six) {
        found.sysctls.entry(path).or_insert_with(|| "0".to_owned());
    }
}

fn check(found: &Found, op: &Op) -> Result<(), KernelError> {
    let end = |lane: &Lane| found.end(*lane);
    let there = |lane: &Lane| end(lane).device.is_some();
    match op {
        Op::MakeDevice(lane, _) => need(!there(lane), "room for the device"),
        Op::RemoveDevice(lane) | Op::SetMtu(lane, _) | Op::RaiseDevice(lane) => {
            need(there(lane), "the device")
        }
        Op::AddAddress(lane, _) | Op::SetNeighbour(lane, ..) => need(there(lane), "the device"),
        Op::AddForwarding(lane, link, _) => need(
            there(lane) && !end(lane).forwarding.contains_key(link),
            "room for the entry",
        ),
        Op::AddRoute(route) => {
            let through = end(&route.lane);
            let up = through.device.is_some_and(|device| device.up == Up::Yes);
            need(up && !through.addresses.is_empty(), "a device that is up")?;
            let mut routes = found.routes.iter();
            let taken = routes.any(|other| (other.table, other.to) == (route.table, route.to));
            need(!taken, "room for the route")
        }
        Op::AddRule(rule) => {
            let packets = |rule: &Rule| (rule.family, rule.preference, rule.from.clone(), rule.mark);
            let mut rules = found.rules.iter();
            let taken = rules.any(|other| packets(other) == packets(rule));
            need(!taken, "room for the rule")
        }
        Op::RemoveRoute(route) => need(found.routes.contains(route), "the route"),
        Op::RemoveRule(rule) => need(found.rules.contains(rule), "the rule"),
        Op::RemoveNeighbour(lane, address) => {
            need(end(lane).neighbours.contains_key(address), "the neighbour")
        }
        Op::RemoveForwarding(lane, link, _) => need(end(lane).forwarding.contains_key(link), "the entry"),
        Op::RemoveAddress(lane, address) => need(end(lane).addresses.contains(address), "the address"),
        Op::SetSysctl(path, _) => {
            let mut lanes = Lane::ALL.iter();
            let of = |lane: &&Lane| path.contains(&format!("/{}/", lane.device()));
            need(lanes.find(of).is_none_or(there), "the setting")
        }
        Op::SetPort(port, _) => {
            let ports: BTreeSet<_> = found.local.bridges.values().flatten().collect();
            need(ports.contains(port), "the port")
        }
        Op::AddAsking(bridge) => need(found.local.bridges.contains_key(bridge), "the bridge"),
        Op::RemoveAsking(bridge) => need(found.asking.contains(bridge), "the address"),
        Op::AddProxy(proxy) => need(
            found.local.bridges.contains_key(&proxy.bridge) && !found.proxies.contains(proxy),
            "the bridge, and room for the proxy",
        ),
        Op::RemoveProxy(proxy) => need(found.proxies.contains(proxy), "the proxy"),
        Op::Ruleset(family, changes) => {
            let mut after = found.clone();
            changes.iter().try_for_each(|change| {
                check_change(after.rulesets.get(family), change)?;
                after.apply(&Op::Ruleset(*family, vec![change.clone()]));
                Ok(())
            })
        }
    }
}

fn check_change(table: Option<&FoundRuleset>, change: &Change) -> Result<(), KernelError> {
    if matches!(change, Change::AddTable) {
        return Ok(());
    }
    let Some(table) = table else {
        return need(false, "the table");
    };
    let element = |set: &str, key: &str| {
        let set = table.sets.get(set);
        set.is_some_and(|(_, elements)| elements.contains_key(key))
    };
    match change {
        Change::AddTable | Change::RemoveTable => Ok(()),
        Change::AddMemory(name) => need(!table.memories.contains(name), "room for the memory"),
        Change::AddSet(name, _) => need(!table.sets.contains_key(name), "room for the set"),
        Change::RemoveSet(name) => need(table.sets.contains_key(name), "the set"),
        Change::AddChain(name, _) => need(!table.chains.contains_key(name), "room for the chain"),
        Change::FillChain(name, _) => need(table.chains.contains_key(name), "the chain"),
        Change::RemoveChain(name) => {
            need(table.chains.contains_key(name), "the chain")?;
            let way = Some(format!("goto {name}"));
            let mut elements = table.sets.values().flat_map(|(_, elements)| elements.values());
            need(
                !elements.any(|value| *value == way),
                "a chain that nothing leads to",
            )
        }
        Change::AddElement(set, key, value) => {
            need(
                table.sets.contains_key(set) && !element(set, key),
                "room for the element",
            )?;
            let chain = value.as_deref().and_then(|value| value.strip_prefix("goto "));
            need(
                chain.is_none_or(|chain| table.chains.contains_key(chain)),
                "the chain",
            )
        }
        Change::RemoveElement(set, key) => need(element(set, key), "the element"),
    }
}

fn need(holds: bool, what: &str) -> Result<(), KernelError> {
    if holds {
        return Ok(());
    }
    Err(KernelError::Missing {
        what: what.to_owned(),
    })
}
