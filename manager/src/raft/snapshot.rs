//! Sealed snapshot files: written beside, synced, renamed; the newest two are kept.
//!
//! A file is read and written piece by piece; whole states are in memory only where the machine itself needs them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::OpenError;
use super::file::sync_dir_of;
use super::record::{decode_position, encode_position};
use super::seal::{SealError, Sealer};
use super::types::{LogId, SnapshotMeta, term_of};

const MAGIC: &[u8; 8] = b"SHOALSNP";
const FORMAT: u32 = 1;

/// Plain bytes sealed together.
const PIECE_BYTES: usize = 256 * 1024;

/// Sealed bytes a piece may have, so that a damaged length does not ask for all memory.
const MAX_SEALED_BYTES: usize = PIECE_BYTES + 1024;

/// Snapshots kept.
const KEPT: usize = 2;

/// The directory of snapshots.
pub(crate) struct Snapshots {
    dir: PathBuf,
    sealer: Arc<Sealer>,
}

/// A snapshot on this disk: kept, or received and not yet taken over.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) path: PathBuf,
    pub(crate) meta: SnapshotMeta,
    pub(crate) size_bytes: u64,
}

impl Snapshots {
    /// Opens the directory, drops what was never finished, and refuses a newer format.
    pub(crate) fn open(dir: &Path, sealer: Arc<Sealer>) -> Result<Self, OpenError> {
        let at = |path: &Path, source| OpenError::Io {
            path: path.to_path_buf(),
            source,
        };
        fs::create_dir_all(dir).map_err(|e| at(dir, e))?;
        for item in fs::read_dir(dir).map_err(|e| at(dir, e))? {
            let path = item.map_err(|e| at(dir, e))?.path();
            if path.extension().is_some_and(|e| e == "part") {
                fs::remove_file(&path).map_err(|e| at(&path, e))?;
            }
        }
        Ok(Snapshots {
            dir: dir.to_path_buf(),
            sealer,
        })
    }

