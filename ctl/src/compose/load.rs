//! The whole way from files to a checked model. Reads the files it is told to, their `.env`, and what they name; the
//! environment comes as a value.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};

use super::finding::{Finding, Findings};
use super::interpolate::{self, Unset};
use super::model::Model;
use super::source::{FileId, MAX_FILE_BYTES, Sources};
use super::tree::Node;
use super::{check, dotenv, merge, normal, parse, read};

/// Looked for, in this order, when no file is named.
pub const DEFAULT_NAMES: &[&str] = &[
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
    "docker-stack.yaml",
    "docker-stack.yml",
];

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// At a path.
    File(PathBuf),
    /// Already read, with the name to show; `-c -` comes this way.
    Text(String, String),
}

/// What to load and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// First to last; later ones are merged over earlier ones.
    pub files: Vec<Input>,
    /// Relative paths begin here; none means the first file's folder.
    pub project_dir: Option<PathBuf>,
    /// The caller's environment. It goes before `.env`.
    pub env: BTreeMap<String, String>,
    /// Instead of `.env` in the project's folder.
    pub env_files: Vec<PathBuf>,
    /// Goes before `name:` and the folder's name.
    pub stack_name: Option<String>,
    /// Beside those of `COMPOSE_PROFILES`.
    pub profiles: Vec<String>,
    /// What to do about variables that are not set.
    pub unset: Unset,
}

/// What a run has to say.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The texts the findings point into.
    pub sources: Sources,
    /// All findings.
    pub findings: Findings,
}

/// A set of files that can be deployed.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What they say.
    pub model: Model,
    /// The stack's name.
    pub stack: String,
    /// The merged tree, for `stack config`.
    pub tree: Node,
    /// Environment files that were read.
    pub env_files: Vec<String>,
    /// Warnings, with the texts.
    pub report: Report,
}

/// The first file of the usual names in a folder.
#[must_use]
pub fn default_files(folder: &FilePath) -> Option<PathBuf> {
    DEFAULT_NAMES
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
}

/// Loads files.
///
/// # Errors
/// The report, when it holds at least one error.
pub fn load(options: &Options) -> Result<Loaded, Box<Report>> {
    let mut report = Report::default();
    match load_into(options, &mut report) {
        Some((model, stack, tree, env_files)) if report.findings.can_deploy() => Ok(Loaded {
            model,
            stack,
            tree,
            env_files,
            report,
        }),
        _ => Err(Box::new(report)),
    }
}

fn load_into(options: &Options, report: &mut Report) -> Option<(Model, String, Node, Vec<String>)> {
    let base = project_dir(options);
    let (sources, findings) = (&mut report.sources, &mut report.findings);
    let (variables, env_files) = variables(options, &base, sources, findings);
    let lookup = |name: &str| match variables.get(name) {
        None if name == "COMPOSE_PROJECT_NAME" => options.stack_name.clone(),
        value => value.cloned(),
    };
    let trees = trees(options, &lookup, sources, findings);
    let tree = merge::merge(trees, findings)?;
    if let Some(finding) = first_layout(&tree) {
        findings.push(finding);
        return None;
    }
    check::keys(&tree, findings);
    let mut profiles = options.profiles.clone();
    let from_env = lookup("COMPOSE_PROFILES").unwrap_or_default();
    profiles.extend(
        from_env
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
    );
    let mut reader = read::Reader {
        findings: &mut *findings,
        sources,
        lookup: &lookup,
        base: &base,
        profiles: &profiles,
    };
    let model = read::model(&tree, &mut reader);
    let stack = stack_name(options, &model, &base, findings);
    check::model(&model, &stack, findings);
    Some((model, stack, tree, env_files))
}

fn project_dir(options: &Options) -> PathBuf {
    let first = options.files.iter().find_map(|input| match input {
        Input::File(path) => path.parent().map(FilePath::to_path_buf),
        Input::Text(..) => None,
    });
    options.project_dir.clone().or(first).unwrap_or_default()
}

