//! Questions to a state. All answers come in the order of ids, so that decisions repeat exactly.

use std::sync::Arc;

use shoal_proto::cluster::{Cluster, ClusterSpec};
use shoal_proto::config::Config;
use shoal_proto::digest::Digest;
use shoal_proto::id::{
    ConfigId, NetworkId, NodeId, RevisionId, SecretId, ServiceId, StackId, TaskId, VolumeId,
};
use shoal_proto::network::Network;
use shoal_proto::node::Node;
use shoal_proto::object::Kind;
use shoal_proto::prefix::Prefix;
use shoal_proto::registry::Registry;
use shoal_proto::secret::Secret;
use shoal_proto::service::{Protocol, Revision, Service, Slot, SlotKey, TaskTemplate};
use shoal_proto::stack::Stack;
use shoal_proto::task::Task;
use shoal_proto::time::Timestamp;
use shoal_proto::volume::Volume;

use super::State;
use super::blob::Blob;
use super::change::LEVEL_MIN;
use super::index::fold_name;
use super::object::{Object, ObjectKey};

impl State {
    /// Index of the last applied entry.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Newest cluster time of any applied entry: a new leader starts no earlier.
    #[must_use]
    pub fn newest_time(&self) -> Timestamp {
        self.newest_time
    }

    /// The cluster; none before it is made.
    #[must_use]
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    /// In which the cluster's IPv6 addresses are; none before it is made.
    #[must_use]
    pub fn prefix(&self) -> Option<Prefix> {
        self.cluster().map(|cluster| Prefix::of_cluster(cluster.id))
    }

    /// In which everybody on a network has an IPv6 address; none where it is of IPv4 alone.
    #[must_use]
    pub fn prefix_of(&self, network: &Network) -> Option<Prefix> {
        self.prefix().filter(|_| network.spec.ipv6)
    }

    /// The rules an operator may change; the defaults before there is a cluster.
    #[must_use]
    pub fn cluster_spec(&self) -> ClusterSpec {
        self.cluster
            .as_ref()
            .map(|cluster| cluster.spec.clone())
            .unwrap_or_default()
    }

    /// The cluster's level: 1 before there is a cluster.
    #[must_use]
    pub fn level(&self) -> u32 {
        self.cluster.as_ref().map_or(LEVEL_MIN, |cluster| cluster.level)
    }

    /// Any object by its key.
    #[must_use]
    pub fn object(&self, key: &ObjectKey) -> Option<Object> {
        match key {
            ObjectKey::Cluster => self.cluster.clone().map(Object::Cluster),
            ObjectKey::Node(id) => self.nodes.get(id).cloned().map(Object::Node),
            ObjectKey::Service(id) => self.services.get(id).cloned().map(Object::Service),
            ObjectKey::Revision(id) => self.revisions.get(id).cloned().map(Object::Revision),
            ObjectKey::Slot(service, key) => self.slot(*service, *key).cloned().map(Object::Slot),
            ObjectKey::Task(id) => self.tasks.get(id).cloned().map(Object::Task),
            ObjectKey::Network(id) => self.networks.get(id).cloned().map(Object::Network),
            ObjectKey::Secret(id) => self.secrets.get(id).cloned().map(Object::Secret),
            ObjectKey::Config(id) => self.configs.get(id).cloned().map(Object::Config),
            ObjectKey::Volume(id) => self.volumes.get(id).cloned().map(Object::Volume),
            ObjectKey::Stack(id) => self.stacks.get(id).cloned().map(Object::Stack),
            ObjectKey::Registry(host) => self.registries.get(host).cloned().map(Object::Registry),
        }
    }

    /// Who of this kind holds this name, ignoring case; removed services and stacks hold none.
    #[must_use]
    pub fn named(&self, kind: Kind, name: &str) -> Option<&ObjectKey> {
        self.indexes.names.get(&(kind, fold_name(name)))
    }

