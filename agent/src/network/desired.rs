//! From what a node is told to everything of ours in its kernel, as it should be. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use shoal_proto::subnet::Subnet;

use super::model::{
    Desired, Device, Interface, Local, Route, Rule, RuleStep, Tunnel, Way, right_port, sysctls,
};
use super::ours;
use super::ruleset;
use super::view::{self, Peer, View};

/// The kernel's main table of routes.
const MAIN: u32 = 254;
/// Its table of what is for this node.
const LOCAL: u32 = 255;
/// Taken for the underlay's largest packet, in bytes, while no device holds the node's address.
const USUAL_MTU: u32 = 1_500;
/// Least size of a packet that every IPv4 link carries (RFC 791 asks hosts for 576).
const LEAST_MTU: u32 = 576;

/// Everything of ours as it should be on this node. Nothing while the node has no number.
#[must_use]
pub fn desired(view: &View, local: &Local) -> Desired {
    let overlay = view.overlay.subnet;
    let this = view.this();
    let Some((this, address)) = this.and_then(|this| Some((this, this.number.address_in(overlay)?))) else {
        return Desired::default();
    };
    let others = || view::others(view);
    let how = right_port(local.bridging);
    let ports = local.bridges.values().flatten();
    Desired {
        device: Some(device(view, this, local)),
        addresses: BTreeSet::from([Interface {
            address,
            length: overlay.prefix(),
        }]),
        neighbours: others().map(|(_, peer, at)| (at, peer.number.mac())).collect(),
        forwarding: others()
            .map(|(_, peer, _)| (peer.number.mac(), peer.host))
            .collect(),
        routes: routes(view, address),
        rules: rules(view),
        sysctls: sysctls(local),
        ports: ports.map(|port| (port.clone(), how)).collect(),
        ruleset: Some(ruleset::of(view).with_resolver(local.resolver)),
    }
}

/// Size of the largest packet inside of the tunnel, in bytes.
#[must_use]
pub fn tunnel_mtu(underlay_mtu: u32) -> u32 {
    let underlay = if underlay_mtu == 0 {
        USUAL_MTU
    } else {
        underlay_mtu
    };
    underlay.saturating_sub(ours::ENCAPSULATION).max(LEAST_MTU)
}

fn device(view: &View, this: &Peer, local: &Local) -> Device {
    Device {
        tunnel: Tunnel {
            identifier: view.overlay.identifier,
            port: view.overlay.port,
            local: this.host,
            address: this.number.mac(),
        },
        mtu: tunnel_mtu(local.underlay_mtu),
    }
}

/// Remote tasks and blocks through their nodes, virtual IPs here, and for each node a table that leads back to it.
fn routes(view: &View, address: Ipv4Addr) -> BTreeSet<Route> {
    let via = |node, to: Subnet| {
        let peer = view.peers.get(node).filter(|_| *node != view.node)?;
        let way = Way::Via(peer.number.address_in(view.overlay.subnet)?);
        Some(Route { table: MAIN, to, way })
    };
    let tasks = view.endpoints.values().flat_map(|end| {
        let addresses = end.addresses.values();
        addresses.filter_map(move |address| via(&end.node, single(*address)))
    });
    let blocks = view.networks.values().flat_map(|network| &network.blocks);
    let blocks = blocks.filter_map(|(node, block)| via(node, *block));
    let virtual_ips = view
        .services
        .values()
        .flat_map(|service| service.addresses.values());
    let here = virtual_ips.map(|virtual_ip| Route {
        table: LOCAL,
        to: single(*virtual_ip),
        way: Way::Here { source: address },
    });
    let back = view::others(view).map(|(_, peer, at)| Route {
        table: ours::routing_table(peer.number),
        to: Subnet::around(Ipv4Addr::UNSPECIFIED, 0).expect("0 is a length"),
        way: Way::Via(at),
    });
    tasks.chain(blocks).chain(here).chain(back).collect()
}

fn single(address: Ipv4Addr) -> Subnet {
    Subnet::around(address, 32).expect("32 is a length")
}

/// Replies of tasks on our bridges go back through the node where their connection entered. Only those packets walk
/// along one rule for each node; all others pass two more rules and one for each bridge.
fn rules(view: &View) -> BTreeSet<Rule> {
    let rule = |preference, step| Rule {
        preference,
        from: None,
        mark: None,
        step,
    };
    let enter = view::carried(view).map(|(id, _)| Rule {
        from: Some(ours::bridge(id)),
        ..rule(ours::RULE_ENTER, RuleStep::Goto(ours::RULE_SKIP))
    });
    let skip = Rule {
        mark: Some(0),
        ..rule(ours::RULE_SKIP, RuleStep::Goto(ours::RULE_END))
    };
    let nodes = view::others(view).map(|(_, peer, _)| Rule {
        mark: Some(ours::mark(peer.number)),
        ..rule(ours::RULE_NODE, RuleStep::Table(ours::routing_table(peer.number)))
    });
    let fixed = [
        rule(ours::RULE_LEAVE, RuleStep::Goto(ours::RULE_END)),
        skip,
        rule(ours::RULE_END, RuleStep::Nothing),
    ];
    enter.chain(nodes).chain(fixed).collect()
}
