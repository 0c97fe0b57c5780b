//! What the leader chooses, judged on the state it looked at, so that nothing that happened meanwhile excuses it. What
//! works is given up last: for a drain only when the replacement runs (30), by a smaller number of replicas only when
//! nothing else is left to go, and by an update only when no outdated slot is left that does not work (25).

use std::collections::BTreeMap;
use std::sync::Arc;

use shoal_proto::node::{Availability, NodeState};
use shoal_proto::reason::Reason;
use shoal_proto::service::{Service, SlotKey};
use shoal_proto::task::{Task, TaskState};

use super::{Transition, changed_tasks};
use crate::orchestrator::content::is_up_to_date;
use crate::scheduler::constraint::parse;
use crate::state::State;

pub(super) fn surge(transition: &Transition<'_>, found: &mut Vec<String>) {
    for task in given_up(transition) {
        let moves = match task.plan.stop_reason {
            Some(Reason::NodeDrained(_) | Reason::NodeUnsuitable(..)) => {
                matches!(task.plan.slot, SlotKey::Number(_))
            }
            Some(Reason::Superseded(_)) => true,
            _ => false,
        };
        let mut others = transition.before.tasks_of_slot(task.plan.service, task.plan.slot);
        let another_runs = others.any(|other| other.id != task.id && runs(other));
        if moves && !another_runs {
            found.push(format!(
                "task {} runs and is given up before another of its slot does",
                task.id
            ));
        }
    }
}

pub(super) fn scale_down(transition: &Transition<'_>, found: &mut Vec<String>) {
    for task in given_up(transition) {
        let service = transition.after.service(task.plan.service);
        let scaled = task.plan.stop_reason == Some(Reason::ScaledDown) && is_well(transition.before, task);
        let Some(service) = service.filter(|_| scaled) else {
            continue;
        };
        let idle = |(_, tasks): &(SlotKey, Vec<&Arc<Task>>)| !tasks.iter().any(|task| runs(task));
        let mut idle = slots(transition.after, service).into_iter().filter(idle);
        // What is given up beside it, as by an update that steps on, was running when the choice was made.
        let was_idle = |slot: SlotKey| {
            let mut before = transition.before.tasks_of_slot(service.id, slot);
            !before.any(|other| runs(other) && other.plan.desired.wants_to_run())
        };
        if let Some((slot, _)) = idle.find(|(slot, _)| was_idle(*slot)) {
            found.push(format!(
                "task {} runs and goes although slot {slot} stays, where nothing does",
                task.id
            ));
        }
    }
}

pub(super) fn update_order(transition: &Transition<'_>, found: &mut Vec<String>) {
    let (before, after) = (transition.before, transition.after);
    for (_, task) in changed_tasks(transition).filter(|(before, _)| before.is_none()) {
        let Some((older, Reason::Updated)) = &task.plan.replaces else {
            continue;
        };
        let working = before.task(*older).is_some_and(|older| runs(older));
        let Some(service) = after.service(task.plan.service).filter(|_| working) else {
            continue;
        };
        let waits =
            |tasks: &Vec<&Arc<Task>>| matches!(tasks[..], [alone] if is_outdated(before, service, alone));
        let idle = slots(after, service).into_iter().find(|(_, tasks)| waits(tasks));
        if let Some((slot, _)) = idle.filter(|_| !failed_in_it(before, service, task.plan.slot)) {
            found.push(format!(
                "the update replaces task {older}, which runs, before slot {slot}, where nothing does"
            ));
        }
    }
}

/// Tasks that run and are told to stop in this step.
fn given_up<'a>(transition: &Transition<'a>) -> impl Iterator<Item = &'a Task> {
    let told = |before: &Task, after: &Task| {
        runs(before) && before.plan.desired.wants_to_run() && !after.plan.desired.wants_to_run()
    };
    changed_tasks(transition)
        .filter(move |(before, after)| before.is_some_and(|before| told(before, after)))
        .map(|(_, after)| after)
}

fn runs(task: &Task) -> bool {
    task.status.state == TaskState::Running
}

/// The tasks that should run, by slot.
fn slots<'a>(state: &'a State, service: &Service) -> BTreeMap<SlotKey, Vec<&'a Arc<Task>>> {
    let mut slots = BTreeMap::<SlotKey, Vec<&'a Arc<Task>>>::new();
    let wanted = state.tasks_of_service(service.id);
    for task in wanted.filter(|task| task.plan.desired.wants_to_run()) {
        slots.entry(task.plan.slot).or_default().push(task);
    }
    slots
}

