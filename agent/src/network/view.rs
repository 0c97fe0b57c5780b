//! What a node is told about the cluster's networks, and questions to it that only the agent asks.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use shoal_proto::id::{NetworkId, NodeId, ServiceId, TaskId};
pub use shoal_proto::view::{
    Endpoint, EndpointState, Inside, Network, Outside, Overlay, Peer, Secrecy, Service, View,
};

use super::model::Lane;
use super::side::Side;

/// The other nodes that have a place in the overlay, and their addresses there.
pub fn others(view: &View) -> impl Iterator<Item = (NodeId, &Peer, Ipv4Addr)> {
    let others = view.peers.iter().filter(|(id, _)| **id != view.node);
    others.filter_map(|(id, peer)| Some((*id, peer, peer.number.address_in(view.overlay.subnet)?)))
}

/// Networks that this node has a part of.
pub fn carried(view: &View) -> impl Iterator<Item = (NetworkId, &Network)> {
    let carried = view.networks.iter();
    let carried = carried.filter(|(_, network)| network.blocks.contains_key(&view.node));
    carried.map(|(id, network)| (*id, network))
}

/// Whether this node has a part in any encrypted network.
#[must_use]
pub fn seals(view: &View) -> bool {
    let mut networks = view.networks.values();
    networks.any(|network| network.secrecy == Secrecy::Encrypted)
}

/// The tunnel that packets of a network take. What is not known is not told on the open one.
#[must_use]
pub fn lane(view: &View, network: NetworkId) -> Lane {
    match view.networks.get(&network).map(|network| network.secrecy) {
        Some(Secrecy::Open) => Lane::Open,
        Some(Secrecy::Encrypted) | None => Lane::Sealed,
    }
}

/// The other nodes that have a key, and their addresses inside of WireGuard.
pub fn sealed_others(view: &View) -> impl Iterator<Item = (NodeId, &Peer, Ipv4Addr)> {
    let others = view.peers.iter().filter(|(id, _)| **id != view.node);
    others.filter_map(|(id, peer)| {
        let address = peer.number.sealed_address_in(view.overlay.subnet)?;
        peer.key.map(|_| (*id, peer, address))
    })
}

/// What of a view is of IPv6 as well, and where its addresses are; none while no network is.
#[must_use]
pub fn dual(view: &View) -> Option<(Side, View)> {
    let prefix = view.overlay.prefix?;
    let mut dual = view.clone();
    dual.networks.retain(|_, network| network.prefix.is_some());
    if dual.networks.is_empty() {
        return None;
    }
    let networks = &dual.networks;
    let answers = answers_in_ipv6(view);
    // A host without IPv6 carries the rest.
    let carries = |node: &NodeId| *node == view.node || has_ipv6(view, *node);
    dual.endpoints.retain(|_, end| carries(&end.node));
    for end in dual.endpoints.values_mut() {
        end.addresses.retain(|network, _| networks.contains_key(network));
    }
    for (id, service) in &mut dual.services {
        service
            .addresses
            .retain(|network, _| networks.contains_key(network));
        let known = answers.get(id).copied();
        if !known.unwrap_or(!service.addresses.is_empty()) {
            service.ports.clear();
        }
    }
    Some((Side::V6(prefix), dual))
}

/// Whether published ports of a service answer in IPv6: where its tasks have their way out. Services without tasks are
/// not among these.
#[must_use]
pub fn answers_in_ipv6(view: &View) -> BTreeMap<ServiceId, bool> {
    let mut answers = BTreeMap::new();
    for end in view.endpoints.values() {
        if let Some(mesh) = end.mesh {
            let network = view.networks.get(&mesh);
            let here = network.is_some_and(|network| network.prefix.is_some());
            *answers.entry(end.service).or_insert(false) |= here;
        }
    }
    answers
}

/// Whether the host of a node has IPv6.
#[must_use]
pub fn has_ipv6(view: &View, node: NodeId) -> bool {
    let peer = view.peers.get(&node);
    peer.is_some_and(|peer| peer.ipv6.is_some())
}

/// Tasks that are on this node.
pub fn own(view: &View) -> impl Iterator<Item = (TaskId, &Endpoint)> {
    let own = view.endpoints.iter().filter(|(_, end)| end.node == view.node);
    own.map(|(id, end)| (*id, end))
}

/// The view as this node knows it better: a task of its own that takes no connections is aside at once.
#[must_use]
pub fn narrowed(view: &View, takes: impl Fn(TaskId) -> bool) -> View {
    let mut view = view.clone();
    let node = view.node;
    let own = view.endpoints.iter_mut().filter(|(_, end)| end.node == node);
    for (_, end) in own.filter(|(task, _)| !takes(**task)) {
        end.state = EndpointState::Aside;
    }
    view
}
