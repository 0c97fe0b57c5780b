use std::collections::BTreeSet;

use shoal_proto::cluster::Cluster;
use shoal_proto::id::{NodeId, RevisionId, ServiceId};
use shoal_proto::node::{Availability, Role};
use shoal_proto::service::{HostPort, Mode, SlotKey, TaskTemplate};
use shoal_proto::task::TaskState;

use super::{End, Event, Fate, Outcome, simulate};
use crate::fixture::{Fixture, data};

const GIB: u64 = 1 << 30;

fn service(
    fixture: &mut Fixture,
    name: &str,
    replicas: u64,
    edit: impl FnOnce(&mut TaskTemplate),
) -> (ServiceId, RevisionId) {
    let mut template = TaskTemplate::default();
    edit(&mut template);
    fixture.service_with(name, Mode::Replicated { replicas }, template)
}

/// One running task a node, in the order of the slots.
fn runs(fixture: &mut Fixture, service: (ServiceId, RevisionId), nodes: &[NodeId]) {
    for (slot, node) in (1..).zip(nodes) {
        fixture.task(service, slot, Some(*node), TaskState::Running);
    }
}

fn what_if(fixture: &Fixture, events: &[Event]) -> Outcome {
    let before = fixture.state.clone();
    let events: BTreeSet<Event> = events.iter().copied().collect();
    let outcome = simulate(&fixture.state, &events, fixture.now);
    assert_eq!(fixture.state, before, "nothing is written");
    assert_eq!(
        simulate(&fixture.state, &events, fixture.now),
        outcome,
        "asked again it says the same"
    );
    outcome
}

fn told(outcome: &Outcome) -> Vec<(&str, &End)> {
    outcome
        .fates
        .iter()
        .map(|Fate { name, end, .. }| (name.as_str(), end))
        .collect()
}

#[test]
fn tasks_of_a_killed_node_move_to_where_the_scheduler_puts_them() {
    let mut fixture = Fixture::new();
    let nodes = [fixture.node(), fixture.node(), fixture.node()];
    let web = service(&mut fixture, "web", 2, |_| {});
    runs(&mut fixture, web, &nodes[..2]);
    let outcome = what_if(&fixture, &[Event::Kill(nodes[0])]);
    assert_eq!(told(&outcome), [("web.1", &End::Moves(nodes[2]))]);
    assert_eq!(outcome.fates[0].from, Some(nodes[0]));
    assert_eq!((outcome.losses(), outcome.warnings.len()), (0, 0), "{outcome:?}");
}

#[test]
fn what_fits_nowhere_is_named_with_the_reason() {
    let mut fixture = Fixture::new();
    let nodes = [fixture.node(), fixture.node()];
    let web = service(&mut fixture, "web", 2, |template| {
        template.resources.reservations.memory_bytes = 5 * GIB
    });
    runs(&mut fixture, web, &nodes);
    for event in [Event::Kill(nodes[1]), Event::Drain(nodes[1])] {
        let outcome = what_if(&fixture, &[event]);
        assert_eq!(outcome.losses(), 1, "{event:?}: {outcome:?}");
        let [(name, End::Waits(why) | End::Stays(why))] = told(&outcome)[..] else {
            panic!("{event:?}: {outcome:?}");
        };
        assert_eq!(name, "web.2");
        assert!(
            why.contains("2048 MiB memory missing on 1 node"),
            "{event:?}: {why}"
        );
        let stays = matches!(outcome.fates[0].end, End::Stays(_));
        assert_eq!(
            stays,
            matches!(event, Event::Drain(_)),
            "what is drained runs on: {outcome:?}"
        );
    }
}

#[test]
fn several_at_once_leave_less_room_than_one() {
    let mut fixture = Fixture::new();
    let nodes = [fixture.node(), fixture.node(), fixture.node()];
    let web = service(&mut fixture, "web", 3, |template| {
        template.placement.max_replicas_per_node = 2
    });
    runs(&mut fixture, web, &nodes);
    let one = what_if(&fixture, &[Event::Kill(nodes[0])]);
    assert_eq!(one.losses(), 0, "{one:?}");
    let two = what_if(&fixture, &[Event::Kill(nodes[0]), Event::Drain(nodes[1])]);
    assert_eq!((two.losses(), two.fates.len()), (1, 2), "{two:?}");
}

