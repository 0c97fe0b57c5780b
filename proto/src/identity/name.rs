//! Who a certificate says its holder is, and whom a dialler meant to reach.
//!
//! Names only: nothing here reads a certificate or trusts one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{ClusterId, NodeId, OperatorId};

/// What a certificate lets its holder be. Written by the managers only, never taken from a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A host's agent.
    Worker,
    /// A host's manager.
    Manager,
    /// A person or a program that gives orders.
    Operator,
}

/// A text is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a role: expected worker, manager or operator")]
pub struct InvalidRole(pub String);

impl Role {
    /// All roles, in the order of their names in the documentation.
    pub const ALL: [Self; 3] = [Self::Worker, Self::Manager, Self::Operator];

    /// The word in certificates, tokens and file names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Manager => "manager",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = InvalidRole;
    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| InvalidRole(text.to_owned()))
    }
}

/// A role together with the id that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// The agent of a node.
    Worker(NodeId),
    /// The manager of a node.
    Manager(NodeId),
    /// An operator.
    Operator(OperatorId),
}

impl Subject {
    /// Reads a role and the id in its certificate together.
    ///
    /// # Errors
    /// When the text is not an id.
    pub fn new(role: Role, id: &str) -> Result<Self, crate::id::InvalidId> {
        Ok(match role {
            Role::Worker => Self::Worker(id.parse()?),
            Role::Manager => Self::Manager(id.parse()?),
            Role::Operator => Self::Operator(id.parse()?),
        })
    }

    /// The role.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self {
            Self::Worker(_) => Role::Worker,
            Self::Manager(_) => Role::Manager,
            Self::Operator(_) => Role::Operator,
        }
    }

    /// The node, unless this is an operator.
    #[must_use]
    pub const fn node(&self) -> Option<NodeId> {
        match self {
            Self::Worker(node) | Self::Manager(node) => Some(*node),
            Self::Operator(_) => None,
        }
    }

    /// The id's 25 characters.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Worker(node) | Self::Manager(node) => node.as_str(),
            Self::Operator(operator) => operator.as_str(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role(), self.id())
    }
}

/// What a certificate says: the cluster (O), the id (CN) and the role (OU). Never an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Whose it is.
    pub subject: Subject,
}

impl Identity {
    /// The role.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.subject.role()
    }

    /// The node, unless this is an operator.
    #[must_use]
    pub const fn node(&self) -> Option<NodeId> {
        self.subject.node()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of cluster {}", self.subject, self.cluster)
    }
}

/// Whom a dialler means to reach. Checked against the certificate at the other end, in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect {
    pub(super) cluster: ClusterId,
    pub(super) role: Role,
    pub(super) node: Option<NodeId>,
    pub(super) expired: Expired,
}

/// What the dialler does with a certificate that is past its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    Refuse,
    /// Goes on when the public key is the recorded one.
    AcceptKey(Digest),
}

impl Expect {
    /// Any manager of this cluster.
    #[must_use]
    pub const fn manager(cluster: ClusterId) -> Self {
        Self::role(cluster, Role::Manager)
    }

    /// Anyone of this cluster who holds this role.
    #[must_use]
    pub const fn role(cluster: ClusterId, role: Role) -> Self {
        Self {
            cluster,
            role,
            node: None,
            expired: Expired::Refuse,
        }
    }

    /// This node and no other.
    #[must_use]
    pub const fn node(mut self, node: NodeId) -> Self {
        self.node = Some(node);
        self
    }

    /// Goes on although the certificate has expired, if its public key is this one, which the state has recorded. For
    /// manager to manager Raft only: a cluster that was off for longer than its certificates live must come back.
    #[must_use]
    pub const fn even_expired_with_key(mut self, recorded: Digest) -> Self {
        self.expired = Expired::AcceptKey(recorded);
        self
    }
}
