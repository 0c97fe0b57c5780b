//! The networks as one step sees them: what it gave so far and what it gives back. Opened when first needed, read from
//! the state, and turned into one group per network that changed. It decides nothing that is not in `address` or `block`.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use shoal_proto::id::{NetworkId, NodeId};
use shoal_proto::network::Network;
use shoal_proto::task::Task;
use shoal_proto::time::Timestamp;

use super::{NetworkFull, REST_MS, address, block};
use crate::state::{Group, Guard, Object, ObjectKey, State};

/// Networks that a step has looked at.
#[derive(Debug, Default)]
pub struct Pools {
    open: BTreeMap<NetworkId, Pool>,
    frees_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Pool {
    before: Arc<Network>,
    network: Network,
    /// Given in this step, or resting: not to be given.
    kept: BTreeSet<Ipv4Addr>,
    /// When the first that rests may be given.
    rested_at: Option<Timestamp>,
    last: Option<Ipv4Addr>,
    full: Option<NetworkFull>,
    carried_anew: BTreeSet<NodeId>,
}

impl Pools {
    /// One address on each of these networks for a task on this node, which carries them from now on; all or none.
    ///
    /// # Errors
    /// The first network that has no address or no block left.
    pub fn take(
        &mut self,
        (state, now): (&State, Timestamp),
        networks: &BTreeSet<NetworkId>,
        node: NodeId,
    ) -> Result<Vec<(NetworkId, Ipv4Addr)>, NetworkFull> {
        let mut found = Vec::with_capacity(networks.len());
        for id in networks {
            let Some(pool) = self.open(state, now, *id) else {
                continue;
            };
            match pool.look(state, node) {
                Ok(Some(address)) => found.push((*id, address)),
                Ok(None) => {}
                Err(full) => {
                    self.free_by(full.frees_at);
                    return Err(full);
                }
            }
        }
        for (id, address) in &found {
            let pool = self.open.get_mut(id).expect("it was opened a moment ago");
            pool.give(node, *address)?;
        }
        Ok(found)
    }

    /// The addresses of a task or a service that is forgotten rest.
    pub fn release(&mut self, state: &State, now: Timestamp, object: &Object) {
        let (addresses, until) = match object {
            Object::Task(task) if task.status.state.is_terminal() => {
                (&task.plan.addresses, task.status.since + REST_MS)
            }
            Object::Task(task) => (&task.plan.addresses, now + REST_MS),
            Object::Service(service) => (&service.addresses, now + REST_MS),
            _ => return,
        };
        for (network, address) in addresses.iter().filter(|_| until > now) {
            if let Some(pool) = self.open(state, now, *network) {
                address::rest(&mut pool.network, *address, until, now);
            }
        }
    }

    /// Gives and takes back the blocks of a network. Says when to look again.
    pub fn keep_blocks(&mut self, state: &State, now: Timestamp, network: NetworkId) -> Option<Timestamp> {
        let pool = self.open(state, now, network)?;
        let Pool {
            network,
            carried_anew,
            ..
        } = pool;
        // A node without a block waits until one is given back: the network changes then, and is looked at.
        block::keep(state, network, |node| carried_anew.contains(&node), now)
            .ok()
            .flatten()
    }

    /// When the first address may be given that a task did not get in this step.
    #[must_use]
    pub fn frees_at(&self) -> Option<Timestamp> {
        self.frees_at
    }

    /// Networks that change in this step.
    pub fn changed(&self) -> impl Iterator<Item = NetworkId> + '_ {
        self.open
            .values()
            .filter(|pool| pool.is_changed())
            .map(|pool| pool.before.id)
    }

    /// The changes: to be applied before whatever relies on them.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        let changed = self.open.values().filter(|pool| pool.is_changed());
        changed
            .map(|pool| {
                let mut group = Group::new();
                group.put(pool.network.clone());
                group
            })
            .collect()
    }

    /// A task's group relies on its networks as this step leaves them, and on nobody else having its addresses.
    pub fn rely_on(&self, group: &mut Group, task: &Task) {
        for (network, _) in &task.plan.addresses {
            let Some(pool) = self.open.get(network) else {
                continue;
            };
            let written = u64::from(pool.is_changed());
            group.guard(Guard::At {
                key: ObjectKey::Network(*network),
                version: pool.before.meta.version + written,
            });
        }
        group.addresses_free(task);
    }

    fn open(&mut self, state: &State, now: Timestamp, id: NetworkId) -> Option<&mut Pool> {
        match self.open.entry(id) {
            Entry::Occupied(open) => Some(open.into_mut()),
            Entry::Vacant(vacant) => {
                let before = state.network(id)?.clone();
                let (kept, rested_at) = address::resting(state, &before, now);
                Some(vacant.insert(Pool {
                    network: Network::clone(&before),
                    kept,
                    rested_at,
                    last: address::cursor(state, id),
                    full: None,
                    carried_anew: BTreeSet::new(),
                    before,
                }))
            }
        }
    }

    fn free_by(&mut self, at: Option<Timestamp>) {
        self.frees_at = self.frees_at.into_iter().chain(at).min();
    }
}

impl Pool {
    /// What it would give; nothing is given yet.
    fn look(&mut self, state: &State, node: NodeId) -> Result<Option<Ipv4Addr>, NetworkFull> {
        if let Some(full) = &self.full {
            return Err(full.clone());
        }
        if !self.network.blocks.contains_key(&node) {
            block::next_free(&self.network)?;
        }
        match address::next_free(state, &self.network, &self.kept, self.last) {
            Ok(found) => Ok(found),
            Err(full) => {
                let frees_at = self.rested_at;
                let full = NetworkFull { frees_at, ..full };
                self.full = Some(full.clone());
                Err(full)
            }
        }
    }

    fn give(&mut self, node: NodeId, address: Ipv4Addr) -> Result<(), NetworkFull> {
        block::give(&mut self.network, node)?;
        self.kept.insert(address);
        self.last = Some(address);
        self.carried_anew.insert(node);
        Ok(())
    }

    fn is_changed(&self) -> bool {
        self.network != *self.before
    }
}

#[cfg(test)]
#[path = "pools_test.rs"]
mod tests;
