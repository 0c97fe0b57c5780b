use shoal_proto::config::Config;
use shoal_proto::content::ContentVersion;
use shoal_proto::digest::Digest;

use crate::fixture::Fixture;
use crate::state::blob::{BLOB_BYTES_MAX, BLOB_UNUSED_MS, Chunk};
use crate::state::{Change, Conflict, Group, GroupResult, Guard, ObjectKey};

fn chunk(whole: &[u8], from: usize, to: usize) -> Chunk {
    Chunk {
        digest: Digest::of(whole),
        total_bytes: whole.len() as u64,
        offset: from as u64,
        bytes: whole[from..to].to_vec().into(),
    }
}

fn upload(fixture: &mut Fixture, chunk: Chunk) -> GroupResult {
    fixture.group(|group| {
        group.change(Change::BlobChunk(chunk));
    })
}

fn holds(fixture: &mut Fixture, guard: Guard) -> GroupResult {
    fixture.group(|group| {
        group.guard(guard);
    })
}

#[test]
fn content_comes_in_pieces_and_counts_when_it_is_whole() {
    let mut fixture = Fixture::new();
    let whole = b"0123456789";
    let digest = Digest::of(whole);
    upload(&mut fixture, chunk(whole, 0, 4)).unwrap();
    assert_eq!(
        holds(&mut fixture, Guard::HasBlob(digest)),
        Err(Conflict::BlobMissing(digest))
    );
    upload(&mut fixture, chunk(whole, 0, 4)).unwrap();
    upload(&mut fixture, chunk(whole, 4, 10)).unwrap();
    upload(&mut fixture, chunk(whole, 4, 10)).unwrap();
    assert!(holds(&mut fixture, Guard::HasBlob(digest)).is_ok());
    assert_eq!(&*fixture.state.blob(&digest).unwrap().bytes.0, whole);
}

#[test]
fn a_gap_and_wrong_bytes_are_refused() {
    let mut fixture = Fixture::new();
    let whole = b"0123456789";
    let digest = Digest::of(whole);
    upload(&mut fixture, chunk(whole, 0, 4)).unwrap();
    let gap = Err(Conflict::BlobGap {
        digest,
        have: 4,
        offset: 6,
    });
    assert_eq!(upload(&mut fixture, chunk(whole, 6, 10)), gap);
    let wrong = Chunk {
        bytes: b"xxxxxx".to_vec().into(),
        ..chunk(whole, 4, 10)
    };
    assert_eq!(upload(&mut fixture, wrong), Err(Conflict::BlobDigest(digest)));
    assert!(upload(&mut fixture, chunk(whole, 4, 10)).is_ok());
}

#[test]
fn content_over_the_limit_is_refused_with_the_limit() {
    let mut fixture = Fixture::new();
    let large = Chunk {
        total_bytes: BLOB_BYTES_MAX as u64 + 1,
        ..chunk(b"ab", 0, 1)
    };
    let error = upload(&mut fixture, large).unwrap_err();
    assert_eq!(
        error.to_string(),
        "bytes of content of 1024001 is over the limit of 1024000"
    );
}

#[test]
fn content_is_forgotten_an_hour_after_its_last_user_went() {
    let mut fixture = Fixture::new();
    let digest = Digest::of(b"ab");
    upload(&mut fixture, chunk(b"ab", 0, 2)).unwrap();
    let id = fixture.ids.config(fixture.now);
    let version = ContentVersion {
        id: fixture.ids.version(fixture.now),
        number: 1,
        digest,
        size_bytes: 2,
        created_at: fixture.now,
    };
    fixture.put(Config {
        id,
        meta: Default::default(),
        stack: None,
        name: "c".to_owned(),
        labels: Default::default(),
        versions: vec![version],
    });
    fixture.now = fixture.now + 2 * BLOB_UNUSED_MS;
    assert_eq!(fixture.state.blobs_to_forget(fixture.now), (vec![], None));
    let used = Err(Conflict::BlobUsed {
        digest,
        by: ObjectKey::Config(id),
    });
    assert_eq!(holds(&mut fixture, Guard::BlobUnused(digest)), used);
    let config = fixture.state.config(id).unwrap().clone();
    let mut group = Group::new();
    group.delete(config);
    fixture.groups(vec![group]);
    let ends = fixture.now + BLOB_UNUSED_MS;
    assert_eq!(fixture.state.blobs_to_forget(fixture.now), (vec![], Some(ends)));
    assert_eq!(fixture.state.blobs_to_forget(ends), (vec![digest], None));
    fixture
        .group(|group| {
            group
                .guard(Guard::BlobUnused(digest))
                .change(Change::BlobDelete(digest));
        })
        .unwrap();
    assert!(fixture.state.blob(&digest).is_none());
}

#[test]
fn bytes_never_show_when_a_change_is_printed() {
    let printed = format!("{:?}", Change::BlobChunk(chunk(b"hunter2", 0, 7)));
    assert!(
        printed.contains("7 bytes") && !printed.contains("104, 117"),
        "{printed}"
    );
}
