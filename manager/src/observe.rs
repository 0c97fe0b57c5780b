//! What this manager is doing, as numbers for `/metrics`. Reads only.

use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use shoal_proto::identity::LiveCredentials;
use shoal_proto::node::NodeState;
use tokio_util::sync::CancellationToken;

use crate::clock::system_now;
use crate::machine::StateMachine;
use crate::raft::RaftHandle;

/// Between two looks; scrapers look no more often.
const EVERY: Duration = Duration::from_secs(2);

/// Keeps the numbers fresh until `stop`.
pub async fn run(
    raft: RaftHandle,
    machine: Arc<StateMachine>,
    live: LiveCredentials,
    stop: CancellationToken,
) {
    loop {
        look(&raft, &machine, &live);
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are floating point; 2^53 is enough for all of these"
)]
fn look(raft: &RaftHandle, machine: &StateMachine, live: &LiveCredentials) {
    let numbers = raft.metrics();
    let set = |name: &'static str, value: u64| gauge!(name).set(value as f64);
    set("shoal_raft_term", numbers.term);
    set("shoal_raft_last_index", numbers.last_index.unwrap_or(0));
    set("shoal_raft_committed_index", numbers.committed_index.unwrap_or(0));
    set("shoal_raft_applied_index", numbers.applied_index.unwrap_or(0));
    set("shoal_raft_snapshot_index", numbers.snapshot_index.unwrap_or(0));
    set("shoal_raft_purged_index", numbers.purged_index.unwrap_or(0));
    set(
        "shoal_raft_leads",
        u64::from(raft.leadership().borrow().may_decide()),
    );
    set("shoal_raft_voters", raft.members().voters.len() as u64);
    set("shoal_disk_full", u64::from(raft.disk().borrow().is_some()));
    let state = machine.state();
    let ready = state
        .nodes()
        .filter(|node| node.status.state == NodeState::Ready)
        .count();
    set("shoal_nodes", state.nodes().count() as u64);
    set("shoal_nodes_ready", ready as u64);
    set("shoal_services", state.services().count() as u64);
    set("shoal_tasks", state.tasks().count() as u64);
    let left_ms = live.load().certificate().not_after().ms_since(system_now());
    set("shoal_certificate_seconds_left", left_ms / 1_000);
}
