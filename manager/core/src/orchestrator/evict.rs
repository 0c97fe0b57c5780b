//! How many tasks may be given up for lost nodes: when many nodes vanish at once the fault is likely elsewhere, and
//! a storm of replacements would hit those that are left. Counted from stored tasks, so a new leader goes on counting.

use shoal_proto::node::{Node, NodeState};
use shoal_proto::reason::Reason;
use shoal_proto::time::Timestamp;

use crate::state::State;

/// The span in which evictions are counted.
pub const WINDOW_MS: u64 = 60_000;

/// What is left of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// There is no limit, or nobody to evict.
    Unlimited,
    /// So many more; when there are none, the next at that time.
    Limited {
        /// How many.
        left: u32,
        /// When the oldest of the span no longer counts.
        next_at: Timestamp,
    },
}

impl Allowance {
    /// What the cluster's rule leaves at this moment.
    #[must_use]
    pub fn of(state: &State, now: Timestamp) -> Self {
        let limit = state.cluster_spec().evictions_per_minute;
        if limit == 0 || !state.nodes().any(|node| is_lost(node)) {
            return Self::Unlimited;
        }
        let evicted = state
            .tasks()
            .filter(|task| matches!(task.plan.stop_reason, Some(Reason::NodeDown(_))));
        let times = evicted.filter_map(|task| task.plan.stop_since);
        let recent: Vec<Timestamp> = times.filter(|at| now.ms_since(*at) < WINDOW_MS).collect();
        let used = u32::try_from(recent.len()).unwrap_or(u32::MAX);
        let next_at = recent.into_iter().min().unwrap_or(now) + WINDOW_MS;
        Self::Limited {
            left: limit.saturating_sub(used),
            next_at,
        }
    }

    /// Takes one; or says when the next may be taken.
    ///
    /// # Errors
    /// The time from which on there is one again.
    pub fn take(&mut self) -> Result<(), Timestamp> {
        match self {
            Self::Unlimited => Ok(()),
            Self::Limited { left: 0, next_at } => Err(*next_at),
            Self::Limited { left, .. } => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

/// Whether a node does not answer.
#[must_use]
pub fn is_lost(node: &Node) -> bool {
    matches!(node.status.state, NodeState::Down | NodeState::EngineDown)
}
