//! Rules for the whole cluster. The Cluster object itself holds keys and never travels.

use std::ops::RangeInclusive;

use super::Invalid;
use super::checks::{duration_ms, message, subnet, subnets};
use crate::cluster::{ADDRESS_POOLS_MAX, ClusterSpec};
use crate::subnet::Subnet;
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
            address_pools: spec.address_pools.iter().map(ToString::to_string).collect(),
            address_pool_prefix: spec.address_pool_prefix.into(),
            overlay_subnet: spec.overlay_subnet.to_string(),
        }
    }
}

const HOUR_MS: u64 = 3_600_000;

/// From 32,767 addresses for tasks to 31.
const PREFIXES: RangeInclusive<u32> = 16..=26;

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

/// The rules of addresses: they are good only together.
struct Addressing {
    pools: Vec<Subnet>,
    prefix: u8,
    overlay: Subnet,
}

impl Addressing {
    /// What was left out by a client that does not know it is the default.
    fn of(spec: &wire::ClusterSpec) -> Result<Self, Invalid> {
        let default = ClusterSpec::default();
        let pools = match spec.address_pools.as_slice() {
            [] => default.address_pools,
            some => subnets(some, ADDRESS_POOLS_MAX, "address_pools")?,
        };
        let prefix = match spec.address_pool_prefix {
            0 => default.address_pool_prefix,
            some => within_u32(some, PREFIXES, "address_pool_prefix")? as u8,
        };
        let overlay = match spec.overlay_subnet.as_str() {
            "" => default.overlay_subnet,
            some => subnet(some, "overlay_subnet")?,
        };
        for (at, pool) in pools.iter().enumerate() {
            let field = || format!("address_pools[{at}]");
            if pool.parts(prefix) == 0 {
                let why = format!("{pool} holds no /{prefix}, the length of address_pool_prefix");
                return Err(Invalid::new(field(), why));
            }
            if let Some(other) = pools[..at].iter().find(|other| other.overlaps(*pool)) {
                let why = format!("{pool} overlaps {other}: name each address once");
                return Err(Invalid::new(field(), why));
            }
        }
        if !(8..=24).contains(&overlay.prefix()) {
            let why = format!("{overlay} is out of range: /8 to /24");
            return Err(Invalid::new("overlay_subnet", why));
        }
        Ok(Self {
            pools,
            prefix,
            overlay,
        })
    }
}

impl TryFrom<wire::ClusterSpec> for ClusterSpec {
    type Error = Invalid;
    fn try_from(spec: wire::ClusterSpec) -> Result<Self, Invalid> {
        let Addressing {
            pools: address_pools,
            prefix: address_pool_prefix,
            overlay: overlay_subnet,
        } = Addressing::of(&spec)?;
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
            address_pools,
            address_pool_prefix,
            overlay_subnet,
        })
    }
}
