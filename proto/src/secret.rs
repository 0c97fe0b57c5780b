//! A secret: numbered versions of some bytes that only the tasks that use them ever see.

use crate::content::Content;
use crate::id::SecretId;

/// Largest secret.
pub const SECRET_BYTES_MAX: usize = 500 * 1024;

/// A secret.
pub type Secret = Content<SecretId>;
