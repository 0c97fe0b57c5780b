//! What an operator should know about addresses before it hurts: networks and pools that are nearly used up, and hosts
//! that send packets for a network's addresses elsewhere.

use shoal_proto::network::Network;
use shoal_proto::node::Node;
use shoal_proto::subnet::Subnet;

use super::address::{self, Usage};
use super::subnet;
use crate::state::State;

/// Warnings of one kind at most; how many more there are is said.
const EACH_MAX: usize = 20;

/// All warnings about addresses.
#[must_use]
pub fn warnings(state: &State) -> Vec<String> {
    let mut warnings: Vec<String> = pools(state).into_iter().collect();
    bounded(
        &mut warnings,
        state.networks().filter_map(|network| tight(state, network)),
    );
    let nodes = state.nodes().filter(|node| node.status.description.is_some());
    bounded(&mut warnings, nodes.flat_map(|node| in_the_way(state, node)));
    warnings
}

fn bounded(warnings: &mut Vec<String>, mut more: impl Iterator<Item = String>) {
    warnings.extend(more.by_ref().take(EACH_MAX));
    match more.count() {
        0 => {}
        left => warnings.push(format!("and {left} more such networks or routes")),
    }
}

const fn percent(usage: Usage) -> u64 {
    usage.used * 100 / usage.size
}

fn pools(state: &State) -> Option<String> {
    let usage = subnet::usage(state).filter(|usage| usage.is_tight())?;
    Some(format!(
        "{} of {} subnets in the address pools are taken ({} %): add a pool with `shoal cluster update --address-pool`",
        usage.used,
        usage.size,
        percent(usage)
    ))
}

fn tight(state: &State, network: &Network) -> Option<String> {
    let usage = address::usage(state, network).filter(|usage| usage.is_tight())?;
    Some(format!(
        "network {} has {} of {} addresses in use ({} %): make further networks, or a larger one",
        network.spec.name,
        usage.used,
        usage.size,
        percent(usage)
    ))
}

/// A route of a host that overlaps a network: made after it, or on a host that joined after it.
fn in_the_way(state: &State, node: &Node) -> Vec<String> {
    let description = node.status.description.as_ref();
    let routes = description.map_or(&[][..], |description| &description.routes);
    let overlay = state.cluster_spec().overlay_subnet;
    let networks = state
        .networks()
        .filter_map(|network| Some((format!("network {}", network.spec.name), network.subnet?)));
    let taken: Vec<(String, Subnet)> = networks
        .chain([("the nodes' overlay".to_owned(), overlay)])
        .collect();
    let name = node.name();
    routes
        .iter()
        .filter(|route| route.prefix() > 0)
        .flat_map(|route| {
            let theirs = taken.iter().filter(|(_, subnet)| subnet.overlaps(*route));
            // Agents tell their resolvers as routes, too.
            let what = match route.prefix() {
                32 => "its resolver at or a route to",
                _ => "a route to",
            };
            theirs.map(move |(whose, subnet)| {
                format!(
                    "node {name} has {what} {route}, which overlaps {subnet} of {whose}: what it \
                     sends there may not arrive; move either: a network is made anew with another --subnet, the overlay \
                     with `shoal cluster update --overlay-subnet`"
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use shoal_proto::cluster::Cluster;
    use shoal_proto::node::Node;
    use shoal_proto::subnet::Subnet;

    use super::warnings;
    use crate::fixture::Fixture;
    use crate::state::Change;

    fn routes(fixture: &mut Fixture, routes: &[&str]) {
        let node = fixture.node();
        let mut changed = Node::clone(fixture.state.node(node).unwrap());
        changed.status.version = 2;
        let parsed = routes.iter().map(|route| route.parse::<Subnet>().unwrap());
        changed.status.description.as_mut().unwrap().routes = parsed.collect();
        fixture.change(Change::NodeStatus {
            node,
            status: Box::new(changed.status),
        });
    }

    #[test]
    fn a_network_and_the_pools_are_warned_about_from_four_fifths_on() {
        let mut fixture = Fixture::new();
        let mut cluster = Cluster::clone(fixture.state.cluster().unwrap());
        cluster.spec.address_pools = vec!["10.1.0.0/24".parse().unwrap()];
        cluster.spec.address_pool_prefix = 26;
        fixture.put(cluster);
        let (node, net) = (fixture.node(), fixture.network("net", ""));
        let web = fixture.service_on("web", 25, &[net]);
        for last in 1..=24 {
            fixture.task_with(web, last.into(), Some(node), |task| {
                task.plan.addresses = vec![(net, Ipv4Addr::new(10, 1, 0, last))];
            });
        }
        assert!(warnings(&fixture.state).is_empty());
        fixture.task_with(web, 25, Some(node), |task| {
            task.plan.addresses = vec![(net, Ipv4Addr::new(10, 1, 0, 25))];
        });
        let words = warnings(&fixture.state).join("\n");
        assert!(
            words.contains("network net has 25 of 31 addresses in use (80 %)"),
            "{words}"
        );
        for name in ["b", "c", "d"] {
            fixture.now = fixture.now + 1;
            fixture.network(name, "");
        }
        let words = warnings(&fixture.state).join("\n");
        assert!(
            words.contains("4 of 4 subnets in the address pools are taken (100 %)"),
            "{words}"
        );
    }

    #[test]
    fn a_route_of_a_host_that_overlaps_a_network_is_named_with_both() {
        let mut fixture = Fixture::new();
        fixture.network("net", "10.1.0.0/24");
        routes(
            &mut fixture,
            &["0.0.0.0/0", "10.2.0.0/24", "10.1.0.128/25", "10.255.7.0/24"],
        );
        let words = warnings(&fixture.state);
        assert_eq!(words.len(), 2, "{words:?}");
        assert!(
            words[0].starts_with(
                "node n1 has a route to 10.1.0.128/25, which overlaps 10.1.0.0/24 of network net"
            )
        );
        assert!(
            words[1].contains("10.255.0.0/16 of the nodes' overlay"),
            "{words:?}"
        );
    }
}
