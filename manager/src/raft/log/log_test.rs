//! What the durable log must hold: openraft's own suite, and damage, crashes and full disks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use openraft::StorageError;
use openraft::storage::RaftLogStorageExt;
use openraft::testing::log::{StoreBuilder, Suite};

use super::*;
use crate::raft::disk::Room;
use crate::raft::snapshot::Snapshots;
use crate::raft::store::MachineStore;
use crate::raft::types::{Command, Payload, log_id};

const ROOM: Room = Room {
    reserve_bytes: 256 * 1024,
    floor_bytes: 16 * 1024,
};

fn open_with(dir: &Path, layer: Option<Arc<dyn Layer>>) -> Result<Log, OpenError> {
    let sealer = Arc::new(Sealer::open(&dir.join("key"))?);
    let disk = Arc::new(Disk::open(dir, ROOM, None));
    let config = LogConfig {
        dir: dir.to_path_buf(),
        new_raft_id: 7,
        snapshot: None,
        layer,
    };
    Log::open(config, sealer, disk)
}

fn open(dir: &Path) -> Result<Log, OpenError> {
    open_with(dir, None)
}

fn entry(term: u64, index: u64, text: &str) -> Entry {
    Entry {
        log_id: log_id(term, index),
        payload: Payload::Normal(Command(Arc::from(text.as_bytes()))),
    }
}

async fn append(log: &mut Log, entries: Vec<Entry>) -> io::Result<()> {
    log.blocking_append(entries).await.map_err(io::Error::other)
}

async fn texts(log: &mut Log) -> Vec<String> {
    let entries = log.try_get_log_entries(..).await.unwrap();
    let text = |e: Entry| match e.payload {
        Payload::Normal(command) => String::from_utf8(command.0.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    entries.into_iter().map(text).collect()
}

/// All with one key: the suite hands a snapshot of one store to the next.
struct Stores(tempfile::TempDir);

impl StoreBuilder<Types, Log, MachineStore, tempfile::TempDir> for Stores {
    async fn build(&self) -> Result<(tempfile::TempDir, Log, MachineStore), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        let sealer = Arc::new(Sealer::open(&self.0.path().join("key")).unwrap());
        fs::copy(self.0.path().join("key"), key).unwrap();
        let disk = Arc::new(Disk::open(dir.path(), ROOM, None));
        let snapshots = Arc::new(Snapshots::open(&dir.path().join("snapshots"), sealer).unwrap());
        let log = open(dir.path()).unwrap();
        let store = MachineStore::new(Arc::new(BlankLedger), snapshots, None, disk);
        Ok((dir, log, store))
    }
}

// The suite applies entries in orders that the ledger would call wrong.
struct BlankLedger;

impl crate::raft::Machine for BlankLedger {
    fn apply(&self, _: u64, _: &[u8]) -> Result<Vec<u8>, crate::raft::MachineError> {
        Ok(Vec::new())
    }

    fn snapshot(&self) -> crate::raft::Frozen {
        Box::new(Vec::new)
    }

    fn restore(&self, _: &[u8]) -> Result<(), crate::raft::MachineError> {
        Ok(())
    }

    fn level(&self) -> u32 {
        1
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_own_suite_passes() {
    Suite::test_all(Stores(tempfile::tempdir().unwrap()))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    assert_eq!((log.raft_id(), log.is_pristine()), (7, true));
    log.save_vote(&Vote::new_committed(3, 7)).await.unwrap();
    append(&mut log, vec![entry(3, 0, "a"), entry(3, 1, "b")])
        .await
        .unwrap();
    append(&mut log, vec![entry(3, 2, "c")]).await.unwrap();
    log.truncate_after(Some(log_id(3, 1))).await.unwrap();
    append(&mut log, vec![entry(4, 2, "C"), entry(4, 3, "d")])
        .await
        .unwrap();
    log.save_committed(Some(log_id(4, 3))).await.unwrap();
    log.purge(log_id(3, 0)).await.unwrap();
    log.close().await;

    let mut log = open(dir.path()).unwrap();
    assert_eq!(texts(&mut log).await, ["b", "C", "d"]);
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new_committed(3, 7)));
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(4, 3)));
    let state = log.get_log_state().await.unwrap();
    assert_eq!(
        (state.last_purged_log_id, state.last_log_id),
        (Some(log_id(3, 0)), Some(log_id(4, 3)))
    );
    assert_eq!((log.raft_id(), log.is_pristine()), (7, false));
    log.close().await;
}

