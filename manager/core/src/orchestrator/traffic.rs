//! How a task goes out of traffic before it is stopped: it is marked as leaving, everybody who could send to it says
//! that they know, what is under way gets a while to end, and only then is it told to stop. Decides that much and no
//! more: which tasks go is decided elsewhere.

use std::collections::BTreeSet;

use shoal_proto::id::{NodeId, TaskId};
use shoal_proto::network::ingress_network;
use shoal_proto::node::NodeState;
use shoal_proto::service::{DRAIN_MS, Service};
use shoal_proto::task::{Leaving, Task};
use shoal_proto::time::Timestamp;

use super::draft::Draft;
use super::evict::is_lost;
use crate::dispatcher::seen::Seen;
use crate::dispatcher::view::takes_connections;
use crate::state::State;

/// Nodes that are remembered by name as not waited for.
pub const UNHEARD_MAX: usize = 100;

/// What stands between a task and its stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Nothing: it may be told to stop.
    Clear,
    /// It is to be marked as leaving.
    Mark,
    /// Some who could send to it have not said that they know; they are waited for until then at most.
    Unheard(Timestamp),
    /// All have said so, but for these, which were waited for long enough.
    Quiet(Vec<NodeId>),
    /// What is under way has until then.
    Drains(Timestamp),
}

/// What stands between a task that should stop and its stop, as far as traffic goes.
#[must_use]
pub fn way_out(draft: &Draft<'_>, task: &Task) -> Way {
    let state = draft.state;
    let Some(leaving) = &task.plan.leaving else {
        let goes = takes_connections(task) && answers(state, task) && has_senders(state, task);
        return if goes && another_takes_over(draft, task) {
            Way::Mark
        } else {
            Way::Clear
        };
    };
    let still_runs = takes_connections(&without_word(task)) && answers(state, task);
    if !still_runs {
        return Way::Clear;
    }
    let service = state.service(task.plan.service);
    let drain_ms = service
        .and_then(|service| service.settings.drain_ms)
        .unwrap_or(DRAIN_MS);
    let until = leaving.since + state.cluster_spec().ack_timeout_ms;
    let mut unheard = unheard(state, draft.seen, task);
    let Some(quiet_since) = leaving.quiet_since else {
        return if unheard.is_empty() || until <= draft.now {
            Way::Quiet(unheard)
        } else {
            Way::Unheard(until)
        };
    };
    if quiet_since + drain_ms > draft.now {
        return Way::Drains(quiet_since + drain_ms);
    }
    // One that was away, and has come back with what it knew before.
    unheard.retain(|node| !leaving.unheard.contains(node));
    if unheard.is_empty() || until <= draft.now {
        Way::Clear
    } else {
        Way::Unheard(until)
    }
}

/// Whether everybody who could send to a task that is marked as leaving has said that they know.
#[must_use]
pub fn is_known(state: &State, seen: &Seen, task: &Task) -> bool {
    unheard(state, Some(seen), task).is_empty()
}

/// Ready nodes that could send to a task: all of them where its service publishes ports, else those with a task on a
/// network of it, and where containers may join by hand those with a part of it.
#[must_use]
pub fn senders(state: &State, task: &Task) -> BTreeSet<NodeId> {
    let publishes =
        |service: &Service| service.removed_at.is_none() && !service.settings.ingress_ports.is_empty();
    if task.plan.addresses.is_empty() {
        return BTreeSet::new();
    }
    let ready = |node: &NodeId| {
        let found = state.node(*node);
        found.is_some_and(|node| node.status.state == NodeState::Ready)
    };
    let service = state.service(task.plan.service);
    if service.is_some_and(|service| publishes(service)) {
        return state.nodes().map(|node| node.id).filter(ready).collect();
    }
    let named = task.plan.addresses.iter().map(|(network, _)| *network);
    named
        .filter(|network| *network != ingress_network())
        .flat_map(|id| {
            let attachable = state.network(id).filter(|network| network.spec.attachable);
            let parts = attachable
                .into_iter()
                .flat_map(|network| network.blocks.keys().copied());
            state.carriers(id).chain(parts)
        })
        .filter(ready)
        .collect()
}

fn has_senders(state: &State, task: &Task) -> bool {
    !senders(state, task).is_empty()
}

fn answers(state: &State, task: &Task) -> bool {
    let node = task.plan.node.and_then(|node| state.node(node));
    node.is_some_and(|node| !is_lost(node))
}

/// The task as if it did not leave.
fn without_word(task: &Task) -> Task {
    let mut task = task.clone();
    task.plan.leaving = None;
    task
}

/// The last that gets connections keeps them until it stops: refusing them earlier would help nobody.
fn another_takes_over(draft: &Draft<'_>, task: &Task) -> bool {
    let others = draft.state.tasks_of_service(task.plan.service);
    others
        .filter(|other| other.id != task.id)
        .filter_map(|other| draft.task(other.id))
        .any(|other| takes_connections(other) && answers(draft.state, other))
}

/// Who has not said that they know of the mark; it is known from its entry in the log on.
fn unheard(state: &State, seen: Option<&Seen>, task: &Task) -> Vec<NodeId> {
    let marked = state.task(task.id).filter(|stored| stored.plan.leaving.is_some());
    let senders = senders(state, task);
    match (marked, seen) {
        (Some(marked), Some(seen)) => seen
            .lagging(senders, marked.meta.changed_at)
            .take(UNHEARD_MAX)
            .collect(),
        _ => senders.into_iter().take(UNHEARD_MAX).collect(),
    }
}

impl Draft<'_> {
    /// Takes a task out of traffic as far as it is not; whether it may be told to stop now.
    pub(super) fn may_stop(&mut self, id: TaskId) -> bool {
        let Some(task) = self.task(id) else {
            return true;
        };
        let way = way_out(self, task);
        if way != Way::Clear {
            self.leaves.insert(id);
        }
        match way {
            Way::Clear => return true,
            Way::Mark => {
                let since = self.now;
                self.mark(id, |_| Leaving {
                    since,
                    quiet_since: None,
                    unheard: Vec::new(),
                });
            }
            Way::Unheard(until) => {
                self.unheard.insert(id);
                self.wake_by(until);
            }
            Way::Quiet(unheard) => {
                let quiet_since = Some(self.now);
                self.mark(id, |before| Leaving {
                    quiet_since,
                    unheard,
                    ..before
                });
            }
            Way::Drains(until) => self.wake_by(until),
        }
        false
    }

    /// A task that nobody asks to stop any more gets connections again.
    pub(super) fn stay(&mut self, id: TaskId) {
        let leaves = self.task(id).is_some_and(|task| task.plan.leaving.is_some());
        let asked = self.leaves.contains(&id);
        if leaves
            && !asked
            && let Some(task) = self.task_mut(id).filter(|task| task.plan.desired.wants_to_run())
        {
            task.plan.leaving = None;
        }
    }

    fn mark(&mut self, id: TaskId, how: impl FnOnce(Leaving) -> Leaving) {
        let since = self.now;
        if let Some(task) = self.task_mut(id) {
            let before = task.plan.leaving.take().unwrap_or(Leaving {
                since,
                quiet_since: None,
                unheard: Vec::new(),
            });
            task.plan.leaving = Some(how(before));
        }
    }
}
