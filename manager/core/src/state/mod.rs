//! The replicated state: one consistent moment of the whole cluster, cheap to clone.
//! Written only by [`State::apply`]; it decides nothing.

mod address;
mod answer;
mod apply;
pub mod blob;
mod change;
mod conflict;
mod diff;
mod encode;
mod event;
mod index;
pub mod limit;
mod merge;
mod object;
mod pack;
mod query;
mod reference;
mod snapshot;
mod table;
mod upload;
pub mod watch;
mod write;

use std::sync::Arc;

use shoal_proto::cluster::Cluster;
use shoal_proto::config::Config;
use shoal_proto::digest::Digest;
use shoal_proto::id::{
    ConfigId, NetworkId, NodeId, RevisionId, SecretId, ServiceId, StackId, TaskId, VolumeId,
};
use shoal_proto::network::Network;
use shoal_proto::node::Node;
use shoal_proto::registry::Registry;
use shoal_proto::secret::Secret;
use shoal_proto::service::{Revision, Service, Slot, SlotKey};
use shoal_proto::stack::Stack;
use shoal_proto::task::Task;
use shoal_proto::time::Timestamp;
use shoal_proto::volume::Volume;

use answer::Answers;
pub use answer::{Answer, Effect, GroupResult, Written};
pub use apply::Applied;
use blob::Blob;
pub use change::{Change, FORMAT, Group, Guard, LEVEL, LEVEL_MIN, Proposal};
pub use conflict::Conflict;
pub use diff::Difference;
pub use encode::{DecodeError, EncodeError};
pub use event::Event;
use index::Indexes;
pub use index::fold_name;
pub use object::{Object, ObjectKey};
pub use table::Table;

/// Everything the managers agree on. Clone it to look at one moment without a lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    index: u64,
    newest_time: Timestamp,
    cluster: Option<Arc<Cluster>>,
    nodes: Table<NodeId, Node>,
    services: Table<ServiceId, Service>,
    revisions: Table<RevisionId, Revision>,
    slots: Table<(ServiceId, SlotKey), Slot>,
    tasks: Table<TaskId, Task>,
    networks: Table<NetworkId, Network>,
    secrets: Table<SecretId, Secret>,
    configs: Table<ConfigId, Config>,
    volumes: Table<VolumeId, Volume>,
    stacks: Table<StackId, Stack>,
    registries: Table<String, Registry>,
    blobs: Table<Digest, Blob>,
    answers: Answers,
    trail: Digest,
    indexes: Indexes,
}