    /// The service of this name, unless it was removed.
    #[must_use]
    pub fn service_named(&self, name: &str) -> Option<&Arc<Service>> {
        match self.named(Kind::Service, name)? {
            ObjectKey::Service(id) => self.services.get(id),
            _ => None,
        }
    }

    /// The network of this name.
    #[must_use]
    pub fn network_named(&self, name: &str) -> Option<&Arc<Network>> {
        match self.named(Kind::Network, name)? {
            ObjectKey::Network(id) => self.networks.get(id),
            _ => None,
        }
    }

    /// The secret of this name.
    #[must_use]
    pub fn secret_named(&self, name: &str) -> Option<&Arc<Secret>> {
        match self.named(Kind::Secret, name)? {
            ObjectKey::Secret(id) => self.secrets.get(id),
            _ => None,
        }
    }

    /// The config of this name.
    #[must_use]
    pub fn config_named(&self, name: &str) -> Option<&Arc<Config>> {
        match self.named(Kind::Config, name)? {
            ObjectKey::Config(id) => self.configs.get(id),
            _ => None,
        }
    }

    /// The stack of this name, unless it was removed.
    #[must_use]
    pub fn stack_named(&self, name: &str) -> Option<&Arc<Stack>> {
        match self.named(Kind::Stack, name)? {
            ObjectKey::Stack(id) => self.stacks.get(id),
            _ => None,
        }
    }

    /// All tasks of a service, oldest id first.
    pub fn tasks_of_service(&self, service: ServiceId) -> impl DoubleEndedIterator<Item = &Arc<Task>> {
        self.indexes
            .tasks_by_service
            .of(&service)
            .filter_map(|id| self.tasks.get(id))
    }

    /// All tasks of a slot, oldest id first.
    pub fn tasks_of_slot(
        &self,
        service: ServiceId,
        slot: SlotKey,
    ) -> impl DoubleEndedIterator<Item = &Arc<Task>> {
        self.indexes
            .tasks_by_slot
            .of(&(service, slot))
            .filter_map(|id| self.tasks.get(id))
    }

    /// All tasks that have this node, oldest id first.
    pub fn tasks_on_node(&self, node: NodeId) -> impl DoubleEndedIterator<Item = &Arc<Task>> {
        self.indexes
            .tasks_by_node
            .of(&node)
            .filter_map(|id| self.tasks.get(id))
    }

    /// All tasks of a revision, oldest id first.
    pub fn tasks_of_revision(&self, revision: RevisionId) -> impl DoubleEndedIterator<Item = &Arc<Task>> {
        self.indexes
            .tasks_by_revision
            .of(&revision)
            .filter_map(|id| self.tasks.get(id))
    }

    /// Services that have tasks, also those whose service is gone.
    pub fn services_with_tasks(&self) -> impl Iterator<Item = ServiceId> {
        self.indexes.tasks_by_service.keys().copied()
    }

    /// Revisions of a service by number, lowest first.
    pub fn revisions_of(&self, service: ServiceId) -> impl DoubleEndedIterator<Item = &Arc<Revision>> {
        self.indexes
            .revisions_by_service
            .of(&service)
            .filter_map(|(_, id)| self.revisions.get(id))
    }

    /// The newest revision of a service whose template has this digest.
    #[must_use]
    pub fn revision_with_digest(&self, service: ServiceId, digest: Digest) -> Option<&Arc<Revision>> {
        self.revisions_of(service)
            .rev()
            .find(|revision| revision.digest == digest)
    }

    /// What a task is made of.
    #[must_use]
    pub fn template_of(&self, task: &Task) -> Option<&Arc<TaskTemplate>> {
        self.revisions
            .get(&task.plan.revision)
            .map(|revision| &revision.template)
    }

    /// What is remembered of a slot.
    #[must_use]
    pub fn slot(&self, service: ServiceId, key: SlotKey) -> Option<&Arc<Slot>> {
        self.slots.get(&(service, key))
    }

