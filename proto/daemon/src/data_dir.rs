//! The daemon's folders on disk: made for nobody else to read, locked for one daemon, emptied when a membership ends.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::kind::Kind;

/// A folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another daemon runs on the same folder.
    #[error("{path} is in use: another {} runs on this data directory", .kind.program())]
    InUse {
        /// Its lock.
        path: PathBuf,
        /// Which daemon.
        kind: Kind,
    },
}

impl DataDirError {
    /// Says which file or folder it was about.
    pub fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// Makes a folder, with those above it, for nobody else to read.
///
/// # Errors
/// When the file system says no.
pub fn make_dir(path: &Path) -> Result<(), DataDirError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(DataDirError::at(path))
}

/// Makes a folder empty.
///
/// # Errors
/// When the file system says no.
pub fn wipe_dir(path: &Path) -> Result<(), DataDirError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DataDirError::at(path)(error)),
        _ => make_dir(path),
    }
}

/// Makes sure that one daemon of a kind runs on this data directory, for as long as the file is held.
///
/// # Errors
/// When another one does, or the file system says no.
pub fn lock(data_dir: &Path, kind: Kind) -> Result<File, DataDirError> {
    let path = data_dir.join(format!("{}.lock", kind.name()));
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(DataDirError::at(&path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::InUse { path, kind }),
        Err(error) => Err(DataDirError::at(&path)(error.into())),
    }
}
