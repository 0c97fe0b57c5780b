//! What to answer an agent that finds containers of its cluster which are not in its set: keep, or remove.
//! Only the second is a word to stop anything, and it is given only where the state proves it.

use shoal_proto::id::{NodeId, TaskId};

use crate::state::State;

/// The highest set an agent has obeyed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Obeyed {
    /// The cluster's incarnation in it.
    pub incarnation: u64,
    /// The index in it.
    pub index: u64,
}

/// What to do with a container that is in no set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Leave it as it is: it is, or may be, yet to come in a set, or an operator must say.
    Keep,
    /// It ended, was superseded, or never was: stop and remove it.
    Remove,
}

/// One verdict per reported task, in the order they were reported.
///
/// - A task that the state has on this node is kept: the set says what becomes of it.
/// - A task that the state has on another node is a copy and goes: a task has one node for ever.
/// - A task that the state does not have goes, if the state is at least as new as all the agent has obeyed and
///   as the task itself: then it was here once and was forgotten, or never was.
/// - Under a newer incarnation than the agent's, nothing goes until an operator says so.
#[must_use]
pub fn judge(state: &State, node: NodeId, obeyed: Obeyed, reported: &[TaskId]) -> Vec<(TaskId, Verdict)> {
    reported
        .iter()
        .map(|task| (*task, judge_one(state, node, obeyed, *task)))
        .collect()
}

fn judge_one(state: &State, node: NodeId, obeyed: Obeyed, id: TaskId) -> Verdict {
    let incarnation = state.cluster().map(|cluster| cluster.incarnation);
    if incarnation != Some(obeyed.incarnation) {
        return Verdict::Keep;
    }
    match state.task(id) {
        Some(task) if task.plan.node.is_some_and(|other| other != node) => Verdict::Remove,
        Some(_) => Verdict::Keep,
        None if state.index() < obeyed.index || id.created_at() > state.newest_time() => Verdict::Keep,
        None => Verdict::Remove,
    }
}

#[cfg(test)]
#[path = "report_test.rs"]
mod tests;
