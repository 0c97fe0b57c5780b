//! The log's redb file: what is in it, how it is opened and checked, how a batch is written.
//!
//! Every value is sealed; only the format number and the write count are plain. Callers decide when; nothing here waits,
//! caches or runs by itself.

use std::fs;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use redb::{Builder, Database, ReadableDatabase, StorageBackend, TableDefinition, WriteTransaction};

use super::check;
use crate::raft::error::OpenError;
use crate::raft::file::{Failure, Health, Layer, LogFile, sync_dir_of};
use crate::raft::overlay::Overlay;
use crate::raft::record::{RecordError, decode_entry, encode_entry, encode_log_id, encode_vote};
use crate::raft::seal::{SealError, Sealer};
use crate::raft::types::{Entry, LogId, Vote};

/// Format of the log file as a whole.
pub(crate) const FORMAT: u32 = 1;

pub(super) const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

pub(super) const KEY_FORMAT: &str = "format";
pub(super) const KEY_WRITES: &str = "writes";
pub(super) const KEY_RAFT_ID: &str = "raft_id";
pub(super) const KEY_VOTE: &str = "vote";
pub(super) const KEY_COMMITTED: &str = "committed";
pub(super) const KEY_PURGED: &str = "purged";

/// Memory that redb may use for pages, bytes. Recent entries are cached by the log itself.
const PAGE_CACHE_BYTES: usize = 2 * 1024 * 1024;

/// One change of the file. A batch of them becomes durable as a whole or not at all.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Put(Entry),
    Vote(Vote),
    Committed(Option<LogId>),
    /// Drops everything after that index; everything, when there is none.
    TruncateAfter(Option<u64>),
    /// Drops everything up to and with that position.
    Purge(LogId),
}

/// Why a batch was not written, or a range not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    #[error(transparent)]
    Redb(#[from] Box<redb::Error>),
    #[error("entry {index}: {source}")]
    Seal { index: u64, source: SealError },
    #[error("entry {index}: {source}")]
    Record { index: u64, source: RecordError },
    #[error("the log file is closed")]
    Closed,
}

macro_rules! from_redb {
    ($target:ident, $error:ident => $body:expr, $($source:ty),+) => {
        $(impl From<$source> for $target {
            fn from(source: $source) -> Self {
                let $error = redb::Error::from(source);
                $body
            }
        })+
    };
}
pub(super) use from_redb;

from_redb!(TableError, error => TableError::Redb(Box::new(error)),
    redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);

/// What a log file holds when it is opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) raft_id: u64,
    pub(crate) writes: u64,
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    pub(crate) last: Option<LogId>,
}

struct Opened {
    db: Database,
    health: Health,
}

/// The open file. Readers share it; the one writer may close and open it again.
pub(crate) struct Table {
    path: PathBuf,
    sealer: Arc<Sealer>,
    layer: Option<Arc<dyn Layer>>,
    opened: RwLock<Option<Opened>>,
}

impl Table {
    /// Opens the file and reads every record of it, or makes it for `new_raft_id`. A file that does not pass, or whose
    /// content `accept` refuses, is left as it is.
    pub(crate) fn open(
        path: &Path,
        sealer: Arc<Sealer>,
        layer: Option<Arc<dyn Layer>>,
        new_raft_id: u64,
        accept: impl FnOnce(&Found) -> Result<(), OpenError>,
    ) -> Result<(Self, Found), OpenError> {
        if !path.exists() {
            Self::create(path, &sealer, new_raft_id)?;
        }
        let found = try_on(path, &sealer)?;
        accept(&found)?;
        Ok((Self::of(path, sealer, layer)?, found))
    }

