use std::collections::BTreeSet;

use shoal_proto::id::NodeId;
use shoal_proto::task::TaskState;

use super::Pools;
use crate::fixture::Fixture;
use crate::state::{Group, Object};

#[test]
fn what_one_step_gives_is_different_each_time_and_the_network_is_written_once() {
    let mut fixture = Fixture::new();
    let (node, network) = (fixture.node(), fixture.network("net", "10.1.0.0/26"));
    let networks = BTreeSet::from([network]);
    let moment = (&fixture.state, fixture.now);
    let mut pools = Pools::default();
    let given: BTreeSet<_> = (0..31)
        .map(|_| pools.take(moment, &networks, node).unwrap())
        .collect();
    assert_eq!(given.len(), 31);
    assert!(pools.take(moment, &networks, node).is_err());
    assert_eq!(pools.frees_at(), None, "all are held");
    assert_eq!(pools.groups().len(), 1);
    assert_eq!(pools.changed().collect::<Vec<_>>(), [network]);
}

#[test]
fn a_task_gets_an_address_on_each_of_its_networks_or_on_none() {
    let mut fixture = Fixture::new();
    let (node, narrow) = (fixture.node(), fixture.network("narrow", "10.1.0.0/26"));
    fixture.now = fixture.now + 1;
    let wide = fixture.network("wide", "10.2.0.0/24");
    let moment = (&fixture.state, fixture.now);
    let mut pools = Pools::default();
    for _ in 0..31 {
        pools.take(moment, &BTreeSet::from([narrow]), node).unwrap();
    }
    let both = BTreeSet::from([narrow, wide]);
    assert_eq!(pools.take(moment, &both, node).unwrap_err().network, "narrow");
    let next = pools.take(moment, &BTreeSet::from([wide]), node).unwrap();
    assert_eq!(next, [(wide, [10, 2, 0, 1].into())]);
}

#[test]
fn an_address_that_is_forgotten_early_rests_in_its_network() {
    let mut fixture = Fixture::new();
    let (node, network) = (fixture.node(), fixture.network("net", "10.1.0.0/26"));
    let web = fixture.service_on("web", 1, &[network]);
    let task = fixture.task_with(web, 1, Some(node), |task| {
        task.plan.addresses = vec![(network, [10, 1, 0, 7].into())];
    });
    fixture.report(task, node, TaskState::Shutdown, 1);
    let ended = Object::from(fixture.read(task));
    for (later_ms, rests) in [(0, true), (59_999, true), (60_000, false)] {
        let mut pools = Pools::default();
        pools.release(&fixture.state, fixture.now + later_ms, &ended);
        assert_eq!(pools.groups().len(), usize::from(rests), "{later_ms}");
    }
}

#[test]
fn a_group_of_a_task_stands_on_its_networks_as_the_step_leaves_them() {
    let mut fixture = Fixture::new();
    let (node, network) = (fixture.node(), fixture.network("net", "10.1.0.0/26"));
    let web = fixture.service_on("web", 2, &[network]);
    let place = |fixture: &mut Fixture, slot: u64, lost: bool| {
        let mut pools = Pools::default();
        let addresses = pools.take((&fixture.state, fixture.now), &BTreeSet::from([network]), node);
        let id = fixture.task_with(web, slot, None, |_| {});
        let mut task = fixture.read(id);
        (task.plan.node, task.plan.addresses) = (Some(node), addresses.unwrap());
        let mut group = Group::new();
        pools.rely_on(&mut group, &task);
        group.put(task);
        let mut groups = pools.groups();
        if lost {
            groups.clear();
        }
        groups.push(group);
        fixture.groups(groups).results.pop().unwrap()
    };
    assert!(place(&mut fixture, 1, true).is_err(), "without the node's block");
    assert!(place(&mut fixture, 2, false).is_ok());
    assert!(place(&mut fixture, 3, true).is_ok(), "the node has its block");
    let gateways: Vec<NodeId> = fixture
        .state
        .network(network)
        .unwrap()
        .blocks
        .keys()
        .copied()
        .collect();
    assert_eq!(gateways, [node]);
}
