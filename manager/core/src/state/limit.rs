//! Limits of what may be written at once, each with a name. Above them: an error that names the limit.

use super::blob::BLOB_CHUNK_BYTES_MAX;
use super::change::{Change, Proposal};

/// Largest entry of the log, encoded.
pub const ENTRY_BYTES_MAX: usize = 1024 * 1024;

/// Largest call.
pub const CALL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Objects one transaction may change.
pub const TRANSACTION_OBJECTS_MAX: usize = 1_000;

/// Groups in one proposal.
pub const PROPOSAL_GROUPS_MAX: usize = 1_000;

/// Guards in one group.
pub const GROUP_GUARDS_MAX: usize = 4_000;

/// Writing calls whose answers are kept.
pub const ANSWERS_MAX: usize = 10_000;

/// How long the answer to a writing call is kept.
pub const ANSWERS_KEPT_MS: u64 = 15 * 60 * 1_000;

/// Events a manager keeps for those who watch.
pub const WATCH_EVENTS_MAX: usize = 20_000;

/// What is over a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} of {found} is over the limit of {limit}")]
pub struct LimitError {
    /// Which limit.
    pub what: &'static str,
    /// What was asked for.
    pub found: usize,
    /// What is allowed.
    pub limit: usize,
}

/// Says which limit is exceeded.
///
/// # Errors
/// When `found` is more than `limit`.
pub fn within(what: &'static str, found: usize, limit: usize) -> Result<(), LimitError> {
    if found > limit {
        return Err(LimitError { what, found, limit });
    }
    Ok(())
}

impl Proposal {
    /// Whether this proposal may be written: to be asked before it is proposed, so that no manager ever meets
    /// one that is too large.
    ///
    /// # Errors
    /// The first limit that is exceeded.
    pub fn check_limits(&self) -> Result<(), LimitError> {
        within(
            "number of groups in a proposal",
            self.groups.len(),
            PROPOSAL_GROUPS_MAX,
        )?;
        let objects = self.groups.iter().map(|group| group.changes.len()).sum();
        within(
            "number of objects in a transaction",
            objects,
            TRANSACTION_OBJECTS_MAX,
        )?;
        for group in &self.groups {
            within(
                "number of guards in a group",
                group.guards.len(),
                GROUP_GUARDS_MAX,
            )?;
            for change in &group.changes {
                if let Change::BlobChunk(chunk) = change {
                    within(
                        "bytes of a piece of content",
                        chunk.bytes.0.len(),
                        BLOB_CHUNK_BYTES_MAX,
                    )?;
                }
            }
        }
        Ok(())
    }
}
