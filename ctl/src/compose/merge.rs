//! Several files into one, by the Specification's rules: mappings by key, lists appended or by their items' identity,
//! everything else replaced; `!reset` takes away and `!override` replaces. Works on trees in long shapes (`normal`).

use std::collections::HashMap;

use super::finding::{Finding, Findings};
use super::normal::child_pattern;
use super::path::Path;
use super::short;
use super::tree::{Map, Node, Tag, Value};

/// How a later value meets an earlier one of the same key.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// By shape: mappings by key, lists appended, single values replaced.
    ByShape,
    /// The later one alone.
    Replace,
    /// Items of a list are one when this key is the same.
    Items(fn(&Node) -> Option<String>),
    /// By the published port first, then as a whole.
    Ports,
    /// Options only stay when the driver stays.
    Logging,
    /// `disable` and `test` replace each other.
    HealthCheck,
    /// `file`, `environment`, `content` and `external` replace each other.
    Source,
}

fn rule(pattern: &str) -> Rule {
    match pattern {
        "services.*.command" | "services.*.entrypoint" | "services.*.healthcheck.test" => Rule::Replace,
        "services.*.ulimits.*" | "services.*.credential_spec" => Rule::Replace,
        "services.*.logging" => Rule::Logging,
        "services.*.healthcheck" => Rule::HealthCheck,
        "services.*.ports" => Rule::Ports,
        "services.*.volumes" => Rule::Items(mount_key),
        "services.*.secrets" | "services.*.configs" => Rule::Items(reference_key),
        "services.*.devices" => Rule::Items(device_key),
        "services.*.tmpfs" => Rule::Items(tmpfs_key),
        "services.*.env_file" | "services.*.label_file" => Rule::Items(file_key),
        "services.*.dns"
        | "services.*.dns_search"
        | "services.*.dns_opt"
        | "services.*.cap_add"
        | "services.*.cap_drop"
        | "services.*.expose"
        | "services.*.group_add"
        | "services.*.security_opt"
        | "services.*.profiles"
        | "services.*.networks.*.aliases"
        | "services.*.deploy.placement.constraints" => Rule::Items(text_key),
        "networks.*.ipam.config" => Rule::Items(|node| field(node, "subnet")),
        "secrets.*" | "configs.*" => Rule::Source,
        _ if pattern.starts_with("services.*.extra_hosts.") => Rule::Replace,
        _ => Rule::ByShape,
    }
}

/// The trees of all files, first to last, as one. `None` without any.
pub fn merge(trees: Vec<Node>, findings: &mut Findings) -> Option<Node> {
    let merged = trees
        .into_iter()
        .reduce(|base, over| node(base, over, "", Path::Root, findings))?;
    Some(settled(merged))
}

/// The tree without what `!reset` takes away, and without tags.
fn settled(mut node: Node) -> Node {
    node.tag = Tag::None;
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::List(items) => {
            let kept = std::mem::take(items)
                .into_iter()
                .filter(|item| item.tag != Tag::Reset);
            *items = kept.map(settled).collect();
        }
        Value::Map(map) => {
            map.entries.retain(|entry| entry.value.tag != Tag::Reset);
            for entry in &mut map.entries {
                let place = entry.value.place;
                entry.value = settled(std::mem::replace(&mut entry.value, Node::null_at(place)));
            }
        }
    }
    node
}

fn node(base: Node, over: Node, pattern: &str, path: Path<'_>, findings: &mut Findings) -> Node {
    let replaced = matches!(over.tag, Tag::Override | Tag::Reset) || base.tag == Tag::Reset;
    if replaced || matches!(rule(pattern), Rule::Replace) || base.is_null() {
        return over;
    }
    let place = base.place;
    match (base.value, over.value) {
        (Value::Map(base), Value::Map(over)) => {
            let merged = maps(prepared(base, &over, pattern), over, pattern, path, findings);
            Node {
                place,
                tag: Tag::None,
                value: Value::Map(merged),
            }
        }
        (Value::List(base), Value::List(over)) => Node {
            place,
            tag: Tag::None,
            value: Value::List(lists(base, over, rule(pattern))),
        },
        (Value::Scalar(_), value @ Value::Scalar(_)) => Node {
            place: over.place,
            tag: Tag::None,
            value,
        },
        // An empty later mapping or list says nothing: `networks: {default: }` stays what it was.
        (value, Value::Scalar(scalar)) if scalar.is_null() => Node {
            place,
            tag: base.tag,
            value,
        },
        (earlier, later) => {
            let over = Node {
                place: over.place,
                tag: Tag::None,
                value: later,
            };
            let base = Node {
                place,
                tag: Tag::None,
                value: earlier,
            };
            let message = format!(
                "{} here cannot be merged with {} in the earlier file; use !override to replace it",
                over.shape(),
                base.shape()
            );
            let finding = Finding::error(path.to_string(), message)
                .at(over.place)
                .and(base.place, "earlier value");
            findings.push(finding);
            over
        }
    }
}

