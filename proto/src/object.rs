//! What every stored object has in common.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Kept with every object by the state itself; a proposer knows what its own version will be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Counts this object's accepted changes, from 1.
    pub version: u64,
    /// Raft index of the last accepted change.
    pub changed_at: u64,
    /// When the object was made, in cluster time.
    pub created_at: Timestamp,
    /// When it last changed, in cluster time.
    pub updated_at: Timestamp,
    /// Who caused the last change, and how.
    pub cause: Cause,
}

/// Who caused a change, and how, for the operator who asks later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Who asked.
    pub actor: Actor,
    /// What was done, in the words of the command line: `service update web`.
    pub action: String,
}

/// Who asked for a change.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Actor {
    /// The leader, following what was asked earlier.
    #[default]
    Leader,
    /// An operator, by the name in the certificate, or `local` on the manager's own socket.
    Operator(String),
    /// A node, speaking of itself.
    Node(crate::id::NodeId),
}

/// The kinds of objects the state holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// The one cluster.
    Cluster,
    /// A node.
    Node,
    /// A service.
    Service,
    /// A revision of a service.
    Revision,
    /// A slot of a service.
    Slot,
    /// A task.
    Task,
    /// A network.
    Network,
    /// A secret.
    Secret,
    /// A config.
    Config,
    /// A named local volume and its node.
    Volume,
    /// A stack.
    Stack,
    /// Credentials for a registry.
    Registry,
}
