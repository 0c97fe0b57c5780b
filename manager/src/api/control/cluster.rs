//! The cluster itself: who leads, its rules, and the tokens that admit to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shoal_core::allocator::{overlay, warn};
use shoal_core::state::{Group, State};
use shoal_proto::cluster::{Cluster, ClusterSpec};
use shoal_proto::identity::{Caller, JoinToken, Role};
use shoal_proto::limits::ONE_USE_TOKEN_MS;
use shoal_proto::node::NodeState;
use shoal_proto::task::TaskState;
use shoal_proto::wire::{self, Invalid};
use tonic::{Request, Response, Status};

use super::{Answer, spare};
use crate::api::Api;
use crate::api::read::{Freshness, View};
use crate::api::write::{Intent, check_version, open};
use crate::ca::{Authority, kept, open_token, requested_token, reusable_token, rotate_token};
use crate::raft::{Manager, RaftMetrics};

/// A manager heard of within this time is reachable, milliseconds.
const REACHABLE_MS: u64 = 1_500;
/// A manager that lacks more entries is lagging.
const LAG_ENTRIES: u64 = 5_000;

pub(super) async fn status(
    api: &Api,
    request: Request<wire::GetClusterStatusRequest>,
) -> Answer<wire::ClusterStatus> {
    let view = api.view(Freshness::of(request.into_inner().stale)).await?;
    let cluster = the_cluster(&view.state)?;
    let managers = managers(api, &view.state);
    let reachable = managers
        .iter()
        .filter(|manager| manager.voter && manager.reachable)
        .count();
    let voters = managers.iter().filter(|manager| manager.voter).count();
    let running = view
        .state
        .tasks()
        .filter(|task| task.status.state == TaskState::Running)
        .count();
    let message = wire::ClusterStatus {
        cluster_id: cluster.id.to_string(),
        spec: Some((&cluster.spec).into()),
        level: cluster.level.into(),
        incarnation: cluster.incarnation,
        index: view.index(),
        age_ms: view.age_ms.unwrap_or(0),
        nodes_ready: view
            .state
            .nodes()
            .filter(|node| node.status.state == NodeState::Ready)
            .count() as u64,
        nodes_total: view.state.nodes().count() as u64,
        services: view
            .state
            .services()
            .filter(|service| service.removed_at.is_none())
            .count() as u64,
        tasks_running: running as u64,
        managers_may_be_lost: reachable.saturating_sub(voters / 2 + 1) as u64,
        warnings: warnings(api, &view, &managers),
        managers,
        answered_by: api.inner.node.to_string(),
        version: cluster.meta.version,
        spare: Some(spare::ask(api, &view).await?),
    };
    Ok(view.answer(message))
}

fn the_cluster(state: &State) -> Result<&Cluster, Status> {
    let cluster = state.cluster().map(AsRef::as_ref);
    cluster.ok_or_else(|| Status::unavailable("this manager holds no cluster yet"))
}

/// All managers as this one sees them. Only the leader hears of the others; elsewhere they count as reachable while
/// there is a leader.
pub(super) fn managers(api: &Api, state: &State) -> Vec<wire::ManagerStatus> {
    let (members, metrics) = (api.inner.raft.members(), api.inner.raft.metrics());
    let leadership = api.inner.raft.leadership().borrow().clone();
    let me = api.inner.raft.id();
    let hostnames: BTreeMap<&str, &str> = state
        .nodes()
        .map(|node| (node.id.as_str(), node.name()))
        .collect();
    let row = |manager: &Manager, voter: bool| {
        let peer = metrics.peers.get(&manager.raft_id);
        let heard = match peer {
            Some(peer) => peer.silent_ms.is_some_and(|silent_ms| silent_ms < REACHABLE_MS),
            None => leadership.leader.is_some() && !leadership.am_leader(),
        };
        let applied = if manager.raft_id == me {
            metrics.applied_index
        } else {
            peer.and_then(|p| p.matched_index)
        };
        wire::ManagerStatus {
            node_id: manager.node.clone(),
            hostname: hostnames
                .get(manager.node.as_str())
                .map(|name| (*name).to_owned())
                .unwrap_or_default(),
            addr: manager.address.clone(),
            leader: leadership
                .leader
                .as_ref()
                .is_some_and(|leader| leader.raft_id == manager.raft_id),
            reachable: manager.raft_id == me || heard,
            voter,
            applied_index: applied.unwrap_or_default(),
        }
    };
    let voters = members.voters.iter().map(|manager| row(manager, true));
    voters
        .chain(members.learners.iter().map(|manager| row(manager, false)))
        .collect()
}

/// Addresses of the other managers that said their disk is full.
fn full_elsewhere(api: &Api, metrics: &RaftMetrics) -> Vec<String> {
    let is_full = |manager: &Manager| {
        let peer = metrics.peers.get(&manager.raft_id);
        peer.is_some_and(|peer| peer.disk_full == Some(true))
    };
    let voters = api.inner.raft.members().voters.into_iter();
    voters.filter(is_full).map(|manager| manager.address).collect()
}

