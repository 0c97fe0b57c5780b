//! What an operator on this host can order the daemon to do, and what the daemon says of itself. Values only.

use std::collections::BTreeMap;

use shoal_proto::cluster::ClusterSpec;
use shoal_proto::identity::{JoinToken, Membership};
use tokio::sync::oneshot;
use tonic::Status;

/// What this daemon is doing, for `status` and the health page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DaemonState {
    /// In one word.
    pub phase: Phase,
    /// Which cluster and node; none while waiting.
    pub membership: Option<Membership>,
    /// What is awaited or wrong.
    pub message: String,
    /// What is not as it should be on this host while it is a member.
    pub problems: Vec<String>,
}

/// What this daemon is doing, in one word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// No identity: an order is awaited.
    #[default]
    Waiting,
    /// Founding, joining, or coming back; an agent also while no manager has its session.
    Joining,
    /// A member.
    Running,
    /// The membership has ended.
    Removed,
}

impl Phase {
    /// As `status` shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Joining => "joining",
            Self::Running => "running",
            Self::Removed => "removed",
        }
    }
}

/// An order, with the place for its answer.
#[derive(Debug)]
pub enum Order {
    /// Found a cluster.
    Init(InitOrder, Answer<Outcome>),
    /// Join one.
    Join(JoinOrder, Answer<Outcome>),
    /// Leave it. The answer tells what of the cluster is left on this host.
    Leave(LeaveOrder, Answer<Vec<String>>),
}

/// Where an order's answer goes.
pub type Answer<T> = oneshot::Sender<Result<T, Status>>;

/// Found a cluster.
#[derive(Debug, Clone)]
pub struct InitOrder {
    /// Managers that must not answer.
    pub peers: Vec<String>,
    /// Labels of this node.
    pub labels: BTreeMap<String, String>,
    /// Address or interface.
    pub advertise: Option<String>,
    /// What to do about an ended membership.
    pub former: FormerMembership,
    /// Rules of the cluster.
    pub spec: ClusterSpec,
}

/// Join a cluster.
#[derive(Debug, Clone)]
pub struct JoinOrder {
    /// host:port of a manager.
    pub address: String,
    /// The token.
    pub token: JoinToken,
    /// Labels of this node.
    pub labels: BTreeMap<String, String>,
    /// Address or interface.
    pub advertise: Option<String>,
    /// What to do about another membership.
    pub former: FormerMembership,
}

/// What to do about a membership that is or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormerMembership {
    /// It stands in the way.
    Keep,
    /// It goes: `--reset`.
    GiveUp,
}

/// Leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveOrder {
    /// Only if the managers agree, and what belongs to the cluster is gone from this host.
    Orderly,
    /// In any case.
    Forced,
}

/// Where an init or a join led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Cluster and node.
    pub membership: Membership,
    /// Whether it was so before.
    pub before: Before,
    /// For the operator.
    pub warnings: Vec<String>,
}

/// Whether an order changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It was so already.
    Already,
    /// It is new.
    New,
}

/// Answers an order.
pub fn answer_with<T>(answer: Answer<T>, with: Result<T, Status>) {
    // Whoever asked may have gone; the order was carried out all the same.
    if answer.send(with).is_err() {
        tracing::debug!("nobody waits for the answer any more");
    }
}
