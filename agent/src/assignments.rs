//! What the managers assigned to this node: a complete set, or steps from one index to the next.
//!
//! It never concludes anything from an absence: what must go is named. A set from an older incarnation or an older
//! index removes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shoal_proto::container::LogDriver;
use shoal_proto::digest::Digest;
use shoal_proto::id::{ClusterId, NetworkId, RevisionId, ServiceId, TaskId, VersionId};
use shoal_proto::network::Network;
use shoal_proto::reason::Reason;
use shoal_proto::service::{NetworkTarget, SlotKey, TaskTemplate};
use shoal_proto::task::{DesiredState, TaskStatus};
use shoal_proto::view::{View, ViewChange};

use crate::engine::Credentials;

/// One task of this node, with all that running it takes but the bytes of its secrets and configs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// Which task.
    pub task: TaskId,
    /// Whose.
    pub service: ServiceId,
    /// The service's name.
    pub service_name: String,
    /// The service's labels, for templates.
    pub service_labels: BTreeMap<String, String>,
    /// Name of the stack it belongs to.
    pub stack: Option<String>,
    /// The place it fills.
    pub slot: SlotKey,
    /// What it is made of.
    pub revision: RevisionId,
    /// Where it should go.
    pub desired: DesiredState,
    /// Started only when this task's container is gone.
    pub inherits: Option<TaskId>,
    /// Why it should stop.
    pub stop_reason: Option<Reason>,
    /// What runs.
    pub template: Arc<TaskTemplate>,
    /// Number of that revision within the service.
    pub revision_number: u64,
    /// Digest of the bytes of each version of a secret or config it sees.
    pub contents: BTreeMap<VersionId, Digest>,
    /// For the image's registry. Never written to disk.
    #[serde(skip)]
    pub credential: Option<Credentials>,
    /// Where its output goes when the template does not say.
    pub default_log: Option<LogDriver>,
    /// Successors made in advance: same revision, this node, to be started in order while no manager answers.
    pub spares: Vec<TaskId>,
    /// What the managers know of it.
    pub status: TaskStatus,
    /// Its address on each network of the cluster.
    #[serde(default)]
    pub addresses: BTreeMap<NetworkId, Ipv4Addr>,
}

/// Which set this is: a later incarnation outranks any index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SetIndex {
    /// Raised when the cluster is restored or recovered.
    pub incarnation: u64,
    /// Raft index the set was made from.
    pub index: u64,
}

/// Whether an update is everything or a change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Extent {
    /// Everything that is assigned to this node.
    #[default]
    Complete,
    /// What changed since the message before, in a session that keeps their order.
    Increment,
}

/// A set or a change, as it came from the dispatcher.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// Everything or a change.
    pub extent: Extent,
    /// Whose set.
    pub cluster: Option<ClusterId>,
    /// Which set it makes.
    pub index: SetIndex,
    /// Tasks that are there or changed.
    pub tasks: Vec<Assigned>,
    /// Tasks that are to go: the explicit word.
    pub removed: Vec<TaskId>,
    /// Networks that are there or changed.
    pub carried: Vec<Network>,
    /// Networks that are to go.
    pub removed_networks: Vec<NetworkId>,
    /// What changed of the cluster's networks; all of them in a complete update.
    pub view: Option<ViewChange>,
}

/// What became of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is in force.
    Yes,
    /// It was older than what is in force, and changed nothing.
    Older,
    /// It is of another cluster, and changed nothing.
    Foreign,
}

/// The set in force. Durable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignments {
    /// Whose set.
    pub cluster: Option<ClusterId>,
    /// The newest set that was seen.
    pub index: SetIndex,
    /// Tasks of this node.
    pub tasks: BTreeMap<TaskId, Assigned>,
    /// Tasks that are to go; kept until their container is gone.
    pub removed: BTreeSet<TaskId>,
    /// Unknown tasks a manager said to keep.
    pub kept: BTreeSet<TaskId>,
    /// Networks of the tasks, with this node's part of their addresses.
    #[serde(default)]
    pub carried: BTreeMap<NetworkId, Network>,
    /// What this node knows of the cluster's networks.
    #[serde(default)]
    pub view: Option<View>,
}

impl Assignments {
    /// Takes in what the dispatcher sent.
    pub fn apply(&mut self, update: Update) -> Applied {
        if self.cluster.is_some() && update.cluster != self.cluster {
            return Applied::Foreign;
        }
        if update.index < self.index {
            return Applied::Older;
        }
        if update.extent == Extent::Complete {
            // What a complete set does not list is not removed: it becomes unknown, and a manager is asked about it.
            self.tasks.clear();
            self.carried.clear();
        }
        self.cluster = update.cluster.or(self.cluster);
        self.index = update.index;
        for task in update.removed {
            self.word_remove(task);
        }
        for task in update.tasks {
            self.removed.remove(&task.task);
            self.kept.remove(&task.task);
            self.tasks.insert(task.task, task);
        }
        let carried = update.carried.into_iter();
        self.carried.extend(carried.map(|network| (network.id, network)));
        self.carried.retain(|id, _| !update.removed_networks.contains(id));
        if let Some(change) = update.view {
            self.see(change, update.extent);
        }
        Applied::Yes
    }

    /// A complete view takes the place of what was known; managers that send none leave it.
    fn see(&mut self, change: ViewChange, extent: Extent) {
        match (extent, &mut self.view) {
            (Extent::Increment, Some(view)) => view.take(change),
            _ => self.view = change.into_view(),
        }
    }

    /// The explicit word that a task is to go.
    pub fn word_remove(&mut self, task: TaskId) {
        self.tasks.remove(&task);
        self.kept.remove(&task);
        self.removed.insert(task);
    }

    /// A manager's word that an unknown task stays.
    pub fn word_keep(&mut self, task: TaskId) {
        if !self.tasks.contains_key(&task) {
            self.kept.insert(task);
        }
    }

    /// Nothing of the task is left on this node.
    pub fn is_gone(&mut self, task: TaskId) {
        self.removed.remove(&task);
        self.kept.remove(&task);
    }
}

impl Assigned {
    /// Networks of the cluster the task is on.
    pub fn networks(&self) -> impl Iterator<Item = NetworkId> + '_ {
        self.template
            .networks
            .iter()
            .filter_map(|used| match used.network {
                NetworkTarget::Cluster(id) => Some(id),
                _ => None,
            })
    }

    /// Versions of secrets and configs the task sees.
    pub fn versions(&self) -> impl Iterator<Item = VersionId> + '_ {
        let secrets = self.template.container.secrets.iter().filter_map(|s| s.version);
        let configs = self.template.container.configs.iter().filter_map(|c| c.version);
        secrets.chain(configs)
    }

    /// `service.slot.task`, as `ps` shows it.
    #[must_use]
    pub fn task_name(&self) -> String {
        format!("{}.{}.{}", self.service_name, self.slot, self.task)
    }
}

#[cfg(test)]
#[path = "assignments_test.rs"]
mod tests;
