//! The rules of the house that a machine can check: sizes, headers, who may name what, words, the top level.
//! Each failure names the file, the line and the rule. Rules that rustc or clippy can check are lints instead.

#[path = "tidy/conformance.rs"]
mod conformance;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use shoal_tests::bed::unit::Unit;

const MAX_LINES: usize = 500;
const MAX_HEADER_LINES: usize = 5;

/// Everything the top level holds beside dotfiles and the build folder.
const TOP_LEVEL: [&str; 10] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "agent",
    "ctl",
    "deploy",
    "manager",
    "proto",
    "tests",
];

/// Crate folder, and the workspace crates it may depend on outside its tests.
const DEPENDENCIES: [(&str, &[&str]); 6] = [
    ("proto", &[]),
    ("proto/daemon", &["shoal-proto"]),
    ("manager/core", &["shoal-proto"]),
    ("manager", &["shoal-proto", "shoal-daemon", "shoal-core"]),
    ("agent", &["shoal-proto", "shoal-daemon"]),
    ("ctl", &["shoal-proto"]),
];

/// What `shoal-core` must never pull in: it decides, and needs neither wire, nor network, nor time.
const NOT_IN_CORE: [&str; 9] = [
    "tonic", "prost", "rustls", "tokio", "hyper", "bollard", "openraft", "jiff", "redb",
];

/// A name, and the places that may say it. A place is a path's beginning.
const DOORS: [(&str, &[&str]); 8] = [
    ("bollard::", &["agent/src/engine/docker"]),
    ("hickory_proto::", &["agent/src/network/dns/message"]),
    ("openraft::", &["manager/src/raft"]),
    ("rtnetlink::", &["agent/src/network/kernel"]),
    ("rustls::", &["proto/src/identity", "manager/src/ca"]),
    (
        "wire::",
        &[
            "proto/src",
            "manager/src/api",
            "manager/src/raft/network",
            // The daemons' own sockets on their host: `init`, `join`, `leave`.
            "proto/daemon/src/local",
            "agent/src/session",
            "ctl/src/client",
        ],
    ),
    ("SystemTime::now", &["*/clock.rs"]),
    ("Timestamp::now", &["*/clock.rs"]),
];

/// Words that mean something else elsewhere, and where they are right all the same.
const WORDS: [(&str, &[&str]); 8] = [
    // The side of a TLS handshake is called that; what we run are managers and agents.
    ("server", &["proto/src/identity"]),
    ("master", &[]),
    ("pod", &[]),
    ("app", &[]),
    ("deployment", &[]),
    // The path at which a mount appears is its target in Docker and in Compose; so is a published port's.
    (
        "target",
        &[
            "ctl/src",
            "proto/src",
            "agent/src/engine",
            "manager/core/src",
            "manager/src",
        ],
    ),
    ("actual", &[]),
    // Of a log: made durable. Never for bringing two sides together.
    ("sync", &["manager/src/raft"]),
];

/// Names that repeat a library's word for the same thing.
const NAMES_OF_LIBRARIES: [&str; 1] = ["into_server"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests lies in the workspace")
        .to_owned()
}

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// True for what only tests see.
    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.ends_with("_test.rs") || self.path.contains("/tests/") || self.path.starts_with("tests/")
    }

    /// The lines before an inline test module, without comments. Strings stay.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let test_module = |line: &&str| !line.starts_with("#[cfg(test)]");
        let lines = self.text.lines().take_while(test_module).enumerate();
        lines.map(|(at, line)| (at + 1, line.split("//").next().unwrap_or_default()))
    }
}

/// All files below the workspace's folders with one of the endings, by path.
fn sources(endings: &[&str]) -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["proto", "manager", "agent", "ctl", "tests", "deploy"]
        .iter()
        .map(|name| root.join(name))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if endings
                .iter()
                .any(|ending| path.to_string_lossy().ends_with(ending))
            {
                let text = fs::read_to_string(&path).expect("sources are UTF-8");
                let path = path
                    .strip_prefix(&root)
                    .expect("below the root")
                    .to_string_lossy()
                    .into_owned();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no file with an ending of {endings:?}");
    found
}

