//! Unknown keys, and the key that was probably meant.

use crate::compose::finding::Finding;
use crate::compose::keys::KEYS;
use crate::compose::path::Path;
use crate::compose::tree::Entry;

/// The finding about a key that is not in the table.
pub(super) fn finding(pattern: &str, siblings: &[&str], entry: &Entry, path: Path<'_>) -> Finding {
    let key = entry.key.as_str();
    let hint = if let Some(hint) = foreign(pattern, key) {
        format!("; {hint}")
    } else if let Some(near) = nearest(key, siblings.iter().copied()) {
        format!("; did you mean {near}?")
    } else if let Some(place) = elsewhere(pattern, key) {
        format!("; it belongs under {place}")
    } else {
        String::new()
    };
    Finding::error(path.to_string(), format!("unknown key {key}{hint}")).at(entry.place)
}

/// Files that were never Compose files, and the layout before `services:`.
fn foreign(pattern: &str, key: &str) -> Option<&'static str> {
    match (pattern, key) {
        ("", "on" | "jobs") => Some("this looks like a CI workflow, not a Compose file"),
        ("", "apiVersion" | "kind" | "metadata" | "spec") => Some("this looks like a Kubernetes manifest"),
        _ => None,
    }
}

/// The name that differs by at most two typing mistakes, the nearest first.
pub(super) fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = if key.chars().count() < 4 { 1 } else { 2 };
    known
        .filter(|name| *name != "*")
        .map(|name| (distance(key, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// Where a key of this name is known: `replicas` under `deploy`.
fn elsewhere(pattern: &str, key: &str) -> Option<String> {
    let service = "services.*";
    let fits = |candidate: &str| candidate.rsplit_once('.').is_some_and(|(_, last)| last == key);
    let found = KEYS
        .iter()
        .map(|(pattern, _)| *pattern)
        .filter(|candidate| fits(candidate));
    let near = |candidate: &&str| candidate.starts_with(pattern) || pattern.starts_with(service);
    let candidate = found.filter(near).min_by_key(|candidate| candidate.len())?;
    let parent = candidate.rsplit_once('.').map(|(parent, _)| parent)?;
    let shown = parent.strip_prefix("services.*.").unwrap_or(parent);
    Some(if shown == service {
        "the service itself".to_owned()
    } else {
        format!("{}:", shown.replace(".*", ""))
    })
}

/// Typing mistakes between two words, swapped neighbours counting as one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(40).collect(), b.chars().collect());
    let mut rows = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, j) => j,
                (i, 0) => i,
                _ => {
                    let same = usize::from(a[i - 1] != b[j - 1]);
                    let best = (rows[i - 1][j] + 1)
                        .min(rows[i][j - 1] + 1)
                        .min(rows[i - 1][j - 1] + same);
                    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    if swapped {
                        best.min(rows[i - 2][j - 2] + 1)
                    } else {
                        best
                    }
                }
            };
        }
    }
    rows[a.len()][b.len()]
}
