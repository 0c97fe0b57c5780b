//! Forgets what is over: ended tasks beyond the history, slots and revisions nobody needs, removed services.
//! It never forgets a task that may still run somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shoal_proto::id::{RevisionId, ServiceId, TaskId};
use shoal_proto::reason::Reason;
use shoal_proto::service::{Service, SlotKey};
use shoal_proto::task::{DesiredState, Task};

use super::draft::Draft;
use super::slot::is_open;
use crate::state::ObjectKey;

/// Cleans up one service. `slots` are those that are wanted.
pub fn reap(draft: &mut Draft<'_>, service: ServiceId, slots: &BTreeSet<SlotKey>) {
    let mut by_slot: BTreeMap<SlotKey, Vec<TaskId>> = BTreeMap::new();
    let state = draft.state;
    for task in state.tasks_of_service(service) {
        by_slot.entry(task.plan.slot).or_default().push(task.id);
    }
    for tasks in by_slot.values() {
        if draft.is_full() {
            return draft.wake_by(draft.now);
        }
        reap_slot(draft, tasks);
    }
    for slot in state.slots_of(service) {
        let empty = by_slot.get(&slot.key).is_none_or(|tasks| {
            tasks
                .iter()
                .all(|task| draft.deleted.contains(&ObjectKey::Task(*task)))
        });
        if empty && !slots.contains(&slot.key) {
            draft.delete(ObjectKey::Slot(service, slot.key));
        }
    }
    match state.service(service) {
        Some(found) if found.removed_at.is_some() => bury(draft, found, by_slot.is_empty()),
        Some(found) => reap_revisions(draft, found),
        None => {}
    }
}

fn reap_slot(draft: &mut Draft<'_>, tasks: &[TaskId]) {
    let mut history = Vec::new();
    for id in tasks {
        let Some(task) = draft.task(*id) else {
            continue;
        };
        let node = task.plan.node;
        let gone = node.is_some_and(|node| draft.state.node(node).is_none());
        let over = !task.plan.desired.wants_to_run();
        if task.plan.desired == DesiredState::Remove && (!is_open(task) || gone || node.is_none()) {
            draft.delete(ObjectKey::Task(*id));
        } else if over && is_open(task) {
            if let Some(node) = node.filter(|_| gone) {
                draft.orphan(*id, Reason::NodeRemoved(node));
            }
        } else if over {
            history.push((task.status.since, *id));
        }
    }
    history.sort_unstable();
    let limit = draft.state.cluster_spec().task_history_limit as usize;
    let surplus = history.len().saturating_sub(limit);
    for (_, id) in history.into_iter().take(surplus) {
        draft.delete(ObjectKey::Task(id));
    }
}

/// A removed service goes when its last task has gone. What the history of its stack names stays: it may come back.
fn bury(draft: &mut Draft<'_>, service: &Arc<Service>, no_tasks: bool) {
    if !no_tasks {
        return;
    }
    let state = draft.state;
    let forgotten = |id| state.stack_remembering(id).is_none();
    for revision in state.revisions_of(service.id).filter(|one| forgotten(one.id)) {
        draft.deleted.insert(ObjectKey::Revision(revision.id));
    }
    draft.delete(ObjectKey::Service(service.id));
}

fn reap_revisions(draft: &mut Draft<'_>, service: &Arc<Service>) {
    let limit = draft.state.cluster_spec().revision_history_limit as usize;
    let all: Vec<RevisionId> = draft
        .state
        .revisions_of(service.id)
        .map(|revision| revision.id)
        .collect();
    let surplus = all.len().saturating_sub(limit);
    let needed = |id: RevisionId| {
        let rollout = service.rollout.as_ref().map(|rollout| [rollout.from, rollout.to]);
        let named = [
            Some(service.revision),
            service.previous_revision,
            service.good_revision,
        ];
        named.contains(&Some(id))
            || rollout.is_some_and(|ends| ends.contains(&id))
            || draft.state.tasks_of_revision(id).next().is_some()
            || draft.state.stack_remembering(id).is_some()
    };
    let old: Vec<RevisionId> = all.into_iter().take(surplus).filter(|id| !needed(*id)).collect();
    for id in old {
        draft.delete(ObjectKey::Revision(id));
    }
}

/// Whether nothing of a node is left that should end there first.
#[must_use]
pub fn is_idle<'t>(mut tasks: impl Iterator<Item = &'t Arc<Task>>) -> bool {
    !tasks.any(|task| is_open(task))
}
