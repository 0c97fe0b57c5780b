//! What the leader carries out beside the decisions about tasks: demotions, removals of drained nodes, what is left of
//! removed stacks, and the clearing away of bytes and tokens that nobody may use any more. Level-triggered: a new leader
//! goes on where the old one was.

use std::sync::Arc;
use std::time::Duration;

use shoal_core::state::{Change, Group, Guard, ObjectKey, Proposal, State};
use shoal_proto::cluster::{Cluster, REMOVED_NODES_MAX};
use shoal_proto::id::NodeId;
use shoal_proto::node::{Node, Role};
use shoal_proto::object::{Cause, Kind};
use shoal_proto::time::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::leader::LeaderHandle;
use crate::machine::StateMachine;
use crate::raft::{MembershipError, RaftHandle};

/// Between two looks when nothing changes: blobs and tokens end by time.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// After something that did not come through.
const RETRY: Duration = Duration::from_secs(1);
/// A token past its time is remembered for so long, so that whoever uses it is told that it is too late.
const TOKEN_GRACE_MS: u64 = 60 * 60 * 1_000;
/// Members of a removed stack taken down in one entry.
const MEMBERS_AT_ONCE: usize = 100;
/// Blobs forgotten in one entry.
const BLOBS_AT_ONCE: usize = 100;

