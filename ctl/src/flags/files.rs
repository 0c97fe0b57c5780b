//! Flags that say what the container sees as files: mounts, secrets, configs.

use anyhow::{Context as _, anyhow, bail};
use shoal_proto::container::{ConfigUse, FileTarget, Mount, MountKind, SecretUse};
use shoal_proto::service::ServiceSpec;

use super::Effect::Set;
use super::On::{Create, Update};
use super::csv::Fields;
use super::{Flag, pair, remove_from};
use crate::values;

/// Mode of a secret or config file where none is asked for.
const FILE_MODE: u32 = 0o444;

const MOUNT: &str = "type=volume,source=data,target=/data";
const MOUNT_HELP: &str = "Mount a volume, a path of the host or memory";
const SECRET_HELP: &str = "Give the tasks a secret as a file";
const CONFIG_HELP: &str = "Give the tasks a config as a file";

pub(super) static ROWS: &[&[Flag]] = &[FILES];

static FILES: &[Flag] = &[
    Flag::new("mount", Create, MOUNT, MOUNT_HELP, Set(mount_add)),
    Flag::new(
        "mount-rm",
        Update,
        "/data",
        "Remove the mount with this target",
        Set(|s, v| {
            remove_from(&mut s.template.container.mounts, &format!("mount at {v}"), |m| {
                m.destination == v
            })
        }),
    ),
    Flag::new("mount-add", Update, MOUNT, MOUNT_HELP, Set(mount_add)),
    Flag::new(
        "secret",
        Create,
        "source=key,target=/run/key,mode=0400",
        SECRET_HELP,
        Set(secret_add),
    ),
    Flag::new(
        "secret-rm",
        Update,
        "key",
        "Take a secret away",
        Set(|s, v| {
            remove_from(&mut s.template.container.secrets, &format!("secret {v}"), |u| {
                u.name == v
            })
        }),
    ),
    Flag::new(
        "secret-add",
        Update,
        "source=key,target=/run/key,mode=0400",
        SECRET_HELP,
        Set(secret_add),
    ),
    Flag::new(
        "config",
        Create,
        "source=conf,target=/etc/conf",
        CONFIG_HELP,
        Set(config_add),
    ),
    Flag::new(
        "config-rm",
        Update,
        "conf",
        "Take a config away",
        Set(|s, v| {
            remove_from(&mut s.template.container.configs, &format!("config {v}"), |u| {
                u.name == v
            })
        }),
    ),
    Flag::new(
        "config-add",
        Update,
        "source=conf,target=/etc/conf",
        CONFIG_HELP,
        Set(config_add),
    ),
];

fn mount_add(spec: &mut ServiceSpec, text: &str) -> anyhow::Result<()> {
    let mut fields = Fields::parse(text)?;
    let kind = fields.take(&["type"])?.unwrap_or_else(|| "volume".to_owned());
    let destination = fields
        .take(&["target", "destination", "dst"])?
        .ok_or_else(|| anyhow!("target= is missing: where the container sees it"))?;
    let read_only = fields.take_flag(&["readonly", "ro"])?;
    let source = fields.take(&["source", "src"])?.unwrap_or_default();
    let kind = match kind.as_str() {
        "bind" => bind(&mut fields, source)?,
        "volume" => volume(&mut fields, source)?,
        "tmpfs" if source.is_empty() => tmpfs(&mut fields)?,
        "tmpfs" => bail!("a tmpfs has no source: leave source={source} out"),
        other => bail!("type={other} is not a kind of mount: use bind, volume or tmpfs"),
    };
    fields.finish("type, source, target, readonly, bind-propagation, bind-create-src, volume-driver, volume-opt, volume-label, volume-nocopy, volume-subpath, tmpfs-size, tmpfs-mode")?;
    let mounts = &mut spec.template.container.mounts;
    if mounts.iter().any(|m| m.destination == destination) {
        bail!("two mounts at {destination}: give each target once");
    }
    mounts.push(Mount {
        destination,
        read_only,
        kind,
    });
    Ok(())
}