/// Whether a task is where it may stay.
fn is_well(state: &State, task: &Task) -> bool {
    let Some(node) = task.plan.node.and_then(|node| state.node(node)) else {
        return false;
    };
    let Some(template) = state.template_of(task) else {
        return false;
    };
    let holds = |text: &String| parse(text).is_ok_and(|constraint| constraint.holds(node));
    node.status.state == NodeState::Ready
        && node.plan.availability == Availability::Active
        && node.plan.removing_since.is_none()
        && template.placement.constraints.iter().all(holds)
}

/// Whether a task that does not run is as it should be but for its content, and could be replaced at once.
fn is_outdated(state: &State, service: &Service, task: &Task) -> bool {
    let outdated = !is_up_to_date(state, task);
    let open = !task.status.state.is_terminal() && !runs(task);
    // What an earlier update told to stop holds the slot up until it is gone.
    let mut others = state.tasks_of_slot(service.id, task.plan.slot);
    let alone = !others.any(|other| other.id != task.id && !other.status.state.is_terminal());
    outdated && open && alone && is_well(state, task) && !failed_in_it(state, service, task.plan.slot)
}

/// Whether the slot failed in the rollout: then it goes on by the restart policy.
fn failed_in_it(state: &State, service: &Service, slot: SlotKey) -> bool {
    let slot = state.slot(service.id, slot);
    slot.is_some_and(|slot| slot.spent.is_some() || slot.update_failed_at.is_some())
}

#[cfg(test)]
mod tests {
    use shoal_proto::id::{NodeId, RevisionId, ServiceId, TaskId};
    use shoal_proto::reason::Reason;
    use shoal_proto::service::TaskTemplate;
    use shoal_proto::task::{DesiredState, TaskState};

    use crate::fixture::Fixture;

    struct Bed {
        fixture: Fixture,
        node: NodeId,
        web: (ServiceId, RevisionId),
        /// In slots 1 and 2.
        tasks: [TaskId; 2],
    }

    /// Two slots, of which the first runs.
    fn bed() -> Bed {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 2);
        let tasks = [1, 2].map(|slot| fixture.task(web, slot, Some(node), TaskState::Assigned));
        fixture.report(tasks[0], node, TaskState::Running, 1);
        fixture.report(tasks[1], node, TaskState::Ready, 1);
        Bed {
            fixture,
            node,
            web,
            tasks,
        }
    }

    impl Bed {
        fn stops(&mut self, slot: usize, reason: Reason) -> Vec<&'static str> {
            self.fixture.edit_task(self.tasks[slot - 1], |task| {
                task.plan.desired = DesiredState::Shutdown;
                task.plan.stop_reason = Some(reason);
            });
            self.fixture.chosen_badly()
        }

        fn updates(&mut self, slot: u64, old: TaskId) -> Vec<&'static str> {
            let new = (
                self.web.0,
                self.fixture.state.service(self.web.0).unwrap().revision,
            );
            self.fixture.task_with(new, slot, Some(self.node), |task| {
                task.plan.replaces = Some((old, Reason::Updated));
                task.plan.desired = DesiredState::Ready;
            });
            self.fixture.chosen_badly()
        }
    }

    #[test]
    fn a_drain_that_stops_what_runs_before_its_replacement_does_is_found() {
        let mut bed = bed();
        let (old, node) = (bed.tasks[0], bed.node);
        let heir = bed.fixture.task_with(bed.web, 1, Some(node), |task| {
            task.plan.replaces = Some((old, Reason::NodeDrained(node)));
        });
        let earlier = bed.fixture.state.clone();
        assert_eq!(bed.stops(1, Reason::NodeDrained(node)), ["surge"]);
        bed.fixture.state = earlier;
        bed.fixture.report(heir, node, TaskState::Running, 1);
        assert!(bed.stops(1, Reason::NodeDrained(node)).is_empty());
    }

    #[test]
    fn a_scale_down_that_keeps_what_does_not_run_is_found() {
        assert_eq!(bed().stops(1, Reason::ScaledDown), ["scale_down"]);
        assert!(bed().stops(2, Reason::ScaledDown).is_empty());
    }

    #[test]
    fn an_update_that_begins_with_what_runs_is_found() {
        for (slot, expected) in [(1, Some("update_order")), (2, None)] {
            let mut bed = bed();
            let mut template = TaskTemplate::default();
            "app:2".clone_into(&mut template.container.image);
            let new = bed.fixture.revision(bed.web.0, 2, template);
            bed.fixture.begin_rollout(bed.web.0, new);
            let old = bed.tasks[slot - 1];
            assert_eq!(bed.updates(slot as u64, old).first().copied(), expected);
        }
    }
}
