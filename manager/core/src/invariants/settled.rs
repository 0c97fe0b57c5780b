//! 16, 18, 23, 29, 30. What is true of a cluster at rest: everything asked for runs or says why not, one task per
//! slot is left, drained nodes are empty, and the history is bounded.

use std::collections::BTreeMap;

use shoal_proto::node::{Availability, Node, NodeState};
use shoal_proto::reason::Reason;
use shoal_proto::service::{Mode, Service, SlotKey};
use shoal_proto::task::{DesiredState, Task, TaskState};
use shoal_proto::update::RolloutState;

use crate::state::State;

/// 16 and 23. As many slots run as were asked for; one that does not has a stored reason.
pub(super) fn converged(state: &State, found: &mut Vec<String>) {
    for service in state.services() {
        if service.removed_at.is_some() {
            found.push(format!("service {} was removed and is still there", service.id));
            continue;
        }
        let rolls = service
            .rollout
            .as_ref()
            .is_some_and(|rollout| rollout.state == RolloutState::Running);
        if rolls && waits_for_place(state, service) {
            // It waits and says why: its slots are as they are until then.
            continue;
        }
        if rolls {
            found.push(format!("the rollout of service {} goes on", service.id));
        }
        let (has, wants) = (filled(state, service), asked(state, service));
        if has != wants {
            found.push(format!(
                "service {} has {has} slots that run or say why not, not {wants}",
                service.name
            ));
        }
    }
    for id in state.services_with_tasks() {
        if state.service(id).is_none() {
            found.push(format!("tasks of service {id} are left, which is gone"));
        }
    }
}

/// Whether the rollout or one of the tasks it waits for says what it waits for.
fn waits_for_place(state: &State, service: &Service) -> bool {
    let says = |task: &std::sync::Arc<Task>| task.plan.desired.wants_to_run() && task.plan.pending.is_some();
    service
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.reason.is_some())
        || state.tasks_of_service(service.id).any(says)
}

fn asked(state: &State, service: &Service) -> usize {
    match service.settings.mode {
        Mode::Replicated { replicas } => usize::try_from(replicas).unwrap_or(usize::MAX),
        _ => state
            .nodes()
            .filter(|node| carries_global(state, service, node))
            .count(),
    }
}

/// Whether a global service belongs on a node; a paused or lost one keeps what it has.
fn carries_global(state: &State, service: &Service, node: &Node) -> bool {
    let has = state
        .tasks_of_slot(service.id, SlotKey::Node(node.id))
        .any(|task| task.plan.desired.wants_to_run());
    has || (node.status.state == NodeState::Ready
        && node.plan.availability == Availability::Active
        && node.plan.removing_since.is_none()
        && suits(state, service, node))
}

fn suits(state: &State, service: &Service, node: &Node) -> bool {
    use crate::scheduler::constraint::parse;
    let Some(revision) = state.revision(service.revision) else {
        return false;
    };
    let holds = |text: &String| parse(text).is_ok_and(|constraint| constraint.holds(node));
    revision.template.placement.constraints.iter().all(holds)
}

/// Slots that run, that wait with a reason, or that the restart policy leaves empty.
fn filled(state: &State, service: &Service) -> usize {
    let mut slots = BTreeMap::<SlotKey, bool>::new();
    for task in state
        .tasks_of_service(service.id)
        .filter(|task| task.plan.desired.wants_to_run())
    {
        *slots.entry(task.plan.slot).or_default() |= is_fine(state, task);
    }
    // A spent slot of a global service counts where the service belongs on the node at all.
    let belongs = |key: SlotKey| match key {
        SlotKey::Number(_) => true,
        SlotKey::Node(id) => state
            .node(id)
            .is_some_and(|node| carries_global(state, service, node)),
    };
    let spent = state.slots_of(service.id).filter(|slot| slot.spent.is_some());
    for slot in spent.filter(|slot| belongs(slot.key)) {
        slots.insert(slot.key, true);
    }
    slots.values().filter(|fine| **fine).count()
}

fn is_fine(state: &State, task: &Task) -> bool {
    let node = task.plan.node.and_then(|node| state.node(node));
    let lost = node.is_some_and(|node| node.status.state != NodeState::Ready);
    task.status.state == TaskState::Running || task.plan.pending.is_some() || lost
}

/// Invariant 18: No slot remembers more ended tasks than the cluster's limit.
pub(super) fn history_bounded(state: &State, found: &mut Vec<String>) {
    let limit = state.cluster_spec().task_history_limit as usize;
    let mut ended = BTreeMap::<_, usize>::new();
    for task in state.tasks() {
        if task.status.state.is_terminal() && !task.plan.desired.wants_to_run() {
            *ended.entry((task.plan.service, task.plan.slot)).or_default() += 1;
        }
        if task.plan.desired == DesiredState::Remove && answers(state, task) {
            found.push(format!("task {} was to be forgotten and is still there", task.id));
        }
    }
    for ((service, slot), count) in ended {
        if count > limit {
            found.push(format!(
                "slot {slot} of service {service} remembers {count} tasks of at most {limit}"
            ));
        }
    }
}

