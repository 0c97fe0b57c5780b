//! Why something was decided, as data: stored on the object and shown to the operator.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, TaskId};

/// Why a task waits, was replaced, or why an update paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// No node can take the task: per obstacle, how many nodes it concerns, most first.
    NoSuitableNode(Vec<(Obstacle, u32)>),
    /// Waits out the restart policy's delay.
    RestartDelay {
        /// How long in all.
        delay_ms: u64,
    },
    /// The restart policy allows no further attempt.
    AttemptsExhausted {
        /// Attempts made.
        attempts: u64,
        /// Attempts allowed.
        max_attempts: u64,
    },
    /// The restart policy's condition does not ask for another task.
    ConditionMet,
    /// The task before ended by itself.
    TaskEnded {
        /// Its exit code where it had one.
        exit_code: Option<i64>,
        /// The Engine's or the agent's words.
        message: String,
    },
    /// The task's node is down.
    NodeDown(NodeId),
    /// The task's node was removed from the cluster.
    NodeRemoved(NodeId),
    /// The task's node is drained.
    NodeDrained(NodeId),
    /// The node no longer meets the service's constraints.
    NodeUnsuitable(NodeId, Obstacle),
    /// The host was rebooted and containers do not outlive that.
    HostRebooted,
    /// The Engine restarted without live-restore.
    EngineRestarted,
    /// The container was removed by hand.
    ContainerGone,
    /// A newer revision replaces it.
    Updated,
    /// The operator asked for fewer replicas.
    ScaledDown,
    /// The service was removed.
    ServiceRemoved,
    /// Another task fills the slot.
    Superseded(TaskId),
    /// More slots failed than the update accepts.
    TooManyFailures {
        /// Slots that failed.
        failed: u64,
        /// Slots in all.
        total: u64,
        /// What the last one said.
        last: String,
    },
    /// An operator paused or ended it.
    Operator(String),
    /// Words from elsewhere, such as a registry's.
    Other(String),
    /// A network has no address left for the task, or none for its node.
    NetworkFull {
        /// The network's name.
        network: String,
        /// Of which half.
        part: NetworkPart,
        /// Addresses or blocks that are held or rest.
        used: u64,
        /// How many there are.
        size: u64,
    },
}

/// Which half of a network's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NetworkPart {
    /// Of tasks and virtual IPs.
    Tasks,
    /// Of the nodes that carry it.
    Nodes,
}

/// One thing that keeps a task from a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Obstacle {
    /// The node is not ready.
    NotReady,
    /// The node takes no new tasks.
    Paused,
    /// The node is drained.
    Drained,
    /// A constraint does not hold.
    Constraint(String),
    /// The platform of the image is another one.
    Platform(String),
    /// Not enough free processor time: how much is missing.
    Cpu {
        /// Billionths of a core missing.
        missing_nano_cpus: u64,
    },
    /// Not enough free memory: how much is missing.
    Memory {
        /// Bytes missing.
        missing_bytes: u64,
    },
    /// Not enough free processes.
    Pids {
        /// Processes missing.
        missing: u64,
    },
    /// The host port is taken.
    HostPort {
        /// The port.
        port: u16,
        /// By which task, where known.
        holder: Option<TaskId>,
    },
    /// The node holds as many replicas as it may.
    MaxReplicas {
        /// The limit per node.
        limit: u64,
    },
    /// A volume of the task lives on another node.
    VolumeElsewhere {
        /// The volume's name.
        volume: String,
        /// The node that holds it.
        node: NodeId,
    },
    /// The node lacks a plugin: a log or volume driver.
    Plugin(String),
    /// The node has no agent and takes no tasks.
    NoAgent,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady => write!(f, "not ready"),
            Self::Paused => write!(f, "paused"),
            Self::Drained => write!(f, "drained"),
            Self::Constraint(text) => write!(f, "constraint {text} does not hold"),
            Self::Platform(text) => write!(f, "platform is not {text}"),
            Self::Cpu { missing_nano_cpus } => {
                write!(f, "{:.2} CPUs missing", *missing_nano_cpus as f64 / 1e9)
            }
            Self::Memory { missing_bytes } => {
                write!(f, "{} MiB memory missing", missing_bytes.div_ceil(1 << 20))
            }
            Self::Pids { missing } => write!(f, "{missing} pids missing"),
            Self::HostPort {
                port,
                holder: Some(task),
            } => write!(f, "host port {port} taken by task {task}"),
            Self::HostPort { port, holder: None } => write!(f, "host port {port} taken"),
            Self::MaxReplicas { limit } => write!(f, "max_replicas_per_node {limit} reached"),
            Self::VolumeElsewhere { volume, node } => write!(f, "volume {volume} is on node {node}"),
            Self::Plugin(name) => write!(f, "plugin {name} missing"),
            Self::NoAgent => write!(f, "no agent"),
        }
    }
}

impl fmt::Display for NetworkPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tasks => "address for tasks",
            Self::Nodes => "address for nodes",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuitableNode(obstacles) if obstacles.is_empty() => {
                write!(f, "no suitable node: the cluster has no nodes")
            }
            Self::NoSuitableNode(obstacles) => {
                write!(f, "no suitable node (")?;
                for (place, (obstacle, nodes)) in obstacles.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "; " };
                    let plural = if *nodes == 1 { "node" } else { "nodes" };
                    write!(f, "{comma}{obstacle} on {nodes} {plural}")?;
                }
                write!(f, ")")
            }
            Self::RestartDelay { delay_ms } => {
                write!(f, "waits {:.1} s before the restart", *delay_ms as f64 / 1e3)
            }
            Self::AttemptsExhausted {
                attempts,
                max_attempts,
            } => {
                write!(f, "not restarted: {attempts} of {max_attempts} attempts made")
            }
            Self::ConditionMet => write!(f, "not restarted: the restart condition does not ask for it"),
            // The agent's message says how it ended, its code where that matters.
            Self::TaskEnded { message, .. } if !message.is_empty() => write!(f, "{message}"),
            Self::TaskEnded {
                exit_code: Some(code),
                ..
            } => write!(f, "task ended with exit code {code}"),
            Self::TaskEnded { exit_code: None, .. } => write!(f, "task ended"),
            Self::NodeDown(node) => write!(f, "node {node} is down"),
            Self::NodeRemoved(node) => write!(f, "node {node} was removed"),
            Self::NodeDrained(node) => write!(f, "node {node} is drained"),
            Self::NodeUnsuitable(node, obstacle) => write!(f, "node {node} no longer fits: {obstacle}"),
            Self::HostRebooted => write!(f, "host was rebooted"),
            Self::EngineRestarted => write!(f, "engine restarted without live-restore"),
            Self::ContainerGone => write!(f, "container was removed by hand"),
            Self::Updated => write!(f, "replaced by a newer revision"),
            Self::ScaledDown => write!(f, "service was scaled down"),
            Self::ServiceRemoved => write!(f, "service was removed"),
            Self::Superseded(task) => write!(f, "superseded by task {task}"),
            Self::TooManyFailures { failed, total, last } => {
                write!(f, "{failed} of {total} slots failed: {last}")
            }
            Self::Operator(words) | Self::Other(words) => write!(f, "{words}"),
            Self::NetworkFull {
                network,
                part,
                used,
                size,
            } => write!(
                f,
                "network {network} has no {part} left, {used} of {size} are used: put services on another network, or \
                 make it anew with a larger --subnet"
            ),
        }
    }
}