    /// All remembered slots of a service, by number, then by node.
    pub fn slots_of(&self, service: ServiceId) -> impl Iterator<Item = &Arc<Slot>> {
        self.slots
            .from_key((service, SlotKey::Number(0)))
            .take_while(move |(key, _)| key.0 == service)
            .map(|(_, slot)| slot)
    }

    /// Volumes of this name, by node.
    pub fn volumes_named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<Volume>> + use<'a> {
        self.indexes
            .volumes_by_name
            .of(name)
            .filter_map(|(_, id)| self.volumes.get(id))
    }

    /// Volumes a node holds.
    pub fn volumes_on_node(&self, node: NodeId) -> impl Iterator<Item = &Arc<Volume>> {
        self.indexes
            .volumes_by_node
            .of(&node)
            .filter_map(|id| self.volumes.get(id))
    }

    /// Volumes with a service's data.
    pub fn volumes_of_service(&self, service: ServiceId) -> impl Iterator<Item = &Arc<Volume>> {
        self.indexes
            .volumes_by_service
            .of(&service)
            .filter_map(|id| self.volumes.get(id))
    }

    /// Services that publish this port and were not removed; never more than one.
    pub fn port_holders(&self, protocol: Protocol, port: u16) -> impl Iterator<Item = ServiceId> + use<'_> {
        self.indexes.ports.of(&(protocol, port)).copied()
    }

    /// Services that publish ports on every node and were not removed; one may come more than once.
    pub fn services_with_ports(&self) -> impl Iterator<Item = ServiceId> + use<'_> {
        self.indexes
            .ports
            .keys()
            .flat_map(|port| self.indexes.ports.of(port))
            .copied()
    }

    /// Revisions that name a secret, a config or a network.
    pub fn revisions_using(&self, used: &ObjectKey) -> impl Iterator<Item = &Arc<Revision>> + use<'_> {
        self.indexes.uses.of(used).filter_map(|id| self.revisions.get(id))
    }

    /// Services, networks, secrets and configs of a stack.
    pub fn stack_members(&self, stack: StackId) -> impl Iterator<Item = &ObjectKey> {
        self.indexes.stack_members.of(&stack)
    }

    /// The stack whose history names this revision, so that it can be brought back.
    #[must_use]
    pub fn stack_remembering(&self, revision: RevisionId) -> Option<StackId> {
        self.indexes.stack_history.of(&revision).next().copied()
    }

    /// Bytes by their digest, as far as they came.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> Option<&Arc<Blob>> {
        self.blobs.get(digest)
    }

    /// Credentials for a registry.
    #[must_use]
    pub fn registry(&self, host: &str) -> Option<&Arc<Registry>> {
        self.registries.get(host)
    }

    /// All registries with credentials, by host.
    pub fn registries(&self) -> impl DoubleEndedIterator<Item = &Arc<Registry>> {
        self.registries.iter()
    }
}

macro_rules! tables {
    ($($one:ident, $all:ident, $key:ident, $value:ident;)*) => {
        impl State {
            $(
                #[doc = concat!("The ", stringify!($one), " of this id.")]
                #[must_use]
                pub fn $one(&self, id: $key) -> Option<&Arc<$value>> {
                    self.$all.get(&id)
                }

                #[doc = concat!("All ", stringify!($all), ", oldest id first.")]
                pub fn $all(&self) -> impl DoubleEndedIterator<Item = &Arc<$value>> {
                    self.$all.iter()
                }
            )*
        }
    };
}

tables! {
    node, nodes, NodeId, Node;
    service, services, ServiceId, Service;
    revision, revisions, RevisionId, Revision;
    task, tasks, TaskId, Task;
    network, networks, NetworkId, Network;
    secret, secrets, SecretId, Secret;
    config, configs, ConfigId, Config;
    volume, volumes, VolumeId, Volume;
    stack, stacks, StackId, Stack;
}
