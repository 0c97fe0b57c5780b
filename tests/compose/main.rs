//! Compose files and what is made of them, one folder a case: `compose.yaml`, perhaps `override.yaml`, `.env`, `env`
//! (the caller's environment) and whatever the files name. `wanted.txt` holds the findings, then the specs without what
//! is empty or default. `SHOAL_WRITE_WANTED=1` writes it anew, to be read in the diff.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use shoal_ctl::compose::keys::{KEYS, Verdict};
use shoal_ctl::compose::normal::child_pattern;
use shoal_ctl::compose::tree::Node;
use shoal_ctl::compose::{self, Converted, Input, Options, Report};
use shoal_ctl::render::diagnostic;
use shoal_proto::service::{ServiceSettings, TaskTemplate};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose/cases");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the cases lie beside this file")
        .map(|entry| entry.expect("the folder of cases can be read").path())
        .collect();
    cases.sort();
    cases
}

fn options(case: &Path) -> Options {
    let names = ["compose.yaml", "override.yaml"];
    let files = names
        .iter()
        .map(|name| case.join(name))
        .filter(|path| path.exists());
    let env = fs::read_to_string(case.join("env")).unwrap_or_default();
    let env: BTreeMap<String, String> = env
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    Options {
        files: files.map(Input::File).collect(),
        stack_name: Some("st".to_owned()),
        env,
        ..Options::default()
    }
}

fn outcome(case: &Path) -> String {
    let folder = format!("{}/", case.display());
    let mut out = String::new();
    let report = |report: &Report| {
        let lines = diagnostic::json(&report.sources, &report.findings)
            .into_iter()
            .map(|finding| {
                let place = match (finding.file, finding.line, finding.column) {
                    (Some(file), Some(line), Some(column)) => format!("{file}:{line}:{column}"),
                    _ => "-".to_owned(),
                };
                format!("{} {place} {}: {}\n", finding.level, finding.key, finding.message)
            });
        lines.collect::<String>().replace(&folder, "")
    };
    match compose::load(&options(case)) {
        Err(refused) => out.push_str(&report(&refused)),
        Ok(loaded) => {
            out.push_str(&report(&loaded.report));
            let converted = compose::convert(&loaded.model, &loaded.stack);
            out.push_str("---\n");
            out.push_str(
                &serde_json::to_string_pretty(&shown(&converted)).expect("JSON values always print"),
            );
            out.push('\n');
        }
    }
    out
}

/// The specs as data, without what is empty or default.
fn shown(converted: &Converted) -> Value {
    let spec = &converted.spec;
    let service = |service: &shoal_proto::service::ServiceSpec| {
        let settings = differing(json!(service.settings), &json!(ServiceSettings::default()));
        let template = differing(json!(service.template), &json!(TaskTemplate::default()));
        json!({"name": service.name, "settings": settings, "template": template})
    };
    let contents = |list: &[shoal_proto::stack::ContentSpec]| {
        let text = |content: &shoal_proto::stack::ContentSpec| {
            let blob = converted
                .blobs
                .iter()
                .find(|blob| blob.digest == content.digest)
                .expect("what a spec names by digest comes with its bytes");
            json!({"name": content.name, "labels": content.labels, "text": String::from_utf8_lossy(&blob.bytes)})
        };
        list.iter().map(text).collect::<Vec<_>>()
    };
    let all = json!({
        "services": spec.services.iter().map(service).collect::<Vec<_>>(),
        "networks": spec.networks,
        "secrets": contents(&spec.secrets),
        "configs": contents(&spec.configs),
        "external": [converted.external_networks, converted.external_secrets, converted.external_configs],
    });
    trimmed(all).unwrap_or_default()
}

/// The fields that are not as in `default`.
fn differing(value: Value, default: &Value) -> Value {
    let (Value::Object(fields), Value::Object(defaults)) = (value, default) else {
        return Value::Null;
    };
    fields
        .into_iter()
        .filter(|(name, value)| defaults.get(name) != Some(value))
        .collect::<Map<_, _>>()
        .into()
}

