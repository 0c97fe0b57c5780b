//! What a node is told about the cluster's networks, and what changes in that. Values only: managers compute them from
//! the state, agents carry them out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::id::{NetworkId, NodeId, ServiceId, TaskId};
use crate::overlay::OverlayNumber;
use crate::prefix::Prefix;
use crate::service::{EndpointMode, IngressPort};
use crate::subnet::Subnet;
use crate::tunnel_key::TunnelKey;

/// Everything about networks that concerns one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// What is the same on all nodes.
    pub overlay: Overlay,
    /// Which of the peers this node is.
    pub node: NodeId,
    /// All nodes, this one too.
    pub peers: BTreeMap<NodeId, Peer>,
    /// Networks that this node carries or sends to.
    pub networks: BTreeMap<NetworkId, Network>,
    /// Services on those networks, with ready tasks or without.
    pub services: BTreeMap<ServiceId, Service>,
    /// Tasks of those services.
    pub endpoints: BTreeMap<TaskId, Endpoint>,
}

/// Settings of the overlay that all nodes share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// Where the nodes have their own addresses: its first address plus a node's number is that node's.
    pub subnet: Subnet,
    /// VXLAN network identifier.
    pub identifier: u32,
    /// UDP port of the tunnel.
    pub port: u16,
    /// In which the nodes have their IPv6 addresses beside those of the subnet; none where the cluster has
    /// no prefix.
    #[serde(default)]
    pub prefix: Option<Prefix>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// From it follow its address and its MAC in the overlay, and its mark.
    pub number: OverlayNumber,
    /// The address at which the other nodes reach it.
    pub host: Ipv4Addr,
    /// The name that people know it by.
    pub name: String,
    /// With what it seals what it sends on encrypted networks; none while it has no part in any.
    #[serde(default)]
    pub key: Option<TunnelKey>,
    /// Its own IPv6 addresses, from which its programs call; none where it has no IPv6.
    #[serde(default)]
    pub ipv6: Option<BTreeSet<Ipv6Addr>>,
}

/// A network of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// As operators call it, and the Engine.
    pub name: String,
    /// Its addresses, the same on all nodes.
    pub subnet: Subnet,
    /// What nodes have of them for their gateway (the first address) and for containers started by hand: this node's
    /// own where it carries the network, and everybody's where containers started by hand may join.
    pub blocks: BTreeMap<NodeId, Subnet>,
    /// Whether its tasks reach what lies outside of the cluster.
    pub outside: Outside,
    /// Whether its tasks reach each other by address.
    pub inside: Inside,
    /// Whether containers started by hand may join.
    pub attachable: bool,
    /// Whether anybody between the nodes could read what its tasks send.
    #[serde(default)]
    pub secrecy: Secrecy,
    /// In which everybody on it has an IPv6 address beside the IPv4 address; none where it is of IPv4 alone.
    #[serde(default)]
    pub prefix: Option<Prefix>,
}

/// How packets of a network travel between nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Secrecy {
    /// As they are.
    #[default]
    Open,
    /// Inside of WireGuard, or not at all.
    Encrypted,
}

/// What tasks of a network may reach beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outside {
    /// Whatever the node reaches, and the ports of the cluster.
    Reachable,
    /// Nothing: an internal network.
    Closed,
}

/// What tasks of a network may reach of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Inside {
    /// Each other.
    Together,
    /// Nobody: the network of those that share none, where published ports lead in and the way out begins.
    Apart,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// What its name resolves to.
    pub mode: EndpointMode,
    /// Its virtual IPs.
    pub addresses: BTreeMap<NetworkId, Ipv4Addr>,
    /// Further names on each network that its newest tasks are on; an entry without names where it has none.
    pub aliases: BTreeMap<NetworkId, Vec<String>>,
    /// Ports that every node answers on.
    pub ports: Vec<IngressPort>,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Whose.
    pub service: ServiceId,
    /// Its place in a service that counts them.
    pub slot: Option<u64>,
    /// Where it runs.
    pub node: NodeId,
    /// Its address on each network.
    pub addresses: BTreeMap<NetworkId, Ipv4Addr>,
    /// Further names on each network.
    pub aliases: BTreeMap<NetworkId, Vec<String>>,
    /// On which network published ports lead to it: the one with its way out; none where its service publishes nothing.
    #[serde(default)]
    pub mesh: Option<NetworkId>,
    /// Whether new connections are for it.
    pub state: EndpointState,
}

