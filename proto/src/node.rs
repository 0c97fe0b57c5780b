//! A node: one host's membership in the cluster. The plan is the managers', the status is the node's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::NodeId;
use crate::object::Meta;
use crate::overlay::OverlayNumber;
use crate::reason::Reason;
use crate::resources::Resources;
use crate::subnet::Subnet;
use crate::time::Timestamp;
use crate::tunnel_key::TunnelKey;

/// One row of `node ls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Never used again after removal.
    pub id: NodeId,
    /// Version of the plan half.
    pub meta: Meta,
    /// Written by the API and the leader.
    pub plan: NodePlan,
    /// Written for the node's agent, merged by rule.
    pub status: NodeStatus,
}

/// What operators and managers decided about a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlan {
    /// What the operator wants it to be.
    pub desired_role: Role,
    /// `Manager` exactly while the host's manager is a member of Raft.
    pub role: Role,
    /// Whether it takes tasks.
    pub availability: Availability,
    /// `node.labels.*`.
    pub labels: BTreeMap<String, String>,
    /// Its place in Raft, where it has one.
    pub manager: Option<ManagerMembership>,
    /// Public keys it may speak with: SHA-256 of the subject public key info.
    pub keys: NodeKeys,
    /// Set while `node rm` drains it: when that was asked.
    pub removing_since: Option<Timestamp>,
    /// Its number in the overlay, given once by the leader; none for a moment after it joined.
    #[serde(default)]
    pub overlay: Option<OverlayNumber>,
}

/// The recorded public keys of a node's daemons.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeKeys {
    /// The agent's.
    pub agent: Option<Digest>,
    /// The manager's.
    pub manager: Option<Digest>,
}

/// A manager's place in Raft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerMembership {
    /// Never used again.
    pub raft_id: u64,
    /// `host:port` where the other managers and agents reach it.
    pub addr: String,
}

/// What the operator wants a node to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Runs tasks only.
    #[default]
    Worker,
    /// Keeps the state, too.
    Manager,
}

/// What an operator allows on a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Availability {
    /// Takes tasks.
    #[default]
    Active,
    /// Keeps its tasks, takes no new ones.
    Pause,
    /// Its tasks move elsewhere.
    Drain,
}

/// What is known of a node from its own reports and its heartbeats.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Counts the changes of this half.
    pub version: u64,
    /// Ready or not.
    pub state: NodeState,
    /// Since when.
    pub since: Timestamp,
    /// Why, where there is a why.
    pub reason: Option<Reason>,
    /// Counts the node's sessions; a report of an older one is ignored.
    pub epoch: u64,
    /// Changes with every boot of the host.
    pub boot_id: String,
    /// Address the manager saw it from or it advertises.
    pub addr: Option<IpAddr>,
    /// What the host is; none before the first session of its agent.
    pub description: Option<NodeDescription>,
}

/// Routes that a node reports: an agent that has more reports the widest.
pub const ROUTES_MAX: usize = 1_000;

/// IPv6 addresses that a node reports: an agent that has more reports the first.
pub const ADDRESSES_MAX: usize = 32;

/// Whether a node can run tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NodeState {
    /// Its agent has not spoken yet.
    #[default]
    Unknown,
    /// Its heartbeats come and its Engine answers.
    Ready,
    /// No heartbeat within the limit.
    Down,
    /// Its agent lives, its Engine has been silent for longer than the grace.
    EngineDown,
}

/// What a host is, as its agent reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDescription {
    /// The host's name.
    pub hostname: String,
    /// `linux`.
    pub os: String,
    /// `x86_64`, `aarch64`, …
    pub arch: String,
    /// SHA-256 of the machine-id, so that a clone is noticed and the id itself is not spread.
    pub machine: Digest,
    /// What it has.
    pub resources: Resources,
    /// The Engine's version, such as `20.10.24`.
    pub engine_version: String,
    /// `engine.labels.*`.
    pub engine_labels: BTreeMap<String, String>,
    /// Log drivers, volume drivers and network drivers as `kind/name`.
    pub plugins: Vec<String>,
    /// Version of the agent.
    pub agent_version: String,
    /// Whether the Engine keeps containers running while it restarts.
    pub live_restore: bool,
    /// Whether a `shoal-manager` without state waits on this host, so that the node can be promoted.
    pub manager_waits: bool,
    /// Where the host itself sends packets, the cluster's own routes left out; at most [`ROUTES_MAX`].
    #[serde(default)]
    pub routes: Vec<Subnet>,
    /// With what it seals what it sends on encrypted networks; none while it has no part in any.
    #[serde(default)]
    pub tunnel_key: Option<TunnelKey>,
    /// Its own IPv6 addresses, from which its programs call; at most [`ADDRESSES_MAX`]. None where it has no IPv6.
    #[serde(default)]
    pub ipv6: Option<BTreeSet<Ipv6Addr>>,
}

impl Node {
    /// The hostname, or the id while the agent has not spoken.
    #[must_use]
    pub fn name(&self) -> &str {
        self.status
            .description
            .as_ref()
            .map_or(self.id.as_str(), |d| d.hostname.as_str())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Worker => "worker",
            Self::Manager => "manager",
        })
    }
}

impl fmt::Display for Availability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Pause => "pause",
            Self::Drain => "drain",
        })
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Ready => "ready",
            Self::Down => "down",
            Self::EngineDown => "down (engine)",
        })
    }
}
