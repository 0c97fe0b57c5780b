use std::collections::BTreeSet;

use shoal_proto::object::Kind;
use shoal_proto::task::TaskState;

use super::{Interest, Ring, Since};
use crate::fixture::Fixture;
use crate::state::{Group, ObjectKey};

/// A ring that has seen every proposal, and indexes of three registries' creations.
fn filled(events_max: usize) -> (Ring, u64) {
    let mut fixture = Fixture::new();
    let first = fixture.state.index();
    let mut ring = Ring::new(first, events_max);
    for host in ["a", "b", "c"] {
        let mut group = Group::new();
        group.put(shoal_proto::registry::Registry {
            meta: Default::default(),
            host: host.to_owned(),
            username: String::new(),
            password: String::new(),
        });
        let applied = fixture.groups(vec![group]);
        ring.push(applied.index, applied.events);
    }
    (ring, first)
}

#[test]
fn a_watcher_gets_everything_after_its_index_in_order() {
    let (ring, first) = filled(10);
    let Since::Events { upto, events } = ring.since(first + 1, &Interest::default()) else {
        panic!("the ring reaches back");
    };
    let told: Vec<_> = events
        .iter()
        .map(|(index, event)| (*index, event.key()))
        .collect();
    let registry = |host: &str| ObjectKey::Registry(host.to_owned());
    assert_eq!(told, [(first + 2, registry("b")), (first + 3, registry("c"))]);
    assert_eq!(upto, first + 3);
    assert_eq!(
        ring.since(upto, &Interest::default()),
        Since::Events { upto, events: vec![] }
    );
}

#[test]
fn an_index_that_the_ring_forgot_or_never_saw_is_answered_with_resync() {
    let (ring, first) = filled(2);
    let newest = ring.newest();
    assert_eq!(ring.since(first, &Interest::default()), Since::Resync { newest });
    assert!(matches!(
        ring.since(first + 1, &Interest::default()),
        Since::Events { .. }
    ));
    assert_eq!(
        ring.since(newest + 1, &Interest::default()),
        Since::Resync { newest }
    );
    assert_eq!(
        ring.since(first - 1, &Interest::default()),
        Since::Resync { newest }
    );
}

#[test]
fn a_watcher_is_told_only_of_what_concerns_it_and_also_of_what_leaves_its_sight() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let web = fixture.service("web", 1);
    let other = fixture.service("other", 1);
    let mut ring = Ring::new(fixture.state.index(), 100);
    let task = fixture.task(web, 1, Some(node), TaskState::Running);
    fixture.task(other, 1, None, TaskState::Pending);
    let read = fixture.read(task);
    let mut group = Group::new();
    group.delete(read);
    let applied = fixture.groups(vec![group]);
    ring.push(applied.index, applied.events.clone());
    let told = |interest: Interest| match ring.since(applied.index - 2, &interest) {
        Since::Events { events, .. } => events.len(),
        Since::Resync { .. } => panic!("the ring reaches back"),
    };
    let kinds = |kind| BTreeSet::from([kind]);
    assert_eq!(
        told(Interest {
            node: Some(node),
            ..Interest::default()
        }),
        1
    );
    assert_eq!(
        told(Interest {
            service: Some(web.0),
            ..Interest::default()
        }),
        1
    );
    assert_eq!(
        told(Interest {
            service: Some(other.0),
            ..Interest::default()
        }),
        0
    );
    assert_eq!(
        told(Interest {
            kinds: kinds(Kind::Task),
            node: Some(node),
            ..Interest::default()
        }),
        1
    );
    assert_eq!(
        told(Interest {
            kinds: kinds(Kind::Node),
            ..Interest::default()
        }),
        0
    );
}
