//! What a node must run, as a function of the state: its tasks with all that running them takes.
//! It names what is wanted; it never says anything by leaving something out.

use std::collections::BTreeMap;
use std::sync::Arc;

use shoal_proto::container::LogDriver;
use shoal_proto::id::{ClusterId, NetworkId, NodeId, TaskId};
use shoal_proto::network::Network;
use shoal_proto::registry::Registry;
use shoal_proto::service::{NetworkTarget, TaskTemplate};
use shoal_proto::task::Task;
use shoal_proto::view::View;

use super::content::{ContentRef, contents_of};
use super::view::view_for;
use crate::state::State;

/// Everything a node must run at one index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignmentSet {
    /// Whose; an agent of another cluster refuses it.
    pub cluster: Option<ClusterId>,
    /// An agent removes nothing on an older one than it has seen.
    pub incarnation: u64,
    /// Index of the state it was made from.
    pub index: u64,
    /// All tasks that have this node, ended ones among them until they are forgotten.
    pub tasks: BTreeMap<TaskId, Assignment>,
    /// Networks of tasks that have not ended, as this node sees them.
    pub networks: BTreeMap<NetworkId, Arc<Network>>,
    /// What the node must know of networks.
    pub view: View,
}

/// One task with all that running it takes, but for the bytes of its secrets and configs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The task: desired state, slot, the predecessor whose container must be gone first.
    pub task: Arc<Task>,
    /// What it is made of.
    pub template: Arc<TaskTemplate>,
    /// For names, labels and placeholders; empty once the service is forgotten.
    pub service_name: String,
    /// Service labels.
    pub service_labels: BTreeMap<String, String>,
    /// The stack's name.
    pub stack_name: Option<String>,
    /// Number of the revision.
    pub revision_number: u64,
    /// Versions of secrets and configs it uses; none once it is to stop.
    pub contents: Vec<ContentRef>,
    /// For the registry of its image, where the cluster has any.
    pub credential: Option<Arc<Registry>>,
    /// For a template that names no log driver.
    pub default_log_driver: LogDriver,
    /// Successors made in advance, to be started in order while no manager answers.
    pub spares: Vec<Assignment>,
}

/// What this node must run.
#[must_use]
pub fn assignments_for(state: &State, node: NodeId) -> AssignmentSet {
    assignments_with(state, node, view_for(state, node))
}

/// What this node must run, where its view is known already.
#[must_use]
pub fn assignments_with(state: &State, node: NodeId, view: View) -> AssignmentSet {
    let default_log_driver = state.cluster_spec().log_driver;
    let mut tasks = BTreeMap::new();
    let mut networks = BTreeMap::new();
    for task in state.tasks_on_node(node) {
        let Some(assignment) = assignment(state, task, &default_log_driver) else {
            continue;
        };
        if !task.status.state.is_terminal() {
            networks.extend(networks_of(state, node, &assignment.template));
        }
        tasks.insert(task.id, assignment);
    }
    AssignmentSet {
        cluster: state.cluster().map(|cluster| cluster.id),
        incarnation: state.cluster().map_or(0, |cluster| cluster.incarnation),
        index: state.index(),
        tasks,
        networks,
        view,
    }
}

impl Assignment {
    /// Whether both ask the same of the agent. What the agent reported itself is not echoed.
    #[must_use]
    pub fn asks_the_same(&self, other: &Self) -> bool {
        self.task.id == other.task.id
            && self.task.plan == other.task.plan
            && (Arc::ptr_eq(&self.template, &other.template) || self.template == other.template)
            && self.service_name == other.service_name
            && self.service_labels == other.service_labels
            && self.stack_name == other.stack_name
            && self.contents == other.contents
            && self.credential == other.credential
            && self.default_log_driver == other.default_log_driver
            && self.spares.len() == other.spares.len()
            && self
                .spares
                .iter()
                .zip(&other.spares)
                .all(|(one, other)| one.asks_the_same(other))
    }
}

/// A task whose revision is gone cannot be described; the state keeps revisions as long as their tasks.
fn assignment(state: &State, task: &Arc<Task>, default_log_driver: &LogDriver) -> Option<Assignment> {
    let revision = state.revision(task.plan.revision)?;
    let service = state.service(task.plan.service);
    let stack = service
        .and_then(|service| service.stack)
        .and_then(|id| state.stack(id));
    let wanted = task.plan.desired.wants_to_run() && !task.status.state.is_terminal();
    let container = &revision.template.container;
    Some(Assignment {
        task: task.clone(),
        template: revision.template.clone(),
        service_name: service.map(|service| service.name.clone()).unwrap_or_default(),
        service_labels: service
            .map(|service| service.settings.labels.clone())
            .unwrap_or_default(),
        stack_name: stack.map(|stack| stack.name.clone()),
        revision_number: revision.number,
        contents: if wanted {
            contents_of(state, container)
        } else {
            Vec::new()
        },
        credential: wanted
            .then(|| state.registry(registry_of(&container.image)).cloned())
            .flatten(),
        default_log_driver: default_log_driver.clone(),
        spares: Vec::new(),
    })
}

fn networks_of<'a>(
    state: &'a State,
    node: NodeId,
    template: &'a TaskTemplate,
) -> impl Iterator<Item = (NetworkId, Arc<Network>)> + 'a {
    template
        .networks
        .iter()
        .filter_map(move |used| match used.network {
            NetworkTarget::Cluster(id) => Some((id, Arc::new(state.network(id)?.seen_from(node)))),
            NetworkTarget::Named(_) | NetworkTarget::Host | NetworkTarget::None => None,
        })
}

/// The registry an image comes from: its first part where that is a host, else Docker Hub.
#[must_use]
pub fn registry_of(image: &str) -> &str {
    const HUB: &str = "docker.io";
    match image.split_once('/') {
        Some(("index.docker.io" | "registry-1.docker.io", _)) => HUB,
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => HUB,
    }
}

#[cfg(test)]
#[path = "assignment_test.rs"]
mod tests;