fn warnings(api: &Api, view: &View, managers: &[wire::ManagerStatus]) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(full) = api.inner.raft.disk().borrow().as_ref() {
        let (path, missing) = (full.path.display(), full.missing_bytes);
        warnings.push(format!(
            "the disk is full on the manager that answers: {path} needs {missing} more bytes free"
        ));
    }
    let metrics = api.inner.raft.metrics();
    let newest = metrics.last_index.unwrap_or_default();
    let full = full_elsewhere(api, &metrics);
    let full: BTreeSet<&str> = full.iter().map(String::as_str).collect();
    for manager in managers {
        let name = if manager.hostname.is_empty() {
            &manager.node_id
        } else {
            &manager.hostname
        };
        if !manager.reachable {
            warnings.push(format!("manager {name} at {} is not reachable", manager.addr));
        } else if full.contains(manager.addr.as_str()) {
            warnings.push(format!(
                "the disk of manager {name} at {} is full: it takes no new entries",
                manager.addr
            ));
        } else if newest.saturating_sub(manager.applied_index) > LAG_ENTRIES && view.age_ms.is_none() {
            warnings.push(format!(
                "manager {name} is lagging: it lacks {} entries",
                newest - manager.applied_index
            ));
        }
    }
    if managers.iter().filter(|manager| manager.voter).count() % 2 == 0 {
        warnings.push(
            "an even number of managers protects no better than one fewer: add one or demote one".to_owned(),
        );
    }
    warnings.extend(warn::warnings(&view.state));
    warnings.extend(lagging(api, view));
    warnings.extend(api.inner.sessions.warnings());
    warnings
}

/// Nodes that are behind for longer than anything waits for them.
fn lagging(api: &Api, view: &View) -> Vec<String> {
    let limit = Duration::from_millis(view.state.cluster_spec().ack_timeout_ms);
    let lagging = api.inner.sessions.lagging(limit).into_iter();
    lagging
        .map(|(id, since)| {
            let node = view.state.node(id);
            let (name, since) = (node.map_or(id.as_str(), |node| node.name()), since.as_secs());
            format!("node {name} is lagging: it has carried out nothing of what it was told {since} s ago")
        })
        .collect()
}

pub(super) async fn update(api: &Api, request: Request<wire::UpdateClusterRequest>) -> Answer<wire::Done> {
    let (caller, asked) = open(request)?;
    let spec = asked.spec.ok_or_else(|| Invalid::new("spec", "is missing"))?;
    let spec = ClusterSpec::try_from(spec).map_err(|error| error.within("spec"))?;
    let intent = Intent::new(&caller, &asked.request_id, "cluster update".to_owned())?;
    let outcome = api
        .write(&intent, |plan| {
            let cluster = the_cluster(plan.state)?;
            check_version("the cluster", asked.version, cluster.meta.version)?;
            if cluster.spec.overlay_subnet != spec.overlay_subnet {
                overlay::check(plan.state, spec.overlay_subnet)
                    .map_err(|error| Status::failed_precondition(error.to_string()))?;
            }
            let mut group = Group::new();
            if cluster.spec != spec {
                group.put(Cluster {
                    spec: spec.clone(),
                    ..cluster.clone()
                });
            }
            Ok(group)
        })
        .await?;
    Ok(Response::new(outcome.done()))
}

pub(super) async fn join_token(
    api: &Api,
    request: Request<wire::GetJoinTokenRequest>,
) -> Answer<wire::JoinToken> {
    let (caller, asked) = open(request)?;
    let role: Role = asked
        .role
        .parse()
        .map_err(|error| Invalid::new("role", format!("{error}")))?;
    if asked.one_use_ms > 0 {
        return one_use_token(api, &caller, role, &asked).await;
    }
    let state = if asked.rotate {
        let intent = Intent::new(
            &caller,
            &asked.request_id,
            format!("cluster join-token --rotate {role}"),
        )?;
        let outcome = api.write(&intent, |plan| rotate(plan.state, role)).await?;
        outcome.state
    } else {
        api.view(Freshness::Linearizable).await?.state
    };
    let cluster = the_cluster(&state)?;
    let token = reusable_token(&authority(cluster)?, cluster, role);
    Ok(revealed(api, &token))
}

/// A token for one use; a repeat of the request gets the same one.
async fn one_use_token(
    api: &Api,
    caller: &Caller,
    role: Role,
    asked: &wire::GetJoinTokenRequest,
) -> Answer<wire::JoinToken> {
    if asked.rotate {
        return Err(Invalid::new("rotate", "is for the token that is good until it is rotated").into());
    }
    if !ONE_USE_TOKEN_MS.contains(&asked.one_use_ms) {
        return Err(Invalid::new("one_use_ms", "a one-use token is good for 1 second to 30 days").into());
    }
    let action = format!("cluster join-token --one-use {role}");
    let intent = Intent::new(caller, &asked.request_id, action)?;
    let outcome = api
        .write(&intent, |plan| {
            let mut cluster = the_cluster(plan.state)?.clone();
            let token = requested_token(&authority(&cluster)?, role, intent.request);
            let fresh = kept(&token, None, plan.now + asked.one_use_ms);
            open_token(&mut cluster, fresh, plan.now)
                .map_err(|error| Status::resource_exhausted(error.to_string()))?;
            let mut group = Group::new();
            group.put(cluster);
            Ok(group)
        })
        .await?;
    let cluster = the_cluster(&outcome.state)?;
    Ok(revealed(
        api,
        &requested_token(&authority(cluster)?, role, intent.request),
    ))
}

fn authority(cluster: &Cluster) -> Result<Authority, Status> {
    Authority::from_state(&cluster.ca).map_err(|error| Status::internal(error.to_string()))
}

fn revealed(api: &Api, token: &JoinToken) -> Response<wire::JoinToken> {
    Response::new(wire::JoinToken {
        token: token.reveal().to_string(),
        managers: api.inner.raft.members().addresses(),
    })
}

fn rotate(state: &State, role: Role) -> Result<Group, Status> {
    let mut cluster = the_cluster(state)?.clone();
    rotate_token(&mut cluster, role);
    let mut group = Group::new();
    group.put(cluster);
    Ok(group)
}
