//! Property 9: A slot has at most one task that should run, and at most one more that is to take its place. Two run at
//! once only where the one replaces the other and the order says start first, or the old one has to leave its
//! node, or its node is lost.

use std::collections::BTreeSet;

use shoal_proto::id::ServiceId;
use shoal_proto::node::NodeState;
use shoal_proto::reason::Reason;
use shoal_proto::service::SlotKey;
use shoal_proto::task::{Task, TaskState};
use shoal_proto::update::UpdateOrder;

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
    let running: Vec<&Task> = tasks
        .into_iter()
        .filter(|task| task.status.state == TaskState::Running)
        .collect();
    for younger in &running {
        for older in running
            .iter()
            .filter(|older| ran_too_early(state, older, younger))
        {
            found.push(format!(
                "task {} runs before task {} has stopped",
                younger.id, older.id
            ));
        }
    }
}

fn replaces(younger: &Task, older: &Task) -> bool {
    younger
        .plan
        .replaces
        .as_ref()
        .is_some_and(|(task, _)| *task == older.id)
}

/// A stop-first update whose new task runs beside the old one on a node that answers.
fn ran_too_early(state: &State, older: &Task, younger: &Task) -> bool {
    let updates = matches!(&younger.plan.replaces, Some((task, Reason::Updated)) if *task == older.id);
    let Some(service) = state.service(older.plan.service).filter(|_| updates) else {
        return false;
    };
    let stop_first = |order| order == UpdateOrder::StopFirst;
    let never_together =
        stop_first(service.settings.update.order) && stop_first(service.settings.rollback.order);
    let node = older.plan.node.and_then(|node| state.node(node));
    let answers = node.is_some_and(|node| node.status.state == NodeState::Ready);
    let told = older.plan.stop_since;
    let patient = told.is_none_or(|told| state.newest_time().ms_since(told) < STOP_PATIENCE_MS);
    let for_the_update = matches!(older.plan.stop_reason, Some(Reason::Updated) | None);
    never_together && answers && patient && for_the_update
}

#[cfg(test)]
mod tests {
    use shoal_proto::reason::Reason;
    use shoal_proto::task::{Task, TaskState};

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
    fn a_stop_first_replacement_that_runs_beside_the_old_task_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        let old = fixture.task(web, 1, Some(node), TaskState::Running);
        let heir = |task: &mut Task| task.plan.replaces = Some((old, Reason::Updated));
        let new = fixture.task_with(web, 1, Some(node), heir);
        assert!(fixture.violated().is_empty());
        fixture.report(new, node, TaskState::Running, 1);
        assert_eq!(fixture.violated(), ["slot"]);
    }
}
