//! From one set to the next: what changed, and the explicit word for what is to go.

use std::collections::BTreeMap;
use std::sync::Arc;

use shoal_proto::id::{ClusterId, NetworkId, TaskId};
use shoal_proto::network::Network;
use shoal_proto::view::{View, ViewChange};

use super::assignment::{Assignment, AssignmentSet, assignments_with};
use super::view::{self, view_for};
use crate::state::{Event, State};

/// What leads from the set of one index to that of a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Whose.
    pub cluster: Option<ClusterId>,
    /// Of the later set.
    pub incarnation: u64,
    /// Index of the set it stands on.
    pub from_index: u64,
    /// Index of the set it leads to.
    pub index: u64,
    /// Tasks that came or are asked something else.
    pub tasks: Vec<Assignment>,
    /// Tasks that ended and were forgotten: what is left of them goes.
    pub removed_tasks: Vec<TaskId>,
    /// Networks that came, or of which the node has another part.
    pub networks: Vec<Arc<Network>>,
    /// Networks that no task of the node uses any more.
    pub removed_networks: Vec<NetworkId>,
    /// What the node must know of networks that it did not know before.
    pub view: ViewChange,
}

impl Difference {
    /// What leads from `old` to `new`.
    #[must_use]
    pub fn between(old: &AssignmentSet, new: &AssignmentSet) -> Self {
        let changed = |task: &&Assignment| {
            old.tasks
                .get(&task.task.id)
                .is_none_or(|before| !before.asks_the_same(task))
        };
        Self {
            cluster: new.cluster,
            incarnation: new.incarnation,
            from_index: old.index,
            index: new.index,
            tasks: new.tasks.values().filter(changed).cloned().collect(),
            removed_tasks: missing(&old.tasks, &new.tasks),
            networks: new
                .networks
                .values()
                .filter(|network| {
                    old.networks
                        .get(&network.id)
                        .is_none_or(|before| !before.asks_the_same(network))
                })
                .cloned()
                .collect(),
            removed_networks: missing(&old.networks, &new.networks),
            view: old.view.change_to(&new.view),
        }
    }

    /// Whether nothing is asked that was not asked before: then it need not be sent, only acknowledged for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
            && self.removed_tasks.is_empty()
            && self.networks.is_empty()
            && self.removed_networks.is_empty()
            && self.view.is_empty()
    }
}

impl AssignmentSet {
    /// Becomes the set of a later state, between which and the own one these events lie; none: nobody knows which. What
    /// leads from one to the other costs what changed, as far as networks go.
    pub fn follow<'e>(
        &mut self,
        state: &State,
        events: Option<impl IntoIterator<Item = &'e Event>>,
    ) -> Difference {
        let node = self.view.node;
        let nothing = View::new(node, self.view.overlay);
        let mut view = std::mem::replace(&mut self.view, nothing.clone());
        let mut next = assignments_with(state, node, nothing);
        let mut difference = Difference::between(self, &next);
        let followed = events.and_then(|events| view::follow(&mut view, state, events));
        difference.view = followed.unwrap_or_else(|| {
            let anew = view_for(state, node);
            let change = view.change_to(&anew);
            view = anew;
            change
        });
        next.view = view;
        *self = next;
        difference
    }

    /// Carries a difference out, as an agent would. None when it does not stand on this set.
    #[must_use]
    pub fn advanced(mut self, difference: Difference) -> Option<Self> {
        if difference.from_index != self.index || difference.cluster != self.cluster {
            return None;
        }
        self.index = difference.index;
        self.incarnation = difference.incarnation;
        self.tasks
            .extend(difference.tasks.into_iter().map(|task| (task.task.id, task)));
        self.networks.extend(
            difference
                .networks
                .into_iter()
                .map(|network| (network.id, network)),
        );
        for task in difference.removed_tasks {
            self.tasks.remove(&task);
        }
        for network in difference.removed_networks {
            self.networks.remove(&network);
        }
        self.view.take(difference.view);
        Some(self)
    }
}

fn missing<K: Ord + Copy, V>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Vec<K> {
    old.keys().filter(|key| !new.contains_key(key)).copied().collect()
}

#[cfg(test)]
#[path = "difference_test.rs"]
mod tests;
