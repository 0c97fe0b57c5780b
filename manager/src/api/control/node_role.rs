//! Promotion and demotion: the plan says what a node should be, and this waits until it is. A promotion hands a one-use
//! token through the agent; a demotion is carried out by the leader's keeper.

use std::time::Duration;

use shoal_core::state::Group;
use shoal_proto::cluster::Cluster;
use shoal_proto::id::NodeId;
use shoal_proto::identity::Role as TokenRole;
use shoal_proto::node::{Node, Role};
use shoal_proto::wire::{self, session_down::Message};
use tonic::Status;

use crate::api::write::Plan;
use crate::api::{Api, fault};
use crate::ca::{Authority, one_use_token, open_token};

/// How long a promotion's token is good.
const TOKEN_MS: u64 = 10 * 60 * 1_000;
/// How long a call waits for a role to change; it goes on after that.
const FOLLOW: Duration = Duration::from_secs(60);

/// Whether this node can take this role, with what to do where it cannot.
pub(super) async fn check(api: &Api, node: &Node, role: Role) -> Result<(), Status> {
    if node.plan.role == role {
        return Ok(());
    }
    match (role, &node.plan.manager) {
        (Role::Worker, Some(manager)) => api
            .inner
            .raft
            .check_removal(manager.raft_id)
            .await
            .map_err(|error| fault::membership(&error)),
        (Role::Worker, None) => Ok(()),
        (Role::Manager, _) => check_promotion(api, node),
    }
}

fn check_promotion(api: &Api, node: &Node) -> Result<(), Status> {
    let name = node.name();
    if !api.inner.sessions.is_open(node.id) {
        return Err(Status::failed_precondition(format!(
            "node {name} ({}) has no agent in touch, which must hand over the token: run `shoal-manager join` on that \
             host with a manager token instead",
            node.id
        )));
    }
    if node
        .status
        .description
        .as_ref()
        .is_some_and(|known| known.manager_waits)
    {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "no shoal-manager waits on node {name} ({}): install it on that host and start its unit (`systemctl enable --now \
         shoal-manager`), then promote again",
        node.id
    )))
}

/// Makes the token of a promotion.
pub(super) fn token(group: &mut Group, plan: &Plan<'_>, node: &Node) -> Result<String, Status> {
    let cluster = plan
        .state
        .cluster()
        .ok_or_else(|| Status::unavailable("this manager holds no cluster yet"))?;
    let authority =
        Authority::from_state(&cluster.ca).map_err(|error| Status::internal(error.to_string()))?;
    let (token, kept) = one_use_token(&authority, TokenRole::Manager, Some(node.id), plan.now + TOKEN_MS);
    let mut next = Cluster::clone(cluster);
    open_token(&mut next, kept, plan.now).map_err(|error| Status::resource_exhausted(error.to_string()))?;
    group.put(next);
    Ok(token.reveal().to_string())
}

/// Hands the token over where there is one, and waits until the node is what it should be. Answers what to know when it
/// takes longer.
pub(super) async fn follow(
    api: &Api,
    node: NodeId,
    role: Role,
    promotion: Option<String>,
) -> Result<Vec<String>, Status> {
    if let Some(token) = promotion {
        let managers = api.inner.raft.members().addresses();
        api.inner
            .sessions
            .order(node, Message::Promote(wire::Promote { token, managers }))?;
    }
    let machine = api.inner.machine.clone();
    let mut applied = machine.applied();
    let mut leads = api.inner.leader.leads();
    let reached = async {
        let is_there = |_: &u64| {
            machine
                .state()
                .node(node)
                .is_none_or(|node| node.plan.role == role)
        };
        applied.wait_for(is_there).await.is_ok()
    };
    let reached = tokio::select! {
        reached = tokio::time::timeout(FOLLOW, reached) => reached,
        () = async { _ = leads.wait_for(Option::is_none).await } => {
            return Ok(vec![format!("the leadership moved meanwhile; the new leader goes on, see `shoal node ls` for node {node}")]);
        }
    };
    if reached.is_ok() {
        return Ok(Vec::new());
    }
    let why = standstill(api, node, role).await;
    Ok(vec![format!(
        "node {node} is not a {role} after {FOLLOW:?}{why}; it goes on, see `shoal node ls`"
    )])
}

/// What stands in the way of a demotion, as far as it is known.
async fn standstill(api: &Api, node: NodeId, role: Role) -> String {
    let state = api.inner.machine.state();
    let Some(node) = state.node(node) else {
        return String::new();
    };
    match check(api, node, role).await {
        Err(reason) if role == Role::Worker => format!(": {}", reason.message()),
        _ => String::new(),
    }
}
