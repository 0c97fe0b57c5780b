//! What a constraint accepts, refuses and matches.

use shoal_proto::id::NodeId;
use shoal_proto::node::{Node, NodeDescription, NodePlan, NodeStatus, Role};
use shoal_proto::object::Meta;
use shoal_proto::time::Timestamp;

use super::{ConstraintError, parse};

fn node() -> Node {
    let description = NodeDescription {
        hostname: "Alpha".to_owned(),
        os: "linux".to_owned(),
        arch: "x86_64".to_owned(),
        engine_labels: [("disk".to_owned(), "ssd".to_owned())].into(),
        ..NodeDescription::default()
    };
    Node {
        id: NodeId::new(Timestamp::from_ms(1), 7),
        meta: Meta::default(),
        plan: NodePlan {
            role: Role::Manager,
            labels: [("Zone".to_owned(), "East 1".to_owned())].into(),
            ..NodePlan::default()
        },
        status: NodeStatus {
            addr: Some("10.1.2.3".parse().unwrap()),
            description: Some(description),
            ..NodeStatus::default()
        },
    }
}

fn holds(text: &str) -> bool {
    parse(text).unwrap().holds(&node())
}

#[test]
fn every_key_matches_its_part_of_the_node_ignoring_case_of_the_value() {
    assert!(holds("node.hostname==ALPHA"));
    assert!(holds(" NODE.HostName == alpha "));
    assert!(holds(&format!("node.id=={}", node().id)));
    assert!(holds("node.role == manager") && !holds("node.role == worker"));
    assert!(holds("node.platform.os==linux"));
    assert!(holds("node.platform.arch==amd64") && holds("node.platform.arch==X86_64"));
    assert!(holds("node.labels.Zone==east 1") && !holds("node.labels.zone==east 1"));
    assert!(holds("engine.labels.disk!=hdd"));
}

#[test]
fn an_address_matches_itself_and_the_blocks_around_it() {
    assert!(holds("node.ip==10.1.2.3") && !holds("node.ip==10.1.2.4"));
    assert!(holds("node.ip==10.1.0.0/16") && holds("node.ip==0.0.0.0/0"));
    assert!(holds("node.ip!=10.2.0.0/16") && !holds("node.ip==fe80::/10"));
}

#[test]
fn a_missing_label_is_never_equal() {
    assert!(!holds("node.labels.gone==x"));
    assert!(holds("node.labels.gone!=x"));
}

#[test]
fn pattern_characters_are_ordinary_ones() {
    assert!(!holds("node.hostname==al*"));
    assert!(holds("node.hostname!=^Alpha$"));
}

#[test]
fn an_unknown_key_is_refused_with_the_valid_ones() {
    let error = parse("node.label.zone==a").unwrap_err();
    assert!(matches!(error, ConstraintError::UnknownKey { .. }));
    assert!(error.to_string().contains("node.labels.NAME"));
    assert!(parse("node.labels.==a").is_err());
}

#[test]
fn what_swarm_refuses_is_refused() {
    for text in [
        "",
        " ",
        "node.role",
        "node.role~worker",
        "node.role=worker",
        "1node==a",
        "no de==a",
        "==a",
        "node.id==",
        "node.id== ",
        "node.h*==a",
        "node.h$==a",
        "node.ip==10.0.0.0/33",
        "node.ip==x",
        "node.role==boss",
        "node.hostname==a&b",
    ] {
        assert!(parse(text).is_err(), "{text:?} must be refused");
    }
}

#[test]
fn a_constraint_shows_as_it_was_meant() {
    assert_eq!(
        parse(" node.labels.Zone  !=  b ").unwrap().to_string(),
        "node.labels.Zone!=b"
    );
}
