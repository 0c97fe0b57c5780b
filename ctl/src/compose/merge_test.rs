//! Merging, rule by rule. Results are compared as one-line YAML, without places.

use proptest::prelude::*;

use super::*;
use crate::compose::normal::normalise;
use crate::compose::parse::parse;
use crate::compose::source::Sources;

/// One line: `{a: [1, 2]}`, null as `~`.
fn shown(node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) if scalar.is_null() => "~".to_owned(),
        Value::Scalar(scalar) => scalar.text.clone(),
        Value::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Value::Map(map) => {
            let entries = map
                .entries
                .iter()
                .map(|entry| format!("{}: {}", entry.key, shown(&entry.value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

fn merged(files: &[&str]) -> (String, Vec<String>) {
    let mut sources = Sources::default();
    let mut findings = Findings::default();
    let mut trees = Vec::new();
    for (index, text) in files.iter().enumerate() {
        let file = sources.add(format!("{index}.yml"), *text);
        let mut tree = parse(&sources, file, &mut findings).unwrap();
        normalise(&mut tree, &mut findings);
        trees.push(tree);
    }
    let tree = merge(trees, &mut findings).unwrap();
    (
        shown(&tree),
        findings
            .sorted()
            .iter()
            .map(|finding| finding.message.clone())
            .collect(),
    )
}

/// The one key of service `web`, after merging two bodies of it.
fn web(base: &str, over: &str) -> String {
    let file = |body: &str| format!("services: {{web: {{{body}}}}}");
    let (text, findings) = merged(&[&file(base), &file(over)]);
    assert!(findings.is_empty(), "{findings:?}");
    text.strip_prefix("{services: {web: {")
        .unwrap()
        .strip_suffix("}}}")
        .unwrap()
        .to_owned()
}

#[test]
fn single_values_are_replaced_also_by_false_zero_and_nothing() {
    assert_eq!(
        web("read_only: true, init: true", "read_only: false, init: false"),
        "read_only: false, init: false"
    );
    assert_eq!(web("user: base", "user: ''"), "user: ");
    assert_eq!(web("user: base", "user: "), "user: ~");
    assert_eq!(
        web("deploy: {replicas: 3}", "deploy: {replicas: 0}"),
        "deploy: {replicas: 0}"
    );
}

#[test]
fn commands_are_replaced_and_other_lists_appended() {
    assert_eq!(web("command: [a, b]", "command: [c]"), "command: [c]");
    assert_eq!(web("command: [a, b]", "command: c d"), "command: c d");
    assert_eq!(
        web("dns: 1.1.1.1", "dns: [8.8.8.8, 1.1.1.1]"),
        "dns: [1.1.1.1, 8.8.8.8]"
    );
    assert_eq!(web("cap_add: [A]", "cap_add: [B]"), "cap_add: [A, B]");
}

#[test]
fn environment_and_labels_merge_by_name_in_either_form() {
    assert_eq!(
        web("environment: [A=1, B=2]", "environment: {B: 3, C: }"),
        "environment: {A: 1, B: 3, C: ~}"
    );
    assert_eq!(
        web("environment: {A: 1}", "environment: [A]"),
        "environment: {A: ~}"
    );
    assert_eq!(web("labels: [a, b=1]", "labels: {b: 2}"), "labels: {a: , b: 2}");
}

#[test]
fn ports_keep_tcp_and_udp_apart_and_replace_what_publishes_the_same() {
    let base = "ports: ['53:53/tcp', '53:53/udp', '9153', '8080']";
    assert_eq!(
        web(base, "image: x"),
        "ports: [53:53/tcp, 53:53/udp, 9153, 8080], image: x"
    );
    assert_eq!(
        web("ports: ['8080:80', '9000:90']", "ports: ['8080:81']"),
        "ports: [8080:81, 9000:90]"
    );
    assert_eq!(web("ports: ['80']", "ports: ['80', '81']"), "ports: [80, 81]");
    assert_eq!(
        web("ports: ['8080:80']", "ports: [{published: 8080, target: 81}]"),
        "ports: [{published: 8080, target: 81}]"
    );
}

#[test]
fn mounts_merge_by_target_and_references_by_where_they_are_seen() {
    assert_eq!(
        web("volumes: ['data:/d', '/h:/e:ro']", "volumes: ['/new:/d/']"),
        "volumes: [/new:/d/, /h:/e:ro]"
    );
    let base = "secrets: [tok, {source: tok, target: b}]";
    assert_eq!(
        web(base, "secrets: [{source: other, target: b}]"),
        "secrets: [tok, {source: other, target: b}]"
    );
    assert_eq!(
        web(
            "extra_hosts: ['a:1.1.1.1', 'b:1.1.1.1']",
            "extra_hosts: {a: 2.2.2.2}"
        ),
        "extra_hosts: {a: [2.2.2.2], b: [1.1.1.1]}"
    );
}

#[test]
fn networks_and_dependencies_merge_in_either_form() {
    assert_eq!(
        web("networks: [a, b]", "networks: {b: {aliases: [x]}}"),
        "networks: {a: ~, b: {aliases: [x]}}"
    );
    assert_eq!(
        web("networks: {a: {aliases: [x]}}", "networks: [a]"),
        "networks: {a: {aliases: [x]}}"
    );
    assert_eq!(
        web(
            "depends_on: [db]",
            "depends_on: {db: {condition: service_healthy}}"
        ),
        "depends_on: {db: {condition: service_healthy}}"
    );
}

#[test]
fn logging_options_stay_only_with_their_driver() {
    let base = "logging: {driver: json-file, options: {max-size: 10m}}";
    assert_eq!(
        web(base, "logging: {options: {max-file: 3}}"),
        "logging: {driver: json-file, options: {max-size: 10m, max-file: 3}}"
    );
    assert_eq!(
        web(base, "logging: {driver: syslog}"),
        "logging: {driver: syslog}"
    );
}

#[test]
fn a_disabled_health_check_drops_the_test_and_a_test_enables_it_again() {
    assert_eq!(
        web(
            "healthcheck: {test: [CMD, a], retries: 2}",
            "healthcheck: {disable: true}"
        ),
        "healthcheck: {retries: 2, disable: true}"
    );
    assert_eq!(
        web("healthcheck: {disable: true}", "healthcheck: {test: a}"),
        "healthcheck: {test: a}"
    );
}

#[test]
fn reset_takes_away_and_override_replaces() {
    assert_eq!(
        web("ports: ['8080:80']", "ports: !override ['8443:443']"),
        "ports: [8443:443]"
    );
    assert_eq!(
        web("environment: {A: 1, B: 2}", "environment: {B: !reset null}"),
        "environment: {A: 1}"
    );
    assert_eq!(web("image: x, ports: ['1:1']", "ports: !reset []"), "image: x");
    assert_eq!(
        web("image: x, user: !reset u", "tty: true"),
        "image: x, tty: true"
    );
}

#[test]
fn objects_of_the_top_level_merge_deeply() {
    let (text, _) = merged(&[
        "networks: {n: {attachable: true, driver_opts: {a: 1}}}\nsecrets: {s: {file: a, labels: {x: 1}}}",
        "networks: {n: {labels: [l=1]}}\nsecrets: {s: {environment: S}}\nx-a: 1",
    ]);
    assert_eq!(
        text,
        "{networks: {n: {attachable: true, driver_opts: {a: 1}, labels: {l: 1}}}, secrets: {s: {labels: {x: 1}, \
         environment: S}}, x-a: 1}"
    );
}

#[test]
fn shapes_that_do_not_fit_name_both_places() {
    let (_, findings) = merged(&[
        "services: {web: {deploy: {mode: global}}}",
        "services: {web: {deploy: [x]}}",
    ]);
    assert_eq!(
        findings,
        ["a list here cannot be merged with a mapping in the earlier file; use !override to replace it"]
    );
}

#[test]
fn a_name_given_twice_in_one_list_is_said() {
    let (text, findings) = merged(&["services: {web: {environment: [A=1, A=2]}}"]);
    assert_eq!(text, "{services: {web: {environment: {A: 2}}}}");
    assert_eq!(findings, ["A is given twice; this one counts"]);
}

/// Bodies of a service made of keys with every rule.
fn body() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    let key = prop_oneof![
        name.clone().prop_map(|n| format!("environment: {{{n}: {n}}}")),
        name.clone().prop_map(|n| format!("environment: [{n}=1]")),
        name.clone().prop_map(|n| format!("networks: [{n}]")),
        name.clone()
            .prop_map(|n| format!("networks: {{{n}: {{aliases: [{n}]}}}}")),
        name.clone().prop_map(|n| format!("volumes: ['{n}:/{n}']")),
        (1..4_u16).prop_map(|n| format!("ports: ['808{n}:80', '9{n}']")),
        name.clone()
            .prop_map(|n| format!("deploy: {{labels: {{{n}: x}}, mode: global}}")),
        name.prop_map(|n| format!("cap_add: [{n}]")),
    ];
    prop::collection::btree_map(0..8_usize, key, 0..5).prop_map(|keys| {
        let mut seen = std::collections::BTreeSet::new();
        let keys = keys
            .into_values()
            .filter(|key| seen.insert(key.split(':').next().unwrap().to_owned()));
        format!("services: {{web: {{{}}}}}", keys.collect::<Vec<_>>().join(", "))
    })
}

proptest! {
    #[test]
    fn merging_a_file_with_itself_changes_nothing(file in body()) {
        prop_assert_eq!(merged(&[&file, &file]).0, merged(&[&file]).0);
    }

    #[test]
    fn merging_is_associative(a in body(), b in body(), c in body()) {
        let mut sources = Sources::default();
        let mut findings = Findings::default();
        let mut tree = |text: &str| {
            let file = sources.add("x", text);
            let mut tree = parse(&sources, file, &mut findings).unwrap();
            normalise(&mut tree, &mut Findings::default());
            tree
        };
        let (a, b, c) = (tree(&a), tree(&b), tree(&c));
        let mut findings = Findings::default();
        let left = merge(vec![a.clone(), b.clone()], &mut findings).unwrap();
        let left = merge(vec![left, c.clone()], &mut findings).unwrap();
        let right = merge(vec![b, c], &mut findings).unwrap();
        let right = merge(vec![a, right], &mut findings).unwrap();
        prop_assert_eq!(shown(&left), shown(&right));
    }
}
