//! Property 28: What is said of a node when a task leaves it is true: it is down, drained, or gone. Tasks elsewhere are
//! not touched for it.

use shoal_proto::id::NodeId;
use shoal_proto::node::{Availability, NodeState};
use shoal_proto::reason::Reason;

use super::{Transition, changed_tasks};
use crate::state::State;

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    for (before, after) in changed_tasks(transition) {
        let told_now = before.is_some_and(|task| task.plan.stop_reason.is_none());
        let Some(reason) = after.plan.stop_reason.as_ref().filter(|_| told_now) else {
            continue;
        };
        let Some((node, holds)) = claim(transition, reason) else {
            continue;
        };
        if after.plan.node.is_some() && after.plan.node != Some(node) {
            found.push(format!(
                "task {} is stopped because of node {node}, where it is not",
                after.id
            ));
        } else if !holds {
            found.push(format!(
                "task {} is stopped for a reason that does not hold: {reason}",
                after.id
            ));
        }
    }
}

/// Which node a reason speaks of, and whether it holds before or after the entry.
fn claim(transition: &Transition<'_>, reason: &Reason) -> Option<(NodeId, bool)> {
    let sides = [transition.before, transition.after];
    let holds = |node: NodeId, of: fn(&State, NodeId) -> bool| sides.iter().any(|state| of(state, node));
    match reason {
        Reason::NodeDown(node) => Some((*node, holds(*node, is_lost))),
        Reason::NodeDrained(node) => Some((*node, holds(*node, is_drained))),
        Reason::NodeRemoved(node) => Some((*node, holds(*node, |state, node| state.node(node).is_none()))),
        _ => None,
    }
}

fn is_lost(state: &State, node: NodeId) -> bool {
    let state = state.node(node).map(|node| node.status.state);
    matches!(state, Some(NodeState::Down | NodeState::EngineDown) | None)
}

fn is_drained(state: &State, node: NodeId) -> bool {
    state.node(node).is_none_or(|node| {
        node.plan.availability == Availability::Drain || node.plan.removing_since.is_some()
    })
}

#[cfg(test)]
mod tests {
    use shoal_proto::reason::Reason;
    use shoal_proto::task::{DesiredState, TaskState};

    use crate::fixture::Fixture;

    #[test]
    fn a_task_that_is_stopped_for_a_node_that_is_not_down_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        let task = fixture.task(web, 1, Some(node), TaskState::Running);
        fixture.edit_task(task, |task| {
            task.plan.desired = DesiredState::Shutdown;
            task.plan.stop_reason = Some(Reason::NodeDown(node));
        });
        assert_eq!(fixture.violated(), ["evicted"]);
    }
}
