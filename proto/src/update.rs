//! How a service changes: the rules an operator gives, and how far a change has come.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::RevisionId;
use crate::reason::Reason;
use crate::time::Timestamp;

/// Rules of an update or of a rollback. Defaults are Swarm's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdatePolicy {
    /// Slots replaced at once; zero means all.
    pub parallelism: u64,
    /// Wait between two batches.
    pub delay_ms: u64,
    /// What to do when too many tasks fail.
    pub failure_action: FailureAction,
    /// How long a new task is watched after it runs; zero means not at all.
    pub monitor_ms: u64,
    /// Share of failed slots that is still accepted, in millionths: 250,000 is a quarter.
    pub max_failure_ratio_ppm: u32,
    /// Which of the two tasks of a slot goes first.
    pub order: UpdateOrder,
}

impl Default for UpdatePolicy {
    fn default() -> Self {
        Self {
            parallelism: 1,
            delay_ms: 0,
            failure_action: FailureAction::Pause,
            monitor_ms: 5_000,
            max_failure_ratio_ppm: 0,
            order: UpdateOrder::StopFirst,
        }
    }
}

/// What an update does when more than the accepted share of its slots failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureAction {
    /// Stop here and wait for the operator.
    #[default]
    Pause,
    /// Go on.
    Continue,
    /// Go back to the revision before. Not valid for a rollback.
    Rollback,
}

/// Which task of a slot goes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateOrder {
    /// The old task stops before the new one starts.
    #[default]
    StopFirst,
    /// The new task runs before the old one stops.
    StartFirst,
}

/// An update or rollback under way, or the last one that ended. Everything a new leader needs to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Forward or back.
    pub direction: Direction,
    /// Where it stands.
    pub state: RolloutState,
    /// The revision it started from.
    pub from: RevisionId,
    /// The revision it leads to.
    pub to: RevisionId,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended, paused, or turned back.
    pub ended_at: Option<Timestamp>,
    /// When the last batch was complete; the delay counts from here.
    pub batch_done_at: Option<Timestamp>,
    /// Slots whose new task failed since the start.
    pub failed_slots: u64,
    /// Why it paused, turned back or waits.
    pub reason: Option<Reason>,
    /// While an operator has it paused: the reason before that.
    #[serde(default)]
    pub reason_before_pause: Option<Reason>,
}

/// Whether a rollout leads to a new revision or back to an older one's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// Asked for by an operator: an update.
    Update,
    /// Back, by an operator or by the failure action.
    Rollback,
}

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RolloutState {
    /// Replacing slots.
    Running,
    /// Stopped until the operator says go on.
    Paused,
    /// All slots run the new revision and were watched long enough.
    Completed,
}

/// What an operator may say to a rollout that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steering {
    /// Begin with no further slot. What has begun is finished, and old tasks go on.
    Pause,
    /// Go on after such a pause: failures so far count.
    Resume,
    /// Go on after any pause: failures so far no longer count.
    Continue,
    /// Go back to the last revision that was good.
    Abort,
}

impl fmt::Display for Steering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Continue => "continue",
            Self::Abort => "abort",
        })
    }
}