fn trimmed(value: Value) -> Option<Value> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::String(text) if text.is_empty() => None,
        Value::Number(number) if number.as_u64() == Some(0) => None,
        Value::Array(items) => {
            let items: Vec<Value> = items.into_iter().filter_map(trimmed_item).collect();
            (!items.is_empty()).then_some(Value::Array(items))
        }
        Value::Object(fields) => {
            let labels = ["com.docker.stack.namespace", "com.docker.stack.image"];
            let fields = fields
                .into_iter()
                .filter(|(name, _)| !labels.contains(&name.as_str()));
            let fields: Map<_, _> = fields
                .filter_map(|(name, value)| Some((name, trimmed(value)?)))
                .collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
        other => Some(other),
    }
}

/// Items keep their place in a list: an empty text is an item.
fn trimmed_item(item: Value) -> Option<Value> {
    if item.is_array() || item.is_object() {
        trimmed(item)
    } else {
        Some(item)
    }
}

#[test]
fn every_case_is_met_as_its_file_says() {
    let write = std::env::var_os("SHOAL_WRITE_WANTED").is_some();
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() > 40, "cases are missing");
    for case in &cases {
        let got = outcome(case);
        let path = case.join("wanted.txt");
        if write {
            fs::write(&path, &got).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != got {
            wrong.push(format!("{}\n{got}", case.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_same_files_give_the_same_findings_and_specs_every_time() {
    for case in cases() {
        let first = outcome(&case);
        for _ in 0..5 {
            assert_eq!(outcome(&case), first, "{}", case.display());
        }
    }
}

#[test]
fn the_one_stack_name_label_is_on_everything_a_stack_makes() {
    for case in cases() {
        let Ok(loaded) = compose::load(&options(&case)) else {
            continue;
        };
        let spec = compose::convert(&loaded.model, "st").spec;
        let services = spec.services.iter().map(|s| &s.settings.labels);
        let containers = spec.services.iter().map(|s| &s.template.container.labels);
        let contents = spec.secrets.iter().chain(&spec.configs).map(|c| &c.labels);
        let networks = spec.networks.iter().map(|n| &n.labels);
        for labels in services.chain(containers).chain(contents).chain(networks) {
            assert_eq!(
                labels.get("com.docker.stack.namespace").map(String::as_str),
                Some("st"),
                "{}",
                case.display()
            );
        }
    }
}

#[test]
fn what_config_prints_gives_the_same_specs_again() {
    for case in cases() {
        let Ok(loaded) = compose::load(&options(&case)) else {
            continue;
        };
        let printed = compose::emit::yaml(&loaded.tree);
        let mut again = options(&case);
        again.files = vec![Input::Text("printed".to_owned(), printed.clone())];
        again.project_dir = Some(case.clone());
        let reloaded = compose::load(&again)
            .unwrap_or_else(|report| panic!("{}: {report:?}\n{printed}", case.display()));
        let spec = |loaded: &compose::Loaded| compose::convert(&loaded.model, "st");
        assert_eq!(spec(&loaded), spec(&reloaded), "{}\n{printed}", case.display());
    }
}

#[test]
fn the_guide_has_the_table_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/guide/compose.md");
    let wanted = compose::keys::markdown();
    if std::env::var_os("SHOAL_WRITE_WANTED").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        wanted,
        "write it anew with SHOAL_WRITE_WANTED=1"
    );
}

#[test]
fn every_honoured_key_stands_in_a_case_that_is_deployed() {
    let mut used = BTreeSet::new();
    for case in cases() {
        if let Ok(loaded) = compose::load(&options(&case)) {
            patterns(&loaded.tree, "", &mut used);
        }
    }
    let honoured = KEYS
        .iter()
        .filter(|(_, verdict)| *verdict == Verdict::Honoured)
        .map(|(pattern, _)| *pattern);
    let missing: Vec<&str> = honoured.filter(|pattern| !used.contains(*pattern)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

fn patterns(node: &Node, pattern: &str, used: &mut BTreeSet<String>) {
    used.insert(pattern.to_owned());
    match &node.value {
        compose::tree::Value::Scalar(_) => {}
        compose::tree::Value::List(items) => {
            items
                .iter()
                .for_each(|item| patterns(item, &format!("{pattern}[]"), used));
        }
        compose::tree::Value::Map(map) => {
            for entry in &map.entries {
                patterns(&entry.value, &child_pattern(pattern, &entry.key), used);
            }
        }
    }
}
