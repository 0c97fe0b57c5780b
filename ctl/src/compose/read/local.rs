//! Bind mounts whose source is on this machine: a small file is taken along as a config, a directory is refused, since
//! the nodes have neither. Paths that begin with `/` are the nodes' own and not looked at here.

use std::io::Read as _;

use shoal_proto::config::CONFIG_BYTES_MAX;

use super::Reader;
use crate::compose::model::{LocalFile, MountSource};
use crate::compose::path::Path;
use crate::compose::tree::Node;

/// Bits of a file's mode that a task sees: readable, and executable where it was.
const READABLE: u32 = 0o444;
const EXECUTABLE: u32 = 0o111;

/// The file behind a relative source.
pub(super) fn file(
    reader: &mut Reader<'_>,
    item: &Node,
    path: Path<'_>,
    source: &str,
) -> Option<MountSource> {
    let full = reader.full_path(source);
    match take_along(&full) {
        Ok((bytes, mode)) => {
            let message = format!(
                "{source} is on this machine, so it is taken along as a config, read-only; a change of it makes new tasks"
            );
            reader.warning(item.place, path, message);
            Some(MountSource::File(LocalFile {
                source: source.to_owned(),
                bytes,
                mode,
            }))
        }
        Err(why) => {
            let message = format!(
                "{source} {why}; use a named volume for data, configs: for files, or the absolute path of a \
                 directory that every node has"
            );
            reader.error(item.place, path, message);
            None
        }
    }
}

fn take_along(full: &std::path::Path) -> Result<(Vec<u8>, u32), String> {
    let about =
        std::fs::metadata(full).map_err(|error| format!("cannot be read on this machine: {error}"))?;
    if about.is_dir() {
        return Err("is a directory of this machine and would not be on the nodes".to_owned());
    }
    if !about.is_file() {
        return Err("is no file and no directory".to_owned());
    }
    if about.len() > CONFIG_BYTES_MAX as u64 {
        let limit = CONFIG_BYTES_MAX;
        return Err(format!(
            "has {} bytes, more than the {limit} that are taken along",
            about.len()
        ));
    }
    let mut bytes = Vec::new();
    let read = std::fs::File::open(full)
        .and_then(|opened| opened.take(CONFIG_BYTES_MAX as u64).read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot be read on this machine: {error}"))?;
    Ok((bytes, READABLE | executable(&about)))
}

#[cfg(unix)]
fn executable(about: &std::fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    if about.permissions().mode() & EXECUTABLE != 0 {
        EXECUTABLE
    } else {
        0
    }
}

/// Elsewhere files do not say whether they can be run.
#[cfg(not(unix))]
fn executable(_about: &std::fs::Metadata) -> u32 {
    EXECUTABLE
}
