//! `secrets:` and `configs:` of a service, in both forms.

use super::{Reader, Section};
use crate::compose::model::{At, Reference};
use crate::compose::path::Path;
use crate::compose::tree::Node;

/// Readable by everybody, as Swarm has it.
const DEFAULT_MODE: u32 = 0o444;

pub(super) fn read(reader: &mut Reader<'_>, service: &Section<'_, '_>, key: &str) -> Vec<At<Reference>> {
    let items = reader.items(service, key);
    let list = service.path.key(key);
    let mut out = Vec::new();
    for (index, item) in items.iter().enumerate() {
        if let Some(value) = one(reader, item, list.item(index), index) {
            out.push(At {
                value,
                place: item.place,
            });
        }
    }
    out
}

fn one(reader: &mut Reader<'_>, item: &Node, path: Path<'_>, index: usize) -> Option<Reference> {
    if let Some(scalar) = item.as_scalar() {
        let source = scalar.text.clone();
        return Some(Reference {
            source,
            target: None,
            uid: String::new(),
            gid: String::new(),
            mode: DEFAULT_MODE,
        });
    }
    let section = reader.as_section(item, path)?;
    let target = reader.text(&section, "target");
    let Some(source) = reader
        .text(&section, "source")
        .filter(|source| !source.is_empty())
    else {
        let hint = if target.is_some() && index > 0 {
            "; did you mean to join it with the item before?"
        } else {
            ""
        };
        reader.error(item.place, path, format!("source: is missing{hint}"));
        return None;
    };
    Some(Reference {
        source,
        target,
        uid: reader.text(&section, "uid").unwrap_or_default(),
        gid: reader.text(&section, "gid").unwrap_or_default(),
        mode: reader.file_mode(&section, "mode").unwrap_or(DEFAULT_MODE),
    })
}
