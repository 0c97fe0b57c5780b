//! `volumes:` in both forms, and `tmpfs:`.

use super::{Reader, Section, local};
use crate::compose::model::{At, Mount, MountSource};
use crate::compose::path::Path;
use crate::compose::short::{self, ShortMount};
use crate::compose::tree::Node;

const PROPAGATIONS: &[&str] = &["private", "rprivate", "shared", "rshared", "slave", "rslave"];

pub(super) fn read(reader: &mut Reader<'_>, service: &Section<'_, '_>) -> Vec<At<Mount>> {
    let mut out = Vec::new();
    for (key, read) in [
        (
            "volumes",
            volume as fn(&mut Reader<'_>, &Node, Path<'_>) -> Option<Mount>,
        ),
        ("tmpfs", tmpfs),
    ] {
        let items = reader.items(service, key);
        let list = service.path.key(key);
        for (index, item) in items.iter().enumerate() {
            let path = list.item(index);
            let Some(mount) = read(reader, item, path) else {
                continue;
            };
            if !mount.target.starts_with('/') {
                let message = format!("{:?} is not an absolute path in the container", mount.target);
                reader.error(item.place, path, message);
                continue;
            }
            out.push(At {
                value: mount,
                place: item.place,
            });
        }
    }
    out
}

fn volume(reader: &mut Reader<'_>, item: &Node, path: Path<'_>) -> Option<Mount> {
    let Some(scalar) = item.as_scalar() else {
        let section = reader.as_section(item, path)?;
        return long(reader, item, &section);
    };
    let Some(short) = short::mount(&scalar.text) else {
        reader.error(item.place, path, "expected [source:]target[:options]");
        return None;
    };
    from_short(reader, item, path, short)
}

fn from_short(reader: &mut Reader<'_>, item: &Node, path: Path<'_>, short: ShortMount) -> Option<Mount> {
    let (mut read_only, mut no_copy, mut propagation) = (false, false, String::new());
    for option in &short.options {
        match option.as_str() {
            "ro" | "readonly" => read_only = true,
            "rw" => read_only = false,
            "nocopy" => no_copy = true,
            "z" | "Z" => reader.error(
                item.place,
                path,
                "files are not relabelled; label the directory on the node",
            ),
            "cached" | "delegated" | "consistent" => {}
            name if PROPAGATIONS.contains(&name) => propagation = name.to_owned(),
            other => reader.error(item.place, path, format!("{other:?} is not an option of a mount")),
        }
    }
    let source = match short.source {
        Some(source) if is_path(&source) => {
            if source.starts_with('/') {
                MountSource::Bind {
                    path: source,
                    propagation,
                    create: false,
                }
            } else {
                local::file(reader, item, path, &source)?
            }
        }
        Some(source) if source.is_empty() => {
            reader.error(item.place, path, "the source before the colon is empty");
            return None;
        }
        name => MountSource::Volume {
            name,
            no_copy,
            subpath: String::new(),
            labels: Default::default(),
        },
    };
    Some(Mount {
        target: short.target,
        read_only,
        source,
    })
}

fn is_path(source: &str) -> bool {
    source.starts_with(['.', '/', '~']) || source.contains('\\')
}

fn long(reader: &mut Reader<'_>, item: &Node, section: &Section<'_, '_>) -> Option<Mount> {
    let path = section.path;
    let kind = reader
        .text(section, "type")
        .unwrap_or_else(|| "volume".to_owned());
    let Some(target) = reader.text(section, "target") else {
        reader.error(item.place, path, "expected target: and a path in the container");
        return None;
    };
    let source = reader.text(section, "source");
    for (block, of) in [("bind", "bind"), ("volume", "volume"), ("tmpfs", "tmpfs")] {
        if of != kind && section.at(block).is_some_and(|(node, _)| !node.is_null()) {
            reader.error(
                item.place,
                path,
                format!("options under {block}: do not fit a mount of type {kind}"),
            );
        }
    }
    let source = match kind.as_str() {
        "bind" => bind(reader, item, section, source)?,
        "volume" => named(reader, section, source),
        "tmpfs" => memory(reader, item, section, source)?,
        other => {
            reader.error(
                item.place,
                path,
                format!("{other:?} is not a type; expected volume, bind or tmpfs"),
            );
            return None;
        }
    };
    Some(Mount {
        target,
        read_only: reader.flag(section, "read_only").unwrap_or_default(),
        source,
    })
}