#[test]
fn a_global_task_of_a_drained_node_stops_and_one_of_a_lost_node_waits() {
    let mut fixture = Fixture::new();
    let nodes = [fixture.node(), fixture.node()];
    let log = fixture.service_with("log", Mode::Global, TaskTemplate::default());
    for node in nodes {
        fixture.task_with(log, 1, Some(node), |task| {
            task.plan.slot = SlotKey::Node(node);
            task.status.state = TaskState::Running;
        });
    }
    let drained = what_if(&fixture, &[Event::Drain(nodes[0])]);
    assert_eq!(
        told(&drained),
        [("log.n1", &End::Stops("node n1 is drained".to_owned()))]
    );
    let killed = what_if(&fixture, &[Event::Kill(nodes[0])]);
    assert_eq!(
        told(&killed),
        [(
            "log.n1",
            &End::Waits("waits for its node to come back".to_owned())
        )]
    );
}

#[test]
fn data_on_a_lost_node_is_waited_for() {
    let mut fixture = Fixture::new();
    let nodes = [fixture.node(), fixture.node()];
    let db = service(&mut fixture, "db", 1, |template| {
        template.container.mounts.push(data("db"));
    });
    fixture.put(shoal_proto::service::Slot {
        service: db.0,
        key: SlotKey::Number(1),
        meta: Default::default(),
        revision: db.1,
        attempts: Vec::new(),
        attempts_total: 0,
        spent: None,
        home: Some(nodes[0]),
        update_failed_at: None,
    });
    runs(&mut fixture, db, &nodes[..1]);
    let outcome = what_if(&fixture, &[Event::Kill(nodes[0])]);
    let [(_, End::Waits(why))] = told(&outcome)[..] else {
        panic!("{outcome:?}");
    };
    assert!(why.contains("volume db is on node n1"), "{why}");
}

#[test]
fn a_host_port_goes_with_the_task_and_not_to_a_node_that_has_it_taken() {
    let mut fixture = Fixture::new();
    let nodes = [fixture.node(), fixture.node()];
    let port = HostPort {
        protocol: Default::default(),
        container_port: 80,
        published_port: 80,
        host_ip: None,
    };
    let web = service(&mut fixture, "web", 2, |template| template.host_ports.push(port));
    runs(&mut fixture, web, &nodes);
    let outcome = what_if(&fixture, &[Event::Drain(nodes[0])]);
    assert_eq!(outcome.losses(), 1, "{outcome:?}");
}

#[test]
fn the_limit_of_evictions_takes_its_time() {
    let mut fixture = Fixture::new();
    let nodes = [fixture.node(), fixture.node()];
    let mut cluster = Cluster::clone(fixture.state.cluster().unwrap());
    cluster.spec.evictions_per_minute = 1;
    fixture.put(cluster);
    let web = service(&mut fixture, "web", 3, |_| {});
    runs(&mut fixture, web, &[nodes[0]; 3]);
    let outcome = what_if(&fixture, &[Event::Kill(nodes[0])]);
    assert_eq!((outcome.losses(), outcome.fates.len()), (0, 3), "{outcome:?}");
    assert!(outcome.lasted_ms >= 120_000, "{outcome:?}");
}

#[test]
fn a_lost_quorum_and_events_that_change_nothing_are_told() {
    let mut fixture = Fixture::new();
    let nodes = [fixture.node(), fixture.node(), fixture.node()];
    for node in &nodes {
        fixture.edit_node(*node, |node| node.plan.role = Role::Manager);
    }
    fixture.edit_node(nodes[2], |node| node.plan.availability = Availability::Drain);
    assert!(what_if(&fixture, &[Event::Kill(nodes[0])]).warnings.is_empty());
    let outcome = what_if(
        &fixture,
        &[
            Event::Kill(nodes[0]),
            Event::Kill(nodes[1]),
            Event::Drain(nodes[2]),
        ],
    );
    assert_eq!(outcome.warnings.len(), 2, "{outcome:?}");
    assert!(
        outcome.warnings[0].starts_with("2 of 3 managers would be lost"),
        "{outcome:?}"
    );
    assert_eq!(outcome.warnings[1], "node n3 is drained already");
}