    // Beside, and renamed when it is whole: a crash in the middle leaves no log rather than half of one.
    fn create(path: &Path, sealer: &Arc<Sealer>, raft_id: u64) -> Result<(), OpenError> {
        let at = |source| OpenError::Io {
            path: path.to_path_buf(),
            source,
        };
        let beside = path.with_extension("part");
        match fs::remove_file(&beside) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at(e)),
            _ => {}
        }
        let table = Self::of(&beside, sealer.clone(), None)?;
        table.found(raft_id)?;
        table.close();
        fs::rename(&beside, path)
            .and_then(|()| sync_dir_of(path))
            .map_err(at)
    }

    fn of(path: &Path, sealer: Arc<Sealer>, layer: Option<Arc<dyn Layer>>) -> Result<Self, OpenError> {
        let opened = RwLock::new(Some(open_file(path, layer.clone())?));
        Ok(Table {
            path: path.to_path_buf(),
            sealer,
            layer,
            opened,
        })
    }

    /// Writes a batch and syncs it. `writes` is the count of batches ever written, this one included.
    pub(crate) fn write(&self, changes: &[Change], writes: u64) -> Result<(), TableError> {
        self.with(|db| {
            let tx = db.begin_write()?;
            for change in changes {
                self.put(&tx, change)?;
            }
            tx.open_table(META)?
                .insert(KEY_WRITES, writes.to_le_bytes().as_slice())?;
            Ok(tx.commit()?)
        })
    }

    /// Entries of `range` that are there, in order, until `max_bytes` are reached; at least one if there is one.
    pub(crate) fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<Entry>, TableError> {
        self.with(|db| {
            let entries = db.begin_read()?.open_table(ENTRIES)?;
            let mut out = Vec::new();
            let mut bytes = 0;
            for item in entries.range(range)? {
                let (index, sealed) = item?;
                let (index, sealed) = (index.value(), sealed.value());
                bytes += sealed.len();
                if bytes > max_bytes && !out.is_empty() {
                    break;
                }
                out.push(open_entry(&self.sealer, index, sealed)?);
            }
            Ok(out)
        })
    }

    /// What went wrong last with the file.
    pub(crate) fn last_failure(&self) -> Option<Failure> {
        let opened = self.opened.read().expect("no holder of this lock panics");
        opened.as_ref().and_then(|o| o.health.last_failure())
    }

    /// Closes the file and opens it again, after a write that failed for want of room. Returns the writes it holds.
    pub(crate) fn reopen(&self) -> Result<u64, OpenError> {
        let mut opened = self.opened.write().expect("no holder of this lock panics");
        drop(opened.take());
        let again = open_file(&self.path, self.layer.clone())?;
        let writes = check::writes_of(&again.db, &self.path)?;
        *opened = Some(again);
        Ok(writes)
    }

    /// Closes the file. Later calls fail.
    pub(crate) fn close(&self) {
        drop(self.opened.write().expect("no holder of this lock panics").take());
    }

    fn with<T, E: From<TableError>>(&self, f: impl FnOnce(&Database) -> Result<T, E>) -> Result<T, E> {
        match self
            .opened
            .read()
            .expect("no holder of this lock panics")
            .as_ref()
        {
            Some(opened) => f(&opened.db),
            None => Err(TableError::Closed.into()),
        }
    }

    fn found(&self, raft_id: u64) -> Result<(), TableError> {
        self.with(|db| {
            let tx = db.begin_write()?;
            tx.open_table(ENTRIES)?;
            {
                let mut meta = tx.open_table(META)?;
                meta.insert(KEY_FORMAT, FORMAT.to_le_bytes().as_slice())?;
                meta.insert(KEY_WRITES, 0u64.to_le_bytes().as_slice())?;
            }
            self.put_meta(&tx, KEY_RAFT_ID, &raft_id.to_le_bytes())?;
            Ok(tx.commit()?)
        })
    }

    fn put(&self, tx: &WriteTransaction, change: &Change) -> Result<(), TableError> {
        match change {
            Change::Put(entry) => {
                let index = entry.log_id.index;
                let sealed = self.sealer.seal(&entry_context(index), &encode_entry(entry));
                tx.open_table(ENTRIES)?.insert(index, sealed.as_slice())?;
            }
            Change::Vote(vote) => self.put_meta(tx, KEY_VOTE, &encode_vote(vote))?,
            Change::Committed(Some(id)) => self.put_meta(tx, KEY_COMMITTED, &encode_log_id(id))?,
            Change::Committed(None) => {
                tx.open_table(META)?.remove(KEY_COMMITTED)?;
            }
            Change::TruncateAfter(last) => {
                let from = last.map_or(0, |index| index + 1);
                tx.open_table(ENTRIES)?.retain_in(from.., |_, _| false)?;
            }
            Change::Purge(upto) => {
                tx.open_table(ENTRIES)?.retain_in(..=upto.index, |_, _| false)?;
                self.put_meta(tx, KEY_PURGED, &encode_log_id(upto))?;
            }
        }
        Ok(())
    }

    fn put_meta(&self, tx: &WriteTransaction, key: &str, plain: &[u8]) -> Result<(), TableError> {
        let sealed = self.sealer.seal(&meta_context(key), plain);
        tx.open_table(META)?.insert(key, sealed.as_slice())?;
        Ok(())
    }
}

/// What an entry's seal is bound to: its place.
pub(super) fn entry_context(index: u64) -> Vec<u8> {
    [b"raft entry ".as_slice(), &index.to_le_bytes()].concat()
}

pub(super) fn meta_context(key: &str) -> Vec<u8> {
    [b"raft meta ".as_slice(), key.as_bytes()].concat()
}

pub(super) fn open_entry(sealer: &Sealer, index: u64, sealed: &[u8]) -> Result<Entry, TableError> {
    let plain = sealer
        .open_record(&entry_context(index), sealed)
        .map_err(|source| TableError::Seal { index, source })?;
    decode_entry(index, &plain).map_err(|source| TableError::Record { index, source })
}

// Without writing to it: whatever redb would repair is repaired in memory.
fn try_on(path: &Path, sealer: &Sealer) -> Result<Found, OpenError> {
    let overlay = Overlay::open(path).map_err(|e| refused(path, e))?;
    let db = open_backend(path, overlay)?;
    check::read_all(&db, path, sealer)
}

fn open_file(path: &Path, layer: Option<Arc<dyn Layer>>) -> Result<Opened, OpenError> {
    let (file, health) = LogFile::open(path, layer).map_err(|e| refused(path, e))?;
    Ok(Opened {
        db: open_backend(path, file)?,
        health,
    })
}

fn open_backend(path: &Path, backend: impl StorageBackend) -> Result<Database, OpenError> {
    // redb promises errors for what it checks, and may panic on a page that lies in a way it does not check.
    let opening = AssertUnwindSafe(|| {
        Builder::new()
            .set_cache_size(PAGE_CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)
    });
    match catch_unwind(opening) {
        Ok(opened) => opened.map_err(|e| refused(path, e.into())),
        Err(_) => Err(OpenError::Damaged {
            path: path.to_path_buf(),
            reason: "its pages contradict each other".into(),
        }),
    }
}

fn refused(path: &Path, error: redb::Error) -> OpenError {
    let path = path.to_path_buf();
    match error {
        redb::Error::DatabaseAlreadyOpen => OpenError::InUse { path },
        redb::Error::Io(source) if source.kind() != io::ErrorKind::InvalidData => {
            OpenError::Io { path, source }
        }
        other => OpenError::Damaged {
            path,
            reason: other.to_string(),
        },
    }
}