/// The caller's environment over that of the environment files.
fn variables(
    options: &Options,
    base: &FilePath,
    sources: &mut Sources,
    findings: &mut Findings,
) -> (BTreeMap<String, String>, Vec<String>) {
    let usual = base.join(".env");
    let files = match options.env_files.as_slice() {
        [] if usual.is_file() => vec![usual],
        files => files.to_vec(),
    };
    let mut variables = BTreeMap::new();
    let mut names = Vec::new();
    for path in files {
        let Some(file) = add_file(&path, sources, findings) else {
            continue;
        };
        names.push(path.display().to_string());
        let own = |name: &str| options.env.get(name).or_else(|| variables.get(name)).cloned();
        let lines = dotenv::parse(sources, file, &own, findings);
        for line in lines {
            if let Some(value) = line.value {
                variables.insert(line.name, value);
            }
        }
    }
    variables.extend(options.env.clone());
    (variables, names)
}

fn trees(
    options: &Options,
    lookup: interpolate::Lookup<'_>,
    sources: &mut Sources,
    findings: &mut Findings,
) -> Vec<Node> {
    let mut trees = Vec::new();
    for input in &options.files {
        let file = match input {
            Input::File(path) => add_file(path, sources, findings),
            Input::Text(name, text) => Some(sources.add(name, text)),
        };
        let Some(mut tree) = file.and_then(|file| parse::parse(sources, file, findings)) else {
            continue;
        };
        if tree.as_map().is_none() {
            let message = format!("expected a mapping with services:, found {}", tree.shape());
            findings.push(Finding::error("", message).at(tree.place));
            continue;
        }
        interpolate::interpolate(&mut tree, lookup, options.unset, findings);
        normal::normalise(&mut tree, findings);
        trees.push(tree);
    }
    if options.files.is_empty() {
        let message = format!(
            "no file was named and none of {} is there; use -c FILE",
            DEFAULT_NAMES.join(", ")
        );
        findings.push(Finding::error("", message));
    }
    trees
}

fn add_file(path: &FilePath, sources: &mut Sources, findings: &mut Findings) -> Option<FileId> {
    let shown = path.display().to_string();
    let read = std::fs::metadata(path).and_then(|about| {
        if about.len() > MAX_FILE_BYTES as u64 {
            return Err(std::io::Error::other(format!(
                "it has {} bytes, the limit is {MAX_FILE_BYTES}",
                about.len()
            )));
        }
        std::fs::read(path)
    });
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) => {
            findings.push(Finding::error("", format!("cannot read {shown}: {error}")));
            return None;
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Some(sources.add(shown, text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            findings.push(Finding::error(
                "",
                format!("{shown} is not UTF-8 text: byte {at} is not valid"),
            ));
            None
        }
    }
}

/// Services at the top level, as in the layout before `services:` came.
fn first_layout(tree: &Node) -> Option<Finding> {
    let map = tree.as_map()?;
    if map.get("services").is_some() {
        return None;
    }
    let is_service = |node: &Node| {
        node.as_map()
            .is_some_and(|body| ["image", "build"].iter().any(|k| body.get(k).is_some()))
    };
    let entry = map
        .entries
        .iter()
        .find(|entry| !entry.key.starts_with("x-") && is_service(&entry.value))?;
    let message = format!(
        "{} is a service at the top level, as in the first layout; indent all services under services:",
        entry.key
    );
    Some(Finding::error(&entry.key, message).at(entry.place))
}

fn stack_name(options: &Options, model: &Model, base: &FilePath, findings: &mut Findings) -> String {
    let (name, place) = match (&options.stack_name, &model.name) {
        (Some(name), _) => (name.clone(), None),
        (None, Some(name)) => (name.value.clone(), Some(name.place)),
        (None, None) => (folder_name(base), None),
    };
    if let Err(error) = check::check_stack_name(&name) {
        let finding = Finding::error("name", error.to_string());
        findings.push(match place {
            Some(place) => finding.at(place),
            None => finding,
        });
    }
    name
}

/// The folder's name with the characters a stack may have.
fn folder_name(base: &FilePath) -> String {
    let base = if base.as_os_str().is_empty() {
        FilePath::new(".")
    } else {
        base
    };
    let full = std::path::absolute(base).unwrap_or_else(|_| base.to_path_buf());
    let name = full
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let kept: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    kept.trim_matches(['-', '_']).to_owned()
}

#[cfg(test)]
#[path = "load_test.rs"]
mod tests;
