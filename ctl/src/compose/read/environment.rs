//! `environment:`, `env_file:` and `label_file:`. Files come first, later ones win, and what the service says itself wins
//! over all. Values keep the characters of the file.

use std::collections::BTreeMap;

use super::{Reader, Section};
use crate::compose::dotenv::{self, Variable};
use crate::compose::path::Path;
use crate::compose::source::{MAX_FILE_BYTES, Place};
use crate::compose::tree::{Node, Scalar, Style};

/// The variables of a service; none removes one of the image's.
pub(super) fn variables(
    reader: &mut Reader<'_>,
    service: &Section<'_, '_>,
) -> BTreeMap<String, Option<String>> {
    let mut out = BTreeMap::new();
    for variable in files(reader, service, "env_file") {
        let value = variable.value.or_else(|| (reader.lookup)(&variable.name));
        match value {
            Some(value) => out.insert(variable.name, Some(value)),
            None => out.remove(&variable.name).flatten().map(Some),
        };
    }
    let Some(section) = reader.section(service, "environment") else {
        return out;
    };
    for entry in &section.map.entries {
        let path = section.path.key(&entry.key);
        if let Some(value) = variable(reader, &entry.key, &entry.value, path) {
            out.insert(entry.key.clone(), value);
        }
    }
    out
}

fn variable(reader: &mut Reader<'_>, name: &str, node: &Node, path: Path<'_>) -> Option<Option<String>> {
    if name.is_empty() || name.contains('=') || name.contains('\0') {
        reader.error(
            node.place,
            path,
            format!("{name:?} cannot be the name of a variable"),
        );
        return None;
    }
    if let Some(scalar) = node.as_scalar() {
        if reads_differently(scalar) {
            let message = format!(
                "{} is passed on as written; quote it, since YAML reads something else",
                scalar.text
            );
            reader.warning(node.place, path, message);
        }
        return Some(Some(scalar.text.clone()));
    }
    if !node.is_null() {
        reader.wrong(node, path, "a single value");
        return None;
    }
    let value = (reader.lookup)(name);
    if value.is_none() {
        let message =
            format!("{name} has no value here and none in the environment; the image's own is removed");
        reader.warning(node.place, path, message);
    }
    Some(value)
}

/// Whether a YAML reader that knows numbers and dates would give something else than the text.
fn reads_differently(scalar: &Scalar) -> bool {
    let text = scalar.text.as_str();
    if scalar.style == Style::Text
        || !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
    {
        return false;
    }
    let digits = text.trim_start_matches(['+', '-']);
    let octal = digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    let radix = ["0x", "0o", "0b"].iter().any(|prefix| digits.starts_with(prefix));
    let float = digits.contains(['.', 'e', 'E'])
        && text
            .parse::<f64>()
            .is_ok_and(|number| number.is_finite() && number.to_string() != text);
    octal || radix || float || is_date(text)
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 10
        && bytes[..10].iter().enumerate().all(|(at, b)| match at {
            4 | 7 => *b == b'-',
            _ => b.is_ascii_digit(),
        })
}

/// The labels of `label_file:`.
pub(super) fn labels(reader: &mut Reader<'_>, service: &Section<'_, '_>) -> BTreeMap<String, String> {
    let variables = files(reader, service, "label_file");
    variables
        .into_iter()
        .map(|variable| (variable.name, variable.value.unwrap_or_default()))
        .collect()
}

/// The lines of all files a key names, first to last.
fn files(reader: &mut Reader<'_>, service: &Section<'_, '_>, key: &str) -> Vec<Variable> {
    let mut out = Vec::new();
    let items = reader.items(service, key);
    for (index, item) in items.iter().enumerate() {
        let list = service.path.key(key);
        if let Some(file) = file(reader, item, list.item(index)) {
            out.extend(lines(reader, &file, list.item(index)));
        }
    }
    out
}

struct EnvFile {
    path: String,
    place: Place,
    required: bool,
    raw: bool,
}

fn file(reader: &mut Reader<'_>, item: &Node, path: Path<'_>) -> Option<EnvFile> {
    if let Some(scalar) = item.as_scalar() {
        return Some(EnvFile {
            path: scalar.text.clone(),
            place: item.place,
            required: true,
            raw: false,
        });
    }
    let section = reader.as_section(item, path)?;
    let Some(file) = reader.text_at(&section, "path") else {
        reader.error(item.place, path, "expected path: and the name of a file");
        return None;
    };
    let required = reader.flag(&section, "required").unwrap_or(true);
    let format = reader.parsed(&section, "format", |text| match text {
        "raw" => Ok(()),
        _ => Err(format!("{text:?} is not a format; the only one to name is raw")),
    });
    Some(EnvFile {
        path: file.value,
        place: file.place,
        required,
        raw: format.is_some(),
    })
}

fn lines(reader: &mut Reader<'_>, file: &EnvFile, path: Path<'_>) -> Vec<Variable> {
    let full = reader.full_path(&file.path);
    let missing = !full.exists();
    if missing && !file.required {
        return Vec::new();
    }
    let text = match std::fs::read_to_string(&full) {
        Ok(text) if text.len() <= MAX_FILE_BYTES => text,
        Ok(text) => {
            let message = format!(
                "{} has {} bytes, the limit is {MAX_FILE_BYTES}",
                file.path,
                text.len()
            );
            reader.error(file.place, path, message);
            return Vec::new();
        }
        Err(error) => {
            reader.error(
                file.place,
                path,
                format!("cannot read {}: {error}", full.display()),
            );
            return Vec::new();
        }
    };
    let id = reader.sources.add(full.display().to_string(), text);
    if file.raw {
        dotenv::parse_raw(reader.sources, id, reader.findings)
    } else {
        dotenv::parse(reader.sources, id, reader.lookup, reader.findings)
    }
}
