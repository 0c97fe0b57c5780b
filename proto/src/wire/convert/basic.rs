//! Amounts, ports, platforms, log drivers, slots, and the enums of specs.

use super::checks::{enumeration, id, map, message, optional_ip, port, port_or_zero, required, text};
use super::{Invalid, enums};
use crate::container::{LogDriver, PullPolicy};
use crate::node::{Availability, NodeState, Role};
use crate::reason::NetworkPart;
use crate::resources::{ResourceSpec, Resources};
use crate::service::{
    EndpointMode, HostPort, IngressPort, Platform, Prefer, Protocol, RestartCondition, SlotKey,
};
use crate::task::{DesiredState, Fault, TaskState};
use crate::update::{Direction, FailureAction, RolloutState, Steering, UpdateOrder};
use crate::wire;

enums! {
    NodeRole = Role { Worker, Manager }
    Availability = Availability { Active, Pause, Drain }
    NodeState = NodeState { Unknown, Ready, Down, EngineDown }
    TaskState = TaskState {
        New, Pending, Assigned, Accepted, Preparing, Ready, Starting, Running, Complete, Shutdown, Failed,
        Rejected, Orphaned,
    }
    DesiredState = DesiredState { Ready, Running, Complete, Shutdown, Remove }
    Fault = Fault { Own, None }
    FailureAction = FailureAction { Pause, Continue, Rollback }
    UpdateOrder = UpdateOrder { StopFirst, StartFirst }
    RestartCondition = RestartCondition { None, OnFailure, Any }
    EndpointMode = EndpointMode { Vip, DnsRoundRobin }
    Protocol = Protocol { Tcp, Udp, Sctp }
    PullPolicy = PullPolicy { Missing, Always, Never }
    Direction = Direction { Update, Rollback }
    RolloutState = RolloutState { Running, Paused, Completed }
    Steering = Steering { Pause, Resume, Continue, Abort }
    NetworkPart = NetworkPart { Tasks, Nodes }
}

impl From<&Resources> for wire::Resources {
    fn from(amounts: &Resources) -> Self {
        Self {
            nano_cpus: amounts.nano_cpus,
            memory_bytes: amounts.memory_bytes,
            pids: amounts.pids,
        }
    }
}

/// Largest amount of one resource: sums of many stay far from wrapping, and the Engine takes signed numbers.
const AMOUNT_MAX: u64 = 1 << 53;

impl TryFrom<wire::Resources> for Resources {
    type Error = Invalid;
    fn try_from(amounts: wire::Resources) -> Result<Self, Invalid> {
        let bounded = |value: u64, field: &str| match value {
            0..=AMOUNT_MAX => Ok(value),
            _ => Err(Invalid::new(
                field,
                format!("{value} is too much: at most {AMOUNT_MAX}"),
            )),
        };
        Ok(Self {
            nano_cpus: bounded(amounts.nano_cpus, "nano_cpus")?,
            memory_bytes: bounded(amounts.memory_bytes, "memory_bytes")?,
            pids: bounded(amounts.pids, "pids")?,
        })
    }
}

impl From<&ResourceSpec> for wire::ResourceSpec {
    fn from(spec: &ResourceSpec) -> Self {
        Self {
            reservations: Some((&spec.reservations).into()),
            limits: Some((&spec.limits).into()),
        }
    }
}

impl TryFrom<wire::ResourceSpec> for ResourceSpec {
    type Error = Invalid;
    fn try_from(spec: wire::ResourceSpec) -> Result<Self, Invalid> {
        Ok(Self {
            reservations: message(spec.reservations, "reservations")?,
            limits: message(spec.limits, "limits")?,
        })
    }
}

impl From<&LogDriver> for wire::LogDriver {
    fn from(driver: &LogDriver) -> Self {
        Self {
            name: driver.name.clone(),
            options: driver.options.clone(),
        }
    }
}

impl TryFrom<wire::LogDriver> for LogDriver {
    type Error = Invalid;
    fn try_from(driver: wire::LogDriver) -> Result<Self, Invalid> {
        Ok(Self {
            name: text(driver.name, "name")?,
            options: map(driver.options, "options")?,
        })
    }
}

impl From<&Platform> for wire::Platform {
    fn from(platform: &Platform) -> Self {
        Self {
            os: platform.os.clone(),
            arch: platform.arch.clone(),
        }
    }
}

impl TryFrom<wire::Platform> for Platform {
    type Error = Invalid;
    fn try_from(platform: wire::Platform) -> Result<Self, Invalid> {
        Ok(Self {
            os: text(platform.os, "os")?,
            arch: text(platform.arch, "arch")?,
        })
    }
}

impl From<&IngressPort> for wire::IngressPort {
    fn from(port: &IngressPort) -> Self {
        Self {
            name: port.name.clone(),
            protocol: wire::Protocol::from(port.protocol).into(),
            container_port: port.container_port.into(),
            published_port: port.published_port.into(),
            host_ip: port.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            prefer_local: port.prefer == Some(Prefer::Local),
        }
    }
}

impl TryFrom<wire::IngressPort> for IngressPort {
    type Error = Invalid;
    fn try_from(value: wire::IngressPort) -> Result<Self, Invalid> {
        Ok(Self {
            name: text(value.name, "name")?,
            protocol: enumeration::<wire::Protocol, _>(value.protocol, "protocol")?,
            container_port: port(value.container_port, "container_port")?,
            published_port: port_or_zero(value.published_port, "published_port")?,
            host_ip: optional_ip(&value.host_ip, "host_ip")?,
            prefer: value.prefer_local.then_some(Prefer::Local),
        })
    }
}

impl From<&HostPort> for wire::HostPort {
    fn from(port: &HostPort) -> Self {
        Self {
            protocol: wire::Protocol::from(port.protocol).into(),
            container_port: port.container_port.into(),
            published_port: port.published_port.into(),
            host_ip: port.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        }
    }
}

impl TryFrom<wire::HostPort> for HostPort {
    type Error = Invalid;
    fn try_from(value: wire::HostPort) -> Result<Self, Invalid> {
        Ok(Self {
            protocol: enumeration::<wire::Protocol, _>(value.protocol, "protocol")?,
            container_port: port(value.container_port, "container_port")?,
            published_port: port_or_zero(value.published_port, "published_port")?,
            host_ip: optional_ip(&value.host_ip, "host_ip")?,
        })
    }
}

impl From<&SlotKey> for wire::SlotKey {
    fn from(slot: &SlotKey) -> Self {
        let key = match slot {
            SlotKey::Number(number) => wire::slot_key::Key::Number(*number),
            SlotKey::Node(node) => wire::slot_key::Key::NodeId(node.to_string()),
        };
        Self { key: Some(key) }
    }
}

impl TryFrom<wire::SlotKey> for SlotKey {
    type Error = Invalid;
    fn try_from(slot: wire::SlotKey) -> Result<Self, Invalid> {
        Ok(match required(slot.key, "key")? {
            wire::slot_key::Key::Number(number) => Self::Number(number),
            wire::slot_key::Key::NodeId(node) => Self::Node(id(&node, "node_id")?),
        })
    }
}
