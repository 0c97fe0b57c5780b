//! The only reader of the system's time in this program, and the maker of cluster time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use shoal_proto::time::Timestamp;

/// The host's clock. For certificates and log lines; decisions use [`ClusterClock`].
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one file that reads the time"
)]
pub fn system_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Cluster time as one leader tells it: begins at the later of its host's clock and the newest stored time, and is moved
/// by the monotonic clock alone. A host's clock that jumps moves nothing.
#[derive(Debug, Clone, Copy)]
pub struct ClusterClock {
    begin: Timestamp,
    since: Instant,
}

impl ClusterClock {
    /// Begins now, at no less than `newest_stored`.
    #[must_use]
    pub fn start(newest_stored: Timestamp) -> Self {
        Self {
            begin: system_now().max(newest_stored),
            since: Instant::now(),
        }
    }

    /// Cluster time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.begin + u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::time::Timestamp;

    use super::{ClusterClock, system_now};

    #[test]
    fn cluster_time_never_goes_back_behind_what_is_stored() {
        let future = system_now() + 3_600_000;
        let clock = ClusterClock::start(future);
        assert!(clock.now() >= future);
        assert!(ClusterClock::start(Timestamp::ZERO).now() >= Timestamp::from_ms(1_600_000_000_000));
    }
}
