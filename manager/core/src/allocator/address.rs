//! Addresses of tasks and virtual IPs: the lower half of a network's subnet. One is free when no service and no task
//! that has not ended holds it, and when none gave it back lately. Nothing is reserved beside the objects themselves.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use shoal_proto::id::NetworkId;
use shoal_proto::network::{Network, Resting, ingress_network, resting_max};
use shoal_proto::reason::NetworkPart;
use shoal_proto::service::{EndpointMode, NetworkTarget, Service, TaskTemplate};
use shoal_proto::subnet::Subnet;
use shoal_proto::time::Timestamp;

use super::{NetworkFull, REST_MS};
use crate::state::State;

/// Percent of a network's addresses in use from which on it is warned about.
pub const TIGHT_PERCENT: u64 = 80;

/// How much of a network's addresses for tasks and virtual IPs is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Held.
    pub used: u64,
    /// In all.
    pub size: u64,
}

impl Usage {
    /// Whether it should be warned about.
    #[must_use]
    pub const fn is_tight(self) -> bool {
        self.used * 100 >= self.size * TIGHT_PERCENT
    }
}

/// How much of a network is in use; none where it has no addresses.
#[must_use]
pub fn usage(state: &State, network: &Network) -> Option<Usage> {
    let subnet = network.subnet?;
    Some(Usage {
        used: state.held_addresses(network.id).count() as u64,
        size: size(subnet),
    })
}

/// Addresses for tasks and virtual IPs: the lower half but for the first, which names the subnet.
#[must_use]
pub const fn size(subnet: Subnet) -> u64 {
    subnet.size() / 2 - 1
}

/// The networks of the cluster that tasks of a template are on, each once, in order.
#[must_use]
pub fn networks_of(template: &TaskTemplate) -> BTreeSet<NetworkId> {
    let used = template.networks.iter();
    used.filter_map(|used| match used.network {
        NetworkTarget::Cluster(id) => Some(id),
        NetworkTarget::Named(_) | NetworkTarget::Host | NetworkTarget::None => None,
    })
    .collect()
}

/// Where the search for the next address begins: behind the one of the newest task, so that all others are given
/// before one that was given back is given again.
#[must_use]
pub fn cursor(state: &State, network: NetworkId) -> Option<Ipv4Addr> {
    let newest = state.tasks_on_network(network).next_back()?;
    let mut addresses = newest.plan.addresses.iter();
    addresses
        .find(|(of, _)| *of == network)
        .map(|(_, address)| *address)
}

/// Addresses that were given back less than [`REST_MS`] ago, and when the first of them has rested.
#[must_use]
pub fn resting(state: &State, network: &Network, now: Timestamp) -> (BTreeSet<Ipv4Addr>, Option<Timestamp>) {
    let mut addresses = BTreeSet::new();
    let mut first: Option<Timestamp> = None;
    let mut rest = |address: Ipv4Addr, until: Timestamp| {
        addresses.insert(address);
        first = Some(first.map_or(until, |first| first.min(until)));
    };
    for one in network.resting.iter().filter(|one| one.until > now) {
        rest(one.address, one.until);
    }
    let since = Timestamp::from_ms(now.as_ms().saturating_sub(REST_MS));
    for task in state.ended_on_network(network.id, since) {
        let until = task.status.since + REST_MS;
        let here = task.plan.addresses.iter().filter(|(of, _)| *of == network.id);
        here.for_each(|(_, address)| rest(*address, until));
    }
    (addresses, first)
}

/// The next free address behind `after`, going round; none of `kept` is given.
///
/// # Errors
/// When all are held or rest.
pub fn next_free(
    state: &State,
    network: &Network,
    kept: &BTreeSet<Ipv4Addr>,
    after: Option<Ipv4Addr>,
) -> Result<Option<Ipv4Addr>, NetworkFull> {
    let Some(subnet) = network.subnet else {
        return Ok(None);
    };
    let size = size(subnet);
    let start = after.and_then(|after| subnet.place_of(after)).unwrap_or(0);
    let gateway: Option<Ipv4Addr> = network.spec.gateway.parse().ok();
    let free = |address: &Ipv4Addr| {
        !kept.contains(address)
            && gateway != Some(*address)
            && state.address_holders(network.id, *address).next().is_none()
    };
    (0..size)
        .filter_map(|step| subnet.nth((start + step) % size + 1))
        .find(free)
        .map(Some)
        .ok_or_else(|| NetworkFull::of(network, NetworkPart::Tasks, size, size))
}

/// The virtual IPs of a service whose tasks are to be on these networks: those it has, and one on each that it has none
/// on yet. One that is not reached by a virtual IP gets none, and keeps what it has.
///
/// # Errors
/// When a network has no address left.
pub fn virtual_ips(
    state: &State,
    service: &Service,
    template: &TaskTemplate,
    now: Timestamp,
) -> Result<Vec<(NetworkId, Ipv4Addr)>, NetworkFull> {
    let mut addresses = service.addresses.clone();
    addresses.retain(|(network, _)| state.network(*network).is_some());
    if service.settings.endpoint != EndpointMode::Vip {
        return Ok(addresses);
    }
    for id in networks_of(template) {
        // Nobody is known by name on the cluster's own network.
        let Some(network) = state.network(id).filter(|_| id != ingress_network()) else {
            continue;
        };
        if addresses.iter().any(|(of, _)| *of == id) {
            continue;
        }
        let (kept, _) = resting(state, network, now);
        if let Some(address) = next_free(state, network, &kept, cursor(state, id))? {
            addresses.push((id, address));
        }
    }
    Ok(addresses)
}

/// Remembers that an address was given back by something that is forgotten now. The oldest go first where there are
/// too many, and those that have rested go in any case.
pub fn rest(network: &mut Network, address: Ipv4Addr, until: Timestamp, now: Timestamp) {
    let Some(subnet) = network.subnet.filter(|subnet| subnet.contains(address)) else {
        return;
    };
    if until <= now {
        return;
    }
    network
        .resting
        .retain(|one| one.until > now && one.address != address);
    network.resting.push(Resting { address, until });
    network.resting.sort_by_key(|one| (one.until, one.address));
    let surplus = network.resting.len().saturating_sub(resting_max(subnet));
    network.resting.drain(..surplus);
}

#[cfg(test)]
#[path = "address_test.rs"]
mod tests;
