//! The one thread that writes the log: whatever waits is written together and synced once.
//!
//! Votes and entries pass through the same queue, so they reach the disk in the order Raft asked for.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use openraft::storage::IOFlushed;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::Shared;
use super::table::{Change, TableError};
use super::witness::Witness;
use crate::raft::file::Failure;
use crate::raft::types::{Entry, Types};

/// Bytes that may wait to be written, each order counting at least [`MIN_ORDER_BYTES`].
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
const MIN_ORDER_BYTES: usize = 1024;

/// Bytes written with one sync.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// How long the committed position may wait for something to be written with.
const COMMITTED_WAIT: Duration = Duration::from_millis(100);

/// Who is told when an order is durable.
pub(crate) enum Done {
    /// Raft, asynchronously; everything before this index is then on disk.
    Flushed(IOFlushed<Types>, u64),
    Told(oneshot::Sender<io::Result<()>>),
    Nobody,
}

impl Done {
    fn next_index(&self) -> Option<u64> {
        match self {
            Done::Flushed(_, next) => Some(*next),
            Done::Told(_) | Done::Nobody => None,
        }
    }
}

enum Order {
    Write {
        changes: Vec<Change>,
        bytes: usize,
        done: Done,
        _room: OwnedSemaphorePermit,
    },
    // Need not be synced by itself.
    Lazy(Change),
    Close(oneshot::Sender<()>),
}

/// Hands orders to the thread.
pub(crate) struct Queue {
    orders: Sender<Order>,
    room: Arc<Semaphore>,
}

impl Queue {
    pub(crate) fn start(
        shared: Arc<Shared>,
        witness: Witness,
        writes: u64,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (orders, waiting) = channel();
        let writer = Writer {
            shared,
            witness,
            writes,
            lazy: None,
            broken: None,
        };
        let thread = std::thread::Builder::new()
            .name("raft-log".into())
            .spawn(move || writer.run(&waiting))?;
        Ok((
            Queue {
                orders,
                room: Arc::new(Semaphore::new(QUEUE_BYTES)),
            },
            thread,
        ))
    }

    /// Queues a write; waits while too much waits already.
    pub(crate) async fn write(&self, changes: Vec<Change>, bytes: usize, done: Done) -> io::Result<()> {
        let permits = bytes.clamp(MIN_ORDER_BYTES, QUEUE_BYTES) as u32;
        let room = self
            .room
            .clone()
            .acquire_many_owned(permits)
            .await
            .map_err(|_| gone())?;
        self.orders
            .send(Order::Write {
                changes,
                bytes,
                done,
                _room: room,
            })
            .map_err(|_| gone())
    }

    /// Queues something that goes along with the next write.
    pub(crate) fn lazy(&self, change: Change) -> io::Result<()> {
        self.orders.send(Order::Lazy(change)).map_err(|_| gone())
    }

    /// Writes what waits and ends the thread.
    pub(crate) async fn close(&self) {
        let (told, closed) = oneshot::channel();
        if self.orders.send(Order::Close(told)).is_ok() {
            // An error means that the thread is gone, which is what was asked for.
            let _ = closed.await;
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the log is closed")
}

struct Writer {
    shared: Arc<Shared>,
    witness: Witness,
    writes: u64,
    lazy: Option<Change>,
    // Set once a write failed for good. Everything after it fails too.
    broken: Option<String>,
}

#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    bytes: usize,
    done: Vec<(Done, OwnedSemaphorePermit)>,
    close: Option<oneshot::Sender<()>>,
}

impl Writer {
    fn run(mut self, waiting: &Receiver<Order>) {
        loop {
            let Some(batch) = self.gather(waiting) else { break };
            let result = self.write(batch.changes, batch.bytes);
            if result.is_ok() {
                // Before anybody is told, so that a reader never misses both the cache and the file.
                if let Some(next) = batch.done.iter().filter_map(|(done, _)| done.next_index()).max() {
                    self.shared.view().flushed(next);
                }
            }
            for (done, _room) in batch.done {
                tell(done, &result);
            }
            if let Some(told) = batch.close {
                self.finish();
                // Nobody waits any more if the asker is gone.
                let _ = told.send(());
                return;
            }
        }
        self.finish();
    }

