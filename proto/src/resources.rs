//! Amounts of what a node has and a task asks for.

use serde::{Deserialize, Serialize};

/// Amounts that are reserved, limited or available. Zero means: none asked for, or no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Processor time in billionths of a core: 500,000,000 is half a core.
    pub nano_cpus: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Number of processes.
    pub pids: u64,
}

/// What a task is sure to get and what it may not exceed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceSpec {
    /// Counted by the scheduler.
    pub reservations: Resources,
    /// Enforced by the Engine.
    pub limits: Resources,
}
