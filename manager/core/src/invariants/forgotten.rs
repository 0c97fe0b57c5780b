//! Property 12: A task is forgotten only after it ended, or before any agent had it: forgetting one is the word to remove
//! its container, and no running container is removed without having been told to stop.

use shoal_proto::task::Task;

use super::Transition;
use crate::state::{Event, Object};

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    for event in transition.events {
        let Event::Delete {
            before: Object::Task(task),
        } = event
        else {
            continue;
        };
        if !may_be_forgotten(transition, task) {
            let state = task.status.state;
            found.push(format!("task {} was forgotten while it was {state}", task.id));
        }
    }
}

/// Nobody is left to speak for the tasks of a node that was removed.
fn may_be_forgotten(transition: &Transition<'_>, task: &Task) -> bool {
    let node_there = |node| transition.before.node(node).is_some();
    task.status.state.is_terminal() || !task.plan.node.is_some_and(node_there)
}

#[cfg(test)]
mod tests {
    use shoal_proto::task::TaskState;

    use crate::fixture::Fixture;

    #[test]
    fn a_running_task_that_is_forgotten_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        let task = fixture.task(web, 1, Some(node), TaskState::Running);
        let read = fixture.read(task);
        fixture
            .group(|group| {
                group.delete(read);
            })
            .unwrap();
        assert_eq!(fixture.violated(), ["forgotten"]);
    }
}
