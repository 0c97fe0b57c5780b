use shoal_proto::id::{NodeId, SessionId};
use shoal_proto::node::{NodeDescription, NodeState};
use shoal_proto::time::Timestamp;

use super::{Arrival, arrival, decide, heard_and_ready, silence_max_ms};
use crate::dispatcher::seen::{EngineVoice, Seen};
use crate::fixture::Fixture;
use crate::state::Change;

/// A cluster with one ready node and a leader that has begun now.
fn one_node() -> (Fixture, NodeId, Seen) {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let seen = Seen::new(fixture.now);
    (fixture, node, seen)
}

fn session(fixture: &mut Fixture) -> SessionId {
    fixture.ids.session(fixture.now)
}

/// Decides and carries out; returns the node's state and when to look again.
fn look(fixture: &mut Fixture, seen: &Seen, node: NodeId) -> (NodeState, Option<Timestamp>) {
    let step = decide(&fixture.state, seen, fixture.now);
    fixture.groups(step.groups);
    (fixture.state.node(node).unwrap().status.state, step.wake_at)
}

#[test]
fn a_node_is_down_after_three_missing_heartbeats_and_ready_with_the_next_one() {
    let (mut fixture, node, mut seen) = one_node();
    let session = session(&mut fixture);
    seen.session_opened(node, session, 1, fixture.now);
    let deadline = fixture.now + 6_000;
    assert_eq!(
        look(&mut fixture, &seen, node),
        (NodeState::Ready, Some(deadline))
    );
    fixture.now = fixture.now + 5_999;
    assert_eq!(look(&mut fixture, &seen, node).0, NodeState::Ready);
    fixture.now = deadline;
    assert_eq!(look(&mut fixture, &seen, node).0, NodeState::Down);
    let reason = fixture.state.node(node).unwrap().status.reason.clone().unwrap();
    assert!(reason.to_string().contains("no heartbeat"), "{reason}");
    seen.heartbeat(node, session, 0, fixture.now).unwrap();
    assert_eq!(look(&mut fixture, &seen, node).0, NodeState::Ready);
}

#[test]
fn a_closed_session_is_not_a_lost_node() {
    let (mut fixture, node, mut seen) = one_node();
    let session = session(&mut fixture);
    seen.session_opened(node, session, 1, fixture.now);
    seen.session_closed(node, session);
    fixture.now = fixture.now + 5_000;
    assert_eq!(look(&mut fixture, &seen, node).0, NodeState::Ready);
}

#[test]
fn a_new_leader_grants_every_node_a_fresh_and_longer_deadline() {
    let (mut fixture, node, _) = one_node();
    fixture.now = fixture.now + 1_000_000;
    let seen = Seen::new(fixture.now);
    let deadline = fixture.now + 2 * silence_max_ms(&fixture.state.cluster_spec());
    assert_eq!(
        look(&mut fixture, &seen, node),
        (NodeState::Ready, Some(deadline))
    );
    fixture.now = deadline;
    assert_eq!(look(&mut fixture, &seen, node), (NodeState::Down, None));
}

#[test]
fn a_node_that_never_spoke_stays_unknown_however_long() {
    let (mut fixture, node, seen) = one_node();
    let mut status = fixture.state.node(node).unwrap().status.clone();
    status.state = NodeState::Unknown;
    fixture.change(Change::NodeStatus {
        node,
        status: Box::new(status),
    });
    fixture.now = fixture.now + 1_000_000;
    assert_eq!(look(&mut fixture, &seen, node), (NodeState::Unknown, None));
}

#[test]
fn a_silent_engine_takes_its_own_grace_and_its_voice_ends_it() {
    let (mut fixture, node, mut seen) = one_node();
    let session = session(&mut fixture);
    seen.session_opened(node, session, 1, fixture.now);
    seen.engine(node, session, EngineVoice::Silent, fixture.now)
        .unwrap();
    let grace_ends = fixture.now + 30_000;
    let mut beat = |fixture: &mut Fixture, at, voice| {
        fixture.now = at;
        seen.heartbeat(node, session, 0, at).unwrap();
        seen.engine(node, session, voice, at).unwrap();
        look(fixture, &seen, node).0
    };
    let before = Timestamp::from_ms(grace_ends.as_ms() - 1);
    assert_eq!(beat(&mut fixture, before, EngineVoice::Silent), NodeState::Ready);
    assert_eq!(
        beat(&mut fixture, grace_ends, EngineVoice::Silent),
        NodeState::EngineDown
    );
    assert_eq!(
        beat(&mut fixture, grace_ends + 1, EngineVoice::Silent),
        NodeState::EngineDown
    );
    assert_eq!(
        beat(&mut fixture, grace_ends + 2, EngineVoice::Answering),
        NodeState::Ready
    );
}

#[test]
fn nothing_is_decided_while_an_arrival_is_on_its_way() {
    let (mut fixture, node, mut seen) = one_node();
    let session = session(&mut fixture);
    seen.session_opened(node, session, 2, fixture.now);
    fixture.now = fixture.now + 100_000;
    assert_eq!(look(&mut fixture, &seen, node), (NodeState::Ready, None));
}

#[test]
fn an_arrival_makes_a_node_ready_in_a_new_epoch_with_what_its_host_is() {
    let (mut fixture, node, _) = one_node();
    let description = NodeDescription {
        hostname: "new".to_owned(),
        ..NodeDescription::default()
    };
    let news = Arrival {
        description,
        boot_id: "b2".to_owned(),
        addr: None,
    };
    let (epoch, change) = arrival(fixture.state.node(node).unwrap(), news, fixture.now);
    fixture.change(change);
    let status = &fixture.state.node(node).unwrap().status;
    assert_eq!((epoch, status.epoch, status.boot_id.as_str()), (2, 2, "b2"));
    assert_eq!(fixture.state.node(node).unwrap().name(), "new");
}

#[test]
fn only_nodes_that_are_ready_and_were_heard_can_be_waited_for() {
    let (mut fixture, node, mut seen) = one_node();
    let silent = fixture.node();
    let session = session(&mut fixture);
    seen.session_opened(node, session, 1, fixture.now);
    assert_eq!(heard_and_ready(&fixture.state, &seen).collect::<Vec<_>>(), [node]);
    assert!(seen.node(silent).is_none());
}

#[test]
fn a_node_is_judged_by_the_period_it_was_told() {
    let (mut fixture, node, mut seen) = one_node();
    let session = session(&mut fixture);
    seen.session_opened(node, session, 1, fixture.now);
    seen.told_period(node, session, 2_000).unwrap();
    let mut cluster = fixture.state.cluster().unwrap().as_ref().clone();
    cluster.spec.heartbeat_period_ms = 100;
    let mut group = crate::state::Group::new();
    group.put(cluster);
    fixture.groups(vec![group]);
    fixture.now = fixture.now + 1_000;
    assert_eq!(
        look(&mut fixture, &seen, node).0,
        NodeState::Ready,
        "it cannot know yet"
    );
    seen.heartbeat(node, session, 0, fixture.now).unwrap();
    seen.told_period(node, session, 100).unwrap();
    fixture.now = fixture.now + 300;
    assert_eq!(look(&mut fixture, &seen, node).0, NodeState::Down);
}
