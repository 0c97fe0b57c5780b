//! A small cluster for tests of names: built by hand, the networks of loopback addresses so that real sockets can ask.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use shoal_proto::service::EndpointMode;
use shoal_proto::subnet::Subnet;

use super::names::{Answer, Kind, Names, Question};
pub(super) use crate::network::testing::{network, node, service, task};
use crate::network::view::{
    Endpoint, EndpointState, Inside, Network, Outside, Overlay, Secrecy, Service, View,
};

/// Host `host` of network `n`, which is 127.n.0.0/16.
pub(super) fn address(n: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, n, 0, host)
}

/// Node 1's view of a cluster without anything.
pub(super) fn view() -> View {
    let overlay = Overlay {
        subnet: block(Ipv4Addr::new(10, 255, 0, 0), 16),
        identifier: 1,
        port: 1,
        prefix: None,
    };
    View::new(node(1), overlay)
}

/// Adds network `n`; node 1's gateway on it is `address(n, 1)` of its third byte 128.
pub(super) fn add_network(view: &mut View, n: u8, name: &str) {
    let own = block(gateway(n), 28);
    let added = Network {
        name: name.to_owned(),
        subnet: block(address(n, 0), 16),
        blocks: BTreeMap::from([(node(1), own)]),
        outside: Outside::Reachable,
        inside: Inside::Together,
        attachable: true,
        secrecy: Secrecy::Open,
        prefix: None,
    };
    view.networks.insert(network(n), added);
}

fn block(first: Ipv4Addr, prefix: u8) -> Subnet {
    Subnet::new(first, prefix).expect("it begins there")
}

pub(super) fn gateway(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, n, 128, 0)
}

/// Adds service `s` on networks, with its aliases there. Its virtual IPs are `address(network, 200 + s)`.
pub(super) fn add_service(view: &mut View, s: u8, name: &str, on: &[(u8, &[&str])]) {
    let aliases = |(n, aliases): &(u8, &[&str])| {
        let aliases = aliases.iter().map(|alias| (*alias).to_owned());
        (network(*n), aliases.collect())
    };
    let added = Service {
        name: name.to_owned(),
        mode: EndpointMode::Vip,
        addresses: on
            .iter()
            .map(|(n, _)| (network(*n), address(*n, 200 + s)))
            .collect(),
        aliases: on.iter().map(aliases).collect(),
        ports: Vec::new(),
    };
    view.services.insert(service(s), added);
}

/// Makes a service one that is answered by its tasks.
pub(super) fn without_virtual_ip(view: &mut View, s: u8) {
    let changed = view.services.get_mut(&service(s)).expect("it was added");
    changed.mode = EndpointMode::DnsRoundRobin;
    changed.addresses.clear();
}

/// Adds ready task `t` of service `s` on the service's networks: `address(network, t)`, slot `slot`, on node 1.
pub(super) fn add_task(view: &mut View, t: u16, s: u8, slot: Option<u64>) {
    let of = &view.services[&service(s)];
    let [high, low] = t.to_be_bytes();
    let networks = view.networks.iter().filter(|(id, _)| of.aliases.contains_key(id));
    let addresses = networks.map(|(id, network)| {
        let [a, b, _, _] = network.subnet.first().octets();
        (*id, Ipv4Addr::new(a, b, high, low))
    });
    let added = Endpoint {
        service: service(s),
        slot,
        node: node(1),
        addresses: addresses.collect(),
        aliases: of.aliases.clone(),
        mesh: None,
        state: EndpointState::Ready,
    };
    view.endpoints.insert(task(t), added);
}

pub(super) fn put_aside(view: &mut View, t: u16) {
    let changed = view.endpoints.get_mut(&task(t)).expect("it was added");
    changed.state = EndpointState::Aside;
}

pub(super) fn ask(view: &View, asker: Ipv4Addr, name: &str) -> Answer {
    ask_for(view, asker, Kind::Address, name)
}

pub(super) fn ask_for(view: &View, asker: Ipv4Addr, kind: Kind, name: &str) -> Answer {
    let name = name.to_owned();
    Names::of(view).answer(asker, &Question { name, kind })
}
