//! Property 10: A task's state and desired state only move forward; nothing leaves a terminal state. A node's epoch never
//! goes back.

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

#[cfg(test)]
mod tests {
    use shoal_proto::task::{DesiredState, TaskState};

    use crate::fixture::Fixture;

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
}
