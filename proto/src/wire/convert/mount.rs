//! File systems of a container: mounts, secrets and configs as files.

use super::Invalid;
use super::checks::{absolute, map, name, optional_id, required, text};
use crate::container::{ConfigUse, FileTarget, Mount, MountKind, SecretUse};
use crate::limits::NAME_MAX;
use crate::wire::{self, mount};

impl From<&Mount> for wire::Mount {
    fn from(mount: &Mount) -> Self {
        let kind = match &mount.kind {
            MountKind::Bind {
                source,
                propagation,
                create,
            } => mount::Kind::Bind(wire::BindMount {
                source: source.clone(),
                propagation: propagation.clone(),
                create: *create,
            }),
            MountKind::Volume {
                name,
                driver,
                driver_options,
                labels,
                no_copy,
                subpath,
            } => mount::Kind::Volume(wire::VolumeMount {
                name: name.clone(),
                driver: driver.clone(),
                driver_options: driver_options.clone(),
                labels: labels.clone(),
                no_copy: *no_copy,
                subpath: subpath.clone(),
            }),
            MountKind::Tmpfs { size_bytes, mode } => mount::Kind::Tmpfs(wire::TmpfsMount {
                size_bytes: *size_bytes,
                mode: *mode,
            }),
        };
        Self {
            destination: mount.destination.clone(),
            read_only: mount.read_only,
            kind: Some(kind),
        }
    }
}

impl TryFrom<wire::Mount> for Mount {
    type Error = Invalid;
    fn try_from(mount: wire::Mount) -> Result<Self, Invalid> {
        let kind = match required(mount.kind, "kind")? {
            mount::Kind::Bind(bind) => MountKind::Bind {
                source: absolute(bind.source, "bind.source")?,
                propagation: propagation(bind.propagation)?,
                create: bind.create,
            },
            mount::Kind::Volume(volume) => MountKind::Volume {
                name: volume_name(volume.name)?,
                driver: text(volume.driver, "volume.driver")?,
                driver_options: map(volume.driver_options, "volume.driver_options")?,
                labels: map(volume.labels, "volume.labels")?,
                no_copy: volume.no_copy,
                subpath: text(volume.subpath, "volume.subpath")?,
            },
            mount::Kind::Tmpfs(tmpfs) => MountKind::Tmpfs {
                size_bytes: tmpfs.size_bytes,
                mode: mode(tmpfs.mode, "tmpfs.mode")?,
            },
        };
        Ok(Self {
            destination: absolute(mount.destination, "destination")?,
            read_only: mount.read_only,
            kind,
        })
    }
}

/// Empty stands for an anonymous volume.
fn volume_name(value: String) -> Result<String, Invalid> {
    if value.is_empty() {
        return Ok(value);
    }
    name(value, 255, "volume.name")
}

fn propagation(value: String) -> Result<String, Invalid> {
    match value.as_str() {
        "" | "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => Ok(value),
        _ => {
            let why = format!(
                "{value:?} is not a propagation: expected private, shared, slave, or one of these with r"
            );
            Err(Invalid::new("bind.propagation", why))
        }
    }
}

fn mode(value: u32, field: &str) -> Result<u32, Invalid> {
    if value <= 0o7777 {
        return Ok(value);
    }
    Err(Invalid::new(
        field,
        format!("{value:o} is not a file mode: at most 7777 (octal)"),
    ))
}

impl From<&FileTarget> for wire::FileTarget {
    fn from(file: &FileTarget) -> Self {
        Self {
            path: file.path.clone(),
            uid: file.uid.clone(),
            gid: file.gid.clone(),
            mode: file.mode,
        }
    }
}

impl TryFrom<wire::FileTarget> for FileTarget {
    type Error = Invalid;
    fn try_from(file: wire::FileTarget) -> Result<Self, Invalid> {
        let climbs = file.path.split('/').any(|part| part == "..");
        if file.path.is_empty() || climbs || file.path.contains('\0') || file.path.len() > 4_096 {
            let why = format!(
                "{:?} is not a path in the container: expected a name or an absolute path without ..",
                file.path
            );
            return Err(Invalid::new("path", why));
        }
        Ok(Self {
            path: file.path,
            uid: text(file.uid, "uid")?,
            gid: text(file.gid, "gid")?,
            mode: mode(file.mode, "mode")?,
        })
    }
}

impl From<&SecretUse> for wire::SecretUse {
    fn from(used: &SecretUse) -> Self {
        Self {
            name: used.name.clone(),
            secret: used.secret.map(|id| id.to_string()),
            version: used.version.map(|id| id.to_string()),
            file: Some((&used.file).into()),
        }
    }
}

impl TryFrom<wire::SecretUse> for SecretUse {
    type Error = Invalid;
    fn try_from(used: wire::SecretUse) -> Result<Self, Invalid> {
        Ok(Self {
            name: name(used.name, NAME_MAX, "name")?,
            secret: optional_id(used.secret, "secret")?,
            version: optional_id(used.version, "version")?,
            file: super::checks::message(used.file, "file")?,
        })
    }
}

impl From<&ConfigUse> for wire::ConfigUse {
    fn from(used: &ConfigUse) -> Self {
        Self {
            name: used.name.clone(),
            config: used.config.map(|id| id.to_string()),
            version: used.version.map(|id| id.to_string()),
            file: Some((&used.file).into()),
        }
    }
}

impl TryFrom<wire::ConfigUse> for ConfigUse {
    type Error = Invalid;
    fn try_from(used: wire::ConfigUse) -> Result<Self, Invalid> {
        Ok(Self {
            name: name(used.name, NAME_MAX, "name")?,
            config: optional_id(used.config, "config")?,
            version: optional_id(used.version, "version")?,
            file: super::checks::message(used.file, "file")?,
        })
    }
}
