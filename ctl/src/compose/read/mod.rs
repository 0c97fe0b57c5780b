//! A merged tree → the model. Each key is read by the one function that knows its type; what has the wrong type becomes
//! a finding and counts as absent, so that all of them are found in one run.

mod content;
mod deploy;
mod environment;
mod local;
mod mount;
mod network;
mod port;
mod reference;
mod service;
mod words;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path as FilePath, PathBuf};
use std::str::FromStr;

use super::finding::{Finding, Findings};
use super::interpolate::Lookup;
use super::model::{At, Model};
use super::path::Path;
use super::source::{Place, Sources};
use super::tree::{Map, Node, Scalar, Style};

/// What reading needs beside the tree.
pub struct Reader<'a> {
    /// Where findings go.
    pub findings: &'a mut Findings,
    /// Where the texts of environment files go.
    pub sources: &'a mut Sources,
    /// The caller's variables.
    pub lookup: Lookup<'a>,
    /// Relative paths begin here.
    pub base: &'a FilePath,
    /// Profiles that are active; `*` stands for all.
    pub profiles: &'a [String],
}

/// Reads a whole tree.
pub fn model(tree: &Node, reader: &mut Reader<'_>) -> Model {
    let Some(map) = tree.as_map() else {
        let message = format!("expected a mapping with services:, found {}", tree.shape());
        reader.findings.push(Finding::error("", message).at(tree.place));
        return Model::default();
    };
    let root = Section {
        map,
        path: Path::Root,
    };
    let mut model = Model {
        name: reader.text_at(&root, "name"),
        ..Model::default()
    };
    for_each(reader, &root, "services", |reader, name, place, node, path| {
        if let Some(service) = service::read(reader, place, node, path) {
            model.services.insert(name.to_owned(), service);
        }
    });
    for_each(reader, &root, "networks", |reader, name, place, node, path| {
        model
            .networks
            .insert(name.to_owned(), network::read(reader, place, node, path));
    });
    for_each(reader, &root, "volumes", |reader, name, place, node, path| {
        model
            .volumes
            .insert(name.to_owned(), network::read_volume(reader, place, node, path));
    });
    for_each(reader, &root, "secrets", |reader, name, place, node, path| {
        model.secrets.insert(
            name.to_owned(),
            content::read(reader, content::Kind::Secret, place, node, path),
        );
    });
    for_each(reader, &root, "configs", |reader, name, place, node, path| {
        model.configs.insert(
            name.to_owned(),
            content::read(reader, content::Kind::Config, place, node, path),
        );
    });
    leave_out_inactive(&mut model, reader.profiles);
    model
}

fn leave_out_inactive(model: &mut Model, active: &[String]) {
    let is_active = |profile: &String| active.iter().any(|wanted| wanted == "*" || wanted == profile);
    let services = std::mem::take(&mut model.services);
    for (name, service) in services {
        if service.profiles.is_empty() || service.profiles.iter().any(is_active) {
            model.services.insert(name, service);
        } else {
            model.inactive.insert(name, service.profiles);
        }
    }
}

/// Calls `each` for every key of a mapping of the top level.
fn for_each(
    reader: &mut Reader<'_>,
    root: &Section<'_, '_>,
    key: &str,
    mut each: impl FnMut(&mut Reader<'_>, &str, Place, &Node, Path<'_>),
) {
    let Some((node, path)) = root.at(key) else { return };
    if node.is_null() {
        return;
    }
    let Some(map) = node.as_map() else {
        reader.wrong(node, path, "a mapping of names");
        return;
    };
    for entry in &map.entries {
        each(
            reader,
            &entry.key,
            entry.place,
            &entry.value,
            path.key(&entry.key),
        );
    }
}

/// A mapping and its path.
pub struct Section<'t, 'p> {
    /// The mapping.
    pub map: &'t Map,
    /// Its path.
    pub path: Path<'p>,
}

impl<'t> Section<'t, '_> {
    /// The value of a key, null included, with its path.
    pub fn at<'s>(&'s self, key: &'s str) -> Option<(&'t Node, Path<'s>)> {
        self.map.get(key).map(|node| (node, self.path.key(key)))
    }
}

