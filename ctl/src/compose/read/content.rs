//! Secrets and configs of the top level, with their bytes: from a file, a variable, or the Compose file itself.

use std::io::Read as _;

use shoal_proto::config::CONFIG_BYTES_MAX;
use shoal_proto::secret::SECRET_BYTES_MAX;

use super::network::owner;
use super::{Reader, Section};
use crate::compose::model::{At, Content, Owner};
use crate::compose::path::Path;
use crate::compose::source::Place;
use crate::compose::tree::Node;

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Secret,
    Config,
}

impl Kind {
    fn limit_bytes(self) -> usize {
        match self {
            Self::Secret => SECRET_BYTES_MAX,
            Self::Config => CONFIG_BYTES_MAX,
        }
    }

    fn sources(self) -> &'static str {
        match self {
            Self::Secret => "file:, environment: or external: true",
            Self::Config => "file:, content:, environment: or external: true",
        }
    }
}

pub(super) fn read(
    reader: &mut Reader<'_>,
    kind: Kind,
    place: Place,
    node: &Node,
    path: Path<'_>,
) -> Content {
    let mut content = Content {
        place,
        name: None,
        labels: Default::default(),
        bytes: None,
        owner: Owner::Stack,
    };
    if node.is_null() {
        reader.error(place, path, format!("expected {}", kind.sources()));
        return content;
    }
    let Some(section) = reader.as_section(node, path) else {
        return content;
    };
    (content.owner, content.name) = owner(reader, &section, &["file", "content", "environment", "labels"]);
    content.labels = reader.text_map(&section, "labels");
    if content.owner == Owner::Stack {
        content.bytes = bytes(reader, kind, place, &section);
    }
    content
}

fn bytes(reader: &mut Reader<'_>, kind: Kind, place: Place, section: &Section<'_, '_>) -> Option<Vec<u8>> {
    let file = reader.text_at(section, "file");
    let variable = reader.text_at(section, "environment");
    let content = match kind {
        Kind::Secret => None,
        Kind::Config => reader.text_at(section, "content"),
    };
    let (bytes, from) = match (file, variable, content) {
        (Some(file), None, None) => (from_file(reader, kind, section, &file)?, file.place),
        (None, Some(variable), None) => {
            let Some(value) = (reader.lookup)(&variable.value) else {
                let message = format!("variable {} is not set", variable.value);
                reader.error(variable.place, section.path.key("environment"), message);
                return None;
            };
            (value.into_bytes(), variable.place)
        }
        (None, None, Some(content)) => (content.value.into_bytes(), content.place),
        (None, None, None) => {
            // Refused keys say why themselves.
            let refused = ["content", "driver"]
                .iter()
                .any(|key| section.map.get(key).is_some());
            if !refused {
                reader.error(place, section.path, format!("expected {}", kind.sources()));
            }
            return None;
        }
        _ => {
            reader.error(
                place,
                section.path,
                format!("has several sources; keep one of {}", kind.sources()),
            );
            return None;
        }
    };
    if bytes.len() > kind.limit_bytes() {
        let message = format!("has {} bytes, the limit is {}", bytes.len(), kind.limit_bytes());
        reader.error(from, section.path, message);
        return None;
    }
    if bytes.is_empty() && kind == Kind::Secret {
        reader.error(from, section.path, "the secret is empty");
        return None;
    }
    Some(bytes)
}

fn from_file(
    reader: &mut Reader<'_>,
    kind: Kind,
    section: &Section<'_, '_>,
    file: &At<String>,
) -> Option<Vec<u8>> {
    let full = reader.full_path(&file.value);
    let path = section.path.key("file");
    // One byte more than allowed tells a file that is too large without reading all of it.
    let limit = kind.limit_bytes() as u64 + 1;
    let opened = std::fs::File::open(&full).and_then(|opened| match opened.metadata()?.is_dir() {
        true => Err(std::io::Error::other("it is a directory")),
        false => Ok(opened),
    });
    let mut bytes = Vec::new();
    let read = opened.and_then(|opened| opened.take(limit).read_to_end(&mut bytes));
    match read {
        Ok(_) => Some(bytes),
        Err(error) => {
            reader.error(
                file.place,
                path,
                format!("cannot read {}: {error}", full.display()),
            );
            None
        }
    }
}
