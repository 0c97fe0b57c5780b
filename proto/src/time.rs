//! Cluster time as a value. It has no `now()`: reading a clock is an effect and belongs to `clock.rs` of a daemon.

use std::ops::Add;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, in cluster time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The epoch itself: before everything that ever happened in a cluster.
    pub const ZERO: Self = Self(0);

    /// From milliseconds since the epoch.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// Milliseconds from `earlier` to here, zero when `earlier` is later.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for Timestamp {
    type Output = Self;
    /// Moves on by milliseconds, stopping at the end of time rather than wrapping.
    fn add(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}
