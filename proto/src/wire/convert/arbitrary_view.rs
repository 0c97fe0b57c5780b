//! Any change of a view of networks, for tests of the conversions.

use super::arbitrary::{address, subnet};
use super::arbitrary_spec::{Gen, settings};
use crate::overlay::{OVERLAY_NUMBER_MAX, OverlayNumber};
use crate::prefix::Prefix;
use crate::service::EndpointMode;
use crate::view::{
    Endpoint, EndpointState, Inside, Network, Outside, Overlay, Parts, Peer, Secrecy, Service, ViewChange,
};

pub(super) fn view_change(g: &mut Gen) -> ViewChange {
    ViewChange {
        node: g.id(),
        overlay: g.maybe(|g| Overlay {
            subnet: subnet(g),
            identifier: g.below(1 << 24) as u32,
            port: g.port(),
            prefix: g.maybe(|g| Prefix::of_cluster(g.id())),
        }),
        peers: parts(g, |g| Peer {
            number: OverlayNumber::new(1 + g.below(OVERLAY_NUMBER_MAX.into()) as u16).unwrap(),
            host: address(g),
            name: g.name(),
            key: g.maybe(Gen::tunnel_key),
            ipv6: g.maybe(Gen::ipv6_addresses),
        }),
        networks: parts(g, |g| Network {
            name: g.name(),
            subnet: subnet(g),
            blocks: g.list(|g| (g.id(), subnet(g))).into_iter().collect(),
            outside: g.one(&[Outside::Reachable, Outside::Closed]),
            inside: g.one(&[Inside::Together, Inside::Apart]),
            attachable: g.flag(),
            secrecy: g.one(&[Secrecy::Open, Secrecy::Encrypted]),
            prefix: g.maybe(|g| Prefix::of_cluster(g.id())),
        }),
        services: parts(g, |g| Service {
            name: g.name(),
            mode: g.one(&[EndpointMode::Vip, EndpointMode::DnsRoundRobin]),
            addresses: g.list(|g| (g.id(), address(g))).into_iter().collect(),
            aliases: g.list(|g| (g.id(), g.list(Gen::word))).into_iter().collect(),
            ports: settings(g).ingress_ports,
        }),
        endpoints: parts(g, |g| Endpoint {
            service: g.id(),
            slot: g.maybe(Gen::number),
            node: g.id(),
            addresses: g.list(|g| (g.id(), address(g))).into_iter().collect(),
            aliases: g.list(|g| (g.id(), g.list(Gen::word))).into_iter().collect(),
            mesh: g.maybe(Gen::id),
            state: g.one(&[EndpointState::Ready, EndpointState::Aside]),
        }),
    }
}

fn parts<K, V>(g: &mut Gen, mut value: impl FnMut(&mut Gen) -> V) -> Parts<K, V>
where
    K: Ord + std::str::FromStr<Err = crate::id::InvalidId>,
{
    Parts {
        changed: g.list(|g| (g.id(), value(g))).into_iter().collect(),
        removed: g.list(Gen::id),
    }
}
