use shoal_proto::id::NetworkId;
use shoal_proto::network::Network;
use shoal_proto::task::TaskState;

use super::{REST_MS, give, keep, next_free, size};
use crate::fixture::Fixture;
use crate::state::{Change, ObjectKey};

fn network(fixture: &Fixture, id: NetworkId) -> Network {
    Network::clone(fixture.state.network(id).unwrap())
}

#[test]
fn blocks_are_as_large_as_the_network_and_who_may_join_ask_for() {
    for (subnet, attachable, first, count) in [
        ("10.1.0.0/26", false, "10.1.0.32/32", 31),
        ("10.1.0.0/20", false, "10.1.8.0/32", 2_047),
        ("10.1.0.0/26", true, "10.1.0.32/30", 8),
        ("10.1.0.0/20", true, "10.1.8.0/28", 128),
        ("10.0.0.0/16", true, "10.0.128.0/28", 2_048),
    ] {
        let mut fixture = Fixture::new();
        let id = fixture.network_with("net", subnet, |spec| spec.attachable = attachable);
        let mut found = network(&fixture, id);
        assert_eq!(next_free(&found).unwrap().unwrap().to_string(), first);
        assert_eq!(size(&found, found.subnet.unwrap()), count, "{subnet}");
        if count < 100 {
            for _ in 0..count {
                let node = fixture.node();
                give(&mut found, node).unwrap();
            }
            let node = fixture.node();
            let text = give(&mut found, node).unwrap_err().to_string();
            assert!(text.contains("no address for nodes left"), "{text}");
        }
    }
}

#[test]
fn a_block_is_given_back_when_its_node_has_carried_nothing_for_a_while() {
    let mut fixture = Fixture::new();
    let (node, id) = (fixture.node(), fixture.network("net", "10.1.0.0/24"));
    let web = fixture.service_on("web", 1, &[id]);
    let task = fixture.task_with(web, 1, Some(node), |task| {
        task.plan.addresses = vec![(id, [10, 1, 0, 7].into())];
    });
    let mut found = network(&fixture, id);
    let nobody = |_| false;
    assert_eq!(keep(&fixture.state, &mut found, nobody, fixture.now), Ok(None));
    assert_eq!(found.gateway_of(node), Some([10, 1, 0, 128].into()));
    fixture.report(task, node, TaskState::Failed, 1);
    let until = fixture.now + REST_MS;
    for _ in 0..2 {
        assert_eq!(
            keep(&fixture.state, &mut found, nobody, fixture.now),
            Ok(Some(until))
        );
        assert_eq!(found.blocks[&node].idle_since, Some(fixture.now));
    }
    assert_eq!(keep(&fixture.state, &mut found, |_| true, fixture.now), Ok(None));
    assert_eq!(found.blocks[&node].idle_since, None);
    keep(&fixture.state, &mut found, nobody, fixture.now).unwrap();
    assert_eq!(keep(&fixture.state, &mut found, nobody, until), Ok(None));
    assert!(found.blocks.is_empty());
}

#[test]
fn on_an_attachable_network_a_node_keeps_its_block_until_it_is_removed() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let id = fixture.network_with("net", "10.1.0.0/24", |spec| spec.attachable = true);
    let mut found = network(&fixture, id);
    give(&mut found, node).unwrap();
    assert_eq!(keep(&fixture.state, &mut found, |_| false, fixture.now), Ok(None));
    assert!(found.blocks.contains_key(&node));
    fixture.change(Change::Delete(ObjectKey::Node(node)));
    keep(&fixture.state, &mut found, |_| false, fixture.now).unwrap();
    assert!(found.blocks.is_empty());
}

#[test]
fn a_block_that_was_given_back_is_given_again_last() {
    let mut fixture = Fixture::new();
    let id = fixture.network("net", "10.1.0.0/26");
    let mut found = network(&fixture, id);
    let nodes = [fixture.node(), fixture.node(), fixture.node()];
    give(&mut found, nodes[0]).unwrap();
    give(&mut found, nodes[1]).unwrap();
    found.blocks.remove(&nodes[0]);
    give(&mut found, nodes[2]).unwrap();
    assert_eq!(found.gateway_of(nodes[2]), Some([10, 1, 0, 34].into()));
}
