//! A task: one attempt to fill a slot. Never restarted in place; both its states only move forward.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::id::{NetworkId, NodeId, RevisionId, ServiceId, TaskId};
use crate::object::Meta;
use crate::reason::Reason;
use crate::service::SlotKey;
use crate::time::Timestamp;

/// One attempt to fill a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Never used again.
    pub id: TaskId,
    /// Version of the plan half.
    pub meta: Meta,
    /// Written by the leader and the API.
    pub plan: TaskPlan,
    /// Written for the agent, merged by rule.
    pub status: TaskStatus,
}

/// What the managers decided about a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskPlan {
    /// Whose.
    pub service: ServiceId,
    /// Which place it fills.
    pub slot: SlotKey,
    /// What it is made of.
    pub revision: RevisionId,
    /// Where it runs; set once.
    pub node: Option<NodeId>,
    /// Where it should go.
    pub desired: DesiredState,
    /// The task whose place it inherits on the same node: counted once for the pair, and started
    /// only when that container is gone.
    pub inherits: Option<TaskId>,
    /// The task it replaces, and why that was needed.
    pub replaces: Option<(TaskId, Reason)>,
    /// Held back until then: the restart delay, as since and duration.
    pub start_after: Option<(Timestamp, u64)>,
    /// Why it waits for a place, or why it stays where it is although its node is down or drained; none while all
    /// is well.
    pub pending: Option<Reason>,
    /// Why it should stop; none while it should run.
    pub stop_reason: Option<Reason>,
    /// When the desired state became `Shutdown`, `Complete` or `Remove`.
    pub stop_since: Option<Timestamp>,
    /// Its address on each network of the cluster, given with its node and never changed.
    #[serde(default)]
    pub addresses: Vec<(NetworkId, Ipv4Addr)>,
    /// Set while it is taken out of traffic, before it is told to stop; kept afterwards.
    #[serde(default)]
    pub leaving: Option<Leaving>,
}

/// How far a task is taken out of traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// Since when no new connection is for it.
    pub since: Timestamp,
    /// Since when all nodes that could send to it know, or were waited for long enough.
    pub quiet_since: Option<Timestamp>,
    /// Nodes that were not waited for any longer.
    pub unheard: Vec<NodeId>,
}

impl TaskPlan {
    /// A plan for a task that fills this place, and of which nothing more is decided.
    #[must_use]
    pub const fn new(service: ServiceId, slot: SlotKey, revision: RevisionId, desired: DesiredState) -> Self {
        Self {
            service,
            slot,
            revision,
            node: None,
            desired,
            inherits: None,
            replaces: None,
            start_after: None,
            pending: None,
            stop_reason: None,
            stop_since: None,
            addresses: Vec::new(),
            leaving: None,
        }
    }
}

/// What is known of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// Counts the changes of this half.
    pub version: u64,
    /// Where it is.
    pub state: TaskState,
    /// Since when, in the manager's cluster time.
    pub since: Timestamp,
    /// When it was first known to run; kept after its end, so that an update can tell an early failure.
    pub running_since: Option<Timestamp>,
    /// The node's epoch in which this was reported.
    pub epoch: u64,
    /// What the agent says about it, for people.
    pub message: String,
    /// Why it ended, where it ended.
    pub reason: Option<Reason>,
    /// Whether the end is the task's own doing and counts as an attempt.
    pub fault: Fault,
    /// Exit code of the container.
    pub exit_code: Option<i64>,
    /// The Engine's id of the container.
    pub container: Option<String>,
    /// Whether its health check holds; none without one.
    pub healthy: Option<bool>,
    /// Ports the Engine chose, as container port and node port.
    pub host_ports: Vec<(u16, u16)>,
}

/// Whose doing the end of a task was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The task's own: exit, failed health check, could not start.
    #[default]
    Own,
    /// Somebody else's: node loss, reboot, Engine restart, drain, operator.
    None,
}

/// Where a task is. The order is the meaning: a task never goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TaskState {
    /// Made; not yet looked at.
    #[default]
    New,
    /// Wants a node.
    Pending,
    /// Has a node.
    Assigned,
    /// The agent has it.
    Accepted,
    /// Image, networks, secrets.
    Preparing,
    /// Can start; waits for the word.
    Ready,
    /// Started, not yet healthy.
    Starting,
    /// Started, and healthy if it has a health check.
    Running,
    /// Ended with exit code 0.
    Complete,
    /// Stopped because it was asked to.
    Shutdown,
    /// Ended otherwise.
    Failed,
    /// Could not start on this node.
    Rejected,
    /// Its node is gone for good.
    Orphaned,
}

/// Where a task should go. Never goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DesiredState {
    /// Prepare and wait for the word.
    Ready,
    /// Run.
    #[default]
    Running,
    /// Run to the end.
    Complete,
    /// Stop, and stay in the history.
    Shutdown,
    /// Stop, and be forgotten.
    Remove,
}

impl TaskState {
    /// Whether nothing follows.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        self >= Self::Complete
    }
}

impl DesiredState {
    /// Whether the task should run or be ready to.
    #[must_use]
    pub fn wants_to_run(self) -> bool {
        self <= Self::Complete
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::New => "new",
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Orphaned => "orphaned",
        })
    }
}

impl fmt::Display for DesiredState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Shutdown => "shutdown",
            Self::Remove => "remove",
        })
    }
}
