//! Reasons and obstacles.

use super::checks::{enumeration, id, list, message, port_or_zero, required, text};
use super::{At as _, Invalid};
use crate::reason::{Obstacle, Reason};
use crate::wire::{self, Nothing, obstacle, reason};

impl From<&Reason> for wire::Reason {
    fn from(why: &Reason) -> Self {
        use reason::Kind;
        let kind = match why {
            Reason::NoSuitableNode(obstacles) => Kind::NoSuitableNode(wire::NoSuitableNode {
                obstacles: obstacles.iter().map(Into::into).collect(),
            }),
            Reason::RestartDelay { delay_ms } => Kind::RestartDelayMs(*delay_ms),
            Reason::AttemptsExhausted {
                attempts,
                max_attempts,
            } => Kind::AttemptsExhausted(wire::AttemptsExhausted {
                attempts: *attempts,
                max_attempts: *max_attempts,
            }),
            Reason::ConditionMet => Kind::ConditionMet(Nothing {}),
            Reason::TaskEnded { exit_code, message } => Kind::TaskEnded(wire::TaskEnded {
                exit_code: *exit_code,
                message: message.clone(),
            }),
            Reason::NodeDown(node) => Kind::NodeDown(node.to_string()),
            Reason::NodeRemoved(node) => Kind::NodeRemoved(node.to_string()),
            Reason::NodeDrained(node) => Kind::NodeDrained(node.to_string()),
            Reason::NodeUnsuitable(node, obstacle) => Kind::NodeUnsuitable(wire::NodeUnsuitable {
                node_id: node.to_string(),
                obstacle: Some(obstacle.into()),
            }),
            Reason::HostRebooted => Kind::HostRebooted(Nothing {}),
            Reason::EngineRestarted => Kind::EngineRestarted(Nothing {}),
            Reason::ContainerGone => Kind::ContainerGone(Nothing {}),
            Reason::Updated => Kind::Updated(Nothing {}),
            Reason::ScaledDown => Kind::ScaledDown(Nothing {}),
            Reason::ServiceRemoved => Kind::ServiceRemoved(Nothing {}),
            Reason::Superseded(task) => Kind::Superseded(task.to_string()),
            Reason::TooManyFailures { failed, total, last } => Kind::TooManyFailures(wire::TooManyFailures {
                failed: *failed,
                total: *total,
                last: last.clone(),
            }),
            Reason::Operator(words) => Kind::Operator(words.clone()),
            Reason::Other(words) => Kind::Other(words.clone()),
            Reason::NetworkFull {
                network,
                part,
                used,
                size,
            } => Kind::NetworkFull(wire::NetworkFull {
                network: network.clone(),
                part: wire::NetworkPart::from(*part).into(),
                used: *used,
                size: *size,
            }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::Reason> for Reason {
    type Error = Invalid;
    fn try_from(why: wire::Reason) -> Result<Self, Invalid> {
        use reason::Kind;
        Ok(match required(why.kind, "kind")? {
            Kind::NoSuitableNode(none) => Self::NoSuitableNode(list(none.obstacles, "obstacles")?),
            Kind::RestartDelayMs(delay_ms) => Self::RestartDelay { delay_ms },
            Kind::AttemptsExhausted(counts) => Self::AttemptsExhausted {
                attempts: counts.attempts,
                max_attempts: counts.max_attempts,
            },
            Kind::ConditionMet(_) => Self::ConditionMet,
            Kind::TaskEnded(end) => Self::TaskEnded {
                exit_code: end.exit_code,
                message: text(end.message, "task_ended.message")?,
            },
            Kind::NodeDown(node) => Self::NodeDown(id(&node, "node_down")?),
            Kind::NodeRemoved(node) => Self::NodeRemoved(id(&node, "node_removed")?),
            Kind::NodeDrained(node) => Self::NodeDrained(id(&node, "node_drained")?),
            Kind::NodeUnsuitable(node) => Self::NodeUnsuitable(
                id(&node.node_id, "node_unsuitable.node_id")?,
                message(node.obstacle, "node_unsuitable.obstacle")?,
            ),
            Kind::HostRebooted(_) => Self::HostRebooted,
            Kind::EngineRestarted(_) => Self::EngineRestarted,
            Kind::ContainerGone(_) => Self::ContainerGone,
            Kind::Updated(_) => Self::Updated,
            Kind::ScaledDown(_) => Self::ScaledDown,
            Kind::ServiceRemoved(_) => Self::ServiceRemoved,
            Kind::Superseded(task) => Self::Superseded(id(&task, "superseded")?),
            Kind::TooManyFailures(counts) => Self::TooManyFailures {
                failed: counts.failed,
                total: counts.total,
                last: text(counts.last, "too_many_failures.last")?,
            },
            Kind::Operator(words) => Self::Operator(text(words, "operator")?),
            Kind::Other(words) => Self::Other(text(words, "other")?),
            Kind::NetworkFull(full) => Self::NetworkFull {
                network: text(full.network, "network_full.network")?,
                part: enumeration::<wire::NetworkPart, _>(full.part, "network_full.part")?,
                used: full.used,
                size: full.size,
            },
        })
    }
}

impl From<&(Obstacle, u32)> for wire::ObstacleCount {
    fn from((obstacle, nodes): &(Obstacle, u32)) -> Self {
        Self {
            obstacle: Some(obstacle.into()),
            nodes: *nodes,
        }
    }
}

impl TryFrom<wire::ObstacleCount> for (Obstacle, u32) {
    type Error = Invalid;
    fn try_from(count: wire::ObstacleCount) -> Result<Self, Invalid> {
        Ok((message(count.obstacle, "obstacle")?, count.nodes))
    }
}

impl From<&Obstacle> for wire::Obstacle {
    fn from(what: &Obstacle) -> Self {
        use obstacle::Kind;
        let kind = match what {
            Obstacle::NotReady => Kind::NotReady(Nothing {}),
            Obstacle::Paused => Kind::Paused(Nothing {}),
            Obstacle::Drained => Kind::Drained(Nothing {}),
            Obstacle::Constraint(text) => Kind::Constraint(text.clone()),
            Obstacle::Platform(text) => Kind::Platform(text.clone()),
            Obstacle::Cpu { missing_nano_cpus } => Kind::MissingNanoCpus(*missing_nano_cpus),
            Obstacle::Memory { missing_bytes } => Kind::MissingMemoryBytes(*missing_bytes),
            Obstacle::Pids { missing } => Kind::MissingPids(*missing),
            Obstacle::HostPort { port, holder } => Kind::HostPort(wire::HostPortTaken {
                port: (*port).into(),
                holder: holder.map(|task| task.to_string()).unwrap_or_default(),
            }),
            Obstacle::MaxReplicas { limit } => Kind::MaxReplicas(*limit),
            Obstacle::VolumeElsewhere { volume, node } => Kind::VolumeElsewhere(wire::VolumeElsewhere {
                volume: volume.clone(),
                node_id: node.to_string(),
            }),
            Obstacle::Plugin(name) => Kind::Plugin(name.clone()),
            Obstacle::NoAgent => Kind::NoAgent(Nothing {}),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::Obstacle> for Obstacle {
    type Error = Invalid;
    fn try_from(what: wire::Obstacle) -> Result<Self, Invalid> {
        use obstacle::Kind;
        Ok(match required(what.kind, "kind")? {
            Kind::NotReady(_) => Self::NotReady,
            Kind::Paused(_) => Self::Paused,
            Kind::Drained(_) => Self::Drained,
            Kind::Constraint(words) => Self::Constraint(text(words, "constraint")?),
            Kind::Platform(words) => Self::Platform(text(words, "platform")?),
            Kind::MissingNanoCpus(missing_nano_cpus) => Self::Cpu { missing_nano_cpus },
            Kind::MissingMemoryBytes(missing_bytes) => Self::Memory { missing_bytes },
            Kind::MissingPids(missing) => Self::Pids { missing },
            Kind::HostPort(taken) => host_port(taken).at("host_port")?,
            Kind::MaxReplicas(limit) => Self::MaxReplicas { limit },
            Kind::VolumeElsewhere(elsewhere) => Self::VolumeElsewhere {
                volume: text(elsewhere.volume, "volume_elsewhere.volume")?,
                node: id(&elsewhere.node_id, "volume_elsewhere.node_id")?,
            },
            Kind::Plugin(name) => Self::Plugin(text(name, "plugin")?),
            Kind::NoAgent(_) => Self::NoAgent,
        })
    }
}

fn host_port(taken: wire::HostPortTaken) -> Result<Obstacle, Invalid> {
    let holder = if taken.holder.is_empty() {
        None
    } else {
        Some(id(&taken.holder, "holder")?)
    };
    Ok(Obstacle::HostPort {
        port: port_or_zero(taken.port, "port")?,
        holder,
    })
}