#[tokio::test]
async fn a_log_in_use_is_not_opened_twice() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    let said = open(dir.path()).err().unwrap();
    assert!(matches!(said, OpenError::InUse { .. }), "{said}");
    log.close().await;
}

#[tokio::test]
async fn entries_larger_than_the_cache_are_read_back_in_order_and_in_bounded_messages() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    let big = "x".repeat(400 * 1024);
    for index in 0..30 {
        append(&mut log, vec![entry(1, index, &format!("{index} {big}"))])
            .await
            .unwrap();
    }
    let mut next = 0;
    while next < 30 {
        let entries = log.limited_get_log_entries(next, 30).await.unwrap();
        assert!(entries.iter().map(cost).sum::<usize>() <= READ_BYTES && !entries.is_empty());
        for e in entries {
            assert_eq!(e.log_id.index, next);
            next += 1;
        }
    }
    assert_eq!(texts(&mut log).await.len(), 30);
    log.close().await;
}

/// A log with a little of everything, closed; its directory, and its entries.
async fn written() -> (tempfile::TempDir, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    log.save_vote(&Vote::new_committed(1, 7)).await.unwrap();
    for index in 0..20 {
        append(&mut log, vec![entry(1, index, &format!("entry {index}"))])
            .await
            .unwrap();
    }
    log.save_committed(Some(log_id(1, 19))).await.unwrap();
    log.close().await;
    let all = (0..20).map(|n| format!("entry {n}")).collect();
    (dir, all)
}

fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for item in fs::read_dir(dir).unwrap() {
        let path = item.unwrap().path();
        if path.is_file() && !path.ends_with("reserve") {
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    copy
}

/// Changes one byte at a time of the log in `dir`. Each time it must be whole or refused, and a refused one untouched.
async fn whole_or_refused(dir: &Path, all: &[String]) -> usize {
    let whole = fs::read(log_path(dir)).unwrap();
    let mut refused = 0;
    // Every byte of the head that means something, then a sample of all that is used.
    let places = (0..320)
        .chain((512..whole.len()).step_by(389))
        .filter(|at| *at < 320 || whole[*at] != 0);
    for at in places {
        let copy = copy_of(dir);
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        fs::write(log_path(copy.path()), &changed).unwrap();
        let Ok(mut log) = open(copy.path()) else {
            refused += 1;
            let left = fs::read(log_path(copy.path())).unwrap();
            assert!(left == changed, "byte {at}: the refused file was written to");
            continue;
        };
        assert_eq!(texts(&mut log).await, all, "byte {at} changed the log unnoticed");
        assert_eq!(
            log.read_vote().await.unwrap(),
            Some(Vote::new_committed(1, 7)),
            "byte {at}"
        );
        log.close().await;
    }
    refused
}

#[tokio::test]
async fn a_damaged_log_is_refused_or_whole_but_never_shorter() {
    let (dir, all) = written().await;
    let refused = whole_or_refused(dir.path(), &all).await;
    assert!(refused > 50, "only {refused} changes were noticed");
}

#[tokio::test]
async fn a_log_that_a_crash_left_open_and_that_is_damaged_is_not_taken_back_to_an_earlier_write() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    log.save_vote(&Vote::new_committed(1, 7)).await.unwrap();
    for index in 0..20 {
        append(&mut log, vec![entry(1, index, &format!("entry {index}"))])
            .await
            .unwrap();
    }
    // As kill -9 leaves it: never closed.
    let crashed = copy_of(dir.path());
    log.close().await;
    let all: Vec<String> = (0..20).map(|n| format!("entry {n}")).collect();
    let refused = whole_or_refused(crashed.path(), &all).await;
    assert!(refused > 50, "only {refused} changes were noticed");
}

