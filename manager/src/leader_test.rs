//! The leader's loop over a real log of one manager.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shoal_core::state::Group;
use shoal_core::step::Step;
use shoal_proto::id::NetworkId;
use shoal_proto::network::{Network, NetworkSpec};
use shoal_proto::time::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Decide, LeaderHandle, chunks, run};
use crate::machine::StateMachine;
use crate::raft::{self, Dial, DialError, Manager, RaftConfig, RaftHandle};

struct Nobody;

#[async_trait::async_trait]
impl Dial for Nobody {
    async fn channel(&self, manager: &Manager) -> Result<tonic::transport::Channel, DialError> {
        Err(DialError {
            manager: manager.clone(),
            reason: "there is nobody else".to_owned(),
        })
    }
}

async fn alone(dir: &std::path::Path) -> (Arc<StateMachine>, RaftHandle) {
    let machine = Arc::new(StateMachine::new());
    let raft = raft::start(RaftConfig::new(dir), machine.clone(), Arc::new(Nobody))
        .await
        .unwrap();
    raft.initialize("n", "127.0.0.1:1").await.unwrap();
    (machine, raft)
}

fn network(number: u64) -> Network {
    let id = NetworkId::new(Timestamp::from_ms(1), number.into());
    let spec = NetworkSpec {
        name: format!("net{number}"),
        ..NetworkSpec::default()
    };
    Network::new(id, None, spec)
}

/// Makes networks until there are ten: each step sees what the one before wrote.
fn ten_networks(steps: Arc<AtomicU64>) -> Decide {
    Box::new(move |state, _, _| {
        steps.fetch_add(1, Ordering::SeqCst);
        let there = state.networks().count() as u64;
        let mut step = Step::default();
        if there < 10 {
            let mut group = Group::new();
            group.put(network(there));
            step.push(group);
        }
        step
    })
}

#[tokio::test]
async fn a_leader_decides_step_by_step_until_nothing_is_left_and_then_rests() {
    let dir = tempfile::tempdir().unwrap();
    let (machine, raft) = alone(dir.path()).await;
    let (handle, stop) = (LeaderHandle::new(machine.clone()), CancellationToken::new());
    let steps = Arc::new(AtomicU64::new(0));
    let counted = steps.clone();
    let running = tokio::spawn(run(
        handle.clone(),
        raft.clone(),
        move || ten_networks(counted.clone()),
        stop.clone(),
    ));
    let mut applied = machine.applied();
    let all_there = applied.wait_for(|_| machine.state().networks().count() == 10);
    tokio::time::timeout(Duration::from_secs(10), all_there)
        .await
        .unwrap()
        .unwrap();
    assert!(handle.leads().borrow().is_some());
    assert!(handle.hear(|_, now| now).unwrap() >= machine.state().newest_time());
    let conflicts = machine
        .state()
        .networks()
        .filter(|network| network.meta.version != 1)
        .count();
    assert_eq!(
        conflicts, 0,
        "one step in flight: none decides on what it has not seen"
    );
    stop.cancel();
    running.await.unwrap();
    assert!(
        handle.hear(|_, now| now).is_none(),
        "without leadership nothing is heard"
    );
    raft.shutdown().await;
}

#[test]
fn a_large_step_is_written_in_pieces_in_its_order() {
    let groups: Vec<Group> = (0..600)
        .map(|number| {
            let mut group = Group::new();
            group.put(network(number));
            group
        })
        .collect();
    let pieces = chunks(groups.clone());
    assert!(pieces.len() == 3 && pieces.iter().all(|piece| piece.len() <= 250));
    assert_eq!(pieces.concat(), groups);
    assert!(chunks(Vec::new()).is_empty());
}
