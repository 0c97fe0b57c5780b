//! Moves a log on that stands still though a quorum is in touch.
//!
//! openraft may lose the word that a manager took an entry, seen where the group changes just after that manager came
//! back: everybody has the entry, the leader does not know it, and nothing is sent again before another entry is
//! written. Then an entry of nothing is written.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::handle::RaftHandle;
use super::types::Command;

/// An entry that waits from one look to the next, while nothing else is committed, waits too long.
const LOOK: Duration = Duration::from_millis(300);

/// Between two entries of nothing at most this long.
const DEADLINE: Duration = Duration::from_secs(2);

/// Looks for as long as this manager runs.
pub(crate) async fn run(handle: RaftHandle) {
    let mut waited_since = None;
    loop {
        sleep(LOOK).await;
        let waits_since = handle.stands_still_at();
        if waits_since.is_some() && waits_since == waited_since {
            tracing::debug!(committed = ?waits_since, "the log stands still: an entry of nothing is written");
            let write = handle.inner.raft.client_write(Command(Arc::from([])));
            // Whoever wrote the entry that waits is told; of this one there is nothing to tell.
            drop(timeout(DEADLINE, write).await);
        }
        waited_since = waits_since;
    }
}
