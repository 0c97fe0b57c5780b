//! The indexes over the tables: who belongs to whom, who holds which name, who refers to what.
//! They follow every write and hold nothing that the tables do not say.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use imbl::OrdMap;
use shoal_proto::digest::Digest;
use shoal_proto::id::{NetworkId, NodeId, RevisionId, ServiceId, StackId, TaskId, VolumeId};
use shoal_proto::object::Kind;
use shoal_proto::service::{NetworkTarget, Protocol, Revision, SlotKey};
use shoal_proto::task::Task;
use shoal_proto::time::Timestamp;

use super::object::{Object, ObjectKey};
use super::table::Multi;

/// A name as it is compared: case does not count.
#[must_use]
pub fn fold_name(name: &str) -> String {
    name.to_lowercase()
}

/// All indexes of a state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Indexes {
    pub(crate) names: OrdMap<(Kind, String), ObjectKey>,
    pub(crate) tasks_by_service: Multi<ServiceId, TaskId>,
    pub(crate) tasks_by_slot: Multi<(ServiceId, SlotKey), TaskId>,
    pub(crate) tasks_by_node: Multi<NodeId, TaskId>,
    pub(crate) tasks_by_revision: Multi<RevisionId, TaskId>,
    pub(crate) revisions_by_service: Multi<ServiceId, (u64, RevisionId)>,
    pub(crate) volumes_by_name: Multi<String, (NodeId, VolumeId)>,
    pub(crate) volumes_by_node: Multi<NodeId, VolumeId>,
    pub(crate) volumes_by_service: Multi<ServiceId, VolumeId>,
    /// Published ports of services that were not removed.
    pub(crate) ports: Multi<(Protocol, u16), ServiceId>,
    pub(crate) stack_members: Multi<StackId, ObjectKey>,
    /// Revisions that the history of a stack that was not removed names.
    pub(crate) stack_history: Multi<RevisionId, StackId>,
    /// Secrets, configs and networks, and the revisions that name them.
    pub(crate) uses: Multi<ObjectKey, RevisionId>,
    /// Addresses on networks, and who holds them: services, and tasks that have not ended.
    pub(crate) addresses: Multi<(NetworkId, Ipv4Addr), ObjectKey>,
    /// Networks and the nodes that carry them: by tasks that have not ended.
    pub(crate) carriers: Multi<(NetworkId, NodeId), TaskId>,
    /// All tasks with an address on a network, ended ones among them.
    pub(crate) tasks_by_network: Multi<NetworkId, TaskId>,
    /// Tasks with an address on a network that have ended, by when.
    pub(crate) ended_by_network: Multi<NetworkId, (Timestamp, TaskId)>,
    /// Blobs, and the secrets and configs that have a version of that content.
    pub(crate) blob_holders: Multi<Digest, ObjectKey>,
}

impl Indexes {
    pub(crate) fn insert(&mut self, object: &Object) {
        if let Some(name) = object.held_name() {
            self.names
                .insert((object.key().kind(), fold_name(name)), object.key());
        }
        if let (Some(stack), false) = (object.stack(), matches!(object, Object::Stack(_))) {
            self.stack_members.insert(stack, object.key());
        }
        self.each_entry(object, Edit::Insert);
    }

    pub(crate) fn remove(&mut self, object: &Object) {
        if let Some(name) = object.held_name() {
            let entry = (object.key().kind(), fold_name(name));
            if self.names.get(&entry) == Some(&object.key()) {
                self.names.remove(&entry);
            }
        }
        if let (Some(stack), false) = (object.stack(), matches!(object, Object::Stack(_))) {
            self.stack_members.remove(&stack, &object.key());
        }
        self.each_entry(object, Edit::Remove);
    }

    fn each_entry(&mut self, object: &Object, edit: Edit) {
        match object {
            Object::Task(task) => {
                let plan = &task.plan;
                edit.on(&mut self.tasks_by_service, plan.service, task.id);
                edit.on(&mut self.tasks_by_slot, (plan.service, plan.slot), task.id);
                edit.on(&mut self.tasks_by_revision, plan.revision, task.id);
                if let Some(node) = plan.node {
                    edit.on(&mut self.tasks_by_node, node, task.id);
                }
                self.each_address(task, edit);
            }
            Object::Revision(revision) => {
                edit.on(
                    &mut self.revisions_by_service,
                    revision.service,
                    (revision.number, revision.id),
                );
                for used in used_by(revision) {
                    edit.on(&mut self.uses, used, revision.id);
                }
            }
            Object::Service(service) => {
                for (network, address) in &service.addresses {
                    edit.on(&mut self.addresses, (*network, *address), object.key());
                }
                let live = service.removed_at.is_none();
                for port in service
                    .settings
                    .ingress_ports
                    .iter()
                    .filter(|port| live && port.published_port != 0)
                {
                    edit.on(&mut self.ports, (port.protocol, port.published_port), service.id);
                }
            }
            Object::Volume(volume) => {
                edit.on(
                    &mut self.volumes_by_name,
                    volume.name.clone(),
                    (volume.node, volume.id),
                );
                edit.on(&mut self.volumes_by_node, volume.node, volume.id);
                edit.on(&mut self.volumes_by_service, volume.service, volume.id);
            }
            Object::Secret(secret) => {
                for version in &secret.versions {
                    edit.on(&mut self.blob_holders, version.digest, object.key());
                }
            }
            Object::Config(config) => {
                for version in &config.versions {
                    edit.on(&mut self.blob_holders, version.digest, object.key());
                }
            }
            Object::Stack(stack) if stack.removed_at.is_none() => {
                let named = stack.revisions.iter().flat_map(|one| one.services.values());
                // Deployments share what they did not change: once is enough, and once is taken away.
                for revision in named.collect::<BTreeSet<_>>() {
                    edit.on(&mut self.stack_history, *revision, stack.id);
                }
            }
            _ => {}
        }
    }

    fn each_address(&mut self, task: &Task, edit: Edit) {
        for (network, address) in &task.plan.addresses {
            edit.on(&mut self.tasks_by_network, *network, task.id);
            if task.status.state.is_terminal() {
                let ended = (task.status.since, task.id);
                edit.on(&mut self.ended_by_network, *network, ended);
                continue;
            }
            let holder = ObjectKey::Task(task.id);
            edit.on(&mut self.addresses, (*network, *address), holder);
            if let Some(node) = task.plan.node {
                edit.on(&mut self.carriers, (*network, node), task.id);
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Edit {
    Insert,
    Remove,
}

impl Edit {
    fn on<K: Ord + Clone, V: Ord + Clone>(self, index: &mut Multi<K, V>, key: K, value: V) {
        match self {
            Self::Insert => index.insert(key, value),
            Self::Remove => index.remove(&key, &value),
        }
    }
}

/// The secrets, configs and networks a revision names.
pub(crate) fn used_by(revision: &Revision) -> impl Iterator<Item = ObjectKey> {
    let template = &revision.template;
    let secrets = template
        .container
        .secrets
        .iter()
        .filter_map(|used| used.secret)
        .map(ObjectKey::Secret);
    let configs = template
        .container
        .configs
        .iter()
        .filter_map(|used| used.config)
        .map(ObjectKey::Config);
    let networks = template.networks.iter().filter_map(|used| match used.network {
        NetworkTarget::Cluster(id) => Some(ObjectKey::Network(id)),
        NetworkTarget::Named(_) | NetworkTarget::Host | NetworkTarget::None => None,
    });
    secrets.chain(configs).chain(networks)
}
