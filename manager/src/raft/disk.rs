//! Room on the disk: a reserve that is kept, given up when the disk is full, and taken back when there is room again.
//!
//! While the reserve is gone nothing new is accepted; what Raft must still write (votes, what was accepted before, a
//! snapshot that frees space) has the reserve's room.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::file::sync_dir_of;

/// How much is kept, and below what the disk counts as full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of the reserve file.
    pub reserve_bytes: u64,
    /// With less than this free, beside the reserve, the disk is full.
    pub floor_bytes: u64,
}

impl Default for Room {
    fn default() -> Self {
        Room {
            reserve_bytes: 64 * MIB,
            floor_bytes: 16 * MIB,
        }
    }
}

const MIB: u64 = 1024 * 1024;

/// The disk is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// The directory that has no room.
    pub path: PathBuf,
    /// Bytes that must become free before writes are taken again.
    pub missing_bytes: u64,
}

/// Says how many bytes are free where the directory is.
pub(crate) type Probe = Arc<dyn Fn(&Path) -> io::Result<u64> + Send + Sync>;

/// Watches the room of one data directory.
pub(crate) struct Disk {
    dir: PathBuf,
    room: Room,
    probe: Probe,
    full: watch::Sender<Option<Full>>,
    // One at a time gives up or takes back the reserve.
    turn: Mutex<()>,
}

impl Disk {
    pub(crate) fn open(dir: &Path, room: Room, probe: Option<Probe>) -> Self {
        let probe = probe.unwrap_or_else(|| Arc::new(free_bytes));
        let disk = Disk {
            dir: dir.to_path_buf(),
            room,
            probe,
            full: watch::Sender::new(None),
            turn: Mutex::new(()),
        };
        if !disk.reserve_is_whole() && !disk.has_room_for_all() {
            // As if it had been given up earlier.
            disk.full.send_replace(Some(disk.shortage(0)));
        }
        disk.look(0);
        disk
    }

    pub(crate) fn full(&self) -> Option<Full> {
        self.full.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Option<Full>> {
        self.full.subscribe()
    }

    /// Compares the room with what is about to be written, and changes sides if need be.
    pub(crate) fn look(&self, need_bytes: u64) {
        let _turn = self.turn.lock().expect("no holder of this lock panics");
        let free = match (self.probe)(&self.dir) {
            Ok(free) => free,
            Err(error) => {
                tracing::warn!(path = %self.dir.display(), %error, "cannot ask the disk for its room");
                return;
            }
        };
        if self.full.borrow().is_none() {
            if free < self.room.floor_bytes + need_bytes {
                self.give_up(free);
            }
            return;
        }
        if free >= self.wanted() + need_bytes && self.take_back() {
            tracing::info!(path = %self.dir.display(), free, "there is room again, writes are taken");
            self.full.send_replace(None);
            return;
        }
        self.full.send_replace(Some(self.shortage(free)));
    }

    /// A write just met a full disk, whatever the last look said.
    pub(crate) fn ran_out(&self) {
        let _turn = self.turn.lock().expect("no holder of this lock panics");
        let free = (self.probe)(&self.dir).unwrap_or(0);
        self.give_up(free);
    }

    // With the reserve gone, what must be free: the reserve, and twice the floor so that it does not flap.
    fn wanted(&self) -> u64 {
        self.room.reserve_bytes + 2 * self.room.floor_bytes
    }

    fn shortage(&self, free: u64) -> Full {
        Full {
            path: self.dir.clone(),
            missing_bytes: self.wanted().saturating_sub(free).max(1),
        }
    }

    fn give_up(&self, free: u64) {
        let had = fs::metadata(self.reserve()).map(|m| m.len()).unwrap_or(0);
        if let Err(error) = fs::remove_file(self.reserve())
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(path = %self.reserve().display(), %error, "cannot give up the reserve");
        }
        let full = self.shortage(free.saturating_add(had));
        tracing::error!(path = %full.path.display(), missing_bytes = full.missing_bytes,
            "the disk is full: the reserve is given up, writes are refused");
        self.full.send_replace(Some(full));
    }

    fn take_back(&self) -> bool {
        match make_reserve(&self.reserve(), self.room.reserve_bytes) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(path = %self.reserve().display(), %error, "cannot take the reserve back");
                let _ = fs::remove_file(self.reserve());
                false
            }
        }
    }

    fn has_room_for_all(&self) -> bool {
        (self.probe)(&self.dir).is_ok_and(|free| free >= self.wanted()) && self.take_back()
    }

    fn reserve_is_whole(&self) -> bool {
        fs::metadata(self.reserve()).is_ok_and(|m| m.len() == self.room.reserve_bytes)
    }

    fn reserve(&self) -> PathBuf {
        self.dir.join("reserve")
    }
}

fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail * stat.f_frsize)
}

fn make_reserve(path: &Path, len: u64) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, len) {
        Ok(()) => {}
        Err(rustix::io::Errno::OPNOTSUPP) => fill(&mut file, len)?,
        Err(e) => return Err(e.into()),
    }
    file.sync_all()?;
    sync_dir_of(path)
}

// For file systems that cannot allocate without writing.
fn fill(file: &mut File, len: u64) -> io::Result<()> {
    let block = vec![0u8; MIB as usize];
    let mut left = len;
    while left > 0 {
        let now = left.min(MIB);
        file.write_all(&block[..now as usize])?;
        left -= now;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const ROOM: Room = Room {
        reserve_bytes: MIB,
        floor_bytes: MIB / 4,
    };

    fn disk(dir: &Path, free: u64) -> (Disk, Arc<AtomicU64>) {
        let level = Arc::new(AtomicU64::new(free));
        let seen = level.clone();
        (
            Disk::open(
                dir,
                ROOM,
                Some(Arc::new(move |_| Ok(seen.load(Ordering::SeqCst)))),
            ),
            level,
        )
    }

    #[test]
    fn a_full_disk_costs_the_reserve_and_room_brings_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, level) = disk(dir.path(), 100 * MIB);
        assert_eq!(disk.full(), None);
        assert_eq!(fs::metadata(dir.path().join("reserve")).unwrap().len(), MIB);

        level.store(MIB / 8, Ordering::SeqCst);
        disk.look(0);
        let full = disk.full().unwrap();
        assert_eq!(full.path, dir.path());
        assert_eq!(full.missing_bytes, MIB + MIB / 2 - (MIB / 8 + MIB));
        assert!(!dir.path().join("reserve").exists());

        level.store(100 * MIB, Ordering::SeqCst);
        disk.look(0);
        assert_eq!(disk.full(), None);
        assert!(dir.path().join("reserve").exists());
    }

    #[test]
    fn a_manager_that_starts_on_a_full_disk_knows_it() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, _) = disk(dir.path(), MIB / 8);
        assert!(disk.full().is_some());
    }

    #[test]
    fn what_is_about_to_be_written_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, _) = disk(dir.path(), 2 * MIB);
        disk.look(MIB);
        assert_eq!(disk.full(), None);
        disk.look(2 * MIB);
        assert!(disk.full().is_some());
    }
}
