//! Property 10: A task's state and desired state only move forward; nothing leaves a terminal state. A node's epoch never
//! goes back, and no report of an older epoch changes a task.

use shoal_proto::task::{Task, TaskState};

use super::{Transition, changed_tasks};
use crate::state::Object;

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    for (before, after) in changed_tasks(transition) {
        let Some(before) = before else {
            continue;
        };
        let (old, new) = (before.status.state, after.status.state);
        if new < old || (old.is_terminal() && new != old) {
            found.push(format!("task {} went from {old} to {new}", after.id));
        }
        if new < TaskState::Running && after.status.running_since.is_some() {
            found.push(format!("task {} is {new} and is said to have run", after.id));
        }
        if old < TaskState::Running
            && new == TaskState::Running
            && after.status.running_since != Some(after.status.since)
        {
            found.push(format!(
                "task {} is said to have run since another time than it does",
                after.id
            ));
        }
        check_epoch(transition, before, after, found);
        let (old, new) = (before.plan.desired, after.plan.desired);
        if new < old {
            found.push(format!(
                "desired state of task {} went from {old} to {new}",
                after.id
            ));
        }
    }
    for event in transition.events {
        if let (Some(Object::Node(before)), Some(Object::Node(after))) = (event.before(), event.after())
            && after.status.epoch < before.status.epoch
        {
            found.push(format!(
                "epoch of node {} went back to {}",
                after.id, after.status.epoch
            ));
        }
    }
}

/// The status alone changed: that is a report.
fn check_epoch(transition: &Transition<'_>, before: &Task, after: &Task, found: &mut Vec<String>) {
    let reported = before.meta.version == after.meta.version && before.status.version != after.status.version;
    let node = after.plan.node.and_then(|node| transition.before.node(node));
    let newest = node.map_or(0, |node| node.status.epoch).max(before.status.epoch);
    if reported && after.status.epoch < newest {
        found.push(format!(
            "task {} was changed by a report of epoch {} after epoch {newest} had begun",
            after.id, after.status.epoch
        ));
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::task::{DesiredState, Task, TaskState};
    use shoal_proto::time::Timestamp;

    use super::super::{Transition, Violation, check};
    use crate::fixture::Fixture;
    use crate::state::Event;

    #[test]
    fn a_desired_state_that_goes_back_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        let task = fixture.task(web, 1, Some(node), TaskState::Running);
        fixture.edit_task(task, |task| task.plan.desired = DesiredState::Shutdown);
        assert!(fixture.violated().is_empty());
        fixture.edit_task(task, |task| task.plan.desired = DesiredState::Running);
        assert_eq!(fixture.violated(), ["forward"]);
    }

    /// As an entry that merged a status without looking would be.
    fn merged(edit: impl FnOnce(&mut Task)) -> Vec<Violation> {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        let task = fixture.task(web, 1, Some(node), TaskState::Assigned);
        let was = fixture.read(task);
        let mut is = was.clone();
        is.status.version += 1;
        is.status.epoch = 7;
        edit(&mut is);
        let events = [Event::Put {
            before: Some(was.into()),
            after: is.into(),
        }];
        let (before, after) = (&fixture.state, &fixture.state);
        check(&Transition {
            before,
            after,
            events: &events,
        })
    }

    #[test]
    fn a_report_of_an_older_epoch_that_is_taken_is_found() {
        assert!(merged(|task| task.status.state = TaskState::Ready).is_empty());
        let violations = merged(|task| task.status.epoch = 0);
        assert_eq!(violations[0].property, "forward");
    }

    #[test]
    fn a_task_that_is_said_to_have_run_before_it_does_is_found() {
        let violations = merged(|task| task.status.running_since = Some(task.status.since));
        assert_eq!(violations[0].property, "forward");
        let runs = |running_since_ms: u64| {
            merged(move |task| {
                task.status.state = TaskState::Running;
                task.status.since = Timestamp::from_ms(2_000_000);
                task.status.running_since = Some(Timestamp::from_ms(running_since_ms));
            })
        };
        assert!(runs(2_000_000).is_empty());
        assert_eq!(runs(1_999_999)[0].property, "forward");
    }
}