/// Whether an endpoint gets new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndpointState {
    /// It does.
    Ready,
    /// It has addresses, but gets none: it starts, or it is being taken out.
    Aside,
}

/// What leads from one view to a later one. What is to go is named; nothing goes by being left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewChange {
    /// Whose view.
    pub node: NodeId,
    /// What is the same on all nodes, where that changed.
    pub overlay: Option<Overlay>,
    /// Nodes.
    pub peers: Parts<NodeId, Peer>,
    /// Networks.
    pub networks: Parts<NetworkId, Network>,
    /// Services.
    pub services: Parts<ServiceId, Service>,
    /// Tasks.
    pub endpoints: Parts<TaskId, Endpoint>,
}

/// What changed of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts<K, V> {
    /// What came or is different.
    pub changed: BTreeMap<K, V>,
    /// What is to go.
    pub removed: Vec<K>,
}

impl View {
    /// A view of a node that has heard of nobody.
    #[must_use]
    pub const fn new(node: NodeId, overlay: Overlay) -> Self {
        Self {
            overlay,
            node,
            peers: BTreeMap::new(),
            networks: BTreeMap::new(),
            services: BTreeMap::new(),
            endpoints: BTreeMap::new(),
        }
    }

    /// This node among the peers; none while the managers have not told it its number.
    #[must_use]
    pub fn this(&self) -> Option<&Peer> {
        self.peers.get(&self.node)
    }

    /// All nodes but this one.
    pub fn others(&self) -> impl Iterator<Item = &Peer> {
        let others = self.peers.iter().filter(|(id, _)| **id != self.node);
        others.map(|(_, peer)| peer)
    }

    /// What leads from here to `later`.
    #[must_use]
    pub fn change_to(&self, later: &Self) -> ViewChange {
        ViewChange {
            node: later.node,
            overlay: (self.overlay != later.overlay).then_some(later.overlay),
            peers: Parts::between(&self.peers, &later.peers),
            networks: Parts::between(&self.networks, &later.networks),
            services: Parts::between(&self.services, &later.services),
            endpoints: Parts::between(&self.endpoints, &later.endpoints),
        }
    }

    /// Takes a change in.
    pub fn take(&mut self, change: ViewChange) {
        self.overlay = change.overlay.unwrap_or(self.overlay);
        change.peers.put_into(&mut self.peers);
        change.networks.put_into(&mut self.networks);
        change.services.put_into(&mut self.services);
        change.endpoints.put_into(&mut self.endpoints);
    }
}

impl ViewChange {
    /// A change that changes nothing.
    #[must_use]
    pub fn none(node: NodeId) -> Self {
        Self {
            node,
            overlay: None,
            peers: Parts::default(),
            networks: Parts::default(),
            services: Parts::default(),
            endpoints: Parts::default(),
        }
    }

    /// All of a view, for a node that has none.
    #[must_use]
    pub fn whole(view: &View) -> Self {
        let nothing = View::new(view.node, view.overlay);
        Self {
            overlay: Some(view.overlay),
            ..nothing.change_to(view)
        }
    }

    /// The view that a change makes where there was none; none where the change does not say what is the same everywhere.
    #[must_use]
    pub fn into_view(self) -> Option<View> {
        let mut view = View::new(self.node, self.overlay?);
        view.take(self);
        Some(view)
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.overlay.is_none()
            && self.peers.is_empty()
            && self.networks.is_empty()
            && self.services.is_empty()
            && self.endpoints.is_empty()
    }
}

impl<K: Ord + Copy, V: Clone + PartialEq> Parts<K, V> {
    /// What leads from `old` to `new`.
    #[must_use]
    pub fn between(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Self {
        let changed = new.iter().filter(|(key, value)| old.get(key) != Some(value));
        let removed = old.keys().filter(|key| !new.contains_key(key));
        Self {
            changed: changed.map(|(key, value)| (*key, value.clone())).collect(),
            removed: removed.copied().collect(),
        }
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }

    /// Carries it out. What is both removed and changed stays.
    pub fn put_into(self, all: &mut BTreeMap<K, V>) {
        for key in self.removed {
            all.remove(&key);
        }
        all.extend(self.changed);
    }
}

impl<K, V> Default for Parts<K, V> {
    fn default() -> Self {
        Self {
            changed: BTreeMap::new(),
            removed: Vec::new(),
        }
    }
}
