//! A secret: numbered versions of some bytes that only the tasks that use them ever see.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{SecretId, StackId, VersionId};
use crate::object::Meta;
use crate::time::Timestamp;

/// Largest secret.
pub const SECRET_BYTES_MAX: usize = 500 * 1024;

/// A secret as the cluster holds it; its bytes travel apart, as a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Never used again.
    pub id: SecretId,
    /// Version and cause.
    pub meta: Meta,
    /// The stack it belongs to.
    pub stack: Option<StackId>,
    /// Unique among secrets, ignoring case.
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
