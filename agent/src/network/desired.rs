//! From what a node is told to everything of ours in its kernel, as it should be. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use shoal_proto::overlay::{SEALED_IDENTIFIER, SEALED_PORT};
use shoal_proto::subnet::Subnet;

use super::model::{
    Bridging, Desired, Device, End, Interface, Lane, Local, Proxy, Route, Rule, RuleStep, Tunnel, Way,
    right_port,
};
use super::ours;
use super::ruleset;
use super::settings::{sysctls, sysctls6};
use super::side::{Block, Family, Side};
use super::view::{self, Peer, View};

/// The kernel's main table of routes.
const MAIN: u32 = 254;
/// Its table of what is for this node.
const LOCAL: u32 = 255;
/// Taken for the underlay's largest packet, in bytes, while no device holds the node's address.
const USUAL_MTU: u32 = 1_500;
/// WireGuard fills packets up to a multiple of this, in bytes.
const PADDING: u32 = 16;
/// Least size of a packet that every IPv4 link carries (RFC 791 asks hosts for 576).
const LEAST_MTU: u32 = 576;
/// The same of IPv6: a device of less has none (RFC 8200).
pub const LEAST_MTU6: u32 = 1_280;
/// Addresses of a node's block that others find in IPv6: the kernel has to be told each.
const BY_HAND_MAX: u64 = 64;

/// Everything of ours as it should be on this node. Nothing while the node has no number.
#[must_use]
pub fn desired(view: &View, local: &Local) -> Desired {
    let overlay = view.overlay.subnet;
    let this = view.this();
    let Some((this, address)) = this.and_then(|this| Some((this, this.number.address_in(overlay)?))) else {
        return Desired::default();
    };
    let how = right_port(local.bridging);
    let ports = local.bridges.values().flatten();
    let sealed = sealed(view, this, local);
    let mut lanes = vec![Lane::Open];
    lanes.extend(sealed.device.map(|_| Lane::Sealed));
    let ruleset = ruleset::of(view, Side::V4);
    let ruleset = ruleset.with_resolver(local.resolver).with_memory(local.memory);
    let mut desired = Desired {
        local: (),
        open: open(view, this, (address, local)),
        sealed,
        routes: routes((view, Side::V4), address, &lanes),
        rules: rules(view, Family::V4),
        proxies: BTreeSet::new(),
        asking: BTreeSet::new(),
        sysctls: sysctls(local, &lanes),
        ports: ports.map(|port| (port.clone(), how)).collect(),
        rulesets: [(Family::V4, ruleset)].into(),
    };
    if let Some((side, dual)) = view::dual(view) {
        desired.add(&dual, side, (address, local));
    }
    desired
}

impl Desired {
    /// The same in IPv6, for what of the view is of IPv6 as well.
    fn add(&mut self, view: &View, side: Side, (address, local): (Ipv4Addr, &Local)) {
        let fits = |end: &End<Device>| end.device.is_some_and(|device| device.mtu >= LEAST_MTU6);
        let lanes: Vec<_> = Lane::ALL
            .into_iter()
            .filter(|lane| fits(self.end(*lane)))
            .collect();
        if !lanes.contains(&Lane::Open) {
            return;
        }
        for lane in &lanes {
            let end = self.end_mut(*lane);
            let beside = |at: &IpAddr| match at {
                IpAddr::V4(at) => side.address(*at),
                IpAddr::V6(at) => IpAddr::V6(*at),
            };
            let length = match lane {
                Lane::Open => view.overlay.subnet.prefix(),
                // The half for what is sealed: IPv6 takes no gateway that another device reaches without one.
                Lane::Sealed => view.overlay.subnet.prefix() + 1,
            };
            let both = |is: &Interface| [*is, is.beside(side, length)];
            end.addresses = end.addresses.iter().flat_map(both).collect();
            let neighbours = end.neighbours.iter();
            let neighbours: Vec<_> = neighbours.map(|(at, link)| (beside(at), *link)).collect();
            end.neighbours.extend(neighbours);
        }
        self.routes.extend(routes((view, side), address, &lanes));
        self.rules.extend(rules(view, side.family()));
        let carried: BTreeSet<_> = view::carried(view).map(|(id, _)| ours::bridge(id)).collect();
        let bridges = local.bridges.keys().filter(|bridge| carried.contains(*bridge));
        self.asking = bridges.cloned().collect();
        self.sysctls.extend(sysctls6(local, &lanes, self.asking.iter()));
        self.proxies = proxies(view, side, local);
        let ruleset = ruleset::of(view, side).with_memory(local.memory);
        self.rulesets.insert(side.family(), ruleset);
    }
}

