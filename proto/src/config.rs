//! A config: numbered versions of some bytes that tasks see as a file and operators may read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{ConfigId, StackId};
use crate::object::Meta;
use crate::secret::ContentVersion;

/// Largest config.
pub const CONFIG_BYTES_MAX: usize = 1_000 * 1024;

/// A config as the cluster holds it; its bytes travel apart, as a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Never used again.
    pub id: ConfigId,
    /// Version and cause.
    pub meta: Meta,
    /// The stack it belongs to.
    pub stack: Option<StackId>,
    /// Unique among configs, ignoring case.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Oldest first; never empty.
    pub versions: Vec<ContentVersion>,
}
