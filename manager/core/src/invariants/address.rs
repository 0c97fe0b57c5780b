//! Property 34: An address of a network is given once, from the right half of its subnet, and not again before it has
//! rested; subnets are apart from each other, and so are the nodes' blocks.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use shoal_proto::id::NetworkId;
use shoal_proto::network::Network;
use shoal_proto::subnet::Subnet;
use shoal_proto::task::Task;

use super::{Transition, newly_placed};
use crate::state::{Event, Object, ObjectKey, State};

/// Least time between two holders of an address; said here again, so that a slip elsewhere is found.
const REST_MS: u64 = 60_000;

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    let changed = |of: fn(&Object) -> bool| transition.events.iter().map(Event::object).any(of);
    if changed(|object| matches!(object, Object::Network(_))) {
        check_subnets(transition.after, found);
    }
    if changed(has_addresses) {
        check_holders(transition.after, found);
    }
    for task in newly_placed(transition) {
        check_rested(transition, task, found);
    }
}

fn has_addresses(object: &Object) -> bool {
    match object {
        Object::Task(task) => !task.plan.addresses.is_empty(),
        Object::Service(service) => !service.addresses.is_empty(),
        _ => false,
    }
}

fn check_subnets(state: &State, found: &mut Vec<String>) {
    let subnets = state
        .networks()
        .filter_map(|network| Some((network.id.to_string(), network.subnet?)));
    apart("network", subnets, found);
    for network in state.networks() {
        let blocks = network
            .blocks
            .iter()
            .map(|(node, block)| (node.to_string(), block.subnet));
        apart("block of node", blocks, found);
        for (node, block) in &network.blocks {
            let upper = network.subnet.and_then(|subnet| half(subnet, 1));
            if upper.is_none_or(|upper| !holds(upper, block.subnet)) {
                let (id, block) = (network.id, block.subnet);
                found.push(format!(
                    "block {block} of node {node} is not of the upper half of network {id}"
                ));
            }
        }
    }
}

fn apart(what: &str, subnets: impl Iterator<Item = (String, Subnet)>, found: &mut Vec<String>) {
    let mut sorted: Vec<(Subnet, String)> = subnets.map(|(whose, subnet)| (subnet, whose)).collect();
    sorted.sort();
    for pair in sorted.windows(2) {
        if let [(one, first), (other, second)] = pair
            && one.overlaps(*other)
        {
            found.push(format!("{what} {first} and {second} overlap: {one} and {other}"));
        }
    }
}

fn check_holders(state: &State, found: &mut Vec<String>) {
    let mut holders: BTreeMap<(NetworkId, Ipv4Addr), ObjectKey> = BTreeMap::new();
    let services = state
        .services()
        .map(|service| (ObjectKey::Service(service.id), &service.addresses));
    let open = state.tasks().filter(|task| !task.status.state.is_terminal());
    let tasks = open.map(|task| (ObjectKey::Task(task.id), &task.plan.addresses));
    for (holder, addresses) in services.chain(tasks) {
        for (network, address) in addresses {
            let whole = state
                .network(*network)
                .is_none_or(|of| is_for_tasks(of, *address));
            if !whole {
                found.push(format!(
                    "{holder} has {address}, which network {network} does not give"
                ));
            }
            if let Some(other) = holders.insert((*network, *address), holder.clone()) {
                found.push(format!(
                    "{other} and {holder} both have {address} on network {network}"
                ));
            }
        }
    }
}

fn is_for_tasks(network: &Network, address: Ipv4Addr) -> bool {
    let lower = network.subnet.and_then(|subnet| half(subnet, 0));
    lower.is_some_and(|lower| lower.contains(address) && lower.first() != address)
}

