//! The durable log: entries, vote and committed position, synced before they are acknowledged.
//!
//! It never repairs by forgetting. A file that is damaged, shortened or newer is refused with the ways out.

mod check;
mod table;
mod view;
mod witness;
mod writer;

use std::fmt::Debug;
use std::fs;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use self::table::{Change, Found, Table};
use self::view::{View, cost};
use self::witness::Witness;
use self::writer::{Done, Queue, next_index};
use super::disk::Disk;
use super::error::OpenError;
use super::file::{Layer, sync_dir_of};
use super::seal::Sealer;
use super::types::{Entry, LogId, Types, Vote};

/// Bytes of entries sent to another manager in one message, and read at once when they are applied.
const READ_BYTES: usize = 1024 * 1024 + 64 * 1024;

/// Entries in one such message.
const READ_ENTRIES: u64 = 512;

/// Where the log is and what it stands on.
pub(crate) struct LogConfig {
    /// The directory with the log's files. Exists.
    pub(crate) dir: PathBuf,
    /// The raft id of a log that does not exist yet.
    pub(crate) new_raft_id: u64,
    /// The last entry that the snapshots on disk contain.
    pub(crate) snapshot: Option<LogId>,
    /// Between the log and its file; none in the running program.
    pub(crate) layer: Option<Arc<dyn Layer>>,
}

/// The log. Clones are the same log.
#[derive(Clone)]
pub(crate) struct Log {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    raft_id: u64,
}

struct Shared {
    dir: PathBuf,
    table: Table,
    sealer: Arc<Sealer>,
    disk: Arc<Disk>,
    view: Mutex<View>,
}

impl Shared {
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().expect("no holder of this lock panics")
    }

    // The file's pages in memory may differ from those on disk. The next start writes it anew.
    fn suspect(&self) {
        let path = suspect_path(&self.dir);
        if let Err(error) = fs::write(&path, b"a sync of the log failed\n").and_then(|()| sync_dir_of(&path))
        {
            tracing::error!(path = %path.display(), %error, "cannot mark the log as suspect");
        }
    }
}

fn log_path(dir: &Path) -> PathBuf {
    dir.join("log.redb")
}

fn suspect_path(dir: &Path) -> PathBuf {
    dir.join("log.suspect")
}

impl Log {
    /// Opens the log and reads it all, or makes it.
    pub(crate) fn open(config: LogConfig, sealer: Arc<Sealer>, disk: Arc<Disk>) -> Result<Self, OpenError> {
        let path = log_path(&config.dir);
        let existed = path.exists();
        let at = |path: &Path, source| OpenError::Io {
            path: path.to_path_buf(),
            source,
        };
        let witness_path = config.dir.join("log.witness");
        // An empty one saw nothing: it is made before the log's first write.
        if !existed && fs::metadata(&witness_path).is_ok_and(|m| m.len() > 0) {
            return Err(OpenError::Damaged {
                path,
                reason: "it is missing, though it was written to".into(),
            });
        }
        if suspect_path(&config.dir).exists() && existed {
            write_anew(&config.dir, &sealer)?;
        }
        let (witness, seen) = Witness::open(&witness_path, &sealer).map_err(|e| at(&witness_path, e))?;
        let accept = |found: &Found| compare(&path, found, seen, config.snapshot);
        let (table, found) = Table::open(&path, sealer.clone(), config.layer, config.new_raft_id, accept)?;
        let shared = Arc::new(Shared {
            dir: config.dir,
            table,
            sealer,
            disk,
            view: Mutex::new(View::new(&found)),
        });
        let (queue, _thread) =
            Queue::start(shared.clone(), witness, found.writes).map_err(|e| at(&path, e))?;
        Ok(Log {
            shared,
            queue: Arc::new(queue),
            raft_id: found.raft_id,
        })
    }

    /// The raft id this log belongs to.
    pub(crate) fn raft_id(&self) -> u64 {
        self.raft_id
    }

    /// True while nothing was ever written: no vote, no entry.
    pub(crate) fn is_pristine(&self) -> bool {
        let view = self.shared.view();
        view.vote.is_none() && view.last.is_none()
    }

    /// Writes what waits and closes the file.
    pub(crate) async fn close(&self) {
        self.queue.close().await;
    }

    async fn written(&self, changes: Vec<Change>) -> io::Result<()> {
        let (told, done) = oneshot::channel();
        self.queue.write(changes, 0, Done::Told(told)).await?;
        done.await.map_err(|_| io::Error::other("the log is closed"))?
    }

    async fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let (on_disk, newest) = self.shared.view().read(range, max_bytes);
        if on_disk.is_empty() {
            return Ok(newest);
        }
        let shared = self.shared.clone();
        let read = tokio::task::spawn_blocking(move || shared.table.read(on_disk, max_bytes)).await;
        let mut entries = read.map_err(io::Error::other)?.map_err(io::Error::other)?;
        // What is on disk may have filled the page; then the newest must wait for the next one.
        let follows = match (entries.last(), newest.first()) {
            (Some(last), Some(first)) => last.log_id.index + 1 == first.log_id.index,
            _ => true,
        };
        if !follows {
            return Ok(entries);
        }
        let mut bytes: usize = entries.iter().map(cost).sum();
        entries.extend(newest.into_iter().take_while(|entry| {
            bytes = bytes.saturating_add(cost(entry));
            bytes <= max_bytes
        }));
        Ok(entries)
    }
}

