//! The table of conformance (`manager/core/CONFORMANCE.md`) is whole, counts itself rightly, and names tests that exist.
//! Whether a test proves what its row says is for the reader.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{none, root};

const TABLE: &str = "manager/core/CONFORMANCE.md";
const SCRIPTS: &str = "manager/core/tests/scripts";

/// Prefixes of the requirements with how many there are: 281 of Swarm's behaviour, then its defects, its limits and the
/// symptoms that its users report.
const GROUPS: [(&str, usize); 46] = [
    ("SCH", 46),
    ("CON", 3),
    ("GEN", 4),
    ("REP", 9),
    ("RST", 11),
    ("GLO", 10),
    ("JOB", 14),
    ("UPD", 15),
    ("DRT", 1),
    ("SRT", 1),
    ("REA", 8),
    ("ENF", 5),
    ("VEN", 1),
    ("DEA", 1),
    ("DIS", 20),
    ("HBT", 1),
    ("AGT", 11),
    ("EXE", 7),
    ("DOC", 6),
    ("STO", 10),
    ("WAT", 1),
    ("WAP", 1),
    ("RAF", 17),
    ("RAS", 1),
    ("RAT", 1),
    ("RAM", 1),
    ("MGR", 4),
    ("DEK", 1),
    ("KEY", 1),
    ("ENC", 1),
    ("CA", 14),
    ("NOD", 1),
    ("API", 24),
    ("ALC", 8),
    ("INT", 9),
    ("LOG", 4),
    ("TPL", 2),
    ("SEC", 1),
    ("REM", 1),
    ("NAM", 1),
    ("VQ", 1),
    ("CSI", 1),
    ("IDN", 1),
    ("DEF", 30),
    ("LIM", 26),
    ("SYM", 13),
];

/// What a row may say, and whether it must name a test.
const VERDICTS: [(&str, Tests); 5] = [
    ("proven", Tests::Needed),
    ("better", Tests::Needed),
    ("partly", Tests::Needed),
    ("apart", Tests::Free),
    ("missing", Tests::Free),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tests {
    Needed,
    Free,
}

struct Row<'t> {
    number: &'t str,
    what: &'t str,
    verdict: &'t str,
    proof: &'t str,
}

/// Rows whose first cell is a number such as `SCH-01`.
fn rows(text: &str) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let is_number = cells[0]
            .split_once('-')
            .is_some_and(|(group, at)| group.chars().all(char::is_uppercase) && at.parse::<usize>().is_ok());
        if is_number {
            assert_eq!(cells.len(), 4, "{TABLE}: four cells: {line}");
            rows.push(Row {
                number: cells[0],
                what: cells[1],
                verdict: cells[2],
                proof: cells[3],
            });
        }
    }
    rows
}

/// What stands in backticks.
fn named(proof: &str) -> impl Iterator<Item = &str> {
    proof.split('`').skip(1).step_by(2)
}

/// Whether a script, or a test in a file, is there.
fn exists(root: &Path, name: &str) -> bool {
    if name.ends_with(".script") {
        return root.join(SCRIPTS).join(name).is_file();
    }
    let Some((path, test)) = name.split_once("::") else {
        return false;
    };
    let text = fs::read_to_string(root.join(path)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let head = format!("fn {test}(");
    let is_head = |line: &str| line.starts_with(&head) || line.starts_with(&format!("async {head}"));
    let found = lines.iter().position(|line| is_head(line));
    // The attribute stands right above, at most a few others between.
    found.is_some_and(|at| {
        lines[at.saturating_sub(4)..at]
            .iter()
            .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_requirement_of_conformance_has_a_test_that_exists_or_says_why_not() {
    let root = root();
    let text = fs::read_to_string(root.join(TABLE)).expect("the table of conformance");
    let rows = rows(&text);
    let mut broken = Vec::new();
    for row in &rows {
        let Some((_, tests)) = VERDICTS.iter().find(|(verdict, _)| *verdict == row.verdict) else {
            broken.push(format!("{}: {:?} is no verdict", row.number, row.verdict));
            continue;
        };
        if row.what.is_empty() || row.proof.is_empty() {
            broken.push(format!("{}: an empty cell", row.number));
        }
        if *tests == Tests::Needed && named(row.proof).next().is_none() {
            broken.push(format!("{}: {} without a test", row.number, row.verdict));
        }
        let missing = named(row.proof).filter(|name| !exists(&root, name));
        broken.extend(missing.map(|name| format!("{}: no test {name}", row.number)));
    }
    none("a row names tests that exist, or says why it has none", &broken);
    let wanted: Vec<String> = GROUPS
        .iter()
        .flat_map(|(group, count)| (1..=*count).map(move |at| format!("{group}-{at:02}")))
        .collect();
    let found: Vec<&str> = rows.iter().map(|row| row.number).collect();
    assert_eq!(found, wanted, "rows of {TABLE}, in their order");
}

#[test]
fn the_table_of_conformance_counts_itself_rightly() {
    let text = fs::read_to_string(root().join(TABLE)).expect("the table of conformance");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows(&text) {
        *counts.entry(row.verdict).or_default() += 1;
    }
    let broken: Vec<String> = VERDICTS
        .iter()
        .map(|(verdict, _)| (verdict, counts.get(verdict).copied().unwrap_or_default()))
        .filter(|(verdict, count)| !text.contains(&format!("| {verdict} | {count} |")))
        .map(|(verdict, count)| format!("{verdict}: {count}"))
        .collect();
    none("the count at the top is what the rows say", &broken);
}

#[test]
fn a_test_that_is_not_there_is_found() {
    let root = root();
    assert!(exists(&root, "drain.script"));
    assert!(!exists(&root, "nothing.script"));
    assert!(exists(
        &root,
        "tests/tidy/conformance.rs::a_test_that_is_not_there_is_found"
    ));
    assert!(!exists(&root, "tests/tidy/conformance.rs::exists"));
    assert!(!exists(&root, "tests/tidy/nowhere.rs::exists"));
    assert!(!exists(&root, "words"));
}
