//! A cluster of three nodes seen from the first, and the host that it runs on.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use shoal_agent::network::desired::desired;
use shoal_agent::network::difference::difference;
use shoal_agent::network::kernel::linux::Linux;
use shoal_agent::network::kernel::{Kernel as _, apply_all};
use shoal_agent::network::model::Op;
use shoal_agent::network::ours;
use shoal_agent::network::view::{
    Endpoint, EndpointState, Inside, Network, Outside, Overlay, Peer, Secrecy, Service, View,
};
use shoal_proto::id::{NetworkId, NodeId, ServiceId, TaskId};
use shoal_proto::overlay::OverlayNumber;
use shoal_proto::service::{EndpointMode, IngressPort, Protocol};
use shoal_proto::subnet::Subnet;
use shoal_proto::time::Timestamp;

use crate::alone::run;

pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 11);

pub(crate) fn node(n: u8) -> NodeId {
    NodeId::new(Timestamp::from_ms(1), n.into())
}

pub(crate) fn network() -> NetworkId {
    NetworkId::new(Timestamp::from_ms(2), 2)
}

pub(crate) fn service(n: u16) -> ServiceId {
    ServiceId::new(Timestamp::from_ms(3), n.into())
}

pub(crate) fn subnet(first: impl Into<Ipv4Addr>, prefix: u8) -> Subnet {
    Subnet::around(first.into(), prefix).expect("a length")
}

/// Three nodes that carry one network.
pub(crate) fn view() -> View {
    let peer = |n: u8| Peer {
        number: OverlayNumber::new(n.into()).expect("in range"),
        host: [10, 99, 0, 10 + n].into(),
        name: format!("h{n}"),
        key: None,
        ipv6: None,
    };
    let carried = Network {
        name: "front".to_owned(),
        subnet: subnet([10, 128, 0, 0], 16),
        blocks: (1..=3)
            .map(|n| (node(n), subnet([10, 128, 128, 16 * n], 28)))
            .collect(),
        outside: Outside::Closed,
        inside: Inside::Together,
        attachable: true,
        secrecy: Secrecy::Open,
        prefix: None,
    };
    View {
        overlay: Overlay {
            subnet: subnet([10, 255, 0, 0], 16),
            identifier: 4_097,
            port: 4_788,
            prefix: None,
        },
        node: node(1),
        peers: (1..=3).map(|n| (node(n), peer(n))).collect(),
        networks: BTreeMap::from([(network(), carried)]),
        services: BTreeMap::new(),
        endpoints: BTreeMap::new(),
    }
}

/// A service on a network, with that virtual IP and those TCP ports.
pub(crate) fn published(on: NetworkId, at: Ipv4Addr, ports: &[(u16, Option<Ipv4Addr>)]) -> Service {
    let ports = ports.iter().map(|(published_port, host_ip)| IngressPort {
        name: String::new(),
        protocol: Protocol::Tcp,
        container_port: 80,
        published_port: *published_port,
        host_ip: host_ip.map(Into::into),
        prefer: None,
    });
    Service {
        name: at.to_string(),
        mode: EndpointMode::Vip,
        aliases: BTreeMap::new(),
        addresses: BTreeMap::from([(on, at)]),
        ports: ports.collect(),
    }
}

/// A task with one address.
pub(crate) fn end(of: ServiceId, on: NetworkId, at: Ipv4Addr, node: NodeId) -> Endpoint {
    Endpoint {
        service: of,
        slot: None,
        node,
        addresses: BTreeMap::from([(on, at)]),
        aliases: BTreeMap::new(),
        mesh: Some(on),
        state: EndpointState::Ready,
    }
}

/// Gives service `number` that many tasks over the three nodes, a virtual IP and two ports.
pub(crate) fn serve(view: &mut View, number: u16, tasks: u16) {
    let [high, low] = number.to_be_bytes();
    for task in 0..tasks {
        let at = u32::from(Ipv4Addr::new(10, 128, 8, 0)) + u32::from(number * 16 + task);
        let on = node(u8::try_from(task % 3).expect("small") + 1);
        let id = TaskId::new(Timestamp::from_ms(number.into()), task.into());
        let end = end(service(number), network(), at.into(), on);
        view.endpoints.insert(id, end);
    }
    let ports = [
        (10_000 + number, None),
        (20_000 + number, Some(Ipv4Addr::LOCALHOST)),
    ];
    let of = published(network(), [10, 128, high, low].into(), &ports);
    view.services.insert(service(number), of);
}

/// The host: a device with its address, the network's bridge with a port, and things of others.
pub(crate) fn host() {
    let bridge = ours::bridge(network());
    run(&format!(
        "ip link add under0 type bridge && ip addr add {HOST}/24 dev under0 && ip link set under0 mtu 1400 up
         ip link add {bridge} type bridge && ip addr add 10.128.128.16/16 dev {bridge} && ip link set {bridge} up
         ip link add veth1 type veth peer name inner1 && ip link set veth1 master {bridge} up && ip link set inner1 up
         ip route add 192.0.2.0/24 via 10.99.0.99 && ip rule add fwmark 7 lookup 77 pref 5210
         sysctl -qw net.bridge.bridge-nf-call-iptables=0
         nft 'add table ip others' && nft 'add chain ip others theirs'"
    ));
}

/// What of others must be there to the end.
#[track_caller]
pub(crate) fn others_are_there() {
    let found = run("ip route; ip rule; nft list tables; ip -br link");
    for theirs in [
        "192.0.2.0/24 via 10.99.0.99",
        "5210:",
        "table ip others",
        "veth1@",
    ] {
        assert!(found.contains(theirs), "{theirs} is gone: {found}");
    }
}

/// One round; answers its steps. Each works, and a second round has nothing to do.
pub(crate) async fn mend(kernel: &Linux, view: &View) -> Vec<Op> {
    mend_at(kernel, view, HOST).await
}

/// The same on another host.
pub(crate) async fn mend_at(kernel: &Linux, view: &View, host: Ipv4Addr) -> Vec<Op> {
    let found = kernel.look(Some(host)).await.expect("it looks");
    let ops = difference(&desired(view, &found.local), &found);
    let failed = apply_all(kernel, &ops).await;
    assert!(failed.is_empty(), "{failed:?}");
    let found = kernel.look(Some(host)).await.expect("it looks");
    let left = difference(&desired(view, &found.local), &found);
    assert_eq!(left, Vec::new(), "a second round has nothing to do");
    ops
}
