//! A service: settings that change in place, and a template that makes revisions.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::container::{ContainerSpec, LogDriver};
use crate::digest::Digest;
use crate::id::{NetworkId, NodeId, RevisionId, ServiceId, StackId};
use crate::object::Meta;
use crate::reason::Reason;
use crate::resources::ResourceSpec;
use crate::time::Timestamp;
use crate::update::{Rollout, UpdatePolicy};

/// What an operator asks for. The system never changes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Unique in the cluster, ignoring case.
    pub name: String,
    /// Changed in place.
    pub settings: ServiceSettings,
    /// What a task is made of; a change makes a revision.
    pub template: TaskTemplate,
}

/// What changes without touching a task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSettings {
    /// Replicated or global, and how many. The kind never changes.
    pub mode: Mode,
    /// Service labels.
    pub labels: BTreeMap<String, String>,
    /// Rules of an update.
    pub update: UpdatePolicy,
    /// Rules of a rollback.
    pub rollback: UpdatePolicy,
    /// When a task that ended is replaced.
    pub restart: RestartPolicy,
    /// How the service's name resolves.
    pub endpoint: EndpointMode,
    /// Ports every node answers on.
    pub ingress_ports: Vec<IngressPort>,
    /// How long a task that gets no new connections any more has to end those it has, before it is told to stop; none
    /// means [`DRAIN_MS`].
    #[serde(default)]
    pub drain_ms: Option<u64>,
}

/// The time that tasks have to end their connections where the service does not say.
pub const DRAIN_MS: u64 = 2_000;

/// How many tasks, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// So many tasks, anywhere suitable.
    Replicated {
        /// How many.
        replicas: u64,
    },
    /// One task on every suitable node.
    Global,
    /// So many completions.
    ReplicatedJob {
        /// At once.
        max_concurrent: u64,
        /// In all.
        total_completions: u64,
    },
    /// One completion on every suitable node.
    GlobalJob,
}

impl Default for Mode {
    fn default() -> Self {
        Self::Replicated { replicas: 1 }
    }
}

/// When a task that ended is replaced. Defaults are Swarm's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// Which ends ask for another task.
    pub condition: RestartCondition,
    /// Wait before it starts.
    pub delay_ms: u64,
    /// Attempts per slot within the window; zero means no bound.
    pub max_attempts: u64,
    /// Window in which attempts count; zero means for ever.
    pub window_ms: u64,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            condition: RestartCondition::Any,
            delay_ms: 5_000,
            max_attempts: 0,
            window_ms: 0,
        }
    }
}

/// Which ends ask for another task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartCondition {
    /// None.
    None,
    /// Those with an exit code other than zero, and those that could not start.
    OnFailure,
    /// All.
    #[default]
    Any,
}

/// How a service's name resolves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndpointMode {
    /// To one address that stays.
    #[default]
    Vip,
    /// To the addresses of its tasks.
    DnsRoundRobin,
}

/// Which of a service's ready tasks get connections before the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Prefer {
    /// Those on the node where the connection entered.
    Local,
}

/// A port that every node answers on, whichever node runs the tasks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IngressPort {
    /// Label of the operator's.
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Port in the container.
    pub container_port: u16,
    /// Port of the nodes; the leader fills in one from 30000 on where the operator named none.
    pub published_port: u16,
    /// Address of the node to listen on; `0.0.0.0` and `::` mean all of their kind, none means all of both.
    pub host_ip: Option<IpAddr>,
    /// Which ready tasks get its connections as long as there are any; none: all alike.
    #[serde(default)]
    pub prefer: Option<Prefer>,
}

/// Protocol of a published port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Everything a task is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskTemplate {
    /// What runs.
    pub container: ContainerSpec,
    /// What it needs and may use.
    pub resources: ResourceSpec,
    /// Where it may run.
    pub placement: Placement,
    /// Networks it is on.
    pub networks: Vec<NetworkUse>,
    /// Ports of the node that the Engine publishes for it.
    pub host_ports: Vec<HostPort>,
    /// Where its output goes; none means the cluster's default.
    pub log_driver: Option<LogDriver>,
    /// Counted up to make an equal template a new revision.
    pub force_update: u64,
}

/// Where a task may run and where it would rather.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// `node.labels.zone == a`; all must hold. Kept as written.
    pub constraints: Vec<String>,
    /// `node.labels.zone`: spread over its values, first before second.
    pub spread: Vec<String>,
    /// Tasks of this service one node may hold; zero means no bound.
    pub max_replicas_per_node: u64,
    /// Platforms the image exists for; empty means any.
    pub platforms: Vec<Platform>,
}

/// What an image was built for. Empty parts match anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, … or the kernel's words for them.
    pub arch: String,
}

/// A network a task is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkUse {
    /// Which.
    pub network: NetworkTarget,
    /// Further names of the service on it.
    pub aliases: Vec<String>,
}

