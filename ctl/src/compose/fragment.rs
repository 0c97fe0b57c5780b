//! Merge keys: `<<: *base` and `<<: [*a, *b]`. Shallow, as YAML has it: a key written in the mapping itself wins, then
//! the first of the list.

use std::collections::HashSet;

use super::finding::Finding;
use super::tree::{Map, Node, Value};

/// The key that takes in another mapping.
pub const MERGE_KEY: &str = "<<";

/// The mappings a merge key names, in their order.
///
/// # Errors
/// The value is neither a mapping nor a list of mappings.
pub fn merge_values(node: Node) -> Result<Vec<Node>, Finding> {
    let place = node.place;
    let wrong = || Err(Finding::error("", "<<: takes a mapping, or a list of mappings").at(place));
    match node.value {
        Value::Map(_) => Ok(vec![node]),
        Value::List(items) if items.iter().all(|item| item.as_map().is_some()) => Ok(items),
        Value::List(_) | Value::Scalar(_) => wrong(),
    }
}

/// The mapping with the keys it does not have itself taken from `merged`.
#[must_use]
pub fn with_merge_keys(mut map: Map, merged: Vec<Node>) -> Map {
    if merged.is_empty() {
        return map;
    }
    let mut has: HashSet<String> = map.entries.iter().map(|entry| entry.key.clone()).collect();
    for node in merged {
        let Value::Map(other) = node.value else { continue };
        for entry in other.entries {
            if has.insert(entry.key.clone()) {
                map.entries.push(entry);
            }
        }
    }
    map
}
