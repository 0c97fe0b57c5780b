//! The whole way of a file, for files nobody would write on purpose.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::compose::convert::convert;
use crate::render::diagnostic::{self, Style};

/// One of nearly every key.
const LARGE: &str = r#"name: shop
x-log: &log {driver: json-file, options: {max-size: "10m"}}
services:
  web:
    image: registry.example.com/web:${TAG:-1}
    command: ["serve", "--cost", "$$5"]
    environment: [A=1, "B=${B:-b}", C]
    logging: *log
    ports: ["8000:80", {target: 443, published: "8443", mode: host}]
    networks: {front: {aliases: [www]}, back: }
    volumes: ["data:/data:ro", {type: tmpfs, target: /tmp, tmpfs: {size: 64m, mode: 0o1777}}]
    secrets: [{source: key, target: k.pem, mode: 0400}]
    configs: [site]
    healthcheck: {test: curl -f localhost, interval: 5s, retries: 3}
    ulimits: {nofile: {soft: 10, hard: 20}}
    extra_hosts: ["db:10.0.0.9"]
    depends_on: {db: {condition: service_healthy}}
    deploy:
      replicas: 3
      placement: {constraints: ["node.role == worker"], preferences: [{spread: node.labels.zone}]}
      resources: {limits: {cpus: "0.5", memory: 128M}}
      update_config: {parallelism: 1, delay: 10s, order: start-first, max_failure_ratio: 0.1}
  db:
    <<: {image: "postgres:17", logging: *log}
    healthcheck: {test: [CMD, pg_isready]}
    networks: [back]
networks: {front: {driver: overlay, ipam: {config: [{subnet: 10.9.0.0/24}]}}, back: }
volumes: {data: {labels: [a=b]}}
secrets: {key: {environment: KEY}}
configs: {site: {content: "x ${B:-b}"}}
"#;

fn load_text(files: &[&str]) -> Result<Loaded, Box<Report>> {
    let input = |(index, text): (usize, &&str)| Input::Text(format!("{index}.yml"), (*text).to_owned());
    load(&Options {
        files: files.iter().enumerate().map(input).collect(),
        project_dir: Some(PathBuf::from("/nonexistent/shop")),
        env: BTreeMap::from([("KEY".to_owned(), "k".to_owned())]),
        stack_name: Some("st".to_owned()),
        ..Options::default()
    })
}

/// Loads, converts where that can be, shows what was found, and holds every place against its text.
fn survive(files: &[&str]) {
    let outcome = load_text(files);
    let report = match &outcome {
        Ok(loaded) => &loaded.report,
        Err(report) => report,
    };
    if let Ok(loaded) = &outcome {
        assert_eq!(
            convert(&loaded.model, &loaded.stack).spec.services.len(),
            loaded.model.services.len()
        );
    } else {
        assert!(
            report.findings.count(crate::compose::Level::Error) > 0,
            "refused without a reason"
        );
    }
    for finding in report.findings.sorted() {
        if let Some(place) = finding.place {
            let lines = report.sources.get(place.file).text.lines().count();
            assert!(
                place.line >= 1 && place.line <= lines + 1,
                "{finding:?} of {lines} lines"
            );
        }
    }
    let shown = diagnostic::text(&report.sources, &report.findings, Style::Plain);
    assert_eq!(shown.is_empty(), report.findings.sorted().is_empty());
}

#[test]
fn the_large_file_loads() {
    let loaded = load_text(&[LARGE]).unwrap_or_else(|report| {
        panic!(
            "{}",
            diagnostic::text(&report.sources, &report.findings, Style::Plain)
        );
    });
    assert_eq!(loaded.stack, "st");
    assert_eq!(loaded.model.services.len(), 2);
}

#[test]
fn the_name_of_a_stack_comes_from_the_caller_then_the_file_then_the_folder() {
    let name = |text: &str, given: Option<&str>| {
        let options = Options {
            files: vec![Input::Text("x".to_owned(), text.to_owned())],
            project_dir: Some(PathBuf::from("/srv/My Shop.2")),
            stack_name: given.map(str::to_owned),
            ..Options::default()
        };
        load(&options).unwrap().stack
    };
    assert_eq!(name("services: {a: {image: x}}", None), "myshop2");
    assert_eq!(name("name: own\nservices: {a: {image: x}}", None), "own");
    assert_eq!(
        name("name: own\nservices: {a: {image: x}}", Some("given")),
        "given"
    );
}

