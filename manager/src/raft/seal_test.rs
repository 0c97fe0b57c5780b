//! What the seal must hold.

use super::*;

fn sealer(dir: &Path) -> Sealer {
    Sealer::open(&dir.join("key")).unwrap()
}

#[test]
fn a_record_opens_in_a_later_run_with_the_same_key() {
    let dir = tempfile::tempdir().unwrap();
    let sealed = sealer(dir.path()).seal(b"entry 7", b"the content");
    assert_eq!(
        sealer(dir.path()).open_record(b"entry 7", &sealed).unwrap(),
        b"the content"
    );
    assert_eq!(sealed.len(), b"the content".len() + OVERHEAD);
}

#[test]
fn a_record_moved_to_another_place_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let s = sealer(dir.path());
    let sealed = s.seal(b"entry 7", b"the content");
    assert!(matches!(
        s.open_record(b"entry 8", &sealed),
        Err(SealError::Broken)
    ));
}

#[test]
fn any_changed_byte_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let s = sealer(dir.path());
    let sealed = s.seal(b"x", b"some bytes");
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 0x41;
        assert!(
            s.open_record(b"x", &changed).is_err(),
            "byte {at} changed unnoticed"
        );
    }
    for len in 0..sealed.len() {
        assert!(
            s.open_record(b"x", &sealed[..len]).is_err(),
            "cut to {len} bytes unnoticed"
        );
    }
}

#[test]
fn a_newer_format_is_refused_naming_both() {
    let dir = tempfile::tempdir().unwrap();
    let s = sealer(dir.path());
    let mut sealed = s.seal(b"x", b"y");
    sealed[0] = 9;
    let said = s.open_record(b"x", &sealed).unwrap_err().to_string();
    assert!(said.contains("format 9") && said.contains("up to 1"), "{said}");
}

#[test]
fn the_key_file_is_readable_by_its_owner_only_and_refused_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    drop(sealer(dir.path()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let said = Sealer::open(&path).err().unwrap().to_string();
    assert!(said.contains("0644") && said.contains("0600"), "{said}");
}

#[test]
fn a_cut_key_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    drop(sealer(dir.path()));
    let whole = fs::read(&path).unwrap();
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        assert!(
            Sealer::open(&path).is_err(),
            "a key file of {len} bytes was taken"
        );
    }
}
