//! Property 11: What a task is made of never changes, and its node is given once; revisions and networks never change,
//! nor do a service's name and kind.

use std::mem::discriminant;

use super::{Transition, changed_services, changed_tasks};
use crate::state::Object;

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    for (before, after) in changed_tasks(transition) {
        let Some(before) = before.map(|task| &task.plan) else {
            continue;
        };
        let plan = &after.plan;
        if before.node.is_some() && before.node != plan.node {
            found.push(format!("task {} was given another node", after.id));
        }
        let made_of = |plan: &shoal_proto::task::TaskPlan| (plan.service, plan.slot, plan.revision);
        if made_of(before) != made_of(plan) {
            found.push(format!(
                "task {} was given another service, slot or revision",
                after.id
            ));
        }
        if before.replaces != plan.replaces {
            found.push(format!("task {} was said to replace another task", after.id));
        }
    }
    for (before, after) in changed_services(transition) {
        let kind = |service: &shoal_proto::service::Service| discriminant(&service.settings.mode);
        if before.name != after.name || kind(before) != kind(after) {
            found.push(format!("service {} changed its name or kind", after.id));
        }
    }
    for event in transition.events {
        match (event.before(), event.after()) {
            (Some(Object::Revision(_)), Some(Object::Revision(after))) => {
                found.push(format!("revision {} was changed", after.id));
            }
            (Some(Object::Network(_)), Some(Object::Network(after))) => {
                found.push(format!("network {} was changed", after.id));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::task::TaskState;

    use crate::fixture::Fixture;

    #[test]
    fn a_task_that_moves_to_another_node_is_found() {
        let mut fixture = Fixture::new();
        let (node, other) = (fixture.node(), fixture.node());
        let web = fixture.service("web", 1);
        let task = fixture.task(web, 1, Some(node), TaskState::Running);
        fixture.edit_task(task, |task| task.plan.node = Some(other));
        assert_eq!(fixture.violated(), ["fixed"]);
    }

    #[test]
    fn a_revision_that_is_written_again_is_found() {
        let mut fixture = Fixture::new();
        let (_, revision) = fixture.service("web", 1);
        let again = fixture.state.revision(revision).unwrap().clone();
        fixture.put(again);
        assert_eq!(fixture.violated(), ["fixed"]);
    }
}
