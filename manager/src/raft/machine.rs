//! What the log drives.
//!
//! The room knows nothing of what an entry means: it hands the bytes to a `Machine`, in order, exactly once per index.

use std::fmt;

/// Encodes what was cloned. Runs on a thread of its own, off the path of entries.
pub type Frozen = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// What the log drives. Deterministic: the same entries in the same order give the same state and the same answers on
/// every manager. All calls but `snapshot`'s closure come from one task, in the order of the log.
pub trait Machine: Send + Sync + 'static {
    /// Carries out one entry and returns the answer for whoever proposed it. Business refusals (a guard that does not
    /// hold) are answers, not errors: an error means that this program does not understand the entry, and stops it.
    fn apply(&self, index: u64, entry: &[u8]) -> Result<Vec<u8>, MachineError>;

    /// A consistent moment, cloned cheaply now and encoded later by calling the closure.
    fn snapshot(&self) -> Frozen;

    /// Replaces everything by what such a closure encoded, on this manager or another.
    fn restore(&self, bytes: &[u8]) -> Result<(), MachineError>;

    /// The highest level this program understands. Announced to the other managers.
    fn level(&self) -> u32;
}

/// Why a machine cannot go on. The manager stops and says so rather than drop what it does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineError(pub String);

impl fmt::Display for MachineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MachineError {}