#[test]
fn files_that_are_not_there_or_not_text_are_findings() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("binary.yml"), [0xff, 0xfe, 0, 1]).unwrap();
    std::fs::write(folder.path().join("large.yml"), vec![b' '; MAX_FILE_BYTES + 1]).unwrap();
    for (name, wanted) in [
        ("none.yml", "No such file"),
        ("binary.yml", "not UTF-8"),
        ("large.yml", "the limit is"),
        (".", "directory"),
    ] {
        let files = vec![Input::File(folder.path().join(name))];
        let report = load(&Options {
            files,
            ..Options::default()
        })
        .unwrap_err();
        let message = report.findings.sorted()[0].message.clone();
        assert!(message.contains(wanted), "{message}");
    }
    assert_eq!(default_files(folder.path()), None);
    std::fs::write(folder.path().join("docker-stack.yml"), "x").unwrap();
    std::fs::write(folder.path().join("compose.yml"), "x").unwrap();
    assert_eq!(
        default_files(folder.path()),
        Some(folder.path().join("compose.yml"))
    );
}

#[test]
fn hostile_files_are_refused_soon() {
    let mut bomb = String::from("a0: &a0 {x: 1, y: 2}\n");
    for level in 1..40 {
        bomb.push_str(&format!("a{level}: &a{level} [*a{0}, *a{0}, *a{0}]\n", level - 1));
    }
    let anchors: String = (0..100_000).map(|n| format!("k{n}: &k{n} x\n")).collect();
    let keys: String = (0..50_000).map(|n| format!("k{n}: x\n")).collect();
    let flow = format!("a: [{}]", "1,".repeat(1_000_000));
    let merge = "a: &a\n  <<: *a\n  b: 1\n".to_owned();
    let quotes = format!("a: \"{}", "\\x".repeat(100_000));
    let nested_variables = format!("a: {}", "${A:-".repeat(50_000));
    let indented: String = (0..2_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    for text in [
        bomb,
        anchors,
        keys,
        flow,
        merge,
        quotes,
        nested_variables,
        indented,
    ] {
        let started = Instant::now();
        assert!(load_text(&[&text]).is_err());
        // Generous for an unoptimised build on a busy machine; what it rules out is growth without bound.
        assert!(started.elapsed() < Duration::from_secs(20), "{}", &text[..40]);
    }
}

#[test]
fn malformed_pieces_at_every_place_of_the_large_file_are_survived() {
    let pieces = [
        "\t", "{", "]", "*nope", "&a", "<<: 1", "${", "\u{0}", "!reset", "- ", ": ", "'", "\n---\n", "~", "é",
    ];
    let starts: Vec<usize> = LARGE.char_indices().map(|(at, _)| at).step_by(7).collect();
    for (index, at) in starts.into_iter().enumerate() {
        let piece = pieces[index % pieces.len()];
        survive(&[&format!("{}{piece}{}", &LARGE[..at], &LARGE[at..])]);
    }
}

/// `services: {any: {ports: [{target: VALUE}]}}` for `services.*.ports[].target`.
fn nested(key: &str, value: &str) -> String {
    let (mut open, mut close) = (String::new(), String::new());
    let parts: Vec<&str> = key.split('.').collect();
    for (depth, part) in parts.iter().enumerate() {
        let (name, before, after) = match part.strip_suffix("[]") {
            Some(name) => (name, " [{", "}]"),
            None if depth + 1 < parts.len() => (*part, " {", "}"),
            None => (*part, " ", ""),
        };
        open.push_str(&format!("{}:{before}", if name == "*" { "any" } else { name }));
        close.insert_str(0, after);
    }
    format!("{open}{value}{close}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn cutting_and_pasting_never_panics(from in 0..LARGE.len(), length in 0..80_usize, to in 0..LARGE.len()) {
        let cut: String = LARGE.chars().skip(from).take(length).collect();
        let text: String = LARGE.chars().take(to).chain(cut.chars()).chain(LARGE.chars().skip(to)).collect();
        survive(&[&text]);
    }

    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        survive(&[&String::from_utf8_lossy(&bytes)]);
    }

    #[test]
    fn a_value_of_any_shape_at_any_key_never_panics(
        key in prop::sample::select(crate::compose::keys::KEYS.iter().map(|(pattern, _)| *pattern).collect::<Vec<_>>()),
        value in prop::sample::select(vec![
            "", "~", "x", "1", "-1", "true", "[]", "{}", "[x]", "[[x]]", "{a: b}", "[{a: b}]", "'a:b:c:d'", "0x1F",
            "99999999999999999999", "1e309", "\"\"", "[~]", "{a: ~}", "{a: [b]}", "'=:/-'", "\"\\0\"",
        ])
    ) {
        let text = nested(key, value);
        survive(&[&text]);
        survive(&[LARGE, &text]);
    }
}
