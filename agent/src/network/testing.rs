//! Views of a node for tests, by hand and at random.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::{Strategy, prop};
use shoal_proto::id::{NetworkId, NodeId, ServiceId, TaskId};
use shoal_proto::overlay::OverlayNumber;
use shoal_proto::service::{EndpointMode, IngressPort, Protocol};
use shoal_proto::subnet::Subnet;
use shoal_proto::time::Timestamp;
use shoal_proto::tunnel_key::TunnelKey;

use super::model::{Bridging, Local, Memory};
use super::ours;
use super::view::{Endpoint, EndpointState, Inside, Network, Outside, Overlay, Peer, Secrecy, Service, View};

pub(super) fn node(n: u8) -> NodeId {
    NodeId::new(Timestamp::from_ms(1), n.into())
}

pub(super) fn network(n: u8) -> NetworkId {
    NetworkId::new(Timestamp::from_ms(2), n.into())
}

pub(super) fn service(n: u8) -> ServiceId {
    ServiceId::new(Timestamp::from_ms(3), n.into())
}

pub(super) fn task(n: u16) -> TaskId {
    TaskId::new(Timestamp::from_ms(4), n.into())
}

/// Network `n` is 10.128.16n.0/20; node `k` has the block that begins with 10.128.16n+8.16k.
pub(super) fn block(n: u8, k: u8) -> Subnet {
    Subnet::around([10, 128, n * 16 + 8, k * 16].into(), 28).expect("a length")
}

/// An address on network `n` for a task or a service.
pub(super) fn address(n: u8, host: u8) -> Ipv4Addr {
    [10, 128, n * 16, host].into()
}

/// A cluster of that many nodes and networks, seen from node 1, without tasks.
pub(super) fn view(nodes: u8, networks: u8) -> View {
    let peer = |k: u8| Peer {
        number: OverlayNumber::new(k.into()).expect("in range"),
        host: [10, 99, 0, 10 + k].into(),
        name: format!("h{k}"),
        key: None,
        ipv6: None,
    };
    let carried = |n: u8| Network {
        name: format!("net{n}"),
        subnet: Subnet::around(address(n, 0), 20).expect("a length"),
        blocks: (1..=nodes).map(|k| (node(k), block(n, k))).collect(),
        outside: if n == 3 {
            Outside::Closed
        } else {
            Outside::Reachable
        },
        inside: if n == 2 { Inside::Apart } else { Inside::Together },
        attachable: true,
        secrecy: Secrecy::Open,
        prefix: None,
    };
    View {
        overlay: Overlay {
            subnet: "10.255.0.0/16".parse().expect("a block"),
            identifier: 4_097,
            port: 4_788,
            prefix: None,
        },
        node: node(1),
        peers: (1..=nodes).map(|k| (node(k), peer(k))).collect(),
        networks: (1..=networks).map(|n| (network(n), carried(n))).collect(),
        services: BTreeMap::new(),
        endpoints: BTreeMap::new(),
    }
}

/// Service `s`, made if need be.
pub(super) fn served(view: &mut View, s: u8) -> &mut Service {
    view.services.entry(service(s)).or_insert_with(|| Service {
        name: format!("s{s}"),
        mode: EndpointMode::Vip,
        aliases: BTreeMap::new(),
        addresses: BTreeMap::new(),
        ports: Vec::new(),
    })
}

/// The virtual IP of service `s` on network `n`.
pub(super) fn virtual_ip(view: &mut View, s: u8, n: u8) {
    served(view, s).addresses.insert(network(n), address(n, 10 + s));
}

/// A port of service `s`, led on network `n` to those of its tasks that are there already.
pub(super) fn publish(view: &mut View, s: u8, n: u8, port: IngressPort) {
    served(view, s).ports.push(port);
    let ends = view.endpoints.values_mut();
    for end in ends.filter(|end| end.service == service(s)) {
        end.mesh = Some(network(n)).filter(|mesh| end.addresses.contains_key(mesh));
    }
}

