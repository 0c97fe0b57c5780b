//! Short shapes to long ones, file by file and before merging, so that each key is merged and read in one shape only:
//! lists of `NAME=value` become mappings, single values become lists. Keeps every place.

use super::finding::{Finding, Findings};
use super::path::Path;
use super::short;
use super::tree::{Entry, Node, Value};

/// How the short form of a key becomes the long one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `[A=1, B]` → `{A: 1, B: }`
    KeyValue,
    /// As [`Shape::KeyValue`], with an empty text where there is no `=`.
    Labels,
    /// `[a, b]` → `{a: , b: }`
    Names,
    /// `a` → `[a]`
    List,
    /// `["a:1.1.1.1"]` → `{a: [1.1.1.1]}`
    Hosts,
    /// `./dir` → `{context: ./dir}`
    Build,
}

/// Keys below which every key is a name of the user's.
const USER_NAMED: &[&str] = &[
    "services",
    "networks",
    "volumes",
    "secrets",
    "configs",
    "services.*.networks",
    "services.*.depends_on",
    "services.*.ulimits",
];

/// The pattern of a key below `parent`, with `*` for a name of the user's.
#[must_use]
pub fn child_pattern(parent: &str, key: &str) -> String {
    let name = if USER_NAMED.contains(&parent) { "*" } else { key };
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}

/// The shape a key is brought into.
#[must_use]
pub fn shape_of(pattern: &str) -> Option<Shape> {
    let shape = match pattern {
        "services.*.environment"
        | "services.*.sysctls"
        | "services.*.build.args"
        | "services.*.annotations" => Shape::KeyValue,
        "services.*.labels"
        | "services.*.deploy.labels"
        | "networks.*.labels"
        | "volumes.*.labels"
        | "secrets.*.labels"
        | "configs.*.labels"
        | "services.*.build.labels" => Shape::Labels,
        "services.*.networks" | "services.*.depends_on" => Shape::Names,
        "services.*.extra_hosts" => Shape::Hosts,
        "services.*.build" => Shape::Build,
        "services.*.env_file"
        | "services.*.label_file"
        | "services.*.dns"
        | "services.*.dns_search"
        | "services.*.dns_opt"
        | "services.*.tmpfs"
        | "services.*.ports"
        | "services.*.volumes"
        | "services.*.secrets"
        | "services.*.configs"
        | "services.*.cap_add"
        | "services.*.cap_drop"
        | "services.*.devices"
        | "services.*.expose"
        | "services.*.profiles"
        | "services.*.group_add"
        | "services.*.security_opt"
        | "services.*.networks.*.aliases"
        | "services.*.deploy.placement.constraints" => Shape::List,
        _ => return None,
    };
    Some(shape)
}

/// Brings a whole file into long shapes.
pub fn normalise(tree: &mut Node, findings: &mut Findings) {
    walk(tree, "", Path::Root, findings);
}

fn walk(node: &mut Node, pattern: &str, path: Path<'_>, findings: &mut Findings) {
    if let Some(shape) = shape_of(pattern) {
        reshape(node, shape, path, findings);
    }
    let Value::Map(map) = &mut node.value else { return };
    for entry in &mut map.entries {
        let pattern = child_pattern(pattern, &entry.key);
        walk(&mut entry.value, &pattern, path.key(&entry.key), findings);
    }
}

fn reshape(node: &mut Node, shape: Shape, path: Path<'_>, findings: &mut Findings) {
    let place = node.place;
    let scalar = node.as_scalar().is_some();
    match shape {
        Shape::List if scalar => *node = retagged(node, Node::list_at(place, vec![node.clone()])),
        Shape::Build if scalar => {
            let entry = Entry {
                key: "context".to_owned(),
                place,
                value: node.clone(),
            };
            *node = retagged(node, Node::map_at(place, vec![entry]));
        }
        Shape::KeyValue | Shape::Labels | Shape::Names => pairs(node, shape, path, findings),
        Shape::Hosts => hosts(node, path, findings),
        Shape::List | Shape::Build => {}
    }
}

/// The new shape with the tag the old one had.
fn retagged(old: &Node, mut new: Node) -> Node {
    new.tag = old.tag;
    new
}

fn pairs(node: &mut Node, shape: Shape, path: Path<'_>, findings: &mut Findings) {
    let Value::List(items) = &node.value else { return };
    let mut entries: Vec<Entry> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(scalar) = item.as_scalar() else {
            let message = format!("expected a text, found {}", item.shape());
            findings.push(Finding::error(path.item(index).to_string(), message).at(item.place));
            continue;
        };
        let (key, mut value) = match scalar.text.split_once('=') {
            Some((key, value)) if shape != Shape::Names => (key, Node::text_at(item.place, value)),
            _ if shape == Shape::Labels => (&*scalar.text, Node::text_at(item.place, "")),
            _ => (&*scalar.text, Node::null_at(item.place)),
        };
        value.tag = item.tag;
        if let (Value::Scalar(value), Some(template)) = (&mut value.value, &scalar.template) {
            value.template = Some(template.clone());
        }
        match entries.iter_mut().find(|entry| entry.key == key) {
            None => entries.push(Entry {
                key: key.to_owned(),
                place: item.place,
                value,
            }),
            Some(entry) => {
                let finding = Finding::warning(
                    path.item(index).to_string(),
                    format!("{key} is given twice; this one counts"),
                );
                findings.push(finding.at(item.place).and(entry.place, "first given here"));
                entry.value = value;
            }
        }
    }
    *node = retagged(node, Node::map_at(node.place, entries));
}

fn hosts(node: &mut Node, path: Path<'_>, findings: &mut Findings) {
    if let Value::Map(map) = &mut node.value {
        for entry in &mut map.entries {
            reshape(&mut entry.value, Shape::List, path, findings);
        }
        return;
    }
    let scalar = std::slice::from_ref(node);
    let items = node
        .as_list()
        .unwrap_or(if node.is_null() { &[] } else { scalar });
    let mut entries: Vec<Entry> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some((name, address)) = item.as_scalar().and_then(|scalar| short::host(&scalar.text)) else {
            let message = "expected name:address or name=address";
            findings.push(Finding::error(path.item(index).to_string(), message).at(item.place));
            continue;
        };
        let address = retagged(item, Node::text_at(item.place, address));
        match entries
            .iter_mut()
            .find(|entry| entry.key == name)
            .map(|entry| &mut entry.value.value)
        {
            Some(Value::List(addresses)) => addresses.push(address),
            _ => {
                let value = Node::list_at(item.place, vec![address]);
                entries.push(Entry {
                    key: name.to_owned(),
                    place: item.place,
                    value,
                });
            }
        }
    }
    *node = retagged(node, Node::map_at(node.place, entries));
}
