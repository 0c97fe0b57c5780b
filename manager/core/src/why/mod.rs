//! Why a task, a service or a node is as it is: told from what is stored and from what the scheduler itself says.
//! Reads only, and never part of a decision.

pub mod amount;
pub mod cause;
pub mod fix;
pub mod node;
pub mod remedy;
pub mod service;
pub mod task;
pub mod verdict;
mod words;

use std::sync::Arc;

use shoal_proto::id::{NodeId, TaskId};
use shoal_proto::reason::Reason;
use shoal_proto::service::SlotKey;
use shoal_proto::time::Timestamp;

use crate::scheduler::Nodes;
use crate::state::State;

pub use cause::Cause;
pub use fix::Fix;
pub use verdict::Verdict;

/// Slots, tasks or lines of one kind that one answer names at most.
pub const LISTED_MAX: usize = 100;

/// One moment of a cluster that is looked at.
#[derive(Debug)]
pub struct Look<'a> {
    state: &'a State,
    now: Timestamp,
    nodes: Nodes,
}

/// What is to be said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explanation {
    /// `web.1`, `web`, or the host's name.
    pub name: String,
    /// The one line that answers.
    pub summary: String,
    /// What else bears on it, a line each.
    pub facts: Vec<String>,
    /// For a task without a node: what each node says to it, the nearest first.
    pub verdicts: Vec<Verdict>,
    /// Nodes whose verdict is left out.
    pub verdicts_left_out: usize,
    /// What would help, the nearest first.
    pub fixes: Vec<Fix>,
    /// What is not as wanted: slots of a service, tasks that have to do with a node.
    pub matters: Vec<Matter>,
    /// How it came to this, oldest first.
    pub causes: Vec<Cause>,
}

/// One thing that is not as wanted, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matter {
    /// `web.1`.
    pub name: String,
    /// The task, where there is one.
    pub task: Option<TaskId>,
    /// The node it has.
    pub node: Option<NodeId>,
    /// Where it stands, in a word.
    pub stands: String,
    /// Why.
    pub reason: String,
}

impl<'a> Look<'a> {
    /// At a state, at a cluster time.
    #[must_use]
    pub fn at(state: &'a State, now: Timestamp) -> Self {
        Self {
            state,
            now,
            nodes: Nodes::of(state),
        }
    }

    fn node_name(&self, id: NodeId) -> String {
        words::node_name(self.state, id)
    }

    /// `web.1`, or `web.HOST` for a global service.
    fn slot_name(&self, service: &str, slot: SlotKey) -> String {
        match slot {
            SlotKey::Number(number) => format!("{service}.{number}"),
            SlotKey::Node(node) => format!("{service}.{}", self.node_name(node)),
        }
    }

    pub(crate) fn task_name(&self, task: &shoal_proto::task::Task) -> String {
        let service = self.state.service(task.plan.service);
        let name = service.map_or_else(|| task.plan.service.to_string(), |service| service.name.clone());
        self.slot_name(&name, task.plan.slot)
    }

    pub(crate) fn state(&self) -> &'a State {
        self.state
    }

    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    /// With names of nodes in place of ids.
    pub(crate) fn reason(&self, reason: &Reason) -> String {
        words::reason(self.state, reason)
    }

    fn task(&self, id: TaskId) -> Option<&'a Arc<shoal_proto::task::Task>> {
        self.state.task(id)
    }
}

#[cfg(test)]
#[path = "why_test.rs"]
mod tests;
