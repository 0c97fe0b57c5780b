use std::collections::BTreeSet;

use shoal_proto::cluster::Cluster;
use shoal_proto::id::NodeId;

use super::{OverlayNumber, check, give, size};
use crate::fixture::Fixture;
use crate::state::{Change, ObjectKey};

fn number(fixture: &mut Fixture, node: NodeId) -> u16 {
    let group = give(&fixture.state, &BTreeSet::from([node])).unwrap();
    let applied = fixture.groups(vec![group]);
    assert!(applied.results[0].is_ok());
    let number = fixture.state.node(node).unwrap().plan.overlay;
    number.map(OverlayNumber::get).unwrap()
}

#[test]
fn numbers_go_upward_and_the_one_of_a_removed_node_rests() {
    let mut fixture = Fixture::new();
    let nodes = [fixture.node(), fixture.node()];
    assert_eq!(number(&mut fixture, nodes[0]), 1);
    assert_eq!(number(&mut fixture, nodes[1]), 2);
    fixture.change(Change::Delete(ObjectKey::Node(nodes[1])));
    let again = fixture.node();
    assert_eq!(number(&mut fixture, again), 3);
    assert!(give(&fixture.state, &BTreeSet::from([again])).unwrap().is_empty());
}

#[test]
fn the_nodes_move_to_no_subnet_that_a_network_has_or_that_is_too_small() {
    let mut fixture = Fixture::new();
    fixture.network("net", "10.1.0.0/24");
    let error = check(&fixture.state, "10.0.0.0/8".parse().unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.contains("overlaps 10.1.0.0/24 of network net"), "{error}");
    let node = fixture.node();
    fixture.edit_node(node, |node| node.plan.overlay = OverlayNumber::new(300).ok());
    let error = check(&fixture.state, "10.2.0.0/24".parse().unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.contains("has 254 addresses and node"), "{error}");
    assert_eq!(check(&fixture.state, "10.2.0.0/23".parse().unwrap()), Ok(()));
}

#[test]
fn numbers_go_round_within_the_overlay_subnet_and_end() {
    let mut fixture = Fixture::new();
    let mut cluster = Cluster::clone(fixture.state.cluster().unwrap());
    cluster.spec.overlay_subnet = "10.255.0.0/29".parse().unwrap();
    cluster.last_overlay = 5;
    fixture.put(cluster);
    for expected in [6, 1, 2, 3, 4, 5] {
        let node = fixture.node();
        assert_eq!(number(&mut fixture, node), expected);
    }
    let node = fixture.node();
    let error = give(&fixture.state, &BTreeSet::from([node]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("10.255.0.0/29 has no number left for node"),
        "{error}"
    );
    assert_eq!(size("10.0.0.0/8".parse().unwrap()), 0x7fff);
}
