//! `node rm`: drains, waits, takes it out of Raft, revokes; the leader's keeper does the work and goes on after any crash.
//! Forced, for a host that is dead: all of that at once.

use std::time::Duration;

use shoal_core::state::Group;
use shoal_proto::id::NodeId;
use shoal_proto::node::Node;
use shoal_proto::wire;
use tonic::{Request, Response, Status};

use super::Answer;
use crate::api::write::{Intent, open};
use crate::api::{Api, fault, refs};
use crate::keeper;

/// How long the call waits for the drain; it goes on after that.
const WAIT: Duration = Duration::from_secs(10 * 60);

pub(super) async fn remove(api: &Api, request: Request<wire::RemoveNodeRequest>) -> Answer<wire::Done> {
    let (caller, asked) = open(request)?;
    let intent = Intent::new(&caller, &asked.request_id, format!("node rm {}", asked.r#ref))?;
    let state = api.inner.machine.state();
    if state.answer(intent.request).is_none() {
        let node = refs::node(&state, &asked.r#ref)?;
        if let Some(manager) = &node.plan.manager {
            api.inner
                .raft
                .check_removal(manager.raft_id)
                .await
                .map_err(|error| fault::membership(&error))?;
        }
        if asked.force {
            return force(api, &intent, &node).await;
        }
    }
    let mut meant = None;
    let outcome = api
        .write(&intent, |plan| {
            let node = refs::node(plan.state, &asked.r#ref)?;
            meant = Some(node.id);
            let mut next = Node::clone(&node);
            next.plan.removing_since.get_or_insert(plan.now);
            let mut group = Group::new();
            if next.plan != node.plan {
                group.put(next);
            }
            Ok(group)
        })
        .await?;
    // A repeated call only waits again.
    let meant = meant.or_else(|| refs::node(&outcome.state, &asked.r#ref).ok().map(|node| node.id));
    let Some(meant) = meant else {
        return Ok(Response::new(outcome.done()));
    };
    let warning = wait(api, meant).await;
    let mut done = outcome.done();
    done.index = api.inner.machine.state().index();
    done.warnings.extend(warning);
    Ok(Response::new(done))
}

/// Until the node is gone. Answers what to know when that takes longer, or goes on elsewhere.
async fn wait(api: &Api, node: NodeId) -> Option<String> {
    let machine = api.inner.machine.clone();
    let (mut applied, mut leads) = (machine.applied(), api.inner.leader.leads());
    let gone = applied.wait_for(|_| machine.state().node(node).is_none());
    tokio::select! {
        gone = tokio::time::timeout(WAIT, gone) => gone.is_err().then(|| {
            let left = keeper::tasks_left(&machine.state(), node);
            format!("node {node} is still drained after {WAIT:?}: {left} tasks are left; it goes on")
        }),
        // A leader that is removed itself hands over first, and never sees its own end.
        _ = leads.wait_for(Option::is_none) => Some(format!(
            "the leadership moved meanwhile; the new leader goes on, see `shoal node ls` for node {node}"
        )),
    }
}

async fn force(api: &Api, intent: &Intent, node: &Node) -> Answer<wire::Done> {
    if let Some(manager) = &node.plan.manager {
        let removed = api.inner.raft.remove_manager(manager.raft_id).await;
        match removed {
            Ok(()) | Err(crate::raft::MembershipError::Unknown(_)) => {}
            Err(error) => return Err(fault::membership(&error)),
        }
    }
    let id = node.id;
    let outcome = api
        .write(intent, |plan| {
            let node = plan
                .state
                .node(id)
                .ok_or_else(|| Status::not_found(format!("node {id} is not there any more")))?;
            let mut group = Group::new();
            keeper::forget(&mut group, plan.state, node, plan.now);
            Ok(group)
        })
        .await?;
    Ok(Response::new(outcome.done()))
}
