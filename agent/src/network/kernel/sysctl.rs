//! Settings of the kernel below `/proc/sys`: read and written as files. Which ones matter is said elsewhere.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use super::KernelError;
use crate::network::model::Bridging;

/// Read, and never written: it is the whole host's.
const BRIDGING: &str = "net/bridge/bridge-nf-call-iptables";

fn file(path: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(path)
}

/// The values of those settings that exist.
pub(super) fn read<'a>(
    paths: impl Iterator<Item = &'a String>,
) -> Result<BTreeMap<String, String>, KernelError> {
    let mut found = BTreeMap::new();
    for path in paths {
        match std::fs::read_to_string(file(path)) {
            Ok(value) => found.insert(path.clone(), value.trim().to_owned()),
            // The device went, or the kernel does not know it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(failed(path, source)),
        };
    }
    Ok(found)
}

/// The value of one that exists and can be read.
pub(super) fn value(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(file(path)).ok()?;
    Some(text.trim().to_owned())
}

/// What bridges do with IP packets between their ports.
pub(super) fn bridging() -> Result<Bridging, KernelError> {
    match std::fs::read_to_string(file(BRIDGING)) {
        Ok(value) if value.trim() == "0" => Ok(Bridging::Plain),
        Ok(_) => Ok(Bridging::Filtered),
        // `br_netfilter` is not loaded.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Bridging::Plain),
        Err(source) => Err(failed(BRIDGING, source)),
    }
}

/// Writes one.
pub(super) fn write(path: &str, value: &str) -> Result<(), KernelError> {
    std::fs::write(file(path), value).map_err(|source| failed(path, source))
}

fn failed(path: &str, source: io::Error) -> KernelError {
    KernelError::Setting {
        path: path.to_owned(),
        source,
    }
}
