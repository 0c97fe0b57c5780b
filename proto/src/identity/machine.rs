//! The machine this program runs on, as a digest of its machine-id; the id itself is not spread.

use std::path::Path;

use crate::digest::Digest;

/// Where Linux keeps it.
pub const MACHINE_ID_FILE: &str = "/etc/machine-id";

/// The digest of the id in this file; none where there is no such file, or it is empty (a machine image before its first
/// boot).
#[must_use]
pub fn machine_digest(file: &Path) -> Option<Digest> {
    let text = std::fs::read_to_string(file).ok()?;
    let id = text.trim();
    if id.is_empty() || id == "uninitialized" {
        return None;
    }
    Some(Digest::of(format!("shoal machine {id}").as_bytes()))
}
