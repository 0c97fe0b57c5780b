//! How a status is merged: never backwards, never from an older epoch, never out of a terminal state.
//! Statuses need no guard because of this; whatever is not taken leaves the stored one as it is.

use shoal_proto::id::NodeId;
use shoal_proto::node::{Node, NodeStatus};
use shoal_proto::task::{Task, TaskState, TaskStatus};

/// The status of a task after its agent's report; none when the report changes nothing.
/// `node_epoch` is the newest epoch known of the reporting node.
pub(crate) fn task_report(
    task: &Task,
    node: NodeId,
    node_epoch: u64,
    report: &TaskStatus,
) -> Option<TaskStatus> {
    let stored = &task.status;
    let older = report.epoch < stored.epoch || report.epoch < node_epoch;
    if task.plan.node != Some(node) || older || stored.state.is_terminal() || report.state < stored.state {
        return None;
    }
    let mut merged = report.clone();
    merged.version = stored.version;
    if merged.state == stored.state {
        merged.since = stored.since;
    }
    keep_facts(&mut merged, stored);
    if merged == *stored {
        return None;
    }
    merged.version += 1;
    Some(merged)
}

/// The status of a task that is planned anew: the managers' word counts only where it is further.
pub(crate) fn task_plan(stored: &TaskStatus, planned: &TaskStatus) -> TaskStatus {
    if stored.state.is_terminal() || planned.state <= stored.state {
        return stored.clone();
    }
    let mut merged = planned.clone();
    merged.version = stored.version + 1;
    merged.epoch = merged.epoch.max(stored.epoch);
    keep_facts(&mut merged, stored);
    merged
}

/// Facts that outlive the state they were told in.
fn keep_facts(merged: &mut TaskStatus, stored: &TaskStatus) {
    if merged.container.is_none() {
        merged.container.clone_from(&stored.container);
    }
    merged.running_since = stored.running_since.or(match merged.state {
        TaskState::Running => Some(merged.since),
        _ => None,
    });
}

/// The status of a node after a report; none when it changes nothing. What a report leaves empty is kept.
pub(crate) fn node_report(node: &Node, report: &NodeStatus) -> Option<NodeStatus> {
    let stored = &node.status;
    if report.epoch < stored.epoch {
        return None;
    }
    let mut merged = report.clone();
    merged.version = stored.version;
    if merged.boot_id.is_empty() {
        merged.boot_id.clone_from(&stored.boot_id);
    }
    if merged.addr.is_none() {
        merged.addr = stored.addr;
    }
    if merged.description.is_none() {
        merged.description.clone_from(&stored.description);
    }
    if merged.state == stored.state {
        merged.since = stored.since;
    }
    if merged == *stored {
        return None;
    }
    merged.version += 1;
    Some(merged)
}

#[cfg(test)]
#[path = "merge_test.rs"]
mod tests;