/// Invariant 29: On nodes that answer, nothing is left of what was superseded: one survivor per slot. A replacement that
/// waits for a place is not one yet.
pub(super) fn one_survivor(state: &State, found: &mut Vec<String>) {
    let mut survivors = BTreeMap::<_, Vec<_>>::new();
    let placed = |task: &&std::sync::Arc<Task>| {
        task.plan.node.is_some() && !task.status.state.is_terminal() && answers(state, task)
    };
    for task in state.tasks().filter(placed) {
        survivors
            .entry((task.plan.service, task.plan.slot))
            .or_default()
            .push(task.id);
    }
    for ((service, slot), tasks) in survivors {
        if tasks.len() > 1 {
            found.push(format!("slot {slot} of service {service} is left with {tasks:?}"));
        }
    }
}

/// Invariant 30: Nothing should run on a drained node, but for a task that its data binds or whose replacement finds no
/// place, where that is said.
pub(super) fn drained_empty(state: &State, found: &mut Vec<String>) {
    let drained = |node: &&std::sync::Arc<Node>| {
        node.plan.availability == Availability::Drain && node.status.state == NodeState::Ready
    };
    for node in state.nodes().filter(drained) {
        for task in state.tasks_on_node(node.id) {
            let explained =
                task.plan.pending.is_some() || waiting_heir(state, task) || waits_its_turn(state, task);
            let stays = task.plan.desired.wants_to_run() && !explained;
            if stays && !task.status.state.is_terminal() {
                found.push(format!(
                    "task {} stays on node {}, which is drained",
                    task.id, node.id
                ));
            }
        }
    }
}

/// An outdated task goes with the rollout; where that waits for a place, it says so for all that come after.
fn waits_its_turn(state: &State, task: &Task) -> bool {
    let digest = |revision| state.revision(revision).map(|revision| revision.digest);
    let service = state.service(task.plan.service);
    service.is_some_and(|service| {
        let waits = service.rollout.as_ref().is_some_and(|rollout| {
            rollout.state == RolloutState::Running
                && matches!(
                    rollout.reason,
                    Some(Reason::NoSuitableNode(_) | Reason::NetworkFull { .. })
                )
        });
        waits && digest(task.plan.revision) != digest(service.revision)
    })
}

fn waiting_heir(state: &State, task: &Task) -> bool {
    state
        .tasks_of_slot(task.plan.service, task.plan.slot)
        .any(|heir| {
            let replaces = heir
                .plan
                .replaces
                .as_ref()
                .is_some_and(|(old, _)| *old == task.id);
            replaces && heir.plan.desired.wants_to_run() && heir.plan.pending.is_some()
        })
}

fn answers(state: &State, task: &Task) -> bool {
    let node = task.plan.node.and_then(|node| state.node(node));
    node.is_none_or(|node| node.status.state == NodeState::Ready)
}

#[cfg(test)]
mod tests {
    use shoal_proto::node::Availability;
    use shoal_proto::task::{DesiredState, TaskState};

    use super::super::check_settled;
    use crate::fixture::Fixture;

    fn numbers(fixture: &Fixture) -> Vec<u8> {
        check_settled(&fixture.state)
            .iter()
            .map(|violation| violation.number)
            .collect()
    }

    #[test]
    fn a_slot_that_does_not_run_and_does_not_say_why_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        let task = fixture.task(web, 1, Some(node), TaskState::Assigned);
        assert_eq!(numbers(&fixture), [16]);
        fixture.report(task, node, TaskState::Running, 1);
        assert!(numbers(&fixture).is_empty());
    }

    #[test]
    fn a_history_beyond_the_limit_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        fixture.task(web, 1, Some(node), TaskState::Running);
        for count in 1..=6 {
            fixture.task_with(web, 1, Some(node), |task| {
                task.plan.desired = DesiredState::Shutdown;
                task.status.state = TaskState::Failed;
            });
            assert_eq!(numbers(&fixture).is_empty(), count <= 5);
        }
        assert_eq!(numbers(&fixture), [18]);
    }

    #[test]
    fn a_second_survivor_of_a_slot_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        fixture.task(web, 1, Some(node), TaskState::Running);
        let old = fixture.task(web, 1, Some(node), TaskState::Running);
        fixture.edit_task(old, |task| task.plan.desired = DesiredState::Shutdown);
        assert_eq!(numbers(&fixture), [29]);
    }

    #[test]
    fn a_task_that_stays_on_a_drained_node_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        fixture.task(web, 1, Some(node), TaskState::Running);
        fixture.edit_node(node, |node| node.plan.availability = Availability::Drain);
        assert_eq!(numbers(&fixture), [30]);
    }
}
