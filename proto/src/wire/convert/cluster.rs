//! Rules for the whole cluster. The Cluster object itself holds keys and never travels.

use std::ops::RangeInclusive;

use super::Invalid;
use super::checks::{duration_ms, message};
use crate::cluster::ClusterSpec;
use crate::wire;

impl From<&ClusterSpec> for wire::ClusterSpec {
    fn from(spec: &ClusterSpec) -> Self {
        Self {
            heartbeat_period_ms: spec.heartbeat_period_ms,
            heartbeat_misses: spec.heartbeat_misses,
            engine_grace_ms: spec.engine_grace_ms,
            ack_timeout_ms: spec.ack_timeout_ms,
            task_history_limit: spec.task_history_limit,
            revision_history_limit: spec.revision_history_limit,
            certificate_lifetime_ms: spec.certificate_lifetime_ms,
            log_driver: Some((&spec.log_driver).into()),
            evictions_per_minute: spec.evictions_per_minute,
        }
    }
}

const HOUR_MS: u64 = 3_600_000;

fn within(value: u64, range: RangeInclusive<u64>, field: &str) -> Result<u64, Invalid> {
    if range.contains(&value) {
        return Ok(value);
    }
    let why = format!("{value} is out of range: {} to {}", range.start(), range.end());
    Err(Invalid::new(field, why))
}

fn within_u32(value: u32, range: RangeInclusive<u32>, field: &str) -> Result<u32, Invalid> {
    let wide = u64::from(*range.start())..=u64::from(*range.end());
    within(value.into(), wide, field).map(|_| value)
}

impl TryFrom<wire::ClusterSpec> for ClusterSpec {
    type Error = Invalid;
    fn try_from(spec: wire::ClusterSpec) -> Result<Self, Invalid> {
        let lifetime = 2 * HOUR_MS..=10 * 365 * 24 * HOUR_MS;
        Ok(Self {
            heartbeat_period_ms: within(spec.heartbeat_period_ms, 100..=60_000, "heartbeat_period_ms")?,
            heartbeat_misses: within_u32(spec.heartbeat_misses, 1..=100, "heartbeat_misses")?,
            engine_grace_ms: duration_ms(spec.engine_grace_ms, "engine_grace_ms")?,
            ack_timeout_ms: duration_ms(spec.ack_timeout_ms, "ack_timeout_ms")?,
            task_history_limit: within_u32(spec.task_history_limit, 0..=1_000, "task_history_limit")?,
            revision_history_limit: within_u32(
                spec.revision_history_limit,
                2..=1_000,
                "revision_history_limit",
            )?,
            certificate_lifetime_ms: within(
                spec.certificate_lifetime_ms,
                lifetime,
                "certificate_lifetime_ms",
            )?,
            log_driver: message(spec.log_driver, "log_driver")?,
            evictions_per_minute: spec.evictions_per_minute,
        })
    }
}
