//! Settings of the room, with where each number comes from.

use std::path::PathBuf;
use std::sync::Arc;

use openraft::{Config, SnapshotPolicy};

use super::disk::{Probe, Room};
use super::error::OpenError;
use super::file::Layer;

/// An entry may not be larger than this, bytes.
pub const MAX_ENTRY_BYTES: usize = 1024 * 1024;

/// Between two heartbeats, milliseconds.
const HEARTBEAT_MS: u64 = 100;

/// openraft lets a follower stand for election when the leader's lease, which is the larger number, and then a time
/// between the two have passed without a word: 750 to 1000 ms here. The first write after a leader's death is accepted
/// in little more than that.
const ELECTION_MIN_MS: u64 = 250;
const ELECTION_MAX_MS: u64 = 500;

/// A snapshot is made after so many entries.
const SNAPSHOT_ENTRIES: u64 = 10_000;

/// Entries kept behind a snapshot, so that a manager that was away for a moment catches up by log.
const KEPT_ENTRIES: u64 = 2_000;

/// Entries are dropped from the log in lots of this size.
const PURGE_ENTRIES: u64 = 256;

/// A new manager takes part as soon as it lacks no more than this.
const LAG_ENTRIES: u64 = 1_000;

/// Where the room's files are, and how it watches its disk.
#[derive(Clone)]
pub struct RaftConfig {
    /// The room's own directory. Made if it does not exist, mode 0700.
    pub dir: PathBuf,
    /// The reserve, and when the disk counts as full.
    pub room: Room,
    /// Entries after which a snapshot is made, and entries kept behind it.
    pub snapshot: SnapshotRule,
    pub(crate) layer: Option<Arc<dyn Layer>>,
    pub(crate) probe: Option<Probe>,
}

/// When the log is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotRule {
    /// A snapshot is made after so many entries.
    pub entries: u64,
    /// Entries kept behind a snapshot.
    pub kept: u64,
    /// A snapshot is also made after commands of so many bytes.
    pub bytes: u64,
}

impl Default for SnapshotRule {
    fn default() -> Self {
        SnapshotRule {
            entries: SNAPSHOT_ENTRIES,
            kept: KEPT_ENTRIES,
            bytes: 32 * 1024 * 1024,
        }
    }
}

impl RaftConfig {
    /// The usual settings for a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        RaftConfig {
            dir: dir.into(),
            room: Room::default(),
            snapshot: SnapshotRule::default(),
            layer: None,
            probe: None,
        }
    }

    pub(crate) fn openraft(&self) -> Result<Arc<Config>, OpenError> {
        let config = Config {
            cluster_name: "shoal".into(),
            heartbeat_interval: HEARTBEAT_MS,
            election_timeout_min: ELECTION_MIN_MS,
            election_timeout_max: ELECTION_MAX_MS,
            enable_pre_vote: Some(true),
            // After a restart the log says who may lead, not the memory of having led.
            enable_leader_restore: Some(false),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot.entries),
            max_in_snapshot_log_to_keep: self.snapshot.kept,
            replication_lag_threshold: self.snapshot.entries.max(LAG_ENTRIES) * 2,
            purge_batch_size: self.snapshot.entries.clamp(1, PURGE_ENTRIES),
            backoff: "50ms 100ms 200ms ...500ms".into(),
            // What waits in it is memory. openraft's inner channels keep their own bounds: made small, two of its tasks
            // could wait for each other.
            api_channel_size: Some(1024),
            ..Config::default()
        };
        config
            .validate()
            .map(Arc::new)
            .map_err(|e| OpenError::Start(e.to_string()))
    }
}
