//! The part of a node's view that names are made of, in the shape it is about to have in `network::view`. No behaviour.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use shoal_proto::id::{NetworkId, NodeId, ServiceId, TaskId};
use shoal_proto::service::EndpointMode;

/// See `network::view`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// This node.
    pub node: NodeId,
    /// By id.
    pub networks: BTreeMap<NetworkId, Network>,
    /// By id.
    pub services: BTreeMap<ServiceId, Service>,
    /// By task.
    pub endpoints: BTreeMap<TaskId, Endpoint>,
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    first: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    /// The subnet of this length that begins with `first`.
    #[must_use]
    pub fn of(first: Ipv4Addr, prefix: u8) -> Self {
        Self { first, prefix }
    }

    /// Its first address.
    #[must_use]
    pub fn first(self) -> Ipv4Addr {
        self.first
    }

    /// Whether an address is one of it.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
        address.to_bits() & mask == self.first.to_bits()
    }
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Name.
    pub name: String,
    /// All its addresses.
    pub subnet: Subnet,
    /// The own block.
    pub blocks: BTreeMap<NodeId, Subnet>,
    /// Whether its tasks reach each other.
    pub inside: Inside,
}

/// What tasks of a network may reach of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    /// Each other.
    Together,
    /// Nobody.
    Apart,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Name.
    pub name: String,
    /// How its name is answered.
    pub mode: EndpointMode,
    /// Virtual IPs.
    pub addresses: BTreeMap<NetworkId, Ipv4Addr>,
    /// Its networks, each with its further names there.
    pub aliases: BTreeMap<NetworkId, Vec<String>>,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whose.
    pub service: ServiceId,
    /// Which of the service's.
    pub slot: Option<u64>,
    /// Where.
    pub node: NodeId,
    /// By network.
    pub addresses: BTreeMap<NetworkId, Ipv4Addr>,
    /// By network.
    pub aliases: BTreeMap<NetworkId, Vec<String>>,
    /// Whether it takes connections.
    pub state: EndpointState,
}

/// Whether a task takes connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointState {
    /// It does.
    Ready,
    /// It does not.
    Aside,
}
