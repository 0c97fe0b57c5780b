use std::collections::BTreeSet;
use std::path::Path;

use super::{Allow, Denied, Standing, TABLE, decide, find};
use crate::id::{ClusterId, NodeId, OperatorId};
use crate::identity::{Caller, Identity, Subject, Validity, Who};
use crate::time::Timestamp;

/// Everybody who may call, as the columns of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Nobody,
    Worker,
    Manager,
    Operator,
    Local,
}

const COLUMNS: [Column; 5] = [
    Column::Nobody,
    Column::Worker,
    Column::Manager,
    Column::Operator,
    Column::Local,
];

/// What the rows mean, said a second time and in another way: by service.
fn expected(method: &str, column: Column) -> bool {
    let (service, name) = method.trim_start_matches("/shoal.v1.").split_once('/').unwrap();
    match (service, name) {
        ("Ca", "GetRootCa" | "IssueCertificate") => true,
        ("Ca", "RenewCertificate") => matches!(column, Column::Worker | Column::Manager | Column::Operator),
        ("Ca", "JoinRaft" | "LeaveRaft") | ("Raft", _) => column == Column::Manager,
        ("Control", _) => matches!(column, Column::Operator | Column::Local),
        ("Dispatcher", _) => column == Column::Worker,
        ("Local", _) => column == Column::Local,
        _ => panic!("{method} belongs to a service without a rule"),
    }
}

fn caller(column: Column, validity: Validity) -> Caller {
    let now = Timestamp::from_ms(1);
    let member = |subject| {
        Who::Member(Identity {
            cluster: ClusterId::new(now, 1),
            subject,
        })
    };
    let who = match column {
        Column::Nobody => Who::Anonymous,
        Column::Worker => member(Subject::Worker(NodeId::new(now, 2))),
        Column::Manager => member(Subject::Manager(NodeId::new(now, 3))),
        Column::Operator => member(Subject::Operator(OperatorId::new(now, 4))),
        Column::Local => Who::Local { uid: Some(0) },
    };
    Caller {
        who,
        key: None,
        validity,
        address: None,
        via: None,
    }
}

fn is_member(column: Column) -> bool {
    matches!(column, Column::Worker | Column::Manager | Column::Operator)
}

/// The methods that the schema declares, as gRPC paths.
fn declared() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shoal/v1");
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let mut service = String::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["service", name, ..] => service = (*name).to_owned(),
                ["rpc", rest, ..] => {
                    let name = rest.split('(').next().unwrap();
                    found.insert(format!("/shoal.v1.{service}/{name}"));
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn every_method_of_the_schema_has_a_row_and_every_row_a_method() {
    let listed: BTreeSet<String> = TABLE.iter().map(|row| row.method.to_owned()).collect();
    assert_eq!(listed, declared());
    assert!(listed.len() > 30, "the schema was read");
}

#[test]
fn the_rows_are_sorted_so_that_they_are_found() {
    assert!(TABLE.windows(2).all(|pair| pair[0].method < pair[1].method));
    assert!(TABLE.iter().all(|row| find(row.method).is_some()));
}

#[test]
fn every_method_admits_exactly_its_callers() {
    for row in TABLE {
        for column in COLUMNS {
            let verdict = decide(row.method, &caller(column, Validity::Valid), || Standing::Current);
            assert_eq!(
                verdict.is_ok(),
                expected(row.method, column),
                "{} by {column:?}",
                row.method
            );
        }
    }
}

#[test]
fn a_method_without_a_row_is_denied_to_everybody() {
    for column in COLUMNS {
        let verdict = decide(
            "/shoal.v1.Control/NotThere",
            &caller(column, Validity::Valid),
            || Standing::Current,
        );
        assert_eq!(verdict, Err(Denied::Unlisted));
    }
}

#[test]
fn an_expired_certificate_renews_and_does_raft_and_nothing_else() {
    for row in TABLE {
        for column in COLUMNS.into_iter().filter(|column| is_member(*column)) {
            let verdict = decide(row.method, &caller(column, Validity::Expired), || {
                Standing::Current
            });
            // Operators' keys are not recorded.
            let kept = (row.method == "/shoal.v1.Ca/RenewCertificate" && column != Column::Operator)
                || (row.method.starts_with("/shoal.v1.Raft/") && column == Column::Manager)
                || row.allow.has(Allow::ANYONE);
            assert_eq!(verdict.is_ok(), kept, "{} by an expired {column:?}", row.method);
        }
    }
}

#[test]
fn an_expired_certificate_with_an_unknown_key_does_nothing() {
    for standing in [Standing::Unknown, Standing::Superseded, Standing::Removed] {
        for row in TABLE.iter().filter(|row| !row.allow.has(Allow::ANYONE)) {
            for column in COLUMNS.into_iter().filter(|column| is_member(*column)) {
                let verdict = decide(row.method, &caller(column, Validity::Expired), || standing);
                assert!(
                    verdict.is_err(),
                    "{} by an expired {column:?} that is {standing:?}",
                    row.method
                );
            }
        }
    }
}

#[test]
fn a_removed_node_is_refused_everywhere_by_that_name() {
    for row in TABLE {
        for column in [Column::Worker, Column::Manager] {
            let verdict = decide(row.method, &caller(column, Validity::Valid), || Standing::Removed);
            assert!(
                matches!(verdict, Err(Denied::Removed | Denied::Role)),
                "{} by {column:?}",
                row.method
            );
        }
    }
}

#[test]
fn only_raft_lets_a_manager_in_whom_the_state_does_not_know_yet() {
    for row in TABLE.iter().filter(|row| !row.allow.has(Allow::ANYONE)) {
        let verdict = decide(row.method, &caller(Column::Manager, Validity::Valid), || {
            Standing::Unknown
        });
        assert_eq!(
            verdict.is_ok(),
            row.method.starts_with("/shoal.v1.Raft/"),
            "{}",
            row.method
        );
    }
}

#[test]
fn a_demoted_manager_has_lost_its_rights_at_the_next_call() {
    for row in TABLE.iter().filter(|row| !row.allow.has(Allow::ANYONE)) {
        let verdict = decide(row.method, &caller(Column::Manager, Validity::Valid), || {
            Standing::Superseded
        });
        assert!(
            matches!(verdict, Err(Denied::Superseded | Denied::Role)),
            "{}",
            row.method
        );
    }
}

#[test]
fn a_forwarded_local_caller_is_an_operator_and_never_orders_the_daemon_itself() {
    let mut forwarded = caller(Column::Local, Validity::Valid);
    forwarded.via = Some(NodeId::new(Timestamp::from_ms(1), 9));
    for row in TABLE {
        let verdict = decide(row.method, &forwarded, || Standing::Current);
        let service = row.method.split('/').nth(1).unwrap();
        assert_eq!(
            verdict.is_ok(),
            service == "shoal.v1.Control" || row.allow.has(Allow::ANYONE),
            "{}",
            row.method
        );
    }
}