impl Interface {
    /// The same on another side, where it reaches the block of that length in IPv4.
    fn beside(self, side: Side, length: u8) -> Self {
        let IpAddr::V4(address) = self.address else {
            return self;
        };
        let block = Subnet::around(address, length).map(|block| side.block(block));
        Self {
            address: side.address(address),
            length: block.map_or(u8::MAX, |block| block.length),
        }
    }
}

/// What the node answers for on its bridges: everybody who is not there, and those who are isolated from each other.
fn proxies(view: &View, side: Side, local: &Local) -> BTreeSet<Proxy> {
    let there = view.endpoints.values().filter(|end| {
        // Whom a neighbour reaches by itself answers by itself.
        end.node != view.node || local.bridging == Bridging::Plain
    });
    let tasks = there.flat_map(|end| &end.addresses);
    let virtual_ips = view.services.values().flat_map(|service| &service.addresses);
    let addresses = tasks
        .chain(virtual_ips)
        .map(|(network, address)| (*network, *address));
    let by_hand = view.networks.iter().flat_map(|(id, network)| {
        let blocks = network.blocks.iter();
        let blocks = blocks.filter(|(node, _)| **node != view.node || local.bridging == Bridging::Plain);
        blocks.flat_map(|(node, block)| {
            // The node's own gateway answers by itself.
            let first = u64::from(*node == view.node);
            let all = (first..block.size().min(BY_HAND_MAX)).filter_map(|nth| block.nth(nth));
            all.map(|address| (*id, address))
        })
    });
    let proxies = addresses.chain(by_hand).filter_map(|(network, address)| {
        let bridge = ours::bridge(network);
        let IpAddr::V6(address) = side.address(address) else {
            return None;
        };
        local
            .bridges
            .contains_key(&bridge)
            .then_some(Proxy { bridge, address })
    });
    proxies.collect()
}

/// Size of the largest packet inside of the open tunnel, in bytes.
#[must_use]
pub fn tunnel_mtu(underlay_mtu: u32) -> u32 {
    let underlay = if underlay_mtu == 0 {
        USUAL_MTU
    } else {
        underlay_mtu
    };
    underlay.saturating_sub(ours::ENCAPSULATION).max(LEAST_MTU)
}

/// Size of the largest packet inside of WireGuard, in bytes.
#[must_use]
pub fn wireguard_mtu(underlay_mtu: u32) -> u32 {
    let inside = tunnel_mtu(underlay_mtu) + ours::ENCAPSULATION - ours::SEALING;
    // Packets are filled up to such a length before they are sealed.
    inside / PADDING * PADDING
}

/// Size of the largest packet inside of the sealed tunnel where so much fits into the open one, in bytes.
#[must_use]
pub fn sealed_mtu(open_mtu: u32) -> u32 {
    wireguard_mtu(open_mtu + ours::ENCAPSULATION) - ours::ENCAPSULATION
}

fn open(view: &View, this: &Peer, (address, local): (Ipv4Addr, &Local)) -> End<Device> {
    let others = || view::others(view);
    let length = view.overlay.subnet.prefix();
    End {
        device: Some(Device {
            tunnel: Tunnel {
                identifier: view.overlay.identifier,
                port: view.overlay.port,
                local: this.host,
                address: this.number.mac(),
                over: None,
            },
            mtu: tunnel_mtu(local.underlay_mtu),
        }),
        addresses: BTreeSet::from([Interface {
            address: address.into(),
            length,
        }]),
        neighbours: others()
            .map(|(_, peer, at)| (at.into(), peer.number.mac()))
            .collect(),
        forwarding: others()
            .map(|(_, peer, _)| (peer.number.mac(), peer.host))
            .collect(),
    }
}

/// Without a device where nothing is encrypted, and while there is no WireGuard to run over: nothing goes out then.
fn sealed(view: &View, this: &Peer, local: &Local) -> End<Device> {
    let own = view::seals(view).then(|| this.number.sealed_address_in(view.overlay.subnet));
    let (Some(address), Some(over)) = (own.flatten(), local.wireguard) else {
        return End::default();
    };
    let others = || view::sealed_others(view);
    End {
        device: Some(Device {
            tunnel: Tunnel {
                identifier: SEALED_IDENTIFIER,
                port: SEALED_PORT,
                local: address,
                address: this.number.mac(),
                over: Some(over),
            },
            mtu: sealed_mtu(tunnel_mtu(local.underlay_mtu)),
        }),
        addresses: BTreeSet::from([Interface {
            address: address.into(),
            length: 32,
        }]),
        neighbours: others()
            .map(|(_, peer, at)| (at.into(), peer.number.mac()))
            .collect(),
        forwarding: others().map(|(_, peer, at)| (peer.number.mac(), at)).collect(),
    }
}

