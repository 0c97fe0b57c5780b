//! What can go wrong in this room, in words for the operator.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::seal::SealError;
use super::types::Manager;

/// Why the log cannot be opened. None of these is ever repaired by dropping what was acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or directory could not be used.
    #[error("{path}: {source}")]
    Io {
        /// What could not be used.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "the raft log {path} is in use by another process; only one shoal-manager may run on a data directory"
    )]
    InUse {
        /// The log file.
        path: PathBuf,
    },
    /// A newer Shoal wrote it.
    #[error("{path} has format {found}, this program knows formats up to {known}; run the newer version")]
    Newer {
        /// What was found.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// It is not what was written.
    #[error("{path} is damaged: {reason}; it was left as it is. {WAYS_OUT}")]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// Its end is missing.
    #[error(
        "the raft log {path} was shortened: it ends at write {found}, but write {acknowledged} was acknowledged; \
         it was left as it is. {WAYS_OUT}"
    )]
    Shortened {
        /// The log file.
        path: PathBuf,
        /// The last write it holds.
        found: u64,
        /// The last write known to have been acknowledged.
        acknowledged: u64,
    },
    /// The key file cannot be used.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The configuration contradicts itself, or Raft would not start.
    #[error("raft does not start: {0}")]
    Start(String),
}

/// What an operator can do about a log that is refused.
pub(crate) const WAYS_OUT: &str = "ways out: if other managers hold the cluster, run `shoal node demote` for this node there, move \
                            this directory away, start this manager again and `shoal node promote` it; or restore \
                            this directory from a backup taken while the manager was stopped";

/// Why an entry was not accepted, or what is not known about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another manager leads. The entry was not written.
    #[error("this manager is not the leader{}", leader_hint(leader))]
    NotLeader {
        /// The leader, where it is known.
        leader: Option<Manager>,
    },
    /// Nobody leads, or the leader has no quorum. The entry was not written.
    #[error("no quorum: {reachable} of {voters} managers reachable, {needed} needed")]
    NoQuorum {
        /// Voters in touch, this manager included.
        reachable: usize,
        /// Voters in all.
        voters: usize,
        /// Voters needed.
        needed: usize,
    },
    /// The entry was accepted by the leader, and it is not known whether it will be kept. Ask again with the same
    /// request id to find out.
    #[error("the outcome is unknown: {reason}; the same request may be repeated")]
    OutcomeUnknown {
        /// What came between.
        reason: String,
    },
    /// The leader's disk is full. The entry was not written.
    #[error("the disk is full on the leader, {leader}: {} needs {missing_bytes} more bytes free", path.display())]
    DiskFull {
        /// Whose disk.
        leader: Manager,
        /// The directory without room.
        path: PathBuf,
        /// Bytes that must become free.
        missing_bytes: u64,
    },
    /// The disks of so many managers are full that no quorum could keep the entry. It was not written.
    #[error("the disks of {} of {voters} managers are full, {needed} with room are needed: make room on {}",
        full.len(), list(full))]
    DisksFull {
        /// Those without room.
        full: Vec<Manager>,
        /// Voters in all.
        voters: usize,
        /// Voters needed.
        needed: usize,
    },
    /// The entry is larger than an entry may be. It was not written.
    #[error("an entry of {size} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// Its size, bytes.
        size: usize,
        /// The limit, bytes.
        limit: usize,
    },
    /// This manager's log has stopped.
    #[error("the raft log has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// Why a linearizable read cannot be answered here and now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Another manager leads.
    #[error("this manager is not the leader{}", leader_hint(leader))]
    NotLeader {
        /// The leader, where it is known.
        leader: Option<Manager>,
    },
    /// Leadership could not be confirmed.
    #[error("no quorum: {reachable} of {voters} managers reachable, {needed} needed")]
    NoQuorum {
        /// Voters in touch, this manager included.
        reachable: usize,
        /// Voters in all.
        voters: usize,
        /// Voters needed.
        needed: usize,
    },
    /// The leader could not be confirmed, for want of room on the disks.
    #[error(
        "the leader cannot be confirmed: {reason}; every manager still reads what it has itself (--stale)"
    )]
    NoRoom {
        /// Whose disks.
        reason: String,
    },
    /// This manager's log has stopped.
    #[error("the raft log has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// Why the group was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Another manager leads.
    #[error("this manager is not the leader{}", leader_hint(leader))]
    NotLeader {
        /// The leader, where it is known.
        leader: Option<Manager>,
    },
    /// It would leave too few.
    #[error("{0}")]
    WouldLoseQuorum(String),
    /// There is no such member.
    #[error("manager {0} is not a member")]
    Unknown(u64),
    /// The number is taken by another, or the node is in already under another number.
    #[error("{0}")]
    Conflict(String),
    /// The new manager did not get the log in time. It was taken out again.
    #[error("manager {manager} did not catch up within {waited:?}: {reason}")]
    NotCaughtUp {
        /// The new manager.
        manager: Manager,
        /// How long it was waited for.
        waited: Duration,
        /// How far it came.
        reason: String,
    },
    /// The change did not come through in time; it may still.
    #[error("the change of managers did not come through: {0}")]
    Failed(String),
}

fn list(managers: &[Manager]) -> String {
    let names: Vec<String> = managers.iter().map(ToString::to_string).collect();
    names.join(" and ")
}

fn leader_hint(leader: &Option<Manager>) -> String {
    leader
        .as_ref()
        .map_or_else(|| ", and none is known".into(), |l| format!(", {l} is"))
}
