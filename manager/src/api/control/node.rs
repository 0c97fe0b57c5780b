//! Nodes: listed, shown, and what an operator may change of their plan in place.

use std::collections::BTreeMap;
use std::sync::Arc;

use shoal_core::state::{Group, State};
use shoal_proto::limits::{KEY_BYTES_MAX, MAP_ENTRIES_MAX};
use shoal_proto::node::{Availability, Node, NodePlan, Role};
use shoal_proto::task::TaskState;
use shoal_proto::wire::{self, Invalid};
use tonic::{Request, Response, Status};

use super::{Answer, cluster, node_role};
use crate::api::filters::Filters;
use crate::api::read::Freshness;
use crate::api::write::{Intent, check_version, open};
use crate::api::{Api, refs};

const FILTERS: &[&str] = &[
    "id",
    "name",
    "label",
    "node.label",
    "engine.label",
    "membership",
    "role",
];

pub(super) async fn list(api: &Api, request: Request<wire::ListRequest>) -> Answer<wire::ListNodesResponse> {
    let asked = request.into_inner();
    let filters = Filters::parse(&asked.filters, FILTERS)?;
    filters.only("role", &["manager", "worker"])?;
    filters.only("membership", &["accepted"])?;
    let view = api.view(Freshness::of(asked.stale)).await?;
    let managers = cluster::managers(api, &view.state);
    let nodes = view.state.nodes().filter(|node| fits(&filters, node));
    let nodes = nodes.map(|node| row(api, &view.state, &managers, node)).collect();
    Ok(view.answer(wire::ListNodesResponse {
        nodes,
        index: view.index(),
    }))
}

fn fits(filters: &Filters, node: &Node) -> bool {
    let none = BTreeMap::new();
    let engine_labels = node
        .status
        .description
        .as_ref()
        .map_or(&none, |known| &known.engine_labels);
    filters.holds_id(node.id.as_str())
        && filters.holds_name("name", node.name())
        && filters.holds_labels("label", engine_labels)
        && filters.holds_labels("engine.label", engine_labels)
        && filters.holds_labels("node.label", &node.plan.labels)
        && filters.holds("role", |role| role == node.plan.role.to_string())
}

fn row(api: &Api, state: &State, managers: &[wire::ManagerStatus], node: &Arc<Node>) -> wire::NodeRow {
    let running = state
        .tasks_on_node(node.id)
        .filter(|task| task.status.state == TaskState::Running)
        .count();
    wire::NodeRow {
        node: Some(node.as_ref().into()),
        manager: managers
            .iter()
            .find(|manager| manager.node_id == node.id.as_str())
            .cloned(),
        self_: node.id == api.inner.node,
        tasks_running: running as u64,
    }
}

pub(super) async fn get(api: &Api, request: Request<wire::GetRequest>) -> Answer<wire::Node> {
    let asked = request.into_inner();
    let view = api.view(Freshness::of(asked.stale)).await?;
    let node = meant(api, &view.state, &asked.r#ref)?;
    Ok(view.answer(node.as_ref().into()))
}

/// The node that is meant; `self` is that of the manager that answers, as with `docker node inspect self`.
pub(super) fn meant(api: &Api, state: &State, wanted: &str) -> Result<Arc<Node>, Status> {
    if wanted != "self" {
        return refs::node(state, wanted);
    }
    let own = state.node(api.inner.node).cloned();
    own.ok_or_else(|| Status::not_found("this manager's own node is not known"))
}

/// What is to change of a node's plan in place.
struct Wanted {
    availability: Option<Availability>,
    role: Option<Role>,
    labels_add: BTreeMap<String, String>,
    labels_rm: Vec<String>,
}

pub(super) async fn update(api: &Api, request: Request<wire::UpdateNodeRequest>) -> Answer<wire::Done> {
    let (caller, asked) = open(request)?;
    let intent = Intent::new(&caller, &asked.request_id, format!("node update {}", asked.r#ref))?;
    let wanted = Wanted {
        availability: availability(&asked.availability)?,
        role: role(&asked.role)?,
        labels_add: asked.labels_add,
        labels_rm: asked.labels_rm,
    };
    check_labels(&wanted.labels_add)?;
    if let Some(role) = wanted.role {
        let node = refs::node(&api.inner.machine.state(), &asked.r#ref)?;
        node_role::check(api, &node, role).await?;
    }
    let mut promotion = None;
    let outcome = api
        .write(&intent, |plan| {
            let node = refs::node(plan.state, &asked.r#ref)?;
            check_version(&format!("node {}", node.id), asked.version, node.meta.version)?;
            if node.plan.removing_since.is_some() {
                return Err(Status::failed_precondition(format!(
                    "node {} is being removed",
                    node.id
                )));
            }
            let mut group = Group::new();
            let mut next = changed(&node.plan, &wanted)?;
            if wanted.role == Some(Role::Manager) && node.plan.role == Role::Worker {
                promotion = Some(node_role::token(&mut group, plan, &node)?);
            }
            next.desired_role = wanted.role.unwrap_or(next.desired_role);
            if next != node.plan {
                group.put(Node {
                    plan: next,
                    ..Node::clone(&node)
                });
            }
            Ok(group)
        })
        .await?;
    let mut done = outcome.done();
    if let Some(role) = wanted.role {
        let node = refs::node(&outcome.state, &asked.r#ref)?.id;
        done.warnings = node_role::follow(api, node, role, promotion).await?;
    }
    Ok(Response::new(done))
}

fn availability(text: &str) -> Result<Option<Availability>, Invalid> {
    let known = [Availability::Active, Availability::Pause, Availability::Drain];
    choose("availability", text, &known)
}

fn role(text: &str) -> Result<Option<Role>, Invalid> {
    choose("role", text, &[Role::Worker, Role::Manager])
}

fn choose<T: ToString + Copy>(field: &str, text: &str, known: &[T]) -> Result<Option<T>, Invalid> {
    if text.is_empty() {
        return Ok(None);
    }
    let found = known.iter().find(|value| value.to_string() == text).copied();
    let names: Vec<String> = known.iter().map(ToString::to_string).collect();
    found
        .map(Some)
        .ok_or_else(|| Invalid::new(field, format!("{text:?}: expected {}", names.join(", "))))
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), Invalid> {
    match labels
        .iter()
        .find(|(key, value)| key.is_empty() || key.len().max(value.len()) > KEY_BYTES_MAX)
    {
        None => Ok(()),
        Some((key, _)) => {
            let why = format!(
                "{key:?}: key and value have at most {KEY_BYTES_MAX} bytes, and the key is not empty"
            );
            Err(Invalid::new("labels_add", why))
        }
    }
}

fn changed(plan: &NodePlan, wanted: &Wanted) -> Result<NodePlan, Status> {
    let mut next = plan.clone();
    next.availability = wanted.availability.unwrap_or(next.availability);
    for label in &wanted.labels_rm {
        if next.labels.remove(label).is_none() && !wanted.labels_add.contains_key(label) {
            return Err(Status::not_found(format!("the node has no label {label:?}")));
        }
    }
    next.labels.extend(wanted.labels_add.clone());
    if next.labels.len() > MAP_ENTRIES_MAX {
        let text = format!(
            "{} labels: a node has at most {MAP_ENTRIES_MAX}",
            next.labels.len()
        );
        return Err(Status::resource_exhausted(text));
    }
    Ok(next)
}
