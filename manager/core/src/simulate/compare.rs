//! What became of the tasks between two moments of a pretended cluster. Reads only.

use std::collections::BTreeSet;
use std::sync::Arc;

use shoal_proto::id::{NodeId, ServiceId};
use shoal_proto::node::{Availability, Node, NodeState};
use shoal_proto::reason::Reason;
use shoal_proto::service::SlotKey;
use shoal_proto::task::{Task, TaskState};
use shoal_proto::time::Timestamp;

use super::{End, Fate};
use crate::orchestrator::slot::is_open;
use crate::state::State;
use crate::why::Look;

/// Of every slot that lost what filled it, by name.
pub(super) fn fates(before: &State, after: &State, touched: &BTreeSet<NodeId>, now: Timestamp) -> Vec<Fate> {
    let mut slots: BTreeSet<(ServiceId, SlotKey)> = after
        .tasks_since(before)
        .filter_map(|(was, is)| was.or(is))
        .map(|task| (task.plan.service, task.plan.slot))
        .collect();
    let there = touched.iter().flat_map(|node| before.tasks_on_node(*node));
    slots.extend(there.map(|task| (task.plan.service, task.plan.slot)));
    let look = Look::at(after, now);
    // A rollout that goes on meanwhile replaces tasks, too; that is not the events' doing.
    let is_theirs = |fate: &Fate| fate.end.is_loss() || fate.from.is_some_and(|node| touched.contains(&node));
    let mut fates: Vec<Fate> = slots
        .into_iter()
        .filter_map(|slot| fate(before, &look, slot))
        .filter(is_theirs)
        .collect();
    fates.sort_by(|a, b| (&a.name, a.task).cmp(&(&b.name, b.task)));
    fates
}

fn fate(before: &State, look: &Look<'_>, (service, slot): (ServiceId, SlotKey)) -> Option<Fate> {
    let old = works(before, service, slot)?;
    let from = old.plan.node;
    let end = match works(look.state(), service, slot) {
        Some(new) if new.id == old.id => return None,
        Some(new) => End::Moves(new.plan.node?),
        None => without(look, old, (service, slot)),
    };
    Some(Fate {
        name: look.task_name(old),
        task: old.id,
        from,
        end,
    })
}

/// The task that fills a slot and may stay where it is.
fn works(state: &State, service: ServiceId, slot: SlotKey) -> Option<&Arc<Task>> {
    let may_stay = |node: &Node| {
        let drained = node.plan.availability == Availability::Drain;
        node.status.state == NodeState::Ready && !drained && node.plan.removing_since.is_none()
    };
    let fits = |task: &&Arc<Task>| {
        let node = task.plan.node.and_then(|node| state.node(node));
        task.plan.desired.wants_to_run() && is_open(task) && node.is_some_and(|node| may_stay(node))
    };
    let filling = state.tasks_of_slot(service, slot).filter(fits);
    filling.max_by_key(|task| (task.status.state == TaskState::Running, task.id))
}

fn without(look: &Look<'_>, old: &Task, (service, slot): (ServiceId, SlotKey)) -> End {
    let state = look.state();
    let wanted = |task: &&Arc<Task>| task.plan.desired.wants_to_run() && is_open(task);
    let left: Vec<&Arc<Task>> = state.tasks_of_slot(service, slot).filter(wanted).collect();
    let waiting = left.iter().find(|task| task.plan.node.is_none());
    if let Some(task) = left.iter().find(|task| task.id == old.id) {
        let pending = waiting
            .and_then(|task| task.plan.pending.as_ref())
            .or(task.plan.pending.as_ref());
        let down = task.plan.node.and_then(|node| state.node(node));
        let down = down.is_some_and(|node| node.status.state != NodeState::Ready);
        return match (pending, down) {
            (Some(reason), false) => End::Stays(look.reason(reason)),
            (Some(reason), true) => End::Waits(look.reason(reason)),
            (None, true) => End::Waits("waits for its node to come back".to_owned()),
            (None, false) => End::Stays("it is not replaced yet".to_owned()),
        };
    }
    if let Some(task) = waiting.or(left.first()) {
        let reason = task.plan.pending.as_ref().map(|reason| look.reason(reason));
        return End::Waits(
            reason.unwrap_or_else(|| format!("its replacement is {} still", task.status.state)),
        );
    }
    let why = state.task(old.id).and_then(|task| task.plan.stop_reason.clone());
    let why = why.unwrap_or(Reason::ScaledDown);
    End::Stops(look.reason(&why))
}
