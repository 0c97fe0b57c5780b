//! Questions about addresses: who holds one, which rest, which nodes carry a network. Answers come in order.

use std::net::Ipv4Addr;
use std::sync::Arc;

use shoal_proto::id::{NetworkId, NodeId};
use shoal_proto::task::Task;
use shoal_proto::time::Timestamp;

use super::State;
use super::object::ObjectKey;

impl State {
    /// Who holds an address: a service until it is forgotten, a task until it has ended. Never more than one.
    pub fn address_holders(
        &self,
        network: NetworkId,
        address: Ipv4Addr,
    ) -> impl Iterator<Item = &ObjectKey> + use<'_> {
        self.indexes.addresses.of(&(network, address))
    }

    /// Addresses of a network that are held, lowest first.
    pub fn held_addresses(&self, network: NetworkId) -> impl Iterator<Item = Ipv4Addr> + use<'_> {
        self.indexes
            .addresses
            .keys_from((network, Ipv4Addr::UNSPECIFIED))
            .take_while(move |(of, _)| *of == network)
            .map(|(_, address)| *address)
    }

    /// Whether a task that has not ended is on this network on this node.
    #[must_use]
    pub fn carries(&self, network: NetworkId, node: NodeId) -> bool {
        self.indexes.carriers.of(&(network, node)).next().is_some()
    }

    /// Nodes with a task on this network that has not ended.
    pub fn carriers(&self, network: NetworkId) -> impl Iterator<Item = NodeId> + use<'_> {
        self.indexes
            .carriers
            .keys_from((network, NodeId::new(Timestamp::ZERO, 0)))
            .take_while(move |(of, _)| *of == network)
            .map(|(_, node)| *node)
    }

    /// Tasks on this network, ended ones among them, oldest id first.
    pub fn tasks_on_network(
        &self,
        network: NetworkId,
    ) -> impl DoubleEndedIterator<Item = &Arc<Task>> + use<'_> {
        self.indexes
            .tasks_by_network
            .of(&network)
            .filter_map(|id| self.task(*id))
    }

    /// Tasks on this network that ended after `since`, the last first.
    pub fn ended_on_network(
        &self,
        network: NetworkId,
        since: Timestamp,
    ) -> impl Iterator<Item = &Arc<Task>> + use<'_> {
        self.indexes
            .ended_by_network
            .of(&network)
            .rev()
            .take_while(move |(ended, _)| *ended > since)
            .filter_map(|(_, id)| self.task(*id))
    }
}
