//! Property 9: A slot has at most one task that should run, and at most one more that is to take its place. Two run at
//! once only where the one replaces the other and the order says start first, or the old one has to leave its
//! node, or its node is lost. Judged when the new one is let go; one that inherits the old one's place on its node
//! is let go with its stop, and the agent waits.

use std::collections::BTreeSet;

use shoal_proto::id::ServiceId;
use shoal_proto::node::NodeState;
use shoal_proto::reason::Reason;
use shoal_proto::service::{Service, SlotKey};
use shoal_proto::task::{DesiredState, Task};
use shoal_proto::update::{Direction, UpdateOrder};

use super::{Transition, changed_tasks};
use crate::state::State;

/// A replacement goes ahead without its predecessor's end after so long; see the orchestrator's own limit.
const STOP_PATIENCE_MS: u64 = 60_000;

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    let slots: BTreeSet<(ServiceId, SlotKey)> = changed_tasks(transition)
        .map(|(_, task)| (task.plan.service, task.plan.slot))
        .collect();
    for (service, slot) in slots {
        check_slot(transition.after, service, slot, found);
    }
    for (before, after) in changed_tasks(transition) {
        let held = before.is_none_or(|task| task.plan.desired == DesiredState::Ready);
        let let_go = held && matches!(after.plan.desired, DesiredState::Running | DesiredState::Complete);
        if let (true, Some(older)) = (let_go, let_go_too_early(transition, after)) {
            found.push(format!(
                "task {} is let go before task {} has stopped",
                after.id, older.id
            ));
        }
    }
}

fn check_slot(state: &State, service: ServiceId, slot: SlotKey, found: &mut Vec<String>) {
    let open = |task: &&Task| !task.status.state.is_terminal();
    let tasks: Vec<&Task> = state
        .tasks_of_slot(service, slot)
        .map(AsRef::as_ref)
        .filter(open)
        .collect();
    let wanted: Vec<&Task> = tasks
        .iter()
        .copied()
        .filter(|task| task.plan.desired.wants_to_run())
        .collect();
    if wanted.len() > 2 {
        found.push(format!(
            "slot {slot} of service {service} has {} tasks that should run",
            wanted.len()
        ));
    }
    if let [older, younger] = wanted[..]
        && !replaces(younger, older)
        && !replaces(older, younger)
    {
        let (one, other) = (older.id, younger.id);
        found.push(format!(
            "tasks {one} and {other} both fill slot {slot} of service {service}"
        ));
    }
}

fn replaces(younger: &Task, older: &Task) -> bool {
    younger
        .plan
        .replaces
        .as_ref()
        .is_some_and(|(task, _)| *task == older.id)
}

/// The task that a stop-first update let another one go ahead of, while it may still run on a node that answers.
fn let_go_too_early<'a>(transition: &Transition<'a>, younger: &Task) -> Option<&'a Task> {
    let state = transition.after;
    let Some((id, Reason::Updated)) = younger.plan.replaces else {
        return None;
    };
    let older = state.task(id)?.as_ref();
    // Whoever let it go relied on the service as it was before the entry.
    let service = transition.before.service(older.plan.service)?;
    if younger.plan.inherits == Some(id) || order(service) == UpdateOrder::StartFirst {
        return None;
    }
    let node = older.plan.node.and_then(|node| state.node(node));
    let answers = node.is_some_and(|node| node.status.state == NodeState::Ready);
    // Between ready and running nobody but its agent knows whether it was started.
    let may_run = older.plan.node.is_some() && !older.status.state.is_terminal();
    let told = older.plan.stop_since;
    let patient = told.is_none_or(|told| state.newest_time().ms_since(told) < STOP_PATIENCE_MS);
    let for_the_update = matches!(older.plan.stop_reason, Some(Reason::Updated) | None);
    (answers && may_run && patient && for_the_update).then_some(older)
}

fn order(service: &Service) -> UpdateOrder {
    match service.rollout.as_ref().map(|rollout| rollout.direction) {
        Some(Direction::Rollback) => service.settings.rollback.order,
        Some(Direction::Update) | None => service.settings.update.order,
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::reason::Reason;
    use shoal_proto::task::{DesiredState, Task, TaskState};

    use crate::fixture::Fixture;

    #[test]
    fn two_tasks_that_fill_one_slot_are_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        fixture.task(web, 1, Some(node), TaskState::Assigned);
        assert!(fixture.violated().is_empty());
        fixture.task(web, 1, Some(node), TaskState::Assigned);
        assert_eq!(fixture.violated(), ["slot"]);
    }

    #[test]
    fn a_stop_first_replacement_that_is_let_go_beside_the_old_task_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        let old = fixture.task(web, 1, Some(node), TaskState::Running);
        let heir = |task: &mut Task| {
            task.plan.replaces = Some((old, Reason::Updated));
            task.plan.desired = DesiredState::Ready;
        };
        let new = fixture.task_with(web, 1, Some(node), heir);
        assert!(fixture.violated().is_empty());
        fixture.edit_task(new, |task| task.plan.desired = DesiredState::Running);
        assert_eq!(fixture.violated(), ["slot"]);
    }
}