fn bind(
    reader: &mut Reader<'_>,
    item: &Node,
    section: &Section<'_, '_>,
    source: Option<String>,
) -> Option<MountSource> {
    let Some(source) = source else {
        reader.error(
            item.place,
            section.path,
            "a bind mount needs source: and an absolute path of the node",
        );
        return None;
    };
    if !source.starts_with('/') {
        return local::file(reader, item, section.path, &source);
    }
    let mut bind = (String::new(), false);
    if let Some(options) = reader.section(section, "bind") {
        let propagation = reader.parsed(&options, "propagation", |text| {
            match PROPAGATIONS.contains(&text) {
                true => Ok(text.to_owned()),
                false => Err(format!(
                    "{text:?} is not a propagation; expected one of {}",
                    PROPAGATIONS.join(", ")
                )),
            }
        });
        bind.0 = propagation.map(|at| at.value).unwrap_or_default();
        bind.1 = reader.flag(&options, "create_host_path").unwrap_or_default();
    }
    Some(MountSource::Bind {
        path: source,
        propagation: bind.0,
        create: bind.1,
    })
}

fn named(reader: &mut Reader<'_>, section: &Section<'_, '_>, name: Option<String>) -> MountSource {
    let name = name.filter(|name| !name.is_empty());
    let Some(options) = reader.section(section, "volume") else {
        return MountSource::Volume {
            name,
            no_copy: false,
            subpath: String::new(),
            labels: Default::default(),
        };
    };
    MountSource::Volume {
        name,
        no_copy: reader.flag(&options, "nocopy").unwrap_or_default(),
        subpath: reader.text(&options, "subpath").unwrap_or_default(),
        labels: reader.text_map(&options, "labels"),
    }
}

fn memory(
    reader: &mut Reader<'_>,
    item: &Node,
    section: &Section<'_, '_>,
    source: Option<String>,
) -> Option<MountSource> {
    if source.is_some() {
        reader.error(item.place, section.path, "a tmpfs mount has no source");
        return None;
    }
    let Some(options) = reader.section(section, "tmpfs") else {
        return Some(MountSource::Tmpfs {
            size_bytes: 0,
            mode: 0,
        });
    };
    Some(MountSource::Tmpfs {
        size_bytes: reader.bytes(&options, "size").unwrap_or_default(),
        mode: reader.file_mode(&options, "mode").unwrap_or_default(),
    })
}

/// `/run:size=64m,mode=1777`
fn tmpfs(reader: &mut Reader<'_>, item: &Node, path: Path<'_>) -> Option<Mount> {
    let Some(scalar) = item.as_scalar() else {
        reader.wrong(item, path, "a path with options");
        return None;
    };
    let (target, options) = scalar.text.split_once(':').unwrap_or((&scalar.text, ""));
    let (mut size_bytes, mut mode, mut read_only) = (0, 0, false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let outcome = match name {
            "size" => crate::values::bytes(value)
                .map(|bytes| size_bytes = bytes)
                .map_err(|e| e.to_string()),
            "mode" => u32::from_str_radix(value, 8)
                .map(|bits| mode = bits)
                .map_err(|_| format!("{value:?} is not a file mode; expected octal bits such as 1777")),
            "ro" => {
                read_only = true;
                Ok(())
            }
            // What the Engine does in any case.
            "rw" | "noexec" | "nosuid" | "nodev" => Ok(()),
            other => Err(format!(
                "{other:?} is not an option of a tmpfs; expected size=, mode= or ro"
            )),
        };
        if let Err(message) = outcome {
            reader.error(item.place, path, message);
        }
    }
    let source = MountSource::Tmpfs { size_bytes, mode };
    Some(Mount {
        target: target.to_owned(),
        read_only,
        source,
    })
}