fn bind(fields: &mut Fields, source: String) -> anyhow::Result<MountKind> {
    if !source.starts_with('/') {
        bail!("source={source} is not an absolute path of the host");
    }
    let propagation = fields.take(&["bind-propagation"])?.unwrap_or_default();
    Ok(MountKind::Bind {
        source,
        propagation,
        create: fields.take_flag(&["bind-create-src"])?,
    })
}

fn volume(fields: &mut Fields, name: String) -> anyhow::Result<MountKind> {
    fn pairs<T: FromIterator<(String, String)>>(texts: Vec<String>) -> anyhow::Result<T> {
        texts.iter().map(|t| pair(t)).collect()
    }
    Ok(MountKind::Volume {
        name,
        driver: fields.take(&["volume-driver"])?.unwrap_or_default(),
        driver_options: pairs(fields.take_all(&["volume-opt"]))?,
        labels: pairs(fields.take_all(&["volume-label"]))?,
        no_copy: fields.take_flag(&["volume-nocopy"])?,
        subpath: fields.take(&["volume-subpath"])?.unwrap_or_default(),
    })
}

fn tmpfs(fields: &mut Fields) -> anyhow::Result<MountKind> {
    let size_bytes = fields
        .take(&["tmpfs-size"])?
        .map_or(Ok(0), |t| values::bytes(&t))?;
    let mode = fields.take(&["tmpfs-mode"])?.map_or(Ok(0), |t| mode(&t))?;
    Ok(MountKind::Tmpfs { size_bytes, mode })
}

fn mode(text: &str) -> anyhow::Result<u32> {
    let bits = u32::from_str_radix(text.trim_start_matches("0o"), 8)
        .context("write the mode in octal, such as 0444")?;
    if bits > 0o7777 {
        Err(anyhow!("mode {text} is larger than 7777"))
    } else {
        Ok(bits)
    }
}

/// `name`, or `source=,target=,uid=,gid=,mode=`.
fn file_use(text: &str, default_path: impl Fn(&str) -> String) -> anyhow::Result<(String, FileTarget)> {
    if !text.contains('=') {
        let file = FileTarget {
            path: default_path(text),
            uid: String::new(),
            gid: String::new(),
            mode: FILE_MODE,
        };
        return Ok((text.to_owned(), file));
    }
    let mut fields = Fields::parse(text)?;
    let name = fields
        .take(&["source", "src"])?
        .ok_or_else(|| anyhow!("source= is missing: the name"))?;
    let file = FileTarget {
        path: fields.take(&["target"])?.unwrap_or_else(|| default_path(&name)),
        uid: fields.take(&["uid"])?.unwrap_or_default(),
        gid: fields.take(&["gid"])?.unwrap_or_default(),
        mode: fields.take(&["mode"])?.map_or(Ok(FILE_MODE), |t| mode(&t))?,
    };
    fields.finish("source, target, uid, gid, mode")?;
    Ok((name, file))
}

fn secret_add(spec: &mut ServiceSpec, text: &str) -> anyhow::Result<()> {
    let (name, file) = file_use(text, str::to_owned)?;
    let list = &mut spec.template.container.secrets;
    if list.iter().any(|u| u.file.path == file.path) {
        bail!("two secrets at {}: give each target once", file.path);
    }
    list.push(SecretUse {
        name,
        secret: None,
        version: None,
        file,
    });
    Ok(())
}

fn config_add(spec: &mut ServiceSpec, text: &str) -> anyhow::Result<()> {
    let (name, file) = file_use(text, |name| format!("/{name}"))?;
    let list = &mut spec.template.container.configs;
    if list.iter().any(|u| u.file.path == file.path) {
        bail!("two configs at {}: give each target once", file.path);
    }
    list.push(ConfigUse {
        name,
        config: None,
        version: None,
        file,
    });
    Ok(())
}