    // What waits, up to a batch. `None` when nobody can ask any more.
    fn gather(&mut self, waiting: &Receiver<Order>) -> Option<Batch> {
        let mut batch = Batch::default();
        let first = if self.lazy.is_none() {
            waiting.recv().ok()?
        } else {
            match waiting.recv_timeout(COMMITTED_WAIT) {
                Ok(order) => order,
                Err(RecvTimeoutError::Timeout) => {
                    batch.changes.extend(self.lazy.take());
                    return Some(batch);
                }
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        };
        self.take(first, &mut batch);
        while batch.bytes < BATCH_BYTES && batch.close.is_none() {
            match waiting.try_recv() {
                Ok(order) => self.take(order, &mut batch),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        if !batch.changes.is_empty() || batch.close.is_some() {
            batch.changes.extend(self.lazy.take());
        }
        Some(batch)
    }

    fn take(&mut self, order: Order, batch: &mut Batch) {
        match order {
            Order::Write {
                changes,
                bytes,
                done,
                _room,
            } => {
                batch.changes.extend(changes);
                batch.bytes += bytes;
                batch.done.push((done, _room));
            }
            Order::Lazy(change) => self.lazy = Some(change),
            Order::Close(told) => batch.close = Some(told),
        }
    }

    fn write(&mut self, changes: Vec<Change>, bytes: usize) -> Result<(), String> {
        if let Some(why) = &self.broken {
            return Err(why.clone());
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.shared.disk.look(bytes as u64);
        let mut result = self.shared.table.write(&changes, self.writes + 1);
        if result.is_err() && self.shared.table.last_failure() == Some(Failure::NoSpace) {
            result = self.write_from_reserve(&changes, result);
        }
        match result {
            Ok(()) => {
                self.writes += 1;
                if let Err(error) = self.witness.saw(&self.shared.sealer, self.writes) {
                    tracing::warn!(%error, "the log's witness was not written");
                }
                Ok(())
            }
            Err(error) => Err(self.broke(&error)),
        }
    }

    // A failed sync never comes here: what it left on disk is unknown, while a write that found no room changed nothing
    // that counts, and the file is recovered when it is opened again.
    fn write_from_reserve(
        &mut self,
        changes: &[Change],
        first: Result<(), TableError>,
    ) -> Result<(), TableError> {
        self.shared.disk.ran_out();
        match self.shared.table.reopen() {
            Ok(writes) if writes == self.writes => self.shared.table.write(changes, self.writes + 1),
            // The batch was written after all, and only what followed it failed.
            Ok(writes) if writes == self.writes + 1 => Ok(()),
            Ok(writes) => {
                tracing::error!(
                    writes,
                    expected = self.writes,
                    "the log lost writes when it was opened again"
                );
                first
            }
            Err(error) => {
                tracing::error!(%error, "the log did not open again after the disk was full");
                first
            }
        }
    }

    fn broke(&mut self, error: &TableError) -> String {
        let why = format!("the log takes no more writes: {error}");
        tracing::error!(%error, "the log takes no more writes");
        if self.shared.table.last_failure() == Some(Failure::Sync) {
            self.shared.suspect();
        }
        self.broken = Some(why.clone());
        why
    }

    fn finish(&mut self) {
        self.shared.table.close();
        if self.broken.is_none()
            && let Err(error) = self.witness.sync()
        {
            tracing::warn!(%error, "the log's witness was not synced");
        }
    }
}

fn tell(done: Done, result: &Result<(), String>) {
    let result = result.clone().map_err(io::Error::other);
    match done {
        Done::Flushed(callback, _) => callback.io_completed(result),
        Done::Told(sender) => {
            // The asker may have been cancelled; the write stands.
            let _ = sender.send(result);
        }
        Done::Nobody => {}
    }
}

/// Everything before this index is on disk once `entries` are.
pub(crate) fn next_index(entries: &[Entry]) -> u64 {
    entries.last().map_or(0, |e| e.log_id.index + 1)
}