#[tokio::test]
async fn a_log_cut_at_any_length_is_refused() {
    let (dir, _) = written().await;
    let whole = fs::read(log_path(dir.path())).unwrap();
    for len in (0..whole.len()).step_by(whole.len() / 60) {
        let copy = copy_of(dir.path());
        fs::write(log_path(copy.path()), &whole[..len]).unwrap();
        let said = open(copy.path())
            .err()
            .unwrap_or_else(|| panic!("cut to {len} and taken"))
            .to_string();
        assert!(said.contains("ways out") || said.contains("log.redb"), "{said}");
    }
}

#[tokio::test]
async fn a_missing_log_is_refused_and_not_made_anew() {
    let (dir, _) = written().await;
    fs::remove_file(log_path(dir.path())).unwrap();
    let said = open(dir.path()).err().unwrap().to_string();
    assert!(said.contains("missing") && said.contains("ways out"), "{said}");
}

#[tokio::test]
async fn an_older_copy_of_the_log_is_refused_naming_both_ends() {
    let (dir, _) = written().await;
    let older = fs::read(log_path(dir.path())).unwrap();
    let mut log = open(dir.path()).unwrap();
    append(&mut log, vec![entry(1, 20, "acknowledged")])
        .await
        .unwrap();
    log.close().await;
    fs::write(log_path(dir.path()), older).unwrap();
    let said = open(dir.path()).err().unwrap();
    assert!(
        matches!(said, OpenError::Shortened { found, acknowledged, .. } if acknowledged > found),
        "{said}"
    );
}

#[tokio::test]
async fn a_newer_format_is_refused_naming_both() {
    let (dir, _) = written().await;
    let db = redb::Database::open(log_path(dir.path())).unwrap();
    let tx = db.begin_write().unwrap();
    tx.open_table(table::META)
        .unwrap()
        .insert(table::KEY_FORMAT, 5u32.to_le_bytes().as_slice())
        .unwrap();
    tx.commit().unwrap();
    drop(db);
    let said = open(dir.path()).err().unwrap().to_string();
    assert!(said.contains("format 5") && said.contains("up to 1"), "{said}");
}

#[tokio::test]
async fn a_hole_between_entries_is_refused() {
    let (dir, _) = written().await;
    let db = redb::Database::open(log_path(dir.path())).unwrap();
    let tx = db.begin_write().unwrap();
    tx.open_table(table::ENTRIES).unwrap().remove(5).unwrap();
    tx.commit().unwrap();
    drop(db);
    let said = open(dir.path()).err().unwrap().to_string();
    assert!(said.contains("entry 5 is missing"), "{said}");
}

#[tokio::test]
async fn a_log_under_another_key_is_refused() {
    let (dir, _) = written().await;
    fs::remove_file(dir.path().join("key")).unwrap();
    let said = open(dir.path()).err().unwrap().to_string();
    assert!(said.contains("another key"), "{said}");
}

/// Keeps what reaches the file, so that a crash can be made of any part of it.
#[derive(Debug, Default)]
struct Recorder {
    steps: Mutex<Vec<Step>>,
}

#[derive(Debug, Clone)]
enum Step {
    Write(u64, Vec<u8>),
    Len(u64),
    Sync,
}

impl Layer for Recorder {
    fn before_write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.steps
            .lock()
            .unwrap()
            .push(Step::Write(offset, data.to_vec()));
        Ok(())
    }

    fn before_set_len(&self, len: u64) -> io::Result<()> {
        self.steps.lock().unwrap().push(Step::Len(len));
        Ok(())
    }

    fn before_sync(&self) -> io::Result<()> {
        self.steps.lock().unwrap().push(Step::Sync);
        Ok(())
    }
}

/// The bytes of the file, up to a crash.
#[derive(Clone)]
struct Crashed(Vec<u8>);

