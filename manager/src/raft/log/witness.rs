//! A small file beside the log that remembers how far it was acknowledged.
//!
//! It is written after each batch and not synced, so it never says more than what is durable; a log that holds less was
//! shortened, and is refused instead of believed.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::raft::file::open_private;
use crate::raft::seal::Sealer;

const CONTEXT: &[u8] = b"raft witness";

/// The open file.
pub(crate) struct Witness {
    file: File,
}

impl Witness {
    /// Opens it, and says how many writes it saw. `None` where it says nothing: new, or torn by a power cut.
    pub(crate) fn open(path: &Path, sealer: &Sealer) -> io::Result<(Self, Option<u64>)> {
        let mut file = open_private(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let seen = sealer
            .open_record(CONTEXT, &bytes)
            .ok()
            .and_then(|plain| <[u8; 8]>::try_from(plain).ok());
        if seen.is_none() && !bytes.is_empty() {
            tracing::warn!(path = %path.display(), "the log's witness does not read, the log is taken by itself");
        }
        Ok((Witness { file }, seen.map(u64::from_le_bytes)))
    }

    /// Remembers that `writes` batches are durable.
    pub(crate) fn saw(&self, sealer: &Sealer, writes: u64) -> io::Result<()> {
        // Always the same length, well inside one sector.
        self.file
            .write_all_at(&sealer.seal(CONTEXT, &writes.to_le_bytes()), 0)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
