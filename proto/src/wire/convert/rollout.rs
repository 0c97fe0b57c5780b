//! Update policies, restart policies and rollouts.

use super::Invalid;
use super::checks::{duration_ms, enumeration, id, optional, optional_time};
use crate::service::RestartPolicy;
use crate::time::Timestamp;
use crate::update::{Rollout, UpdatePolicy};
use crate::wire;

impl From<&UpdatePolicy> for wire::UpdatePolicy {
    fn from(policy: &UpdatePolicy) -> Self {
        Self {
            parallelism: policy.parallelism,
            delay_ms: policy.delay_ms,
            failure_action: wire::FailureAction::from(policy.failure_action).into(),
            monitor_ms: policy.monitor_ms,
            max_failure_ratio_ppm: policy.max_failure_ratio_ppm,
            order: wire::UpdateOrder::from(policy.order).into(),
        }
    }
}

impl TryFrom<wire::UpdatePolicy> for UpdatePolicy {
    type Error = Invalid;
    fn try_from(policy: wire::UpdatePolicy) -> Result<Self, Invalid> {
        let ppm = policy.max_failure_ratio_ppm;
        if ppm > 1_000_000 {
            let why = format!("{ppm} millionths is more than all: 0 to 1000000");
            return Err(Invalid::new("max_failure_ratio_ppm", why));
        }
        Ok(Self {
            parallelism: policy.parallelism,
            delay_ms: duration_ms(policy.delay_ms, "delay_ms")?,
            failure_action: enumeration::<wire::FailureAction, _>(policy.failure_action, "failure_action")?,
            monitor_ms: duration_ms(policy.monitor_ms, "monitor_ms")?,
            max_failure_ratio_ppm: ppm,
            order: enumeration::<wire::UpdateOrder, _>(policy.order, "order")?,
        })
    }
}

impl From<&RestartPolicy> for wire::RestartPolicy {
    fn from(policy: &RestartPolicy) -> Self {
        Self {
            condition: wire::RestartCondition::from(policy.condition).into(),
            delay_ms: policy.delay_ms,
            max_attempts: policy.max_attempts,
            window_ms: policy.window_ms,
        }
    }
}

impl TryFrom<wire::RestartPolicy> for RestartPolicy {
    type Error = Invalid;
    fn try_from(policy: wire::RestartPolicy) -> Result<Self, Invalid> {
        Ok(Self {
            condition: enumeration::<wire::RestartCondition, _>(policy.condition, "condition")?,
            delay_ms: duration_ms(policy.delay_ms, "delay_ms")?,
            max_attempts: policy.max_attempts,
            window_ms: duration_ms(policy.window_ms, "window_ms")?,
        })
    }
}

impl From<&Rollout> for wire::Rollout {
    fn from(rollout: &Rollout) -> Self {
        Self {
            direction: wire::Direction::from(rollout.direction).into(),
            state: wire::RolloutState::from(rollout.state).into(),
            from: rollout.from.to_string(),
            to: rollout.to.to_string(),
            started_at_ms: rollout.started_at.as_ms(),
            ended_at_ms: rollout.ended_at.map(Timestamp::as_ms),
            batch_done_at_ms: rollout.batch_done_at.map(Timestamp::as_ms),
            failed_slots: rollout.failed_slots,
            reason: rollout.reason.as_ref().map(Into::into),
            reason_before_pause: rollout.reason_before_pause.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<wire::Rollout> for Rollout {
    type Error = Invalid;
    fn try_from(rollout: wire::Rollout) -> Result<Self, Invalid> {
        Ok(Self {
            direction: enumeration::<wire::Direction, _>(rollout.direction, "direction")?,
            state: enumeration::<wire::RolloutState, _>(rollout.state, "state")?,
            from: id(&rollout.from, "from")?,
            to: id(&rollout.to, "to")?,
            started_at: Timestamp::from_ms(rollout.started_at_ms),
            ended_at: optional_time(rollout.ended_at_ms),
            batch_done_at: optional_time(rollout.batch_done_at_ms),
            failed_slots: rollout.failed_slots,
            reason: optional(rollout.reason, "reason")?,
            reason_before_pause: optional(rollout.reason_before_pause, "reason_before_pause")?,
        })
    }
}
