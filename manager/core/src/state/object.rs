//! One stored object of any kind, and what names it.
//! Cloning either is cheap; nothing here looks at a state.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shoal_proto::cluster::Cluster;
use shoal_proto::config::Config;
use shoal_proto::id::{
    ConfigId, NetworkId, NodeId, RevisionId, SecretId, ServiceId, StackId, TaskId, VolumeId,
};
use shoal_proto::network::Network;
use shoal_proto::node::Node;
use shoal_proto::object::{Kind, Meta};
use shoal_proto::registry::Registry;
use shoal_proto::secret::Secret;
use shoal_proto::service::{Revision, Service, Slot, SlotKey};
use shoal_proto::stack::Stack;
use shoal_proto::task::Task;
use shoal_proto::volume::Volume;

/// Names one object of the state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ObjectKey {
    /// The one cluster.
    Cluster,
    /// A node.
    Node(NodeId),
    /// A service.
    Service(ServiceId),
    /// A revision.
    Revision(RevisionId),
    /// A slot of a service.
    Slot(ServiceId, SlotKey),
    /// A task.
    Task(TaskId),
    /// A network.
    Network(NetworkId),
    /// A secret.
    Secret(SecretId),
    /// A config.
    Config(ConfigId),
    /// A volume on a node.
    Volume(VolumeId),
    /// A stack.
    Stack(StackId),
    /// Credentials, by the registry's host.
    Registry(String),
}

/// One object of the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    /// The one cluster.
    Cluster(Arc<Cluster>),
    /// A node.
    Node(Arc<Node>),
    /// A service.
    Service(Arc<Service>),
    /// A revision.
    Revision(Arc<Revision>),
    /// A slot.
    Slot(Arc<Slot>),
    /// A task.
    Task(Arc<Task>),
    /// A network.
    Network(Arc<Network>),
    /// A secret.
    Secret(Arc<Secret>),
    /// A config.
    Config(Arc<Config>),
    /// A volume.
    Volume(Arc<Volume>),
    /// A stack.
    Stack(Arc<Stack>),
    /// Credentials for a registry.
    Registry(Arc<Registry>),
}

impl ObjectKey {
    /// What kind of object this names.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Cluster => Kind::Cluster,
            Self::Node(_) => Kind::Node,
            Self::Service(_) => Kind::Service,
            Self::Revision(_) => Kind::Revision,
            Self::Slot(..) => Kind::Slot,
            Self::Task(_) => Kind::Task,
            Self::Network(_) => Kind::Network,
            Self::Secret(_) => Kind::Secret,
            Self::Config(_) => Kind::Config,
            Self::Volume(_) => Kind::Volume,
            Self::Stack(_) => Kind::Stack,
            Self::Registry(_) => Kind::Registry,
        }
    }
}

/// Runs one expression over whatever object is inside.
macro_rules! each {
    ($object:expr, $inner:ident => $then:expr) => {
        match $object {
            Object::Cluster($inner) => $then,
            Object::Node($inner) => $then,
            Object::Service($inner) => $then,
            Object::Revision($inner) => $then,
            Object::Slot($inner) => $then,
            Object::Task($inner) => $then,
            Object::Network($inner) => $then,
            Object::Secret($inner) => $then,
            Object::Config($inner) => $then,
            Object::Volume($inner) => $then,
            Object::Stack($inner) => $then,
            Object::Registry($inner) => $then,
        }
    };
}

impl Object {
    /// What names this object.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Cluster(_) => ObjectKey::Cluster,
            Self::Node(node) => ObjectKey::Node(node.id),
            Self::Service(service) => ObjectKey::Service(service.id),
            Self::Revision(revision) => ObjectKey::Revision(revision.id),
            Self::Slot(slot) => ObjectKey::Slot(slot.service, slot.key),
            Self::Task(task) => ObjectKey::Task(task.id),
            Self::Network(network) => ObjectKey::Network(network.id),
            Self::Secret(secret) => ObjectKey::Secret(secret.id),
            Self::Config(config) => ObjectKey::Config(config.id),
            Self::Volume(volume) => ObjectKey::Volume(volume.id),
            Self::Stack(stack) => ObjectKey::Stack(stack.id),
            Self::Registry(registry) => ObjectKey::Registry(registry.host.clone()),
        }
    }

    /// Its version and cause; for a task and a node that of the plan half.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        each!(self, inner => &inner.meta)
    }

    /// The same object under another meta.
    #[must_use]
    pub(crate) fn with_meta(mut self, meta: Meta) -> Self {
        each!(&mut self, inner => Arc::make_mut(inner).meta = meta);
        self
    }

    /// The name it holds in the cluster, where its kind has unique names and it was not removed.
    #[must_use]
    pub fn held_name(&self) -> Option<&str> {
        match self {
            Self::Service(service) if service.removed_at.is_none() => Some(&service.name),
            Self::Network(network) => Some(&network.spec.name),
            Self::Secret(secret) => Some(&secret.name),
            Self::Config(config) => Some(&config.name),
            Self::Stack(stack) if stack.removed_at.is_none() => Some(&stack.name),
            _ => None,
        }
    }

    /// The stack it belongs to.
    #[must_use]
    pub fn stack(&self) -> Option<StackId> {
        match self {
            Self::Service(service) => service.stack,
            Self::Network(network) => network.stack,
            Self::Secret(secret) => secret.stack,
            Self::Config(config) => config.stack,
            Self::Stack(stack) => Some(stack.id),
            _ => None,
        }
    }

    /// The service it belongs to, or is.
    #[must_use]
    pub fn service(&self) -> Option<ServiceId> {
        match self {
            Self::Service(service) => Some(service.id),
            Self::Revision(revision) => Some(revision.service),
            Self::Slot(slot) => Some(slot.service),
            Self::Task(task) => Some(task.plan.service),
            Self::Volume(volume) => Some(volume.service),
            _ => None,
        }
    }

    /// The node it is on, or is.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        match self {
            Self::Node(node) => Some(node.id),
            Self::Task(task) => task.plan.node,
            Self::Volume(volume) => Some(volume.node),
            _ => None,
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => write!(f, "cluster"),
            Self::Node(id) => write!(f, "node {id}"),
            Self::Service(id) => write!(f, "service {id}"),
            Self::Revision(id) => write!(f, "revision {id}"),
            Self::Slot(service, key) => write!(f, "slot {key} of service {service}"),
            Self::Task(id) => write!(f, "task {id}"),
            Self::Network(id) => write!(f, "network {id}"),
            Self::Secret(id) => write!(f, "secret {id}"),
            Self::Config(id) => write!(f, "config {id}"),
            Self::Volume(id) => write!(f, "volume {id}"),
            Self::Stack(id) => write!(f, "stack {id}"),
            Self::Registry(host) => write!(f, "registry {host}"),
        }
    }
}

macro_rules! from {
    ($($kind:ident),*) => {$(
        impl From<$kind> for Object {
            fn from(object: $kind) -> Self {
                Self::$kind(Arc::new(object))
            }
        }
        impl From<Arc<$kind>> for Object {
            fn from(object: Arc<$kind>) -> Self {
                Self::$kind(object)
            }
        }
    )*};
}
from!(
    Cluster, Node, Service, Revision, Slot, Task, Network, Secret, Config, Volume, Stack, Registry
);