impl Reader<'_> {
    /// A path as the user meant it: `~` is the caller's home, and what is relative begins at the project's folder.
    #[must_use]
    pub fn full_path(&self, path: &str) -> PathBuf {
        match path.strip_prefix('~').zip((self.lookup)("HOME")) {
            Some((rest, home)) => PathBuf::from(home).join(rest.trim_start_matches('/')),
            None => self.base.join(path),
        }
    }

    /// A finding about a value of the wrong type.
    pub fn wrong(&mut self, node: &Node, path: Path<'_>, expected: &str) {
        let message = match node.as_scalar() {
            Some(scalar) => format!("{} is not {expected}", shown(scalar)),
            None => format!("expected {expected}, found {}", node.shape()),
        };
        self.error(node.place, path, message);
    }

    /// An error at a place.
    pub fn error(&mut self, place: Place, path: Path<'_>, message: impl Into<String>) {
        self.findings
            .push(Finding::error(path.to_string(), message).at(place));
    }

    /// A warning at a place.
    pub fn warning(&mut self, place: Place, path: Path<'_>, message: impl Into<String>) {
        self.findings
            .push(Finding::warning(path.to_string(), message).at(place));
    }

    /// A mapping; null counts as absent.
    pub fn section<'t, 's>(&mut self, of: &'s Section<'t, '_>, key: &'s str) -> Option<Section<'t, 's>> {
        let (node, path) = of.at(key).filter(|(node, _)| !node.is_null())?;
        self.as_section(node, path)
    }

    /// A value as a mapping.
    pub fn as_section<'t, 's>(&mut self, node: &'t Node, path: Path<'s>) -> Option<Section<'t, 's>> {
        match node.as_map() {
            Some(map) => Some(Section { map, path }),
            None => {
                self.wrong(node, path, "a mapping");
                None
            }
        }
    }

    /// A single value turned into something by `read`, whose error says what would be right.
    pub fn parsed<T, E: Display>(
        &mut self,
        of: &Section<'_, '_>,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<At<T>> {
        let (node, path) = of.at(key).filter(|(node, _)| !node.is_null())?;
        let Some(scalar) = node.as_scalar() else {
            self.wrong(node, path, "a single value");
            return None;
        };
        match read(&scalar.text) {
            Ok(value) => Some(At {
                value,
                place: node.place,
            }),
            Err(error) => {
                let message = match &scalar.template {
                    Some(template) => format!("{error} (from {template})"),
                    None => error.to_string(),
                };
                self.error(node.place, path, message);
                None
            }
        }
    }

    /// A text and its place.
    pub fn text_at(&mut self, of: &Section<'_, '_>, key: &str) -> Option<At<String>> {
        self.parsed(of, key, |text| Ok::<_, String>(text.to_owned()))
    }

    /// A text.
    pub fn text(&mut self, of: &Section<'_, '_>, key: &str) -> Option<String> {
        self.text_at(of, key).map(|at| at.value)
    }

    /// On or off.
    pub fn flag(&mut self, of: &Section<'_, '_>, key: &str) -> Option<bool> {
        self.parsed(of, key, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "y" | "on" => Ok(true),
            "false" | "no" | "n" | "off" => Ok(false),
            _ => Err(format!("{text:?} is not true or false")),
        })
        .map(|at| at.value)
    }

    /// A whole number and its place.
    pub fn number_at<T: FromStr>(&mut self, of: &Section<'_, '_>, key: &str) -> Option<At<T>> {
        self.parsed(of, key, |text| {
            text.parse()
                .map_err(|_| format!("{text:?} is not a whole number from zero on"))
        })
    }

    /// A whole number.
    pub fn number<T: FromStr>(&mut self, of: &Section<'_, '_>, key: &str) -> Option<T> {
        self.number_at(of, key).map(|at| at.value)
    }

    /// A duration in milliseconds.
    pub fn duration_ms(&mut self, of: &Section<'_, '_>, key: &str) -> Option<u64> {
        self.parsed(of, key, crate::values::duration_ms)
            .map(|at| at.value)
    }

    /// A size in bytes.
    pub fn bytes(&mut self, of: &Section<'_, '_>, key: &str) -> Option<u64> {
        self.parsed(of, key, crate::values::bytes).map(|at| at.value)
    }

    /// The items of a list with their places; null and absent are an empty one.
    pub fn items<'t>(&mut self, of: &Section<'t, '_>, key: &str) -> &'t [Node] {
        let Some((node, path)) = of.at(key).filter(|(node, _)| !node.is_null()) else {
            return &[];
        };
        if let Some(items) = node.as_list() {
            return items;
        }
        self.wrong(node, path, "a list");
        &[]
    }

    /// A list of single values with their places.
    pub fn texts_at(&mut self, of: &Section<'_, '_>, key: &str) -> Vec<At<String>> {
        let items = self.items(of, key);
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match item.as_scalar() {
                Some(scalar) => texts.push(At {
                    value: scalar.text.clone(),
                    place: item.place,
                }),
                None => self.wrong(item, of.path.key(key).item(index), "a single value"),
            }
        }
        texts
    }

    /// A list of single values.
    pub fn texts(&mut self, of: &Section<'_, '_>, key: &str) -> Vec<String> {
        self.texts_at(of, key).into_iter().map(|at| at.value).collect()
    }

    /// A mapping of single values; a missing value is an empty text.
    pub fn text_map(&mut self, of: &Section<'_, '_>, key: &str) -> BTreeMap<String, String> {
        let Some(section) = self.section(of, key) else {
            return BTreeMap::new();
        };
        let mut out = BTreeMap::new();
        for entry in &section.map.entries {
            let value = match entry.value.as_scalar() {
                Some(scalar) => scalar.text.clone(),
                None if entry.value.is_null() => String::new(),
                None => {
                    self.wrong(&entry.value, section.path.key(&entry.key), "a single value");
                    continue;
                }
            };
            out.insert(entry.key.clone(), value);
        }
        out
    }

    /// Mode bits: octal with a leading zero or in quotes. A plain 440 would be decimal, which nobody means.
    pub fn file_mode(&mut self, of: &Section<'_, '_>, key: &str) -> Option<u32> {
        let plain = of
            .at(key)
            .and_then(|(node, _)| node.as_scalar())
            .is_some_and(|s| s.style == Style::Plain);
        self.parsed(of, key, |text| {
            let digits = text
                .strip_prefix("0o")
                .or_else(|| text.strip_prefix('0'))
                .unwrap_or(text);
            if plain && digits.len() == text.len() && text != "0" {
                return Err(format!(
                    "{text} is a decimal number; write 0{text} for octal mode bits"
                ));
            }
            let digits = if digits.is_empty() { "0" } else { digits };
            match u32::from_str_radix(digits, 8) {
                Ok(mode) if mode <= 0o7777 => Ok(mode),
                _ => Err(format!(
                    "{text:?} is not a file mode; expected octal bits such as 0440"
                )),
            }
        })
        .map(|at| at.value)
    }
}

/// A value as the user wrote it and as it became.
fn shown(scalar: &Scalar) -> String {
    match &scalar.template {
        Some(template) => format!("{:?} (from {template})", scalar.text),
        None => format!("{:?}", scalar.text),
    }
}
