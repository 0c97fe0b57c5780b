//! Property 31: The change of a leader alone touches no task: none is made, told to stop, given another node, or ends; and
//! none runs since another time. Judged over a stretch in which nothing but leaders, managers and agents was lost.

use shoal_proto::task::Task;

use super::Violation;
use crate::state::State;

/// What became of tasks between two moments between which nothing should have.
#[must_use]
pub fn check_untouched(before: &State, after: &State) -> Vec<Violation> {
    let mut found = Vec::new();
    for (was, is) in after.tasks_since(before) {
        match (was, is) {
            (None, Some(is)) => found.push(format!("task {} was made", is.id)),
            (Some(was), None) => found.push(format!("task {} was forgotten", was.id)),
            (Some(was), Some(is)) => {
                if let Some(what) = touched(was, is) {
                    found.push(format!("{what} of task {} is not what it was", is.id));
                }
            }
            (None, None) => {}
        }
    }
    let violation = |what| Violation {
        number: 31,
        property: "untouched",
        what,
    };
    found.into_iter().map(violation).collect()
}

/// What is not as it was. Epochs go on, for sessions do.
fn touched(was: &Task, is: &Task) -> Option<&'static str> {
    let (old, new) = (&was.status, &is.status);
    if was.plan != is.plan {
        Some("the plan")
    } else if old.state != new.state {
        Some("the state")
    } else if old.running_since != new.running_since {
        Some("the time since which it runs")
    } else if old.container != new.container {
        Some("the container")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::id::{NodeId, RevisionId, ServiceId, TaskId};
    use shoal_proto::reason::Reason;
    use shoal_proto::task::{DesiredState, TaskState};

    use super::check_untouched;
    use crate::fixture::Fixture;

    /// A cluster in which one task runs.
    fn one_running() -> (Fixture, NodeId, (ServiceId, RevisionId), TaskId) {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        let task = fixture.task(web, 1, Some(node), TaskState::Assigned);
        fixture.report(task, node, TaskState::Running, 1);
        (fixture, node, web, task)
    }

    #[test]
    fn a_task_that_is_replaced_for_a_change_of_the_leader_is_found() {
        let (mut fixture, node, web, task) = one_running();
        let earlier = fixture.state.clone();
        // The full report of a session with the new leader.
        fixture.report(task, node, TaskState::Running, 2);
        assert!(check_untouched(&earlier, &fixture.state).is_empty());
        fixture.edit_task(task, |task| task.plan.desired = DesiredState::Shutdown);
        fixture.task_with(web, 1, Some(node), |new| {
            new.plan.replaces = Some((task, Reason::NodeDown(node)));
        });
        let numbers = check_untouched(&earlier, &fixture.state);
        let numbers: Vec<u8> = numbers.iter().map(|violation| violation.number).collect();
        assert_eq!(numbers, [31, 31], "one that goes, one that was made");
    }

    #[test]
    fn a_task_that_was_started_anew_is_found() {
        let (mut fixture, _, _, task) = one_running();
        let earlier = fixture.state.clone();
        fixture.edit_task(task, |task| task.status.state = TaskState::Failed);
        assert_eq!(check_untouched(&earlier, &fixture.state)[0].property, "untouched");
    }
}