fn compare(path: &Path, found: &Found, seen: Option<u64>, snapshot: Option<LogId>) -> Result<(), OpenError> {
    if let Some(acknowledged) = seen.filter(|seen| *seen > found.writes) {
        return Err(OpenError::Shortened {
            path: path.to_path_buf(),
            found: found.writes,
            acknowledged,
        });
    }
    // A snapshot from the leader may be ahead of the log for a moment, and a crash may fall into it.
    let end = found.last.max(snapshot);
    match found.committed {
        Some(committed) if Some(committed) > end => Err(OpenError::Damaged {
            path: path.to_path_buf(),
            reason: format!(
                "entry {} was committed, and the log ends before it",
                committed.index
            ),
        }),
        _ => Ok(()),
    }
}

// After a failed sync: every record is read, checked, and written to a new file that takes the old one's place.
fn write_anew(dir: &Path, sealer: &Arc<Sealer>) -> Result<(), OpenError> {
    let (path, new_path) = (log_path(dir), dir.join("log.redb.new"));
    let at = |path: &Path, source| OpenError::Io {
        path: path.to_path_buf(),
        source,
    };
    if new_path.exists() {
        fs::remove_file(&new_path).map_err(|e| at(&new_path, e))?;
    }
    let (old, found) = Table::open(&path, sealer.clone(), None, 0, |_| Ok(()))?;
    let (new, _) = Table::open(&new_path, sealer.clone(), None, found.raft_id, |_| Ok(()))?;
    let mut changes: Vec<Change> = found.purged.map(Change::Purge).into_iter().collect();
    changes.extend(found.vote.map(Change::Vote));
    changes.push(Change::Committed(found.committed));
    new.write(&changes, found.writes)?;
    let end = found.last.map_or(0, |l| l.index + 1);
    let mut next = found.purged.map_or(0, |p| p.index + 1);
    while next < end {
        let entries = old.read(next..end, READ_BYTES)?;
        next = next_index(&entries);
        let puts: Vec<Change> = entries.into_iter().map(Change::Put).collect();
        new.write(&puts, found.writes)?;
    }
    old.close();
    new.close();
    fs::rename(&new_path, &path)
        .and_then(|()| sync_dir_of(&path))
        .map_err(|e| at(&path, e))?;
    let mark = suspect_path(dir);
    fs::remove_file(&mark)
        .and_then(|()| sync_dir_of(&mark))
        .map_err(|e| at(&mark, e))?;
    tracing::warn!(path = %path.display(), "the log was written anew, after a sync of it had failed");
    Ok(())
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let range = bounds(&range);
        let mut out: Vec<Entry> = Vec::new();
        let mut next = range.start;
        while next < range.end {
            let entries = self.read(next..range.end, usize::MAX).await?;
            if entries.is_empty() {
                break;
            }
            next = next_index(&entries);
            out.extend(entries);
        }
        Ok(out)
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl futures::Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        // A page at a time: a manager that catches up must not hold all it applies in memory.
        let pages = futures::stream::try_unfold((self.clone(), bounds(&range)), |(log, range)| async move {
            if range.start >= range.end {
                return Ok(None);
            }
            let entries = log.read(range.clone(), READ_BYTES).await?;
            if entries.is_empty() {
                return Ok::<_, io::Error>(None);
            }
            let rest = next_index(&entries)..range.end;
            let page = futures::stream::iter(entries.into_iter().map(Ok));
            Ok(Some((page, (log, rest))))
        });
        Box::pin(futures::TryStreamExt::try_flatten(pages))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.shared.view().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start..end.min(start + READ_ENTRIES), READ_BYTES).await
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let view = self.shared.view();
        Ok(LogState {
            last_purged_log_id: view.purged,
            last_log_id: view.last,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.written(vec![Change::Vote(*vote)]).await?;
        self.shared.view().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.shared.view().committed = committed;
        // An older one read after a crash only means that the leader says it again.
        self.queue.lazy(Change::Committed(committed))
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.shared.view().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let bytes = entries.iter().map(cost).sum();
        let next = next_index(&entries);
        {
            let mut view = self.shared.view();
            entries.iter().for_each(|e| view.append(e));
        }
        let changes = entries.into_iter().map(Change::Put).collect();
        self.queue
            .write(changes, bytes, Done::Flushed(callback, next))
            .await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.shared.view().truncate_after(last);
        self.written(vec![Change::TruncateAfter(last.map(|l| l.index))])
            .await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.shared.view().purge(upto);
        // Ordered before whatever is appended next; durable with it. Purged entries that come back after a crash are
        // in the snapshot and are purged again.
        self.queue.write(vec![Change::Purge(upto)], 0, Done::Nobody).await
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(&at) => at,
        Bound::Excluded(&at) => at + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&at) => at.saturating_add(1),
        Bound::Excluded(&at) => at,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

#[cfg(test)]
#[path = "log_test.rs"]
mod tests;
