//! A network of the cluster: what was asked for, and which of its addresses are whose node's or rest.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::id::{NetworkId, NodeId, StackId};
use crate::object::Meta;
use crate::subnet::Subnet;
use crate::time::Timestamp;

/// Name of the network that every cluster has from its first moment: of tasks that are on no other, so that ports which
/// are published lead to them and they have a way out. Nobody else may have it.
pub const INGRESS_NAME: &str = "ingress";

/// Id of that network, the same in every cluster.
#[must_use]
pub fn ingress_network() -> NetworkId {
    NetworkId::new(Timestamp::ZERO, 1)
}

/// What an operator asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Unique in the cluster, ignoring case.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// As written: `overlay` or `bridge`; both are networks of the cluster.
    pub driver: String,
    /// Options of the driver, as written.
    pub driver_options: BTreeMap<String, String>,
    /// No way out.
    pub internal: bool,
    /// Containers started by hand may join.
    pub attachable: bool,
    /// `10.1.0.0/24`; empty lets the cluster choose.
    pub subnet: String,
    /// An address of the subnet that nobody is given; empty: none.
    pub gateway: String,
    /// Everybody on it has an IPv6 address as well, of the cluster's own prefix.
    #[serde(default)]
    pub ipv6: bool,
}

/// Option of the driver that asks for encryption between the nodes, as Swarm's overlay driver takes it.
pub const ENCRYPTED_OPTION: &str = "encrypted";

impl NetworkSpec {
    /// Whether its packets are to travel encrypted between the nodes: the option is there, whatever it says, unless that
    /// is plainly no.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        let option = self.driver_options.get(ENCRYPTED_OPTION);
        option.is_some_and(|value| is_yes(value))
    }
}

/// Whether an option that is there means yes: whatever it says, unless that is plainly no.
#[must_use]
pub fn is_yes(value: &str) -> bool {
    !matches!(value.to_ascii_lowercase().as_str(), "false" | "0" | "no" | "off")
}

/// A network as the cluster holds it. What was asked for and its subnet never change.
///
/// The lower half of the subnet is for virtual IPs and tasks, the upper half for the nodes that carry the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Never used again.
    pub id: NetworkId,
    /// Version and cause.
    pub meta: Meta,
    /// The stack it belongs to.
    pub stack: Option<StackId>,
    /// What was asked for.
    pub spec: NetworkSpec,
    /// Its addresses; without any, its tasks get none.
    #[serde(default)]
    pub subnet: Option<Subnet>,
    /// What each node that carries it has of the upper half.
    #[serde(default)]
    pub blocks: BTreeMap<NodeId, Block>,
    /// Addresses that were given back by what is forgotten, oldest first; at most [`resting_max`] of them.
    #[serde(default)]
    pub resting: Vec<Resting>,
}

/// A node's part of a network's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its first address is the node's gateway; the others are for containers started there by hand.
    pub subnet: Subnet,
    /// Since when the node has carried no task of the network; none while it does.
    pub idle_since: Option<Timestamp>,
}

/// An address that is not given again before a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resting {
    /// Which.
    pub address: Ipv4Addr,
    /// Until when.
    pub until: Timestamp,
}

/// Addresses of a subnet that may rest at once: a quarter of those for tasks, so that resting never uses a network up.
#[must_use]
pub const fn resting_max(subnet: Subnet) -> usize {
    (subnet.size() / 8) as usize
}

/// The network with the way out of whoever is on all of these: of those that are not internal one with IPv6 before one
/// without, and then the first by name, as the Engine has it (libnetwork's order of a sandbox's endpoints). Published ports
/// lead to a task on that one.
pub fn way_out<'a>(networks: impl IntoIterator<Item = &'a Network>) -> Option<&'a Network> {
    let open = networks.into_iter().filter(|network| !network.spec.internal);
    open.min_by_key(|network| (!network.spec.ipv6, &network.spec.name))
}

impl Network {
    /// A network as it is made: nobody is on it yet.
    #[must_use]
    pub fn new(id: NetworkId, stack: Option<StackId>, spec: NetworkSpec) -> Self {
        Self {
            id,
            meta: Meta::default(),
            stack,
            spec,
            subnet: None,
            blocks: BTreeMap::new(),
            resting: Vec::new(),
        }
    }

    /// The address under which containers on this node reach it.
    #[must_use]
    pub fn gateway_of(&self, node: NodeId) -> Option<Ipv4Addr> {
        self.blocks.get(&node).map(|block| block.subnet.first())
    }

    /// What of it concerns one node: without the other nodes' blocks and the resting addresses.
    #[must_use]
    pub fn seen_from(&self, node: NodeId) -> Self {
        let own = self.blocks.get(&node).map(|block| {
            let idle_since = None;
            (node, Block { idle_since, ..*block })
        });
        Self {
            blocks: own.into_iter().collect(),
            resting: Vec::new(),
            meta: self.meta.clone(),
            spec: self.spec.clone(),
            ..*self
        }
    }

    /// Whether both ask the same of a node, whatever was counted since.
    #[must_use]
    pub fn asks_the_same(&self, other: &Self) -> bool {
        (self.id, self.stack, self.subnet) == (other.id, other.stack, other.subnet)
            && self.spec == other.spec
            && self.blocks == other.blocks
    }
}

#[cfg(test)]
mod tests {
    use super::{Network, NetworkSpec, way_out};
    use crate::id::NetworkId;
    use crate::time::Timestamp;

    #[test]
    fn the_way_out_has_ipv6_where_any_has_and_is_never_internal() {
        let network = |name: &str, internal, ipv6| {
            let spec = NetworkSpec {
                name: name.to_owned(),
                internal,
                ipv6,
                ..NetworkSpec::default()
            };
            Network::new(NetworkId::new(Timestamp::ZERO, 1), None, spec)
        };
        let [back, front] = ["back", "front"].map(|name| network(name, false, false));
        let closed = network("a", true, true);
        let both = network("z", false, true);
        let name = |of: &[&Network]| way_out(of.iter().copied()).map(|network| network.spec.name.clone());
        assert_eq!(name(&[&front, &back, &closed]).as_deref(), Some("back"));
        assert_eq!(name(&[&front, &both, &back]).as_deref(), Some("z"));
        assert_eq!(name(&[&closed]), None);
    }
}
