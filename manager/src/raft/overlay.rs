//! A log file that is tried on: read from the disk, written only in memory.
//!
//! Opening a redb file may repair it. A damaged log must be left as it is, so it is first opened through this, and only
//! what passes every check is opened for good.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

const BLOCK_BYTES: u64 = 4096;

/// The backend.
#[derive(Debug)]
pub(crate) struct Overlay {
    // Holds the lock, so that nobody writes to the file meanwhile.
    lock: FileBackend,
    file: File,
    over: Mutex<Over>,
}

#[derive(Debug)]
struct Over {
    len: u64,
    // Of the file, that still count: a file that was cut and grew again reads as zeros there.
    file_len: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    pub(crate) fn open(path: &Path) -> Result<Self, redb::Error> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let len = file.metadata()?.len();
        let over = Mutex::new(Over {
            len,
            file_len: len,
            blocks: BTreeMap::new(),
        });
        Ok(Overlay {
            lock: FileBackend::new(file.try_clone()?)?,
            file,
            over,
        })
    }

    fn over(&self) -> MutexGuard<'_, Over> {
        self.over.lock().expect("no holder of this lock panics")
    }

    fn block(&self, over: &Over, number: u64) -> io::Result<Box<[u8]>> {
        if let Some(block) = over.blocks.get(&number) {
            return Ok(block.clone());
        }
        let mut block = vec![0u8; BLOCK_BYTES as usize].into_boxed_slice();
        let start = number * BLOCK_BYTES;
        let there = over.file_len.saturating_sub(start).min(BLOCK_BYTES) as usize;
        self.file.read_exact_at(&mut block[..there], start)?;
        Ok(block)
    }
}

/// Which part of which blocks a range covers: block number, offset in it, length.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + len as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        let (number, within) = (at / BLOCK_BYTES, at % BLOCK_BYTES);
        let now = (BLOCK_BYTES - within).min(end.saturating_sub(at));
        at += now;
        (now > 0).then_some((number, within as usize, now as usize))
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.over().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let over = self.over();
        if offset + out.len() as u64 > over.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        for (number, within, len) in pieces(offset, out.len()) {
            let block = self.block(&over, number)?;
            out[done..done + len].copy_from_slice(&block[within..within + len]);
            done += len;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut over = self.over();
        over.len = len;
        over.file_len = over.file_len.min(len);
        over.blocks.retain(|number, _| number * BLOCK_BYTES < len);
        let (last, within) = (len / BLOCK_BYTES, (len % BLOCK_BYTES) as usize);
        if let Some(block) = over.blocks.get_mut(&last) {
            block[within..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut over = self.over();
        let mut done = 0;
        for (number, within, len) in pieces(offset, data.len()) {
            let mut block = self.block(&over, number)?;
            block[within..within + len].copy_from_slice(&data[done..done + len]);
            over.blocks.insert(number, block);
            done += len;
        }
        over.len = over.len.max(offset + data.len() as u64);
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.lock.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.lock.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.lock.unlock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_the_file_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let before: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        std::fs::write(&path, &before).unwrap();
        let overlay = Overlay::open(&path).unwrap();
        let mut plain = before.clone();
        for (offset, len) in [(0, 1), (4090, 12), (9_990, 10), (100, 9_000)] {
            let data = vec![0xab; len];
            overlay.write(offset, &data).unwrap();
            plain[offset as usize..offset as usize + len].copy_from_slice(&data);
        }
        overlay.set_len(9_000).unwrap();
        overlay.set_len(20_000).unwrap();
        plain.truncate(9_000);
        plain.resize(20_000, 0);
        let mut all = vec![0; 20_000];
        overlay.read(0, &mut all).unwrap();
        assert!(all == plain);
        assert!(overlay.read(19_999, &mut [0; 2]).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