impl Crashed {
    fn take(&mut self, step: &Step, part: usize) {
        match step {
            Step::Write(offset, data) => {
                let end = *offset as usize + part;
                if self.0.len() < end {
                    self.0.resize(end, 0);
                }
                self.0[*offset as usize..end].copy_from_slice(&data[..part]);
            }
            Step::Len(len) => self.0.resize(*len as usize, 0),
            Step::Sync => {}
        }
    }
}

fn whole(step: &Step) -> usize {
    if let Step::Write(_, data) = step {
        data.len()
    } else {
        0
    }
}

/// Runs a few writes over a recorder. Returns the steps, the files beside the log, and after how many steps each entry
/// was acknowledged.
async fn recorded() -> (Crashed, Vec<Step>, tempfile::TempDir, Vec<usize>) {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().close().await;
    let begin = Crashed(fs::read(log_path(dir.path())).unwrap());
    let recorder = Arc::new(Recorder::default());
    let mut log = open_with(dir.path(), Some(recorder.clone())).unwrap();
    let mut acknowledged = Vec::new();
    for index in 0..12 {
        append(&mut log, vec![entry(1, index, &format!("entry {index}"))])
            .await
            .unwrap();
        acknowledged.push(recorder.steps.lock().unwrap().len());
    }
    let steps = recorder.steps.lock().unwrap().clone();
    log.close().await;
    // The witness of the end would rightly refuse every earlier state of the log.
    fs::remove_file(dir.path().join("log.witness")).unwrap();
    (begin, steps, dir, acknowledged)
}

async fn recovers(dir: &Path, file: &Crashed, at_least: usize, when: &str) {
    let copy = copy_of(dir);
    fs::write(log_path(copy.path()), &file.0).unwrap();
    let mut log = match open(copy.path()) {
        Ok(log) => log,
        Err(e) => panic!("{when}: {e}"),
    };
    let found = texts(&mut log).await;
    let expected: Vec<String> = (0..found.len()).map(|n| format!("entry {n}")).collect();
    assert_eq!(found, expected, "{when}");
    assert!(
        found.len() >= at_least,
        "{when}: {} of {at_least} acknowledged entries are left",
        found.len()
    );
    let next = found.len() as u64;
    append(&mut log, vec![entry(1, next, "goes on")]).await.unwrap();
    log.close().await;
}

#[tokio::test]
async fn a_crash_at_any_write_recovers_with_all_that_was_acknowledged() {
    let (mut file, steps, dir, acknowledged) = recorded().await;
    for (n, step) in steps.iter().enumerate() {
        let at_least = acknowledged.iter().filter(|a| **a <= n).count();
        recovers(dir.path(), &file, at_least, &format!("before step {n}")).await;
        for part in [1, whole(step) / 2, whole(step).saturating_sub(1)] {
            if part < whole(step) {
                let mut torn = file.clone();
                torn.take(step, part);
                recovers(
                    dir.path(),
                    &torn,
                    at_least,
                    &format!("{part} bytes into step {n}"),
                )
                .await;
            }
        }
        file.take(step, whole(step));
    }
}

#[tokio::test]
async fn a_power_cut_that_keeps_any_part_of_what_was_not_synced_recovers() {
    let (mut synced, steps, dir, acknowledged) = recorded().await;
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    let mut from = 0;
    for n in 0..steps.len() {
        if !matches!(steps[n], Step::Sync) {
            continue;
        }
        let at_least = acknowledged.iter().filter(|a| **a <= n).count();
        for round in 0..4 {
            let mut file = synced.clone();
            // Lengths are metadata, which file systems keep in order; pages come in any.
            let mut kept = |step: &&Step| {
                dice = dice.rotate_left(13).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                dice & 1 == 1 || matches!(step, Step::Len(_))
            };
            steps[from..n]
                .iter()
                .filter(|s| kept(s))
                .for_each(|s| file.take(s, whole(s)));
            recovers(
                dir.path(),
                &file,
                at_least,
                &format!("power cut before sync {n}, round {round}"),
            )
            .await;
        }
        steps[from..n].iter().for_each(|s| synced.take(s, whole(s)));
        from = n + 1;
    }
}

