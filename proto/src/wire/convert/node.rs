//! Nodes: plan, status and description.

use super::At as _;
use super::Invalid;
use super::checks::{
    bytes_at_most, digest, enumeration, host_ipv6, host_ipv6_sent, id, map, message, optional, optional_ip,
    optional_time, subnets, text, texts, tunnel_key,
};
use crate::digest::Digest;
use crate::limits::HOSTNAME_MAX;
use crate::node::{ManagerMembership, Node, NodeDescription, NodeKeys, NodePlan, NodeStatus, ROUTES_MAX};
use crate::overlay::{InvalidOverlayNumber, OverlayNumber};
use crate::time::Timestamp;
use crate::wire;

impl From<&Node> for wire::Node {
    fn from(node: &Node) -> Self {
        Self {
            id: node.id.to_string(),
            meta: Some((&node.meta).into()),
            plan: Some((&node.plan).into()),
            status: Some((&node.status).into()),
        }
    }
}

impl TryFrom<wire::Node> for Node {
    type Error = Invalid;
    fn try_from(node: wire::Node) -> Result<Self, Invalid> {
        Ok(Self {
            id: id(&node.id, "id")?,
            meta: message(node.meta, "meta")?,
            plan: message(node.plan, "plan")?,
            status: message(node.status, "status")?,
        })
    }
}

impl From<&NodePlan> for wire::NodePlan {
    fn from(plan: &NodePlan) -> Self {
        Self {
            desired_role: wire::NodeRole::from(plan.desired_role).into(),
            role: wire::NodeRole::from(plan.role).into(),
            availability: wire::Availability::from(plan.availability).into(),
            labels: plan.labels.clone(),
            manager: plan.manager.as_ref().map(Into::into),
            keys: Some((&plan.keys).into()),
            removing_since_ms: plan.removing_since.map(Timestamp::as_ms),
            overlay: plan.overlay.map_or(0, |number| number.get().into()),
        }
    }
}

impl TryFrom<wire::NodePlan> for NodePlan {
    type Error = Invalid;
    fn try_from(plan: wire::NodePlan) -> Result<Self, Invalid> {
        Ok(Self {
            desired_role: enumeration::<wire::NodeRole, _>(plan.desired_role, "desired_role")?,
            role: enumeration::<wire::NodeRole, _>(plan.role, "role")?,
            availability: enumeration::<wire::Availability, _>(plan.availability, "availability")?,
            labels: map(plan.labels, "labels")?,
            manager: optional(plan.manager, "manager")?,
            keys: message(plan.keys, "keys")?,
            removing_since: optional_time(plan.removing_since_ms),
            overlay: overlay_number(plan.overlay)?,
        })
    }
}

fn overlay_number(value: u32) -> Result<Option<OverlayNumber>, Invalid> {
    if value == 0 {
        return Ok(None);
    }
    let number = u16::try_from(value).map_err(|_| InvalidOverlayNumber(value));
    let number = number.and_then(OverlayNumber::new);
    number
        .map(Some)
        .map_err(|error| Invalid::new("overlay", error.to_string()))
}

impl From<&NodeKeys> for wire::NodeKeys {
    fn from(keys: &NodeKeys) -> Self {
        Self {
            agent: keys.agent.map(|key| key.to_string()),
            manager: keys.manager.map(|key| key.to_string()),
        }
    }
}

impl TryFrom<wire::NodeKeys> for NodeKeys {
    type Error = Invalid;
    fn try_from(keys: wire::NodeKeys) -> Result<Self, Invalid> {
        let key = |value: Option<String>, field: &str| -> Result<Option<Digest>, Invalid> {
            value.map(|value| digest(&value, field)).transpose()
        };
        Ok(Self {
            agent: key(keys.agent, "agent")?,
            manager: key(keys.manager, "manager")?,
        })
    }
}

impl From<&ManagerMembership> for wire::ManagerMembership {
    fn from(membership: &ManagerMembership) -> Self {
        Self {
            raft_id: membership.raft_id,
            addr: membership.addr.clone(),
        }
    }
}

impl TryFrom<wire::ManagerMembership> for ManagerMembership {
    type Error = Invalid;
    fn try_from(membership: wire::ManagerMembership) -> Result<Self, Invalid> {
        Ok(Self {
            raft_id: membership.raft_id,
            addr: text(membership.addr, "addr")?,
        })
    }
}

impl From<&NodeStatus> for wire::NodeStatus {
    fn from(status: &NodeStatus) -> Self {
        Self {
            version: status.version,
            state: wire::NodeState::from(status.state).into(),
            since_ms: status.since.as_ms(),
            reason: status.reason.as_ref().map(Into::into),
            epoch: status.epoch,
            boot_id: status.boot_id.clone(),
            addr: status.addr.map(|addr| addr.to_string()).unwrap_or_default(),
            description: status.description.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<wire::NodeStatus> for NodeStatus {
    type Error = Invalid;
    fn try_from(status: wire::NodeStatus) -> Result<Self, Invalid> {
        Ok(Self {
            version: status.version,
            state: enumeration::<wire::NodeState, _>(status.state, "state")?,
            since: Timestamp::from_ms(status.since_ms),
            reason: optional(status.reason, "reason")?,
            epoch: status.epoch,
            boot_id: text(status.boot_id, "boot_id")?,
            addr: optional_ip(&status.addr, "addr")?,
            description: optional(status.description, "description")?,
        })
    }
}

impl From<&NodeDescription> for wire::NodeDescription {
    fn from(node: &NodeDescription) -> Self {
        Self {
            hostname: node.hostname.clone(),
            os: node.os.clone(),
            arch: node.arch.clone(),
            machine: node.machine.to_string(),
            resources: Some((&node.resources).into()),
            engine_version: node.engine_version.clone(),
            engine_labels: node.engine_labels.clone(),
            plugins: node.plugins.clone(),
            agent_version: node.agent_version.clone(),
            live_restore: node.live_restore,
            manager_waits: node.manager_waits,
            routes: node.routes.iter().map(ToString::to_string).collect(),
            tunnel_key: node.tunnel_key.map(|key| key.to_string()).unwrap_or_default(),
            ipv6: host_ipv6_sent(node.ipv6.as_ref()),
        }
    }
}

impl TryFrom<wire::NodeDescription> for NodeDescription {
    type Error = Invalid;
    fn try_from(node: wire::NodeDescription) -> Result<Self, Invalid> {
        if node.hostname.is_empty() {
            return Err(Invalid::new("hostname", "is empty: a host has a name"));
        }
        bytes_at_most(&node.hostname, HOSTNAME_MAX).at("hostname")?;
        Ok(Self {
            hostname: node.hostname,
            os: text(node.os, "os")?,
            arch: text(node.arch, "arch")?,
            machine: digest(&node.machine, "machine")?,
            resources: message(node.resources, "resources")?,
            engine_version: text(node.engine_version, "engine_version")?,
            engine_labels: map(node.engine_labels, "engine_labels")?,
            plugins: texts(node.plugins, "plugins")?,
            agent_version: text(node.agent_version, "agent_version")?,
            live_restore: node.live_restore,
            manager_waits: node.manager_waits,
            routes: subnets(&node.routes, ROUTES_MAX, "routes")?,
            tunnel_key: tunnel_key(&node.tunnel_key, "tunnel_key")?,
            ipv6: host_ipv6(node.ipv6, "ipv6")?,
        })
    }
}