/// Task `t` of service `s` on network `n`, on node `k`.
pub(super) fn put(view: &mut View, (t, s, n, k): (u8, u8, u8, u8), state: EndpointState) {
    let publishes = !served(view, s).ports.is_empty();
    let new = Endpoint {
        service: service(s),
        slot: Some(t.into()),
        node: node(k),
        addresses: BTreeMap::new(),
        aliases: BTreeMap::new(),
        mesh: None,
        state,
    };
    let end = view.endpoints.entry(task(t.into())).or_insert(new);
    end.state = state;
    end.addresses.insert(network(n), address(n, 100 + t));
    if publishes {
        end.mesh = Some(network(n));
    }
}

pub(super) fn port(published_port: u16) -> IngressPort {
    IngressPort {
        name: String::new(),
        protocol: Protocol::Tcp,
        published_port,
        host_ip: None,
        container_port: 80,
        prefer: None,
    }
}

/// The bridges of a view on this node, each with that many ports.
pub(super) fn local(view: &View, ports: usize) -> Local {
    let bridges = view.networks.keys().map(|id| {
        let bridge = ours::bridge(*id);
        let ports = (0..ports).map(|port| format!("veth{port}-{}", &bridge[3..]));
        (bridge.clone(), ports.collect())
    });
    Local {
        bridges: bridges.collect(),
        underlay_mtu: 1_500,
        wireguard: Some(7),
        bridging: Bridging::Plain,
        resolver: None,
        memory: Memory::Settable,
        deaf: BTreeSet::new(),
    }
}

/// Makes network `n` an encrypted one, in which all nodes have a part.
pub(super) fn encrypt(view: &mut View, n: u8) {
    if let Some(of) = view.networks.get_mut(&network(n)) {
        of.secrecy = Secrecy::Encrypted;
    }
    for (k, peer) in (1..).zip(view.peers.values_mut()) {
        peer.key = TunnelKey::from_bytes([k; 32]);
    }
}

/// The prefix of clusters in tests.
pub(super) const PREFIX: &str = "fd12:3456:789a::/96";

/// The IPv6 address of node `k`.
pub(super) fn host6(k: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, k)
}

/// Makes network `n` one of IPv6 as well.
pub(super) fn widen(view: &mut View, n: u8) {
    let prefix = Some(PREFIX.parse().expect("a prefix"));
    view.overlay.prefix = prefix;
    for (k, peer) in (1..).zip(view.peers.values_mut()) {
        peer.ipv6 = Some([host6(k)].into());
    }
    if let Some(of) = view.networks.get_mut(&network(n)) {
        of.prefix = prefix;
    }
}

/// Any small cluster.
pub(super) fn views() -> impl Strategy<Value = View> {
    let tasks = prop::collection::vec((0..12_u8, 1..4_u8, 1..4_u8, 1..5_u8, 0..2_u8), 0..12);
    let ports = prop::collection::vec((0..3_u8, 1..4_u8, 1..4_u8), 0..4);
    let kinds = (0..4_u8, 0..4_u8);
    (1..5_u8, 1..4_u8, tasks, ports, kinds).prop_map(|(nodes, networks, tasks, ports, (encrypted, dual))| {
        let mut made = view(nodes, networks);
        if encrypted > 0 {
            encrypt(&mut made, encrypted);
        }
        if dual > 0 {
            widen(&mut made, dual);
        }
        for (t, s, n, k, ready) in tasks {
            let state = [EndpointState::Ready, EndpointState::Aside][usize::from(ready)];
            put(&mut made, (t, s, n.min(networks), k.min(nodes)), state);
            virtual_ip(&mut made, s, n.min(networks));
        }
        let mut taken = BTreeSet::new();
        for (at, s, n) in ports {
            let mut port = port(8_000 + u16::from(at));
            if at == 1 {
                port.host_ip = Some(Ipv4Addr::LOCALHOST.into());
            }
            if taken.insert(at) {
                publish(&mut made, s, n.min(networks), port);
            }
        }
        made
    })
}