    /// The newest snapshot that reads to its end. Damaged ones are refused loudly and an older one is tried: whether it
    /// is of use is decided by the log, which must hold everything after it.
    pub(crate) fn newest(&self) -> Result<Option<Stored>, OpenError> {
        let mut damaged = None;
        for path in self
            .kept()
            .map_err(|source| OpenError::Io {
                path: self.dir.clone(),
                source,
            })?
            .iter()
            .rev()
        {
            match self.inspect(path) {
                Ok(stored) => return Ok(Some(stored)),
                Err(newer @ OpenError::Newer { .. }) => return Err(newer),
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "a snapshot is damaged");
                    damaged = Some(error);
                }
            }
        }
        damaged.map_or(Ok(None), Err)
    }

    /// Starts a new file for what comes with `meta`.
    pub(crate) fn create(&self, meta: SnapshotMeta) -> io::Result<Writing> {
        let name = name_of(&meta);
        let path = self
            .dir
            .join(format!("{name}.{:08x}.part", rand::random::<u32>()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let mut writing = Writing {
            out: BufWriter::new(file),
            sealer: self.sealer.clone(),
            stored: Stored {
                path,
                meta,
                size_bytes: 0,
            },
            pending: Vec::new(),
            pieces: 0,
        };
        writing.out.write_all(MAGIC)?;
        writing.out.write_all(&FORMAT.to_le_bytes())?;
        let position = encode_position(
            writing.stored.meta.last_log_id.as_ref(),
            &writing.stored.meta.last_membership,
        );
        writing.seal(&context("head", 0), &position)?;
        Ok(writing)
    }

    /// Makes a finished file the newest snapshot, and drops the oldest.
    pub(crate) fn keep(&self, stored: &Stored) -> io::Result<Stored> {
        let path = self.dir.join(format!("{}.snap", name_of(&stored.meta)));
        if stored.path != path {
            fs::rename(&stored.path, &path)?;
            sync_dir_of(&path)?;
        }
        let kept = self.kept()?;
        for old in &kept[..kept.len().saturating_sub(KEPT)] {
            fs::remove_file(old)?;
        }
        Ok(Stored {
            path,
            ..stored.clone()
        })
    }

    /// Opens a snapshot for reading.
    pub(crate) fn read(&self, stored: &Stored) -> io::Result<Reading> {
        self.start(&stored.path)
            .map(|(reading, _)| reading)
            .map_err(io::Error::other)
    }

    /// All of a snapshot.
    pub(crate) fn read_all(&self, stored: &Stored) -> io::Result<Vec<u8>> {
        let mut reading = self.read(stored)?;
        let mut out = Vec::with_capacity(stored.size_bytes as usize);
        while let Some(piece) = reading.next_piece()? {
            out.extend_from_slice(&piece);
        }
        Ok(out)
    }

    // Oldest first: names sort by index, then term.
    fn kept(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for item in fs::read_dir(&self.dir)? {
            let path = item?.path();
            if path.extension().is_some_and(|e| e == "snap") {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    fn inspect(&self, path: &Path) -> Result<Stored, OpenError> {
        let damaged = |reason: String| OpenError::Damaged {
            path: path.to_path_buf(),
            reason,
        };
        let (mut reading, meta) = self.start(path)?;
        let mut size_bytes = 0;
        while let Some(piece) = reading.next_piece().map_err(|e| damaged(e.to_string()))? {
            size_bytes += piece.len() as u64;
        }
        Ok(Stored {
            path: path.to_path_buf(),
            meta,
            size_bytes,
        })
    }

    fn start(&self, path: &Path) -> Result<(Reading, SnapshotMeta), OpenError> {
        let damaged = |reason: String| OpenError::Damaged {
            path: path.to_path_buf(),
            reason,
        };
        let file = File::open(path).map_err(|source| OpenError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        let mut input = BufReader::new(file);
        let mut head = [0u8; 12];
        input.read_exact(&mut head).map_err(|e| damaged(e.to_string()))?;
        if &head[..8] != MAGIC {
            return Err(damaged("it does not start like a snapshot".into()));
        }
        let found = u32::from_le_bytes(head[8..].try_into().expect("four bytes"));
        if found > FORMAT {
            return Err(OpenError::Newer {
                path: path.to_path_buf(),
                found,
                known: FORMAT,
            });
        }
        let mut reading = Reading {
            input,
            sealer: self.sealer.clone(),
            pieces: 0,
            ended: false,
        };
        let position = reading
            .open(&context("head", 0))
            .map_err(|e| damaged(e.to_string()))?;
        let (last_log_id, last_membership) =
            decode_position(&position).map_err(|e| damaged(e.to_string()))?;
        Ok((
            reading,
            SnapshotMeta {
                last_log_id,
                last_membership,
            },
        ))
    }
}

/// A snapshot that is being written. Dropped unfinished, it leaves a file that the next start removes.
pub(crate) struct Writing {
    out: BufWriter<File>,
    sealer: Arc<Sealer>,
    stored: Stored,
    pending: Vec<u8>,
    pieces: u64,
}

impl Writing {
    pub(crate) fn write(&mut self, mut data: &[u8]) -> io::Result<()> {
        self.stored.size_bytes += data.len() as u64;
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(PIECE_BYTES - self.pending.len()));
            self.pending.extend_from_slice(now);
            data = later;
            if self.pending.len() == PIECE_BYTES {
                self.flush_piece()?;
            }
        }
        Ok(())
    }

    /// Syncs the file. It is not kept yet.
    pub(crate) fn finish(mut self) -> io::Result<Stored> {
        if !self.pending.is_empty() {
            self.flush_piece()?;
        }
        // The end is sealed with the number of pieces, so that a cut between two of them shows.
        let end = context("end", self.pieces);
        self.seal(&end, b"")?;
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        Ok(self.stored)
    }

    /// Removes what was written.
    pub(crate) fn abandon(self) {
        if let Err(error) = fs::remove_file(&self.stored.path) {
            tracing::warn!(path = %self.stored.path.display(), %error, "an unfinished snapshot stays behind");
        }
    }

    fn flush_piece(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.pending);
        self.seal(&context("piece", self.pieces), &piece)?;
        self.pieces += 1;
        self.pending = piece;
        self.pending.clear();
        Ok(())
    }

    fn seal(&mut self, context: &[u8], plain: &[u8]) -> io::Result<()> {
        let sealed = self.sealer.seal(context, plain);
        self.out.write_all(&(sealed.len() as u32).to_le_bytes())?;
        self.out.write_all(&sealed)
    }
}

/// A snapshot that is being read.
pub(crate) struct Reading {
    input: BufReader<File>,
    sealer: Arc<Sealer>,
    pieces: u64,
    ended: bool,
}

impl Reading {
    /// The next piece; `None` after the sealed end.
    pub(crate) fn next_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.ended {
            return Ok(None);
        }
        let sealed = self.sealed()?;
        match self.sealer.open_record(&context("piece", self.pieces), &sealed) {
            Ok(piece) => {
                self.pieces += 1;
                Ok(Some(piece))
            }
            Err(SealError::Broken) => {
                self.sealer
                    .open_record(&context("end", self.pieces), &sealed)
                    .map_err(io::Error::other)?;
                self.ended = true;
                Ok(None)
            }
            Err(other) => Err(io::Error::other(other)),
        }
    }

    fn open(&mut self, context: &[u8]) -> io::Result<Vec<u8>> {
        let sealed = self.sealed()?;
        self.sealer
            .open_record(context, &sealed)
            .map_err(io::Error::other)
    }

    fn sealed(&mut self) -> io::Result<Vec<u8>> {
        let mut len = [0u8; 4];
        self.input.read_exact(&mut len)?;
        let len = u32::from_le_bytes(len) as usize;
        if len > MAX_SEALED_BYTES.max(MAX_HEAD_BYTES) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a piece claims to be larger than pieces are",
            ));
        }
        let mut sealed = vec![0u8; len];
        self.input.read_exact(&mut sealed)?;
        Ok(sealed)
    }
}

/// The head holds the membership, which is small.
const MAX_HEAD_BYTES: usize = 64 * 1024;

fn context(part: &str, number: u64) -> Vec<u8> {
    [
        b"raft snapshot ".as_slice(),
        part.as_bytes(),
        &number.to_le_bytes(),
    ]
    .concat()
}

fn name_of(meta: &SnapshotMeta) -> String {
    let place = |id: &LogId| (id.index, term_of(id));
    let (index, term) = meta.last_log_id.as_ref().map_or((0, 0), place);
    format!("{index:020}-{term:020}")
}

#[cfg(test)]
#[path = "snapshot_test.rs"]
mod tests;
