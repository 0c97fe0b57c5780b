//! What secrets and configs are alike in: numbered versions of some bytes, which travel apart, as a blob. Who may see the
//! bytes, and how many there may be, is said where each of the two is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{StackId, VersionId};
use crate::object::Meta;
use crate::time::Timestamp;

/// A secret or a config as the cluster holds it; `I` is the type of its id and says which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content<I> {
    /// Never used again.
    pub id: I,
    /// Version and cause.
    pub meta: Meta,
    /// The stack it belongs to.
    pub stack: Option<StackId>,
    /// Unique among secrets, or among configs, ignoring case.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Oldest first; never empty.
    pub versions: Vec<ContentVersion>,
}

/// One version of a secret's or config's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentVersion {
    /// What revisions name.
    pub id: VersionId,
    /// Counts from 1.
    pub number: u64,
    /// Of the bytes.
    pub digest: Digest,
    /// How many bytes.
    pub size_bytes: u64,
    /// When it came.
    pub created_at: Timestamp,
}
