//! A config: numbered versions of some bytes that tasks see as a file and operators may read.

use crate::content::Content;
use crate::id::ConfigId;

/// Largest config.
pub const CONFIG_BYTES_MAX: usize = 1_000 * 1024;

/// A config.
pub type Config = Content<ConfigId>;
