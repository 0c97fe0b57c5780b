//! The cgroups of a bed, for version 1 and 2: where processes of a unit are counted, and how many there are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::run::{BedError, Result, make_dir};

const MOUNT: &str = "/sys/fs/cgroup";

/// The controllers a bed counts with under version 1.
const V1_CONTROLLERS: [&str; 2] = ["cpuacct", "memory"];

/// The hierarchies a bed uses on this machine: one under version 2, one per controller under version 1.
pub(super) fn hierarchies() -> Vec<PathBuf> {
    let mount = Path::new(MOUNT);
    if mount.join("cgroup.controllers").exists() {
        return vec![mount.to_owned()];
    }
    V1_CONTROLLERS
        .iter()
        .map(|name| mount.join(name))
        .filter(|path| path.exists())
        .collect()
}

/// Makes the cgroup `path` (relative) in every hierarchy and returns its folders.
pub(super) fn make(path: &str) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for hierarchy in hierarchies() {
        enable_controllers(&hierarchy, path);
        let folder = hierarchy.join(path);
        make_dir(&folder)?;
        folders.push(folder);
    }
    Ok(folders)
}

/// Version 2 counts CPU and memory only where the parents say so. A controller that cannot be enabled costs the
/// count, not the bed.
fn enable_controllers(hierarchy: &Path, path: &str) {
    let mut folder = hierarchy.to_owned();
    for part in std::iter::once("").chain(path.split('/')) {
        folder.push(part);
        let control = folder.join("cgroup.subtree_control");
        if folder == hierarchy.join(path) || !control.exists() {
            continue;
        }
        for controller in ["+cpu", "+memory", "+pids"] {
            if let Err(error) = std::fs::write(&control, controller) {
                note_refusal(&control, controller, &error);
            }
        }
    }
}

fn note_refusal(control: &Path, controller: &str, error: &std::io::Error) {
    eprintln!("bed: {} does not take {controller}: {error}", control.display());
}

/// The processes in the cgroup `path` and below, as this process's PID namespace sees them.
pub(super) fn processes(path: &str) -> Vec<u32> {
    let mut found: Vec<u32> = hierarchies()
        .iter()
        .flat_map(|hierarchy| folders_below(&hierarchy.join(path)))
        .filter_map(|folder| std::fs::read_to_string(folder.join("cgroup.procs")).ok())
        .flat_map(|text| {
            text.lines()
                .filter_map(|line| line.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// CPU time used by the cgroup `path` and below since it was made.
pub(super) fn cpu_time(path: &str) -> Result<Duration> {
    for hierarchy in hierarchies() {
        let folder = hierarchy.join(path);
        if let Ok(text) = std::fs::read_to_string(folder.join("cpuacct.usage")) {
            return Ok(Duration::from_nanos(text.trim().parse().unwrap_or(0)));
        }
        if let Ok(text) = std::fs::read_to_string(folder.join("cpu.stat")) {
            let usec = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
            return Ok(Duration::from_micros(
                usec.and_then(|n| n.parse().ok()).unwrap_or(0),
            ));
        }
    }
    Err(BedError::Refused(format!(
        "cgroup {path} does not count CPU time"
    )))
}

/// Removes the cgroup `path` and everything below it, in every hierarchy of the machine (the Engine makes
/// containers' cgroups in all of them). What still holds processes stays.
pub(super) fn remove(path: &str) {
    let mut roots = vec![PathBuf::from(MOUNT)];
    if let Ok(entries) = std::fs::read_dir(MOUNT) {
        roots.extend(
            entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|p| p.is_dir() && !p.is_symlink()),
        );
    }
    for root in roots {
        let mut folders = folders_below(&root.join(path));
        folders.reverse();
        for folder in folders {
            // A cgroup that is not empty refuses; the next clean-up tries again.
            let _still_in_use = std::fs::remove_dir(folder);
        }
    }
}

/// `folder` and all folders below it, parents first; nothing if it is not there.
fn folders_below(folder: &Path) -> Vec<PathBuf> {
    if !folder.is_dir() {
        return Vec::new();
    }
    let mut found = vec![folder.to_owned()];
    if let Ok(entries) = std::fs::read_dir(folder) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.extend(folders_below(&entry.path()));
            }
        }
    }
    found
}