/// Judged by the tasks that were there before: of those that were forgotten nothing is left to judge by.
fn check_rested(transition: &Transition<'_>, placed: &Task, found: &mut Vec<String>) {
    let now = transition.after.newest_time();
    for task in transition.before.tasks() {
        let lately = task.status.state.is_terminal() && now.ms_since(task.status.since) < REST_MS;
        let shared = task
            .plan
            .addresses
            .iter()
            .find(|one| placed.plan.addresses.contains(one));
        if let Some((_, address)) = shared.filter(|_| lately) {
            found.push(format!(
                "task {} has {address}, which task {} gave back a moment ago",
                placed.id, task.id
            ));
        }
    }
}

fn half(subnet: Subnet, which: u64) -> Option<Subnet> {
    subnet.part(subnet.prefix() + 1, which)
}

fn holds(outer: Subnet, inner: Subnet) -> bool {
    outer.contains(inner.first()) && outer.contains(inner.last())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use shoal_proto::id::NetworkId;
    use shoal_proto::network::{Block, Network, NetworkSpec};
    use shoal_proto::task::{Task, TaskState};

    use super::REST_MS;
    use crate::fixture::Fixture;
    use crate::state::Change;

    fn with(network: NetworkId, last: u8) -> impl FnOnce(&mut Task) {
        move |task| task.plan.addresses = vec![(network, Ipv4Addr::new(10, 1, 0, last))]
    }

    #[test]
    fn an_address_that_two_tasks_have_is_found() {
        let mut fixture = Fixture::new();
        let (node, network) = (fixture.node(), fixture.network("net", "10.1.0.0/24"));
        let web = fixture.service("web", 2);
        fixture.task_with(web, 1, Some(node), with(network, 7));
        assert!(fixture.violated().is_empty());
        fixture.task_with(web, 2, Some(node), with(network, 7));
        assert_eq!(fixture.violated(), ["address"]);
    }

    #[test]
    fn an_address_of_the_nodes_half_that_a_task_has_is_found() {
        let mut fixture = Fixture::new();
        let (node, network) = (fixture.node(), fixture.network("net", "10.1.0.0/24"));
        let web = fixture.service("web", 2);
        fixture.task_with(web, 1, Some(node), with(network, 128));
        assert_eq!(fixture.violated(), ["address"]);
    }

    #[test]
    fn an_address_that_is_given_again_too_early_is_found() {
        for (later_ms, expected) in [(REST_MS - 1, Some("address")), (REST_MS, None)] {
            let mut fixture = Fixture::new();
            let (node, network) = (fixture.node(), fixture.network("net", "10.1.0.0/24"));
            let web = fixture.service("web", 2);
            let old = fixture.task_with(web, 1, Some(node), with(network, 7));
            fixture.report(old, node, TaskState::Failed, 1);
            fixture.now = fixture.now + later_ms;
            fixture.task_with(web, 2, Some(node), with(network, 7));
            assert_eq!(fixture.violated().first().copied(), expected);
        }
    }

    #[test]
    fn networks_and_blocks_that_overlap_are_found() {
        let mut fixture = Fixture::new();
        let network = fixture.network("net", "10.1.0.0/24");
        let id = fixture.ids.network(fixture.now);
        let spec = NetworkSpec {
            name: "other".to_owned(),
            ..NetworkSpec::default()
        };
        let other = Network {
            subnet: "10.1.0.0/25".parse().ok(),
            ..Network::new(id, None, spec)
        };
        fixture.change(Change::Put(other.into()));
        assert_eq!(fixture.violated(), ["address"]);
        fixture.change(Change::Delete(crate::state::ObjectKey::Network(id)));
        for (block, expected) in [
            ("10.1.0.128/28", None),
            ("10.1.0.136/32", Some("address")),
            ("10.1.0.0/28", Some("address")),
        ] {
            let node = fixture.node();
            let block = Block {
                subnet: block.parse().unwrap(),
                idle_since: None,
            };
            fixture.edit_network(network, |network| {
                network.blocks.insert(node, block);
            });
            assert_eq!(fixture.violated().first().copied(), expected);
            fixture.edit_network(network, |network| {
                if expected.is_some() {
                    network.blocks.remove(&node);
                }
            });
        }
    }
}
