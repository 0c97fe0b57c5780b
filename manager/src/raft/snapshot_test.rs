//! What snapshot files must hold.

use super::*;
use crate::raft::types::log_id;

fn snapshots(dir: &Path) -> Snapshots {
    let sealer = Arc::new(Sealer::open(&dir.join("key")).unwrap());
    Snapshots::open(&dir.join("snapshots"), sealer).unwrap()
}

fn meta(index: u64) -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: Some(log_id(1, index)),
        ..SnapshotMeta::default()
    }
}

fn put(snapshots: &Snapshots, index: u64, bytes: &[u8]) -> Stored {
    let mut writing = snapshots.create(meta(index)).unwrap();
    bytes.chunks(1000).for_each(|c| writing.write(c).unwrap());
    snapshots.keep(&writing.finish().unwrap()).unwrap()
}

#[test]
fn a_snapshot_of_any_size_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = snapshots(dir.path());
    for (index, len) in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES * 2 + 5]
        .into_iter()
        .enumerate()
    {
        let bytes: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
        put(&snapshots, index as u64, &bytes);
        let newest = snapshots.newest().unwrap().unwrap();
        assert_eq!(newest.meta, meta(index as u64));
        assert_eq!(newest.size_bytes, len as u64);
        assert_eq!(snapshots.read_all(&newest).unwrap(), bytes);
    }
}

#[test]
fn two_are_kept_and_an_unfinished_one_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let first = snapshots(dir.path());
    (1..=4).for_each(|index| drop(put(&first, index, b"state")));
    first.create(meta(9)).unwrap().write(b"half").unwrap();
    let names = |dir: &Path| fs::read_dir(dir.join("snapshots")).unwrap().count();
    assert_eq!(names(dir.path()), 3);
    let second = snapshots(dir.path());
    assert_eq!(names(dir.path()), 2);
    assert_eq!(second.newest().unwrap().unwrap().meta, meta(4));
}

#[test]
fn a_damaged_or_cut_snapshot_gives_way_to_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = snapshots(dir.path());
    put(&snapshots, 1, b"older");
    let newest = put(&snapshots, 2, &vec![3u8; PIECE_BYTES + 10]);
    let whole = fs::read(&newest.path).unwrap();
    for cut in [0, 8, 11, 40, 200, PIECE_BYTES, whole.len() - 1] {
        fs::write(&newest.path, &whole[..cut]).unwrap();
        assert_eq!(snapshots.newest().unwrap().unwrap().meta, meta(1), "cut to {cut}");
    }
    for at in (0..whole.len()).step_by(997) {
        let mut changed = whole.clone();
        changed[at] ^= 0x20;
        fs::write(&newest.path, &changed).unwrap();
        // A changed format number reads as a newer one, which is refused as such.
        if (8..12).contains(&at) {
            assert!(matches!(snapshots.newest(), Err(OpenError::Newer { .. })));
        } else {
            assert_eq!(snapshots.newest().unwrap().unwrap().meta, meta(1), "byte {at}");
        }
    }
}

#[test]
fn only_damaged_snapshots_are_an_error_and_not_an_empty_state() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = snapshots(dir.path());
    let only = put(&snapshots, 1, b"state");
    fs::write(&only.path, b"SHOALSNP").unwrap();
    assert!(matches!(snapshots.newest(), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_newer_format_is_refused_naming_both() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = snapshots(dir.path());
    let only = put(&snapshots, 1, b"state");
    let mut bytes = fs::read(&only.path).unwrap();
    bytes[8] = 7;
    fs::write(&only.path, bytes).unwrap();
    let said = snapshots.newest().unwrap_err().to_string();
    assert!(said.contains("format 7") && said.contains("up to 1"), "{said}");
}
