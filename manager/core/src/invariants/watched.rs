//! Property 26: An update is judged by the time its tasks ran, from `running` on and not from any state before: it is
//! complete, and its content called good, only once each was watched for the monitor time; and a task's failure counts
//! against it exactly where the task had not run yet or was still watched.

use shoal_proto::digest::Digest;
use shoal_proto::id::RevisionId;
use shoal_proto::node::NodeState;
use shoal_proto::object::Actor;
use shoal_proto::reason::Reason;
use shoal_proto::service::{Service, Slot};
use shoal_proto::task::{Fault, Task};
use shoal_proto::time::Timestamp;
use shoal_proto::update::{Direction, Rollout, RolloutState};

use super::{Transition, changed_services, changed_slots, changed_tasks};
use crate::orchestrator::content::differs_in_placement_alone;
use crate::state::State;

/// A node that was lost so short a time ago may have been so when the leader looked.
const LATELY_MS: u64 = 10_000;

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    for (before, after) in changed_services(transition) {
        if after.meta.cause.actor != Actor::Leader {
            continue;
        }
        if let (Some(old), Some(new)) = (&before.rollout, &after.rollout)
            && old.state == RolloutState::Running
            && new.state == RolloutState::Completed
        {
            check_completed(transition.after, after, new, found);
        }
        if before.good_revision != after.good_revision && after.good_revision == Some(after.revision) {
            check_good(transition.after, after, found);
        }
    }
    for (before, after) in changed_slots(transition) {
        if before.and_then(|slot| slot.update_failed_at) < after.update_failed_at {
            check_counted(transition, after, found);
        }
    }
    for (before, after) in changed_tasks(transition) {
        if before.is_some_and(|before| is_told(before, after)) {
            check_not_missed(transition, after, found);
        }
    }
}

fn check_completed(state: &State, service: &Service, rollout: &Rollout, found: &mut Vec<String>) {
    let ended_at = rollout.ended_at.unwrap_or(service.meta.updated_at);
    for task in state.tasks_of_service(service.id) {
        let slot = state.slot(service.id, task.plan.slot);
        let failed = slot.and_then(|slot| slot.update_failed_at) >= Some(rollout.started_at);
        let judged = stays(task)
            && is_made_by(state, rollout, task)
            && !failed
            && answers_for_long(state, task, ended_at);
        let Some(since) = task.status.running_since.filter(|_| judged) else {
            continue;
        };
        if since + monitor_ms(service, rollout) > ended_at {
            found.push(format!(
                "the update of service {} is complete before its task {} was watched long enough",
                service.id, task.id
            ));
        }
    }
}

/// What is on its way out is watched no more than what was told to stop.
fn stays(task: &Task) -> bool {
    task.plan.desired.wants_to_run() && task.plan.leaving.is_none()
}

fn check_good(state: &State, service: &Service, found: &mut Vec<String>) {
    let monitor_ms = match &service.rollout {
        Some(rollout) => monitor_ms(service, rollout),
        None => service.settings.update.monitor_ms,
    };
    let decided_at = service.meta.updated_at;
    let there = |task: &&std::sync::Arc<Task>| stays(task) && task.meta.created_at < decided_at;
    for task in state.tasks_of_service(service.id).filter(there) {
        let watched = task
            .status
            .running_since
            .is_some_and(|since| since + monitor_ms <= decided_at);
        if !watched || !is_as_good(state, task.plan.revision, service.revision) {
            found.push(format!(
                "the content of service {} is called good before task {} has run it for the monitor time",
                service.id, task.id
            ));
        }
    }
}

/// Counted: a task of the slot failed in this entry before it ran or while it was watched.
fn check_counted(transition: &Transition<'_>, slot: &Slot, found: &mut Vec<String>) {
    let early = changed_tasks(transition).any(|(before, task)| {
        let here = (task.plan.service, task.plan.slot) == (slot.service, slot.key);
        here && before.is_some_and(|before| is_told(before, task)) && failed_early(transition, task)
    });
    if !early {
        found.push(format!(
            "slot {} of service {} counts as failed in the update, and no task of it failed while it was watched",
            slot.key, slot.service
        ));
    }
}

/// And the other way round: whoever failed so is counted. One that was being replaced already is nobody's loss.
fn check_not_missed(transition: &Transition<'_>, task: &Task, found: &mut Vec<String>) {
    let judged = matches!(
        task.plan.stop_reason,
        Some(Reason::TaskEnded { .. } | Reason::AttemptsExhausted { .. } | Reason::ConditionMet)
    );
    let Some(rollout) = rolling(transition, task).filter(|_| judged) else {
        return;
    };
    let state = transition.before;
    let replaced = state
        .tasks_of_slot(task.plan.service, task.plan.slot)
        .any(|heir| {
            heir.plan
                .replaces
                .as_ref()
                .is_some_and(|(older, _)| *older == task.id)
        });
    let slot = transition.after.slot(task.plan.service, task.plan.slot);
    let counted = slot.and_then(|slot| slot.update_failed_at) >= Some(rollout.started_at);
    if !replaced && !counted && is_made_by(state, rollout, task) && failed_early(transition, task) {
        found.push(format!(
            "task {} failed while the update watched it, and that does not count",
            task.id
        ));
    }
}

fn failed_early(transition: &Transition<'_>, task: &Task) -> bool {
    let Some(service) = transition.before.service(task.plan.service) else {
        return false;
    };
    let monitor_ms = rolling(transition, task).map_or(0, |rollout| monitor_ms(service, rollout));
    let early = match task.status.running_since {
        None => true,
        Some(since) => monitor_ms > 0 && task.status.since <= since + monitor_ms,
    };
    early && task.status.state.is_terminal() && task.status.fault == Fault::Own
}

fn rolling<'a>(transition: &Transition<'a>, task: &Task) -> Option<&'a Rollout> {
    let rollout = transition.before.service(task.plan.service)?.rollout.as_ref();
    rollout.filter(|rollout| rollout.state == RolloutState::Running)
}

/// Whether the rollout made the task, with the content it leads to.
fn is_made_by(state: &State, rollout: &Rollout, task: &Task) -> bool {
    let replaces = matches!(task.plan.replaces, Some((_, Reason::Updated)));
    let made = replaces && task.meta.created_at >= rollout.started_at;
    made && digest(state, task.plan.revision) == digest(state, rollout.to)
}

/// Whether tasks of a revision may stand for those of another.
fn is_as_good(state: &State, has: RevisionId, wanted: RevisionId) -> bool {
    let (has, wanted) = (state.revision(has), state.revision(wanted));
    has.zip(wanted).is_some_and(|(has, wanted)| {
        has.digest == wanted.digest || differs_in_placement_alone(&has.template, &wanted.template)
    })
}

fn digest(state: &State, revision: RevisionId) -> Option<Digest> {
    state.revision(revision).map(|revision| revision.digest)
}

fn monitor_ms(service: &Service, rollout: &Rollout) -> u64 {
    match rollout.direction {
        Direction::Update => service.settings.update.monitor_ms,
        Direction::Rollback => service.settings.rollback.monitor_ms,
    }
}

fn answers_for_long(state: &State, task: &Task, at: Timestamp) -> bool {
    let node = task.plan.node.and_then(|node| state.node(node));
    node.is_some_and(|node| node.status.state == NodeState::Ready && node.status.since + LATELY_MS <= at)
}

fn is_told(before: &Task, after: &Task) -> bool {
    before.plan.desired.wants_to_run() && !after.plan.desired.wants_to_run()
}

#[cfg(test)]
#[path = "watched_test.rs"]
mod tests;