/// Remote tasks and blocks through their nodes, virtual IPs here, and for each node a table that leads back to it.
/// What is encrypted has no route but through the sealed tunnel.
fn routes((view, side): (&View, Side), address: Ipv4Addr, lanes: &[Lane]) -> BTreeSet<Route> {
    let address_of = |lane, peer: &Peer| {
        let address = match lane {
            Lane::Open => peer.number.address_in(view.overlay.subnet),
            Lane::Sealed => peer.number.sealed_address_in(view.overlay.subnet),
        };
        address.map(|address| side.address(address))
    };
    let via = |network, node, to: Block| {
        let lane = view::lane(view, network);
        let peer = view.peers.get(node).filter(|_| *node != view.node)?;
        let way = Way::Via(address_of(lane, peer).filter(|_| lanes.contains(&lane))?);
        let table = MAIN;
        Some(Route { lane, table, to, way })
    };
    let tasks = view.endpoints.values().flat_map(|end| {
        let addresses = end.addresses.iter();
        addresses.filter_map(move |(network, address)| via(*network, &end.node, side.single(*address)))
    });
    let blocks = view.networks.iter().flat_map(|(id, network)| {
        let blocks = network.blocks.iter();
        blocks.filter_map(move |(node, block)| via(*id, node, side.block(*block)))
    });
    let virtual_ips = view
        .services
        .values()
        .flat_map(|service| service.addresses.values());
    let here = virtual_ips.map(|virtual_ip| Route {
        lane: Lane::Open,
        table: LOCAL,
        to: side.single(*virtual_ip),
        way: Way::Here {
            source: side.address(address),
        },
    });
    let back = view::others(view).flat_map(|(_, peer, _)| {
        let lanes = lanes.iter();
        lanes.filter_map(move |lane| {
            Some(Route {
                lane: *lane,
                table: ours::routing_table(*lane, peer.number),
                to: side.family().everywhere(),
                way: Way::Via(address_of(*lane, peer)?),
            })
        })
    });
    tasks.chain(blocks).chain(here).chain(back).collect()
}

/// Replies of tasks on our bridges go back through the node where their connection entered, those of encrypted networks
/// inside of WireGuard. Only marked packets walk along one rule for each bridge and one for each node; all others pass two.
fn rules(view: &View, family: Family) -> BTreeSet<Rule> {
    let rule = |preference, step| Rule {
        family,
        preference,
        from: None,
        mark: None,
        step,
    };
    let unmarked = Rule {
        mark: Some(0),
        ..rule(ours::RULE_UNMARKED, RuleStep::Goto(ours::RULE_END))
    };
    let enter = view::carried(view).map(|(id, _)| {
        let part = match view::lane(view, id) {
            Lane::Open => ours::RULE_OPEN,
            Lane::Sealed => ours::RULE_SEALED,
        };
        Rule {
            from: Some(ours::bridge(id)),
            ..rule(ours::RULE_ENTER, RuleStep::Goto(part))
        }
    });
    let nodes = view::others(view).flat_map(|(_, peer, _)| {
        let parts = [
            (Lane::Open, ours::RULE_OPEN_NODE),
            (Lane::Sealed, ours::RULE_SEALED_NODE),
        ];
        let parts = parts
            .into_iter()
            .filter(|(lane, _)| *lane == Lane::Open || view::seals(view));
        parts.map(|(lane, preference)| Rule {
            mark: Some(ours::mark(peer.number)),
            ..rule(
                preference,
                RuleStep::Table(ours::routing_table(lane, peer.number)),
            )
        })
    });
    let fixed = [
        unmarked,
        rule(ours::RULE_LEAVE, RuleStep::Goto(ours::RULE_END)),
        rule(ours::RULE_OPEN, RuleStep::Nothing),
        rule(ours::RULE_OPEN_LEAVE, RuleStep::Goto(ours::RULE_END)),
        rule(ours::RULE_SEALED, RuleStep::Nothing),
        rule(ours::RULE_END, RuleStep::Nothing),
    ];
    enter.chain(nodes).chain(fixed).collect()
}