/// Runs until `stop`; works while this manager leads.
pub async fn run(
    leader: LeaderHandle,
    raft: RaftHandle,
    machine: Arc<StateMachine>,
    stop: CancellationToken,
) {
    let mut leads = leader.leads();
    let mut applied = machine.applied();
    let mut last = String::new();
    loop {
        tokio::select! {
            led = leads.wait_for(Option::is_some) => if led.is_err() { return },
            () = stop.cancelled() => return,
        }
        applied.mark_unchanged();
        let pause = match look(&leader, &raft, &machine.state()).await {
            Ok(()) => LOOK_AGAIN,
            Err(error) => {
                // What stands in the way for an hour is told once.
                if error != last {
                    tracing::warn!(error, "the keeper tries again");
                    last = error;
                }
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        last.clear();
        tokio::select! {
            changed = applied.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Does what is due. What cannot be done now, such as a demotion without a quorum, holds up nothing else.
async fn look(leader: &LeaderHandle, raft: &RaftHandle, state: &State) -> Result<(), String> {
    let mut failed = Vec::new();
    for node in state.nodes() {
        failed.extend(look_at_node(leader, raft, state, node).await.err());
    }
    failed.extend(take_down_stacks(leader, raft, state).await.err());
    failed.extend(clear_away(leader, raft, state).await.err());
    if failed.is_empty() {
        return Ok(());
    }
    Err(failed.join("; "))
}

async fn look_at_node(
    leader: &LeaderHandle,
    raft: &RaftHandle,
    state: &State,
    node: &Arc<Node>,
) -> Result<(), String> {
    // The group may hold one whose join was cut off before its node was written.
    let members = raft.members();
    let member = members.of_node(&node.id.to_string()).map(|member| member.raft_id);
    let number = node
        .plan
        .manager
        .as_ref()
        .map(|manager| manager.raft_id)
        .or(member);
    if let Some(number) = number
        && (node.plan.desired_role == Role::Worker || is_drained(state, node))
    {
        return demote(leader, raft, node, number).await;
    }
    if !is_drained(state, node) {
        return Ok(());
    }
    let mut group = Group::new();
    group.guard(Guard::Unreferenced(ObjectKey::Node(node.id)));
    forget(&mut group, state, node, leader.now());
    propose(leader, raft, group, format!("node rm {}", node.name())).await
}

/// Networks, secrets and configs of a stack that was removed go once nothing uses them, and what its history kept of
/// services that are gone; the stack goes last.
async fn take_down_stacks(leader: &LeaderHandle, raft: &RaftHandle, state: &State) -> Result<(), String> {
    for stack in state.stacks().filter(|stack| stack.removed_at.is_some()) {
        let members: Vec<ObjectKey> = state.stack_members(stack.id).cloned().collect();
        let left = members.iter().filter(|key| key.kind() != Kind::Service);
        let free: Vec<&ObjectKey> = left.filter(|key| state.referrer(key).is_none()).collect();
        let mut group = Group::new();
        for key in free.iter().take(MEMBERS_AT_ONCE) {
            if let Some(object) = state.object(key) {
                group.guard(Guard::Unreferenced((*key).clone())).delete(object);
            }
        }
        let history = state.only_named_by(&stack.revisions, &[]);
        for revision in history.iter().take(MEMBERS_AT_ONCE) {
            group.delete(revision.clone());
        }
        if members.is_empty() && history.is_empty() {
            group
                .guard(Guard::Unreferenced(ObjectKey::Stack(stack.id)))
                .delete(stack.clone());
        }
        if !group.is_empty() {
            propose(leader, raft, group, format!("stack rm {}", stack.name)).await?;
        }
    }
    Ok(())
}

/// Tasks on a node that have not ended.
#[must_use]
pub fn tasks_left(state: &State, node: NodeId) -> usize {
    state
        .tasks_on_node(node)
        .filter(|task| !task.status.state.is_terminal())
        .count()
}

fn is_drained(state: &State, node: &Node) -> bool {
    node.plan.removing_since.is_some() && tasks_left(state, node.id) == 0
}

/// Out of Raft first, then out of the plan: the role says manager exactly while it is a member.
async fn demote(leader: &LeaderHandle, raft: &RaftHandle, node: &Node, raft_id: u64) -> Result<(), String> {
    match raft.remove_manager(raft_id).await {
        Ok(()) | Err(MembershipError::Unknown(_)) => {}
        // The leadership was handed over, or the quorum would be lost: the next look tells.
        Err(error) => return Err(format!("node {} is not demoted: {error}", node.id)),
    }
    let mut next = node.clone();
    next.plan.role = Role::Worker;
    next.plan.desired_role = Role::Worker;
    next.plan.manager = None;
    next.plan.keys.manager = None;
    let mut group = Group::new();
    group.put(next);
    propose(leader, raft, group, format!("node demote {}", node.name())).await
}

/// Takes a node out of the state and remembers that it was removed.
pub fn forget(group: &mut Group, state: &State, node: &Arc<Node>, now: Timestamp) {
    group.delete(node.clone());
    if let Some(cluster) = state.cluster() {
        let mut next = Cluster::clone(cluster);
        next.removed_nodes.push((node.id, now));
        let surplus = next.removed_nodes.len().saturating_sub(REMOVED_NODES_MAX);
        next.removed_nodes.drain(..surplus);
        next.one_use_tokens.retain(|token| token.node != Some(node.id));
        group.put(next);
    }
}

/// Bytes that nothing has used for an hour, and tokens past their time.
async fn clear_away(leader: &LeaderHandle, raft: &RaftHandle, state: &State) -> Result<(), String> {
    let now = leader.now();
    let (due, _) = state.blobs_to_forget(now);
    let mut group = Group::new();
    for digest in due.into_iter().take(BLOBS_AT_ONCE) {
        group
            .guard(Guard::BlobUnused(digest))
            .change(Change::BlobDelete(digest));
    }
    if let Some(cluster) = state.cluster()
        && cluster
            .one_use_tokens
            .iter()
            .any(|token| token.expires_at + TOKEN_GRACE_MS < now)
    {
        let mut next = Cluster::clone(cluster);
        next.one_use_tokens
            .retain(|token| token.expires_at + TOKEN_GRACE_MS >= now);
        group.put(next);
    }
    if group.is_empty() {
        return Ok(());
    }
    propose(leader, raft, group, "clear away".to_owned()).await
}

async fn propose(
    leader: &LeaderHandle,
    raft: &RaftHandle,
    group: Group,
    action: String,
) -> Result<(), String> {
    let cause = Cause {
        action,
        ..Cause::default()
    };
    let entry = Proposal::new(leader.now(), cause, vec![group])
        .to_bytes()
        .map_err(|error| error.to_string())?;
    // A conflict is no error: the next look sees what changed.
    raft.propose(entry)
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}