/// A network of the cluster, or one that every Engine has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NetworkTarget {
    /// One of the cluster's by name, as asked for; a revision holds its id instead.
    Named(String),
    /// One of the cluster's.
    Cluster(NetworkId),
    /// The host's own.
    Host,
    /// None at all.
    None,
}

/// A port of the node that the Engine publishes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostPort {
    /// Protocol.
    pub protocol: Protocol,
    /// Port in the container.
    pub container_port: u16,
    /// Port of the node; zero lets the Engine choose.
    pub published_port: u16,
    /// Address of the node to listen on; `0.0.0.0` and `::` mean all of their kind, none means all of both.
    pub host_ip: Option<IpAddr>,
}

/// Whether two ports of one number that are published on these addresses have one in common.
#[must_use]
pub fn share_an_address(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return true;
    };
    let any = one.is_unspecified() || other.is_unspecified();
    one == other || any && one.is_ipv4() == other.is_ipv4()
}

/// A service as the cluster holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Never used again.
    pub id: ServiceId,
    /// Version and cause.
    pub meta: Meta,
    /// Unique in the cluster, ignoring case; never changes.
    pub name: String,
    /// The stack it belongs to.
    pub stack: Option<StackId>,
    /// What changes in place.
    pub settings: ServiceSettings,
    /// Last writer of a setting, by the setting's name: `replicas`, `update`, …
    pub setting_writers: BTreeMap<String, String>,
    /// The revision that is wanted.
    pub revision: RevisionId,
    /// The one wanted before, for `rollback`.
    pub previous_revision: Option<RevisionId>,
    /// The last one that ran everywhere and was watched long enough.
    pub good_revision: Option<RevisionId>,
    /// Number of the newest revision.
    pub last_revision_number: u64,
    /// Settings before the last update, for `rollback --settings`.
    pub previous_settings: Option<Box<ServiceSettings>>,
    /// The update or rollback under way, or the last that ended.
    pub rollout: Option<Rollout>,
    /// Set once it was removed and only its tasks remain.
    pub removed_at: Option<Timestamp>,
    /// Its virtual IP on each network it was ever on; kept until it is forgotten. One that began as `dnsrr` has none.
    #[serde(default)]
    pub addresses: Vec<(NetworkId, Ipv4Addr)>,
}

/// One immutable revision of a service's template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Never used again.
    pub id: RevisionId,
    /// Version (always 1) and cause.
    pub meta: Meta,
    /// Whose.
    pub service: ServiceId,
    /// Counts from 1 within the service.
    pub number: u64,
    /// Of the template: equal digest, same revision.
    pub digest: Digest,
    /// Shared by all tasks of the revision.
    pub template: Arc<TaskTemplate>,
}

/// The numbered place a task fills: a number for replicated services, a node for global ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SlotKey {
    /// Replicated: 1, 2, …
    Number(u64),
    /// Global: the node.
    Node(NodeId),
}

/// What is remembered of a slot beyond its tasks. Survives failover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Whose.
    pub service: ServiceId,
    /// Which.
    pub key: SlotKey,
    /// Version and cause.
    pub meta: Meta,
    /// The revision the attempts belong to.
    pub revision: RevisionId,
    /// Attempts of this revision that ended by their own fault, oldest first; at most
    /// [`SLOT_ATTEMPTS_MAX`] kept.
    pub attempts: Vec<Timestamp>,
    /// Attempts of this revision in all.
    pub attempts_total: u64,
    /// Why nothing fills it any more, until the revision or the restart policy changes.
    pub spent: Option<Reason>,
    /// The node that holds the data of its named local volumes; its tasks go nowhere else.
    pub home: Option<NodeId>,
    /// When a new task of an update last failed here early enough to count against that update.
    pub update_failed_at: Option<Timestamp>,
}

/// Attempts a slot remembers with their time.
pub const SLOT_ATTEMPTS_MAX: usize = 100;

impl fmt::Display for SlotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Node(node) => write!(f, "{node}"),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::share_an_address;

    #[test]
    fn all_addresses_of_a_kind_are_shared_with_those_of_that_kind_and_with_all() {
        let at = |text: &str| (!text.is_empty()).then(|| text.parse::<IpAddr>().unwrap());
        for (one, other, shared) in [
            ("", "", true),
            ("", "::1", true),
            ("0.0.0.0", "", true),
            ("0.0.0.0", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0", "::", false),
            ("0.0.0.0", "2001:db8::1", false),
            ("::", "2001:db8::1", true),
            ("::", "127.0.0.1", false),
        ] {
            assert_eq!(
                share_an_address(at(one), at(other)),
                shared,
                "{one:?} and {other:?}"
            );
            assert_eq!(
                share_an_address(at(other), at(one)),
                shared,
                "{other:?} and {one:?}"
            );
        }
    }
}
