//! One port of the node as its listener and the balancer share it: the tasks behind it in turn, and every connection
//! counted, so that a task may drain. Opens nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shoal_proto::id::TaskId;
use tokio::sync::watch;

use super::Backend;

/// What a port's listener shares with the balancer.
pub(super) struct Port {
    backends: watch::Sender<Vec<Backend>>,
    next: AtomicUsize,
    open: Arc<OpenConnections>,
}

impl Port {
    /// A port with nobody behind it yet; its connections count among `open`.
    pub(super) fn new(open: Arc<OpenConnections>) -> Self {
        Self {
            backends: watch::Sender::new(Vec::new()),
            next: AtomicUsize::new(0),
            open,
        }
    }

    /// Puts these tasks behind it.
    pub(super) fn lead_to(&self, now: Vec<Backend>) {
        self.backends.send_if_modified(|backends| {
            let changed = *backends != now;
            *backends = now;
            changed
        });
    }

    /// The tasks behind it, starting with another one at every call.
    pub(super) fn in_turn(&self) -> Vec<Backend> {
        let mut list = self.backends.borrow().clone();
        if !list.is_empty() {
            let first = self.next.fetch_add(1, Ordering::Relaxed) % list.len();
            list.rotate_left(first);
        }
        list
    }

    /// Tells of every change of the tasks behind it.
    pub(super) fn changes(&self) -> watch::Receiver<Vec<Backend>> {
        self.backends.subscribe()
    }

    /// Counts a connection of a task for as long as the answer lives; none when the task has left meanwhile.
    pub(super) fn count(&self, backend: Backend) -> Option<Counted> {
        let task = backend.task;
        self.open.change(task, 1);
        let counted = Counted {
            task,
            open: Arc::clone(&self.open),
        };
        // Counted first, looked after: whoever waits for a task that has left sees this connection, or it sees that.
        self.backends.borrow().contains(&backend).then_some(counted)
    }
}

/// Connections per task, of all ports.
#[derive(Default)]
pub(super) struct OpenConnections {
    counts: watch::Sender<BTreeMap<TaskId, i64>>,
}

impl OpenConnections {
    fn change(&self, task: TaskId, by: i64) {
        self.counts.send_modify(|counts| {
            let count = counts.entry(task).or_default();
            *count += by;
            if *count <= 0 {
                counts.remove(&task);
            }
        });
    }

    /// Tells of every change.
    pub(super) fn counts(&self) -> watch::Receiver<BTreeMap<TaskId, i64>> {
        self.counts.subscribe()
    }

    /// Waits until the task has none.
    pub(super) async fn none_left(&self, task: TaskId) {
        let mut counts = self.counts();
        // Fails only without a sender, which is ours.
        counts.wait_for(|counts| !counts.contains_key(&task)).await.ok();
    }
}

/// One connection that is counted.
pub(super) struct Counted {
    task: TaskId,
    open: Arc<OpenConnections>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.change(self.task, -1);
    }
}