/// The earlier mapping without what the later one rules out.
fn prepared(mut base: Map, over: &Map, pattern: &str) -> Map {
    match rule(pattern) {
        Rule::Logging => {
            let driver = |map: &Map| {
                map.get("driver")
                    .and_then(Node::as_scalar)
                    .map(|driver| driver.text.clone())
            };
            if driver(over).is_some_and(|later| driver(&base).is_some_and(|earlier| earlier != later)) {
                base.remove("options");
            }
        }
        Rule::HealthCheck => {
            if over.get("disable").is_some() {
                base.remove("test");
            }
            if over.get("test").is_some() {
                base.remove("disable");
            }
        }
        Rule::Source => {
            let sources = ["file", "environment", "content", "external", "driver"];
            if sources.iter().any(|source| over.get(source).is_some()) {
                for source in sources {
                    base.remove(source);
                }
            }
        }
        Rule::ByShape | Rule::Replace | Rule::Items(_) | Rule::Ports => {}
    }
    base
}

fn maps(base: Map, over: Map, pattern: &str, path: Path<'_>, findings: &mut Findings) -> Map {
    let mut merged = base;
    let index: HashMap<String, usize> = merged
        .entries
        .iter()
        .enumerate()
        .map(|(at, entry)| (entry.key.clone(), at))
        .collect();
    for entry in over.entries {
        let Some(at) = index.get(&entry.key) else {
            merged.entries.push(entry);
            continue;
        };
        let slot = &mut merged.entries[*at];
        let earlier = std::mem::replace(&mut slot.value, Node::null_at(entry.place));
        let pattern = child_pattern(pattern, &entry.key);
        slot.value = node(earlier, entry.value, &pattern, path.key(&entry.key), findings);
        slot.place = entry.place;
    }
    merged
}

fn lists(base: Vec<Node>, over: Vec<Node>, rule: Rule) -> Vec<Node> {
    let key: fn(&Node) -> Option<String> = match rule {
        Rule::Items(key) => key,
        Rule::Ports => port_key,
        Rule::ByShape | Rule::Replace | Rule::Logging | Rule::HealthCheck | Rule::Source => |_| None,
    };
    let mut merged = base;
    let earlier = merged.len();
    for item in over {
        let wanted = key(&item);
        let same = |node: &Node| wanted.is_some() && key(node) == wanted;
        match merged[..earlier].iter().position(same) {
            Some(at) => merged[at] = item,
            None => merged.push(item),
        }
    }
    merged
}

fn text_key(node: &Node) -> Option<String> {
    node.as_scalar().map(|scalar| scalar.text.clone())
}

fn field(node: &Node, key: &str) -> Option<String> {
    text_key(node.as_map()?.get(key)?)
}

fn mount_key(node: &Node) -> Option<String> {
    let target = match text_key(node) {
        Some(text) => short::mount(&text)?.target,
        None => field(node, "target")?,
    };
    Some(target.trim_end_matches('/').to_owned())
}

/// Where a secret or config is seen; without a target, under its own name.
fn reference_key(node: &Node) -> Option<String> {
    text_key(node)
        .or_else(|| field(node, "target"))
        .or_else(|| field(node, "source"))
}

fn device_key(node: &Node) -> Option<String> {
    match text_key(node) {
        Some(text) => short::device(&text).map(|(_, container, _)| container.to_owned()),
        None => field(node, "target").or_else(|| field(node, "source")),
    }
}

fn tmpfs_key(node: &Node) -> Option<String> {
    text_key(node).map(|text| text.split(':').next().unwrap_or_default().to_owned())
}

fn file_key(node: &Node) -> Option<String> {
    text_key(node).or_else(|| field(node, "path"))
}

/// A port of the node leads to one port of a container, so a later file that publishes the same one replaces the entry.
/// Ports that the cluster chooses are known by what they lead to.
fn port_key(node: &Node) -> Option<String> {
    let port = match text_key(node) {
        Some(text) => short::port(&text),
        None => short::ShortPort {
            host_ip: field(node, "host_ip").unwrap_or_default(),
            published: field(node, "published").unwrap_or_default(),
            target: field(node, "target")?,
            protocol: field(node, "protocol")
                .unwrap_or_else(|| "tcp".to_owned())
                .to_ascii_lowercase(),
        },
    };
    let target = if port.published.is_empty() {
        port.target
    } else {
        String::new()
    };
    Some(format!(
        "{} {} {target} {}",
        port.host_ip, port.published, port.protocol
    ))
}

#[cfg(test)]
#[path = "merge_test.rs"]
mod tests;
