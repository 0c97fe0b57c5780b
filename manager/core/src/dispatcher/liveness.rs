//! Whether a node is ready, down, or has a silent Engine. Decided from heartbeats by the leader's monotonic
//! time; only the transition is replicated. A new leader grants every node a fresh deadline.

use shoal_proto::cluster::ClusterSpec;
use shoal_proto::id::NodeId;
use shoal_proto::node::{Node, NodeDescription, NodeState, NodeStatus};
use shoal_proto::reason::Reason;
use shoal_proto::time::Timestamp;

use super::seen::{Seen, SeenNode};
use crate::state::{Change, Group, State};
use crate::step::Step;

/// A node that no leader has heard yet may take this many times the usual silence: its agent has to find the new
/// leader first. Swarm grants the same.
pub const NEW_LEADER_FACTOR: u64 = 2;

/// What an agent says of its host when a session begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// What the host is.
    pub description: NodeDescription,
    /// Changes with every boot.
    pub boot_id: String,
    /// Where the host is reached.
    pub addr: Option<std::net::IpAddr>,
}

/// The silence after which a node is down.
#[must_use]
pub fn silence_max_ms(spec: &ClusterSpec) -> u64 {
    missed_ms(spec, spec.heartbeat_period_ms)
}

fn missed_ms(spec: &ClusterSpec, period_ms: u64) -> u64 {
    period_ms.saturating_mul(u64::from(spec.heartbeat_misses))
}

/// The epoch of the next session of a node, and what to propose when it begins: the node is ready from then on,
/// and reports of earlier sessions no longer count.
#[must_use]
pub fn arrival(node: &Node, arrival: Arrival, now: Timestamp) -> (u64, Change) {
    let epoch = node.status.epoch + 1;
    let status = NodeStatus {
        version: 0,
        state: NodeState::Ready,
        since: now,
        reason: None,
        epoch,
        boot_id: arrival.boot_id,
        addr: arrival.addr,
        description: Some(arrival.description),
    };
    (
        epoch,
        Change::NodeStatus {
            node: node.id,
            status: Box::new(status),
        },
    )
}

/// What became of every node, and when the next could be down.
#[must_use]
pub fn decide(state: &State, seen: &Seen, now: Timestamp) -> Step {
    let spec = state.cluster_spec();
    let mut step = Step::default();
    for node in state.nodes() {
        let verdict = judge(node, seen, &spec, now);
        if let Some(at) = verdict.look_again {
            step.wake_by(at);
        }
        if verdict.state == node.status.state {
            continue;
        }
        let mut status = node.status.clone();
        (status.state, status.since, status.reason) = (verdict.state, now, verdict.reason);
        let mut group = Group::new();
        group.change(Change::NodeStatus {
            node: node.id,
            status: Box::new(status),
        });
        step.push(group);
    }
    step
}

/// What a node is, why, and when that could change by time alone.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    state: NodeState,
    reason: Option<Reason>,
    look_again: Option<Timestamp>,
}

fn judge(node: &Node, seen: &Seen, spec: &ClusterSpec, now: Timestamp) -> Verdict {
    match seen.node(node.id) {
        // Its arrival is on its way through the log; nothing is decided before it is there.
        Some(heard) if heard.epoch != node.status.epoch => stays(node, None),
        Some(heard) => judge_heard(node, heard, spec, now),
        None => judge_unheard(node, seen.led_since(), spec, now),
    }
}

fn judge_heard(node: &Node, heard: &SeenNode, spec: &ClusterSpec, now: Timestamp) -> Verdict {
    let limit_ms = missed_ms(spec, heard.period_ms.unwrap_or(spec.heartbeat_period_ms));
    let deadline = heard.heard_at + limit_ms;
    if now >= deadline {
        return down(node, limit_ms);
    }
    let Some(silent_since) = heard.engine_silent_since else {
        return Verdict {
            state: NodeState::Ready,
            reason: None,
            look_again: Some(deadline),
        };
    };
    let engine_deadline = silent_since + spec.engine_grace_ms;
    if now < engine_deadline {
        return stays(node, Some(deadline.min(engine_deadline)));
    }
    let words = format!(
        "the engine of node {} has not answered for {}",
        node.id,
        seconds(spec.engine_grace_ms)
    );
    let reason = Some(Reason::Other(words));
    Verdict {
        state: NodeState::EngineDown,
        reason,
        look_again: Some(deadline),
    }
}

/// Missing knowledge means wait; only a node that was up in the state can be found missing.
fn judge_unheard(node: &Node, led_since: Timestamp, spec: &ClusterSpec, now: Timestamp) -> Verdict {
    if matches!(node.status.state, NodeState::Unknown | NodeState::Down) {
        return stays(node, None);
    }
    let limit_ms = silence_max_ms(spec).saturating_mul(NEW_LEADER_FACTOR);
    let deadline = led_since + limit_ms;
    if now >= deadline {
        down(node, limit_ms)
    } else {
        stays(node, Some(deadline))
    }
}

fn stays(node: &Node, look_again: Option<Timestamp>) -> Verdict {
    Verdict {
        state: node.status.state,
        reason: None,
        look_again,
    }
}

fn down(node: &Node, silence_ms: u64) -> Verdict {
    let words = format!("no heartbeat of node {} for {}", node.id, seconds(silence_ms));
    Verdict {
        state: NodeState::Down,
        reason: Some(Reason::Other(words)),
        look_again: None,
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
}

/// Nodes that are ready and were heard by this leader.
pub fn heard_and_ready<'a>(state: &'a State, seen: &'a Seen) -> impl Iterator<Item = NodeId> + 'a {
    state
        .nodes()
        .filter(|node| node.status.state == NodeState::Ready && seen.node(node.id).is_some())
        .map(|node| node.id)
}

#[cfg(test)]
#[path = "liveness_test.rs"]
mod tests;
