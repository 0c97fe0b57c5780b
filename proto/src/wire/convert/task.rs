//! Tasks: plan and status.

use super::At as _;
use super::Invalid;
use super::addresses::{addresses_in, addresses_out};
use super::checks::{
    bytes_at_most, enumeration, id, list, message, optional, optional_id, optional_text, optional_time, port,
    required, text,
};
use crate::id::TaskId;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::reason::Reason;
use crate::task::{Leaving, Task, TaskPlan, TaskStatus};
use crate::time::Timestamp;
use crate::wire;

impl From<&Task> for wire::Task {
    fn from(task: &Task) -> Self {
        Self {
            id: task.id.to_string(),
            meta: Some((&task.meta).into()),
            plan: Some((&task.plan).into()),
            status: Some((&task.status).into()),
        }
    }
}

impl TryFrom<wire::Task> for Task {
    type Error = Invalid;
    fn try_from(task: wire::Task) -> Result<Self, Invalid> {
        Ok(Self {
            id: id(&task.id, "id")?,
            meta: message(task.meta, "meta")?,
            plan: TaskPlan::try_from(required(task.plan, "plan")?).at("plan")?,
            status: message(task.status, "status")?,
        })
    }
}

impl From<&TaskPlan> for wire::TaskPlan {
    fn from(plan: &TaskPlan) -> Self {
        Self {
            service: plan.service.to_string(),
            slot: Some((&plan.slot).into()),
            revision: plan.revision.to_string(),
            node: plan.node.map(|node| node.to_string()),
            desired: wire::DesiredState::from(plan.desired).into(),
            inherits: plan.inherits.map(|task| task.to_string()),
            replaces: plan.replaces.as_ref().map(|(task, reason)| wire::Replaces {
                task: task.to_string(),
                reason: Some(reason.into()),
            }),
            start_after: plan.start_after.map(|(since, delay_ms)| wire::StartAfter {
                since_ms: since.as_ms(),
                delay_ms,
            }),
            pending: plan.pending.as_ref().map(Into::into),
            stop_reason: plan.stop_reason.as_ref().map(Into::into),
            stop_since_ms: plan.stop_since.map(Timestamp::as_ms),
            addresses: addresses_out(&plan.addresses),
            leaving: plan.leaving.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<wire::TaskPlan> for TaskPlan {
    type Error = Invalid;
    fn try_from(plan: wire::TaskPlan) -> Result<Self, Invalid> {
        Ok(Self {
            service: id(&plan.service, "service")?,
            slot: message(plan.slot, "slot")?,
            revision: id(&plan.revision, "revision")?,
            node: optional_id(plan.node, "node")?,
            desired: enumeration::<wire::DesiredState, _>(plan.desired, "desired")?,
            inherits: optional_id(plan.inherits, "inherits")?,
            replaces: plan.replaces.map(replaces).transpose().at("replaces")?,
            start_after: plan
                .start_after
                .map(|after| (Timestamp::from_ms(after.since_ms), after.delay_ms)),
            pending: optional(plan.pending, "pending")?,
            stop_reason: optional(plan.stop_reason, "stop_reason")?,
            stop_since: optional_time(plan.stop_since_ms),
            addresses: addresses_in(plan.addresses)?,
            leaving: optional(plan.leaving, "leaving")?,
        })
    }
}

impl From<&Leaving> for wire::Leaving {
    fn from(leaving: &Leaving) -> Self {
        Self {
            since_ms: leaving.since.as_ms(),
            quiet_since_ms: leaving.quiet_since.map(Timestamp::as_ms),
            unheard: leaving.unheard.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<wire::Leaving> for Leaving {
    type Error = Invalid;
    fn try_from(leaving: wire::Leaving) -> Result<Self, Invalid> {
        let unheard = leaving.unheard.iter().map(|node| id(node, "unheard"));
        Ok(Self {
            since: Timestamp::from_ms(leaving.since_ms),
            quiet_since: optional_time(leaving.quiet_since_ms),
            unheard: unheard.collect::<Result<_, _>>()?,
        })
    }
}

fn replaces(value: wire::Replaces) -> Result<(TaskId, Reason), Invalid> {
    Ok((id(&value.task, "task")?, message(value.reason, "reason")?))
}

impl From<&TaskStatus> for wire::TaskStatus {
    fn from(status: &TaskStatus) -> Self {
        let ports = status
            .host_ports
            .iter()
            .map(|(container, node)| wire::ChosenPort {
                container_port: (*container).into(),
                node_port: (*node).into(),
            });
        Self {
            version: status.version,
            state: wire::TaskState::from(status.state).into(),
            since_ms: status.since.as_ms(),
            running_since_ms: status.running_since.map(Timestamp::as_ms),
            epoch: status.epoch,
            message: status.message.clone(),
            reason: status.reason.as_ref().map(Into::into),
            fault: wire::Fault::from(status.fault).into(),
            exit_code: status.exit_code,
            container: status.container.clone(),
            healthy: status.healthy,
            host_ports: ports.collect(),
        }
    }
}

impl TryFrom<wire::TaskStatus> for TaskStatus {
    type Error = Invalid;
    fn try_from(status: wire::TaskStatus) -> Result<Self, Invalid> {
        bytes_at_most(&status.message, MESSAGE_BYTES_MAX).at("message")?;
        let ports: Vec<ChosenPort> = list(status.host_ports, "host_ports")?;
        Ok(Self {
            version: status.version,
            state: enumeration::<wire::TaskState, _>(status.state, "state")?,
            since: Timestamp::from_ms(status.since_ms),
            running_since: optional_time(status.running_since_ms),
            epoch: status.epoch,
            message: text(status.message, "message")?,
            reason: optional(status.reason, "reason")?,
            fault: enumeration::<wire::Fault, _>(status.fault, "fault")?,
            exit_code: status.exit_code,
            container: optional_text(status.container, "container")?,
            healthy: status.healthy,
            host_ports: ports.into_iter().map(|ChosenPort(pair)| pair).collect(),
        })
    }
}

/// A pair of the status, with a conversion of its own.
struct ChosenPort((u16, u16));

impl TryFrom<wire::ChosenPort> for ChosenPort {
    type Error = Invalid;
    fn try_from(value: wire::ChosenPort) -> Result<Self, Invalid> {
        let container_port = port(value.container_port, "container_port")?;
        Ok(Self((container_port, port(value.node_port, "node_port")?)))
    }
}
