//! The file under the log, watched: what failed last, and whether it may ever be written again.
//!
//! A sync that failed may have dropped what it should have written, and the next one would succeed without it. So after
//! the first failed sync this file takes nothing more.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// What went wrong last with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The disk, or the quota, is full.
    NoSpace,
    /// A sync failed. Final for this file.
    Sync,
    /// Any other failed write.
    Write,
}

/// Something between the log and its file that may fail on purpose. In the running program there is none.
pub(crate) trait Layer: std::fmt::Debug + Send + Sync + 'static {
    fn before_write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    fn before_set_len(&self, len: u64) -> io::Result<()>;
    fn before_sync(&self) -> io::Result<()>;
}

/// Shared between the file, which redb owns, and the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health(Arc<Mutex<Option<Failure>>>);

impl Health {
    pub(crate) fn last_failure(&self) -> Option<Failure> {
        *self.0.lock().expect("no holder of this lock panics")
    }

    fn note(&self, failure: Failure) {
        let mut last = self.0.lock().expect("no holder of this lock panics");
        if *last != Some(Failure::Sync) {
            *last = Some(failure);
        }
    }
}

/// Opens a file for nobody else to read, made if need be, with what is in it.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// The backend that redb writes through.
#[derive(Debug)]
pub(crate) struct LogFile {
    inner: FileBackend,
    health: Health,
    layer: Option<Arc<dyn Layer>>,
}

impl LogFile {
    pub(crate) fn open(path: &Path, layer: Option<Arc<dyn Layer>>) -> Result<(Self, Health), redb::Error> {
        let file = open_private(path)?;
        let health = Health::default();
        Ok((
            LogFile {
                inner: FileBackend::new(file)?,
                health: health.clone(),
                layer,
            },
            health,
        ))
    }

    fn refuse_after_failed_sync(&self) -> io::Result<()> {
        match self.health.last_failure() {
            Some(Failure::Sync) => Err(io::Error::other(
                "an earlier sync of this file failed, it takes no more writes",
            )),
            _ => Ok(()),
        }
    }

    fn noted<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|e| {
            self.health.note(if is_no_space(e) {
                Failure::NoSpace
            } else {
                Failure::Write
            })
        })
    }
}

impl StorageBackend for LogFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.refuse_after_failed_sync()?;
        let failing = self.layer.as_ref().map_or(Ok(()), |l| l.before_set_len(len));
        self.noted(failing.and_then(|()| self.inner.set_len(len)))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.refuse_after_failed_sync()?;
        let failing = self.layer.as_ref().map_or(Ok(()), |l| l.before_sync());
        failing
            .and_then(|()| self.inner.sync_data())
            .inspect_err(|_| self.health.note(Failure::Sync))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.refuse_after_failed_sync()?;
        let failing = self
            .layer
            .as_ref()
            .map_or(Ok(()), |l| l.before_write(offset, data));
        self.noted(failing.and_then(|()| self.inner.write(offset, data)))
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}

/// True for a full disk and for a quota reached.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Makes the creation, renaming or removal of `path` itself last.
pub(crate) fn sync_dir_of(path: &Path) -> io::Result<()> {
    let dir = path
        .parent()
        .expect("a file of the data directory has a directory");
    File::open(dir)?.sync_all()
}
