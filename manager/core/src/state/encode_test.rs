use serde::{Deserialize, Serialize};
use shoal_proto::object::Cause;
use shoal_proto::registry::Registry;
use shoal_proto::time::Timestamp;

use super::{DecodeError, EncodeError, decode, encode};
use crate::state::{FORMAT, Group, LEVEL, Proposal};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Old {
    a: u32,
    kind: OldKind,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum OldKind {
    First,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct New {
    a: u32,
    kind: NewKind,
    #[serde(default)]
    later: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum NewKind {
    First,
    Second(u32),
}

fn proposal() -> Proposal {
    let mut group = Group::new();
    group.put(Registry {
        meta: Default::default(),
        host: "h".to_owned(),
        username: "u".to_owned(),
        password: "p".to_owned(),
    });
    Proposal::new(Timestamp::from_ms(3), Cause::default(), vec![group])
}

#[test]
fn a_proposal_comes_back_as_it_was() {
    let bytes = proposal().to_bytes().unwrap();
    assert_eq!(Proposal::from_bytes(&bytes).unwrap(), proposal());
}

#[test]
fn a_field_that_this_build_does_not_know_is_an_error_with_format_and_level() {
    let newer = New {
        a: 1,
        kind: NewKind::First,
        later: None,
    };
    let error = decode::<Old>("thing", &encode("thing", 1, &newer).unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "thing of format 1 and level 1 holds what this build does not know"
    );
}

#[test]
fn a_kind_that_this_build_does_not_know_is_an_error() {
    let newer = (1, NewKind::Second(3));
    let bytes = encode("thing", 1, &newer).unwrap();
    assert!(matches!(
        decode::<Old>("thing", &bytes),
        Err(DecodeError::Unknown { .. })
    ));
}

#[test]
fn a_field_that_an_older_build_did_not_write_takes_its_default() {
    let older = Old {
        a: 1,
        kind: OldKind::First,
    };
    let (_, newer) = decode::<New>("thing", &encode("thing", 1, &older).unwrap()).unwrap();
    assert_eq!(
        newer,
        New {
            a: 1,
            kind: NewKind::First,
            later: None
        }
    );
}

#[test]
fn newer_formats_and_levels_are_refused_with_both_numbers() {
    let mut bytes = proposal().to_bytes().unwrap();
    bytes[..2].copy_from_slice(&(FORMAT + 1).to_be_bytes());
    let error = Proposal::from_bytes(&bytes).unwrap_err().to_string();
    assert!(error.contains("format 2") && error.contains("up to 1"), "{error}");
    let bytes = proposal().at_level(LEVEL + 1).to_bytes().unwrap();
    let error = Proposal::from_bytes(&bytes).unwrap_err().to_string();
    assert!(error.contains("level 2") && error.contains("up to 1"), "{error}");
}

#[test]
fn damage_anywhere_is_an_error_and_never_a_panic() {
    let bytes = proposal().to_bytes().unwrap();
    for end in 0..bytes.len() {
        assert!(Proposal::from_bytes(&bytes[..end]).is_err());
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(Proposal::from_bytes(&longer).is_err());
}

#[test]
fn an_entry_over_the_limit_is_refused_before_it_is_written() {
    let mut proposal = proposal();
    let mut group = Group::new();
    group.put(Registry {
        meta: Default::default(),
        host: "x".repeat(1 << 20),
        username: String::new(),
        password: String::new(),
    });
    proposal.groups.push(group);
    assert!(
        matches!(proposal.to_bytes(), Err(EncodeError::Limit(limit)) if limit.what == "bytes of an entry")
    );
}
