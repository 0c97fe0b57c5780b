//! Whether what was read fits together, and whether every key is one we know: all that can be said offline, before
//! anything is touched. What a key means is in `keys`, the one table.

mod constraint;
mod names;
mod services;
mod unknown;

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use super::finding::{Finding, Findings};
use super::keys::{KEYS, Verdict};
use super::model::Model;
use super::normal::child_pattern;
use super::path::Path;
use super::tree::{Node, Value};

pub use names::{InvalidName, check_stack_name};

/// The table by pattern, and which patterns have keys of their own.
static TABLE: LazyLock<HashMap<&'static str, Verdict>> = LazyLock::new(|| KEYS.iter().copied().collect());
static CHILDREN: LazyLock<BTreeMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    let mut children: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (pattern, _) in KEYS {
        let (parent, key) = pattern.rsplit_once('.').unwrap_or(("", pattern));
        children.entry(parent).or_default().push(key);
    }
    children
});

/// Looks at every key of a tree and pushes what its verdict says.
pub fn keys(tree: &Node, findings: &mut Findings) {
    walk(tree, "", Path::Root, findings);
}

fn walk(node: &Node, pattern: &str, path: Path<'_>, findings: &mut Findings) {
    match &node.value {
        Value::Scalar(_) => {}
        Value::List(items) => {
            let pattern = format!("{pattern}[]");
            for (index, item) in items.iter().enumerate() {
                walk(item, &pattern, path.item(index), findings);
            }
        }
        Value::Map(map) => {
            let Some(known) = CHILDREN.get(pattern) else {
                return;
            };
            for entry in &map.entries {
                let child = child_pattern(pattern, &entry.key);
                let path = path.key(&entry.key);
                let free = entry.key.starts_with("x-") && !TABLE.contains_key(child.as_str());
                let finding = match TABLE.get(child.as_str()) {
                    _ if free => continue,
                    None => Some(unknown::finding(pattern, known, entry, path)),
                    Some(Verdict::Honoured | Verdict::NoEffect(_) | Verdict::ByValue(_)) => None,
                    Some(Verdict::Warned(_)) if entry.value.is_null() => None,
                    Some(Verdict::Warned(why)) => {
                        Some(Finding::warning(path.to_string(), *why).at(entry.place))
                    }
                    Some(Verdict::Refused(why)) => {
                        Some(Finding::error(path.to_string(), *why).at(entry.place))
                    }
                };
                if let Some(finding) = finding {
                    findings.push(finding);
                }
                walk(&entry.value, &child, path, findings);
            }
        }
    }
}

/// Checks what spans keys, services and objects. `stack` is the stack's name, for the length of full names.
pub fn model(model: &Model, stack: &str, findings: &mut Findings) {
    names::check(model, stack, findings);
    services::check(model, findings);
}

#[cfg(test)]
#[path = "check_test.rs"]
mod tests;