#[track_caller]
fn none(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn files_stay_short() {
    let long = |source: &Source| {
        let lines = source.code().count();
        (!source.is_test() && lines > MAX_LINES).then(|| format!("{}: {lines} lines", source.path))
    };
    let broken: Vec<_> = sources(&[".rs", ".proto"]).iter().filter_map(long).collect();
    none(
        &format!("a file has at most {MAX_LINES} lines: give its second idea a file of its own"),
        &broken,
    );
}

#[test]
fn a_file_says_what_it_is_for() {
    let mut broken = Vec::new();
    for source in sources(&[".rs"]) {
        let header = source
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .count();
        let is_crate = source
            .text
            .starts_with("#![doc = include_str!(\"../README.md\")]");
        if !is_crate && !source.path.ends_with("_test.rs") && !(1..=MAX_HEADER_LINES).contains(&header) {
            broken.push(format!("{}: {header} lines of //!", source.path));
        }
    }
    none(
        "a file opens with 1 to 5 lines of //!: what it is for and what it must not do",
        &broken,
    );
}

#[test]
fn dependencies_point_one_way() {
    let mut broken = Vec::new();
    for (folder, allowed) in DEPENDENCIES {
        let manifest =
            fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a crate's manifest");
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if section == "[dependencies]" && name.starts_with("shoal-") && !allowed.contains(&name) {
                broken.push(format!("{folder}/Cargo.toml: {name}"));
            }
        }
    }
    none(
        "proto ← core ← manager, proto ← daemon ← manager and agent, proto ← ctl, and nothing else",
        &broken,
    );
}

#[test]
fn core_depends_on_nothing_that_acts() {
    let out = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package",
            "shoal-core",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--locked",
        ])
        .args(["--offline", "--format", "{p}"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        tree.contains("imbl"),
        "cargo tree: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let broken: Vec<_> = NOT_IN_CORE
        .iter()
        .filter(|name| names.contains(*name))
        .map(|n| (*n).to_owned())
        .collect();
    none("shoal-core decides and must not depend on", &broken);
}

#[test]
fn libraries_are_named_only_at_their_doors() {
    let mut broken = Vec::new();
    for source in sources(&[".rs"]).iter().filter(|source| !source.is_test()) {
        for (name, places) in DOORS {
            let open = places.iter().any(|place| match place.strip_prefix('*') {
                Some(ending) => source.path.ends_with(ending),
                None => source.path.starts_with(place),
            });
            let says = |(_, line): &(usize, &str)| says_name(line, name);
            broken.extend(
                source
                    .code()
                    .filter(says)
                    .filter(|_| !open)
                    .map(|(at, _)| format!("{}:{at}: {name}", source.path)),
            );
        }
    }
    none("a library is named only where its door is", &broken);
}

/// True when `line` says `name`, not as the end of a longer name.
fn says_name(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[test]
fn one_word_per_thing() {
    let mut broken = Vec::new();
    for source in sources(&[".rs"]).iter().filter(|source| !source.is_test()) {
        for (at, line) in source.code() {
            let Some(name) = defined_name(line) else {
                continue;
            };
            if NAMES_OF_LIBRARIES.contains(&name) {
                continue;
            }
            for (word, places) in WORDS {
                let right = places.iter().any(|place| source.path.starts_with(place));
                if !right && words_of(name).iter().any(|w| w == word) {
                    broken.push(format!("{}:{at}: {name}", source.path));
                }
            }
        }
    }
    none(
        "a word of ours, or of others, for something else (README, \"Words\")",
        &broken,
    );
}

/// The name that a line gives to a thing, if it does.
fn defined_name(line: &str) -> Option<&str> {
    let keywords = ["fn", "struct", "enum", "trait", "mod", "type", "const", "static"];
    let mut words = line
        .split_whitespace()
        .skip_while(|word| !keywords.contains(word));
    words.next()?;
    let name = words
        .next()?
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()?;
    (!name.is_empty()).then_some(name)
}

/// `OneName` and `one_name` are the words `one` and `name`.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c.is_uppercase() && words.last().is_some_and(|w| !w.ends_with(char::is_uppercase)) {
            words.push(String::new());
        }
        if c != '_' {
            words.last_mut().expect("never empty").push(c);
        }
    }
    words.iter().map(|word| word.to_lowercase()).collect()
}

