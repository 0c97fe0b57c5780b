use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{Folder, FolderError};
use crate::digest::Digest;
use crate::identity::testing::{TestCa, node};
use crate::identity::{Role, Subject};

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_identity_survives_being_written_and_read_and_nobody_else_may_read_it() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path().join("identity"));
    let credentials = TestCa::new(1).issue(Subject::Worker(node(1)));
    let here = Some(Digest::of(b"here"));
    folder
        .write_identity(&credentials, here, &["10.0.0.1:4600".to_owned()])
        .unwrap();
    let read = folder.credentials(Role::Worker).unwrap().unwrap();
    assert_eq!(read.identity(), credentials.identity());
    assert!(folder.credentials(Role::Manager).unwrap().is_none());
    assert_eq!(
        folder.membership(here).unwrap().unwrap().managers,
        ["10.0.0.1:4600"]
    );
    assert_eq!(mode(folder.path()), 0o700);
    for entry in fs::read_dir(folder.path()).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn a_folder_copied_to_another_machine_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path());
    let credentials = TestCa::new(1).issue(Subject::Worker(node(1)));
    folder
        .write_identity(&credentials, Some(Digest::of(b"here")), &[])
        .unwrap();
    let refused = folder.membership(Some(Digest::of(b"there"))).unwrap_err();
    assert!(matches!(refused, FolderError::OtherMachine { .. }));
}

#[test]
fn a_renewal_cut_off_between_its_renames_is_finished_by_the_next_reader() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path());
    let ca = TestCa::new(1);
    folder
        .write_credentials(&ca.issue(Subject::Worker(node(1))))
        .unwrap();
    let next = ca.issue(Subject::Worker(node(1)));
    let old_key = fs::read(place.path().join("agent.key")).unwrap();
    folder.write_credentials(&next).unwrap();
    // As it was before the last rename: the new certificate, the old key, the new key beside it.
    fs::rename(
        place.path().join("agent.key"),
        place.path().join("agent.key.next"),
    )
    .unwrap();
    fs::write(place.path().join("agent.key"), old_key).unwrap();
    let read = folder.credentials(Role::Worker).unwrap().unwrap();
    assert_eq!(read.certificate().key(), next.certificate().key());
    assert!(!place.path().join("agent.key.next").exists());
}

#[test]
fn a_newer_format_is_refused_naming_both() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path());
    folder
        .write_identity(&TestCa::new(1).issue(Subject::Worker(node(1))), None, &[])
        .unwrap();
    let file = place.path().join("cluster.json");
    let text = fs::read_to_string(&file)
        .unwrap()
        .replace("\"format\": 1", "\"format\": 9");
    fs::write(&file, text).unwrap();
    let refused = folder.membership(None).unwrap_err().to_string();
    assert!(refused.contains('9') && refused.contains('1'), "{refused}");
}

#[test]
fn a_host_forgets_its_cluster_only_with_its_last_daemon_and_remembers_that_there_was_one() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path());
    let ca = TestCa::new(1);
    folder
        .write_identity(&ca.issue(Subject::Worker(node(1))), None, &[])
        .unwrap();
    folder
        .write_identity(&ca.issue(Subject::Manager(node(1))), None, &[])
        .unwrap();
    folder.forget(Role::Manager).unwrap();
    assert!(folder.membership(None).unwrap().is_some());
    folder.forget(Role::Worker).unwrap();
    assert!(folder.membership(None).unwrap().is_none());
    assert_eq!(folder.former().unwrap().unwrap().cluster, ca.cluster);
    folder.forget_former().unwrap();
    assert!(folder.former().unwrap().is_none());
}
