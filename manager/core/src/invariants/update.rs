//! Property 25: An update replaces no more slots at once than its parallelism allows; slots that failed in it do not
//! count, nor do those that had nothing running or wait for a place with nothing left. Judged when a replacement is made,
//! by the rules of that moment and on what the leader saw: a node that comes back later does not make it wrong. And
//! with start-first the old task is told to stop only when the new one runs.

use std::collections::BTreeSet;

use shoal_proto::node::NodeState;
use shoal_proto::reason::Reason;
use shoal_proto::service::{Service, SlotKey};
use shoal_proto::task::{Task, TaskState};
use shoal_proto::update::{Direction, Rollout, RolloutState, UpdateOrder};

use super::{Transition, changed_tasks};
use crate::state::State;

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    for (before, after) in changed_tasks(transition) {
        if before.is_some_and(|before| stopped_too_early(transition, before, after)) {
            found.push(format!(
                "task {} is told to stop before its start-first replacement runs",
                after.id
            ));
        }
    }
    let begun: BTreeSet<_> = changed_tasks(transition)
        .filter(|(before, after)| before.is_none() && is_update(after))
        .map(|(_, after)| after.plan.service)
        .collect();
    for id in begun {
        let Some(service) = transition.after.service(id) else {
            continue;
        };
        let rollout = service
            .rollout
            .as_ref()
            .filter(|rollout| rollout.state == RolloutState::Running);
        let Some(rollout) = rollout else {
            continue;
        };
        let allowed = parallelism(service, rollout);
        let slots = in_progress(transition.after, service, rollout);
        if allowed > 0 && slots.len() as u64 > allowed {
            let many = slots.len();
            found.push(format!(
                "service {id} replaces {many} slots at once, {allowed} are allowed"
            ));
        }
    }
}

fn stopped_too_early(transition: &Transition<'_>, before: &Task, after: &Task) -> bool {
    let told = before.plan.desired.wants_to_run() && !after.plan.desired.wants_to_run();
    let for_update = told && after.plan.stop_reason == Some(Reason::Updated);
    if !for_update || before.status.state != TaskState::Running {
        return false;
    }
    let service = transition.before.service(after.plan.service);
    let order = service.map(|service| match service.rollout.as_ref().map(|r| r.direction) {
        Some(Direction::Rollback) => service.settings.rollback.order,
        _ => service.settings.update.order,
    });
    let heirs = transition
        .after
        .tasks_of_slot(after.plan.service, after.plan.slot)
        .filter(|task| task.plan.replaces == Some((after.id, Reason::Updated)));
    let mut heirs = heirs.filter(|heir| heir.plan.desired.wants_to_run() && heir.plan.inherits.is_none());
    order == Some(UpdateOrder::StartFirst) && heirs.any(|heir| heir.status.state < TaskState::Running)
}

fn is_update(task: &Task) -> bool {
    matches!(task.plan.replaces, Some((_, Reason::Updated)))
}

fn parallelism(service: &Service, rollout: &Rollout) -> u64 {
    match rollout.direction {
        Direction::Update => service.settings.update.parallelism,
        Direction::Rollback => service.settings.rollback.parallelism,
    }
}

/// Slots with a replacement of this rollout that has not run yet, on a node that answers.
fn in_progress(state: &State, service: &Service, rollout: &Rollout) -> BTreeSet<SlotKey> {
    let digest = |revision| state.revision(revision).map(|revision| revision.digest);
    let under_way = |task: &&std::sync::Arc<Task>| {
        let node = task.plan.node.and_then(|node| state.node(node));
        let slot = state.slot(service.id, task.plan.slot);
        is_update(task)
            && task.plan.desired.wants_to_run()
            && !task.status.state.is_terminal()
            && task.status.running_since.is_none()
            && task.meta.created_at >= rollout.started_at
            && had_run(state, task)
            && !waits_alone(state, task)
            && digest(task.plan.revision) == digest(rollout.to)
            && node.is_none_or(|node| node.status.state == NodeState::Ready)
            && slot
                .and_then(|slot| slot.update_failed_at)
                .is_none_or(|at| at < rollout.started_at)
    };
    state
        .tasks_of_service(service.id)
        .filter(under_way)
        .map(|task| task.plan.slot)
        .collect()
}

/// Whether the slot had something that ran: only that can be lost by replacing it.
fn had_run(state: &State, task: &Task) -> bool {
    let old = task.plan.replaces.as_ref().and_then(|(old, _)| state.task(*old));
    old.is_some_and(|old| old.status.running_since.is_some())
}

/// Without a node, and nothing else of its slot is open: it is in nobody's way.
fn waits_alone(state: &State, task: &Task) -> bool {
    let open = |other: &&std::sync::Arc<Task>| other.id != task.id && !other.status.state.is_terminal();
    let mut others = state.tasks_of_slot(task.plan.service, task.plan.slot);
    task.plan.node.is_none() && !others.any(|other| open(&other))
}

#[cfg(test)]
mod tests {
    use shoal_proto::reason::Reason;
    use shoal_proto::service::TaskTemplate;
    use shoal_proto::task::{DesiredState, TaskState};
    use shoal_proto::update::UpdateOrder;

    use crate::fixture::Fixture;

    #[test]
    fn a_task_that_stops_before_its_start_first_replacement_runs_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        fixture.edit_service(web.0, |web| web.settings.update.order = UpdateOrder::StartFirst);
        let old = fixture.task(web, 1, Some(node), TaskState::Running);
        let new = fixture.revision(web.0, 2, TaskTemplate::default());
        fixture.begin_rollout(web.0, new);
        fixture.task_with((web.0, new), 1, Some(node), |task| {
            task.plan.replaces = Some((old, Reason::Updated));
        });
        assert!(fixture.chosen_badly().is_empty());
        fixture.edit_task(old, |task| {
            task.plan.desired = DesiredState::Shutdown;
            task.plan.stop_reason = Some(Reason::Updated);
        });
        assert_eq!(fixture.chosen_badly(), ["update"]);
    }

    #[test]
    fn an_update_that_replaces_more_slots_than_allowed_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 2);
        let old = [1, 2].map(|slot| fixture.task(web, slot, Some(node), TaskState::Assigned));
        for old in old {
            fixture.report(old, node, TaskState::Running, 1);
        }
        let new = fixture.revision(web.0, 2, TaskTemplate::default());
        fixture.begin_rollout(web.0, new);
        for (slot, old) in [1, 2].into_iter().zip(old) {
            assert!(fixture.chosen_badly().is_empty());
            fixture.task_with((web.0, new), slot, Some(node), |task| {
                task.plan.replaces = Some((old, Reason::Updated));
                task.plan.desired = DesiredState::Ready;
            });
        }
        assert_eq!(fixture.chosen_badly(), ["update"]);
    }
}
