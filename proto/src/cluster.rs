//! The one Cluster object: rules for everybody, the root of trust, and what every manager must agree on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::container::LogDriver;
use crate::digest::Digest;
use crate::id::{ClusterId, NodeId};
use crate::object::Meta;
use crate::subnet::Subnet;
use crate::time::Timestamp;

/// There is exactly one in a state.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Written in every certificate.
    pub id: ClusterId,
    /// Version and cause.
    pub meta: Meta,
    /// Raised when the cluster is restored or recovered; agents obey the highest they saw.
    pub incarnation: u64,
    /// Newest format anything may be written in: raised when all managers announce it.
    pub level: u32,
    /// Rules an operator may change.
    pub spec: ClusterSpec,
    /// The root of trust.
    pub ca: RootCa,
    /// Generations of the join tokens' secrets, which are derived from the CA key and never stored.
    pub tokens: TokenGenerations,
    /// One-use tokens, and for a while those that were used or have expired, so that whoever shows one is told.
    pub one_use_tokens: Vec<OneUseToken>,
    /// Raft ids given out so far; the next manager gets the next number.
    pub last_raft_id: u64,
    /// Nodes that were removed; they are refused for ever. Bounded by `REMOVED_NODES_MAX`, oldest go first.
    pub removed_nodes: Vec<(NodeId, Timestamp)>,
    /// The overlay number given last; the next node gets one after it, so that a removed node's rests.
    #[serde(default)]
    pub last_overlay: u16,
}

impl Cluster {
    /// A cluster on its first day, with the default rules: nobody has joined, nobody was removed.
    #[must_use]
    pub fn founded(id: ClusterId, level: u32, ca: RootCa) -> Self {
        Self {
            id,
            meta: Meta::default(),
            incarnation: 1,
            level,
            spec: ClusterSpec::default(),
            ca,
            tokens: TokenGenerations::default(),
            one_use_tokens: Vec::new(),
            last_raft_id: 0,
            removed_nodes: Vec::new(),
            last_overlay: 0,
        }
    }
}

/// Removed nodes remembered by name. A forgotten one is still refused: it is not in the state.
pub const REMOVED_NODES_MAX: usize = 1_000;

/// Rules an operator may change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// How often an agent says that it lives.
    pub heartbeat_period_ms: u64,
    /// Heartbeats that may be missing before a node is down.
    pub heartbeat_misses: u32,
    /// How long an Engine may be silent while its agent lives.
    pub engine_grace_ms: u64,
    /// How long an update waits for a node's acknowledgement.
    pub ack_timeout_ms: u64,
    /// Ended tasks kept per slot.
    pub task_history_limit: u32,
    /// Revisions kept per service.
    pub revision_history_limit: u32,
    /// How long a node certificate is good.
    pub certificate_lifetime_ms: u64,
    /// Log driver of tasks that name none; bounded.
    pub log_driver: LogDriver,
    /// Evictions in one minute when many nodes are lost at once; zero means no bound.
    pub evictions_per_minute: u32,
    /// Where the subnets of networks are taken from that name none.
    #[serde(default = "default_address_pools")]
    pub address_pools: Vec<Subnet>,
    /// How large such a subnet is.
    #[serde(default = "default_address_pool_prefix")]
    pub address_pool_prefix: u8,
    /// Where the nodes have their addresses of the overlay; no network overlaps it.
    #[serde(default = "default_overlay_subnet")]
    pub overlay_subnet: Subnet,
}

/// Pools of addresses a cluster may have.
pub const ADDRESS_POOLS_MAX: usize = 32;

/// The upper half of 10.0.0.0/8: 2,048 networks of the default size, apart from what hosts and Swarm tend to use.
fn default_address_pools() -> Vec<Subnet> {
    vec![fixed_subnet("10.128.0.0/9")]
}

/// 2,047 tasks and virtual IPs, and as many nodes.
const fn default_address_pool_prefix() -> u8 {
    20
}

fn default_overlay_subnet() -> Subnet {
    fixed_subnet("10.255.0.0/16")
}

fn fixed_subnet(text: &str) -> Subnet {
    text.parse().expect("a default is a subnet")
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            heartbeat_period_ms: 2_000,
            heartbeat_misses: 3,
            engine_grace_ms: 30_000,
            ack_timeout_ms: 5_000,
            task_history_limit: 5,
            revision_history_limit: 20,
            certificate_lifetime_ms: 90 * 24 * 3_600 * 1_000,
            log_driver: LogDriver::bounded_default(),
            evictions_per_minute: 0,
            address_pools: default_address_pools(),
            address_pool_prefix: default_address_pool_prefix(),
            overlay_subnet: default_overlay_subnet(),
        }
    }
}

/// The cluster's certificate authority.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootCa {
    /// The self-signed certificate, PEM.
    pub certificate_pem: String,
    /// Its private key, PEM (PKCS #8). Leaves a manager only inside the sealed log and snapshots.
    pub key_pem: String,
}

/// Rotating a token raises its generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenGenerations {
    /// Of the worker token.
    pub worker: u64,
    /// Of the manager token.
    pub manager: u64,
    /// Of the operator token.
    pub operator: u64,
}

/// A token that admits once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneUseToken {
    /// SHA-256 of its secret part.
    pub secret: Digest,
    /// What it admits.
    pub admits: TokenRole,
    /// The node it is meant for, where it is for one (promotion).
    pub node: Option<NodeId>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Who has used it; that key alone may show it again.
    pub used: Option<TokenUse>,
}

/// The use of a one-use token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUse {
    /// SHA-256 of the public key that was certified for it.
    pub key: Digest,
    /// When.
    pub at: Timestamp,
}

/// What a join token admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TokenRole {
    /// An agent.
    Worker,
    /// A manager.
    Manager,
    /// An operator's workstation.
    Operator,
}

impl fmt::Display for TokenRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Worker => "worker",
            Self::Manager => "manager",
            Self::Operator => "operator",
        })
    }
}

/// The key never shows in a log.
impl fmt::Debug for RootCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootCa")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("id", &self.id)
            .field("meta", &self.meta)
            .field("incarnation", &self.incarnation)
            .field("level", &self.level)
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}