#[test]
fn the_top_level_is_what_the_design_says() {
    let names: BTreeSet<String> = fs::read_dir(root())
        .expect("the root is there")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    assert_eq!(names, TOP_LEVEL.iter().map(|name| (*name).to_owned()).collect());
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("#[ign", "ore"),
        concat!("to", "do!("),
    ];
    let mut broken = Vec::new();
    for source in sources(&[".rs", ".proto", ".sh", ".toml", ".service"]) {
        for (at, line) in source.text.lines().enumerate() {
            if marks.iter().any(|mark| says_name(line, mark)) {
                broken.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    none("do it now or open an issue", &broken);
}

#[test]
fn cluster_tests_wait_for_conditions() {
    let sleeps = |source: &Source| source.text.contains("thread::sleep").then(|| source.path.clone());
    let files = sources(&[".rs"]);
    let broken: Vec<_> = files
        .iter()
        .filter(|s| s.path.starts_with("tests/cluster/"))
        .filter_map(sleeps)
        .collect();
    none(
        "a test waits for a condition with a deadline (`wait_for`), never for time to pass",
        &broken,
    );
}

#[test]
fn every_call_says_who_may_make_it() {
    let table = fs::read_to_string(root().join("proto/src/identity/call_table.rs")).expect("the call table");
    let mut broken = Vec::new();
    let mut calls = 0;
    for source in sources(&[".proto"]) {
        let mut service = String::new();
        for line in source.text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("service ") {
                rest.split([' ', '{'])
                    .next()
                    .unwrap_or_default()
                    .clone_into(&mut service);
            }
            let Some(rest) = line.strip_prefix("rpc ") else {
                continue;
            };
            let call = format!(
                "/shoal.v1.{service}/{}",
                rest.split(['(', ' ']).next().unwrap_or_default()
            );
            calls += 1;
            if !table.contains(&format!("\"{call}\"")) {
                broken.push(call);
            }
        }
    }
    assert!(calls > 0, "no call found in the schema");
    none(
        "a call without a row in proto/src/identity/call_table.rs",
        &broken,
    );
}

/// Folders with a README of their own, which is their crate's documentation.
const FOLDERS: [&str; 7] = [
    "proto",
    "proto/daemon",
    "manager",
    "manager/core",
    "agent",
    "ctl",
    "tests",
];

#[test]
fn every_folder_explains_itself_and_its_decisions() {
    let mut broken = Vec::new();
    for folder in FOLDERS {
        let path = root().join(folder).join("README.md");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let last = text
            .lines()
            .rfind(|line| line.starts_with("## "))
            .unwrap_or("no section");
        if last != "## Decisions" {
            broken.push(format!("{folder}/README.md ends with: {last}"));
        }
    }
    none(
        "a folder's README ends with a section \"Decisions\", each dated",
        &broken,
    );
}

#[test]
fn readmes_name_what_is_there() {
    let mut broken = Vec::new();
    for folder in FOLDERS.into_iter().chain([""]) {
        let text = fs::read_to_string(root().join(folder).join("README.md")).unwrap_or_default();
        for (at, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| line.starts_with("| `"))
        {
            let name = line.split('`').nth(1).unwrap_or_default();
            let is_path = name.contains('/') || name.ends_with(".rs");
            if is_path && !name.contains([' ', '*', '{', '$']) && !root().join(folder).join(name).exists() {
                broken.push(format!("{folder}/README.md:{}: {name}", at + 1));
            }
        }
    }
    none("a code map names a file or folder that is not there", &broken);
}

#[test]
fn every_property_has_a_file_and_a_test_that_breaks_it() {
    const NUMBERS: [&str; 27] = [
        "5", "9", "10", "11", "12", "13", "16", "16", "17", "17", "18", "19", "20", "22", "25", "25", "26",
        "26", "27", "28", "29", "30", "30", "31", "33", "34", "34",
    ];
    let core = root().join("manager/core");
    let readme = fs::read_to_string(core.join("README.md")).expect("the README of the core");
    let is_row = |line: &&str| !line.starts_with("| `") && line.contains("| `src/invariants/");
    let rows = readme.lines().filter(is_row);
    let mut numbers = Vec::new();
    let mut broken = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let apart = cells[2].replace(".rs", "_test.rs");
        let text: String = [cells[2], &apart]
            .iter()
            .filter_map(|file| fs::read_to_string(core.join(file)).ok())
            .collect();
        if !text.contains(&format!("fn {}()", cells[3])) {
            broken.push(format!(
                "property {}: {} has no test {}",
                cells[1], cells[2], cells[3]
            ));
        }
        numbers.push(cells[1]);
    }
    assert_eq!(numbers, NUMBERS, "properties in the README of manager/core");
    none("each property has a test that breaks it", &broken);
}

#[test]
fn unit_files_are_understood() {
    for source in sources(&[".service"]) {
        let unit = Unit::parse(&source.text).unwrap_or_else(|error| panic!("{}: {error}", source.path));
        assert_eq!(unit.wanted_by, ["multi-user.target"], "{}", source.path);
    }
}
