//! 20 and 22. When a task gets its node, that node meets its constraints, platform and replica limit, and is
//! ready, active and not about to be removed.

use shoal_proto::id::NodeId;
use shoal_proto::node::{Availability, Node, NodeState};
use shoal_proto::service::{Platform, TaskTemplate};
use shoal_proto::task::Task;

use super::{Transition, newly_placed};
use crate::scheduler::constraint::{parse, plain_arch};
use crate::state::State;

pub(super) fn check_suitable(transition: &Transition<'_>, found: &mut Vec<String>) {
    for task in newly_placed(transition) {
        let node = task.plan.node.and_then(|node| transition.before.node(node));
        let template = transition.after.template_of(task);
        let (Some(node), Some(template)) = (node, template) else {
            found.push(format!(
                "task {} was placed on a node or made of a revision that is not there",
                task.id
            ));
            continue;
        };
        check_node(task, template, node, found);
        let limit = template.placement.max_replicas_per_node;
        let copies = copies(transition.after, task, node.id);
        if limit > 0 && copies > limit {
            found.push(format!(
                "task {} is copy {copies} of at most {limit} on node {}",
                task.id, node.id
            ));
        }
    }
}

fn check_node(task: &Task, template: &TaskTemplate, node: &Node, found: &mut Vec<String>) {
    for text in &template.placement.constraints {
        if !parse(text).is_ok_and(|constraint| constraint.holds(node)) {
            found.push(format!(
                "task {} was placed on node {} against {text:?}",
                task.id, node.id
            ));
        }
    }
    let platforms = &template.placement.platforms;
    if !platforms.is_empty() && !platforms.iter().any(|platform| runs(platform, node)) {
        found.push(format!(
            "task {} was placed on node {} of another platform",
            task.id, node.id
        ));
    }
}

fn runs(platform: &Platform, node: &Node) -> bool {
    let Some(description) = &node.status.description else {
        return false;
    };
    (platform.os.is_empty() || platform.os.eq_ignore_ascii_case(&description.os))
        && (platform.arch.is_empty() || plain_arch(&platform.arch) == plain_arch(&description.arch))
}

/// Tasks of the same service on the node that should run, without those whose place another one inherits.
fn copies(state: &State, task: &Task, node: NodeId) -> u64 {
    let wanted = |other: &&std::sync::Arc<Task>| {
        other.plan.node == Some(node)
            && other.plan.desired.wants_to_run()
            && !other.status.state.is_terminal()
    };
    let all: Vec<_> = state.tasks_of_service(task.plan.service).filter(wanted).collect();
    let inherited =
        |other: &&&std::sync::Arc<Task>| !all.iter().any(|heir| heir.plan.inherits == Some(other.id));
    all.iter().filter(inherited).count() as u64
}

pub(super) fn check_available(transition: &Transition<'_>, found: &mut Vec<String>) {
    for task in newly_placed(transition) {
        let Some(node) = task.plan.node.and_then(|node| transition.before.node(node)) else {
            continue;
        };
        let takes_tasks = node.status.state == NodeState::Ready
            && node.plan.availability == Availability::Active
            && node.plan.removing_since.is_none();
        if !takes_tasks {
            let (state, availability) = (node.status.state, node.plan.availability);
            found.push(format!(
                "task {} was placed on node {}: {state}, {availability}",
                task.id, node.id
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::node::Availability;
    use shoal_proto::service::{Mode, Placement, TaskTemplate};
    use shoal_proto::task::TaskState;

    use crate::fixture::Fixture;

    #[test]
    fn a_task_on_a_drained_node_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        fixture.edit_node(node, |node| node.plan.availability = Availability::Drain);
        fixture.task(web, 1, Some(node), TaskState::Assigned);
        assert_eq!(fixture.violated(), ["placement"]);
    }

    #[test]
    fn a_task_against_its_constraint_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let constraints = vec!["node.hostname == elsewhere".to_owned()];
        let placement = Placement {
            constraints,
            ..Placement::default()
        };
        let template = TaskTemplate {
            placement,
            ..TaskTemplate::default()
        };
        let web = fixture.service_with("web", Mode::default(), template);
        fixture.task(web, 1, Some(node), TaskState::Assigned);
        assert_eq!(fixture.violated(), ["placement"]);
    }

    #[test]
    fn a_copy_too_many_on_one_node_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let placement = Placement {
            max_replicas_per_node: 1,
            ..Placement::default()
        };
        let template = TaskTemplate {
            placement,
            ..TaskTemplate::default()
        };
        let web = fixture.service_with("web", Mode::default(), template);
        fixture.task(web, 1, Some(node), TaskState::Assigned);
        assert!(fixture.violated().is_empty());
        fixture.task(web, 2, Some(node), TaskState::Assigned);
        assert_eq!(fixture.violated(), ["placement"]);
    }
}