/// Fails on order.
#[derive(Debug, Default)]
struct Faulty {
    sync_fails: AtomicBool,
    syncs: AtomicU64,
    /// Offsets from here on have no room.
    room_ends: AtomicU64,
}

impl Faulty {
    fn roomy() -> Self {
        Faulty {
            room_ends: AtomicU64::new(u64::MAX),
            ..Faulty::default()
        }
    }
}

impl Layer for Faulty {
    fn before_write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset + data.len() as u64 > self.room_ends.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn before_set_len(&self, len: u64) -> io::Result<()> {
        if len > self.room_ends.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn before_sync(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        if self.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk says no"));
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_failed_sync_is_never_tried_again_on_the_same_file_and_the_next_start_writes_it_anew() {
    let dir = tempfile::tempdir().unwrap();
    let faulty = Arc::new(Faulty::roomy());
    let mut log = open_with(dir.path(), Some(faulty.clone())).unwrap();
    log.save_vote(&Vote::new(1, 7)).await.unwrap();
    append(&mut log, vec![entry(1, 0, "kept")]).await.unwrap();
    let inode = |dir: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(log_path(dir)).unwrap());
    let before = inode(dir.path());

    faulty.sync_fails.store(true, Ordering::SeqCst);
    assert!(
        append(&mut log, vec![entry(1, 1, "not acknowledged")])
            .await
            .is_err()
    );
    let syncs = faulty.syncs.load(Ordering::SeqCst);
    faulty.sync_fails.store(false, Ordering::SeqCst);
    assert!(append(&mut log, vec![entry(1, 2, "too late")]).await.is_err());
    assert!(log.save_vote(&Vote::new(2, 7)).await.is_err());
    log.close().await;
    assert_eq!(
        faulty.syncs.load(Ordering::SeqCst),
        syncs,
        "the file was synced again"
    );
    assert!(suspect_path(dir.path()).exists());

    let mut log = open(dir.path()).unwrap();
    assert_ne!(inode(dir.path()), before, "the same file is used again");
    assert!(!suspect_path(dir.path()).exists());
    assert_eq!(texts(&mut log).await[0], "kept");
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(1, 7)));
    assert_eq!(log.raft_id(), 7);
    log.close().await;
}

#[tokio::test]
async fn a_write_that_finds_no_room_frees_the_reserve_and_succeeds_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let faulty = Arc::new(Faulty::roomy());
    let mut log = open_with(dir.path(), Some(faulty.clone())).unwrap();
    append(&mut log, vec![entry(1, 0, "before")]).await.unwrap();
    assert!(dir.path().join("reserve").exists());

    let end = fs::metadata(log_path(dir.path())).unwrap().len();
    faulty.room_ends.store(end, Ordering::SeqCst);
    let big = "x".repeat(200 * 1024);
    let reserve = dir.path().join("reserve");
    let freed = faulty.clone();
    // Giving up the reserve makes room, here as on a real disk.
    let freeing = std::thread::spawn(move || {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while reserve.exists() && std::time::Instant::now() < until {
            std::thread::yield_now();
        }
        freed.room_ends.store(u64::MAX, Ordering::SeqCst);
    });
    let mut index = 1;
    while dir.path().join("reserve").exists() && index < 60 {
        append(&mut log, vec![entry(1, index, &format!("{index} {big}"))])
            .await
            .unwrap();
        index += 1;
    }
    freeing.join().unwrap();
    assert!(index < 60, "the log never ran out of room");
    append(&mut log, vec![entry(1, index, "after")]).await.unwrap();
    assert_eq!(texts(&mut log).await.len() as u64, index + 1);
    log.close().await;
    let mut log = open(dir.path()).unwrap();
    assert_eq!(texts(&mut log).await.len() as u64, index + 1);
    log.close().await;
}
