//! A named local volume and the node that holds it: what binds a task to a node.

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, ServiceId, VolumeId};
use crate::object::Meta;

/// Made by the leader when it first places a task with a named local volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Never used again.
    pub id: VolumeId,
    /// Version and cause.
    pub meta: Meta,
    /// Name on the node's Engine.
    pub name: String,
    /// The node that holds the data.
    pub node: NodeId,
    /// The service whose data it is; global services have one per node.
    pub service: ServiceId,
}
