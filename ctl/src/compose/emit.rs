//! A tree back to YAML that reads as the same tree: one style, quotes wherever a reader could think of something else,
//! and `$` doubled so that no variable is looked for again.

use std::fmt::Write as _;

use super::tree::{Map, Node, Scalar, Style, Value};

/// The YAML text of a tree.
#[must_use]
pub fn yaml(tree: &Node) -> String {
    let mut out = String::new();
    match &tree.value {
        Value::Map(map) if !map.entries.is_empty() => map_lines(map, 0, &mut out),
        Value::List(items) if !items.is_empty() => list_lines(items, 0, &mut out),
        _ => {
            inline(tree, &mut out);
            out.push('\n');
        }
    }
    out
}

fn map_lines(map: &Map, indent: usize, out: &mut String) {
    for entry in &map.entries {
        write!(out, "{:indent$}{}:", "", quoted_if_needed(&entry.key)).expect("a string takes any text");
        below(&entry.value, indent, out);
    }
}

fn list_lines(items: &[Node], indent: usize, out: &mut String) {
    for item in items {
        write!(out, "{:indent$}-", "").expect("a string takes any text");
        match &item.value {
            // The first key of a mapping stands beside the dash.
            Value::Map(map) if !map.entries.is_empty() => {
                let mut lines = String::new();
                map_lines(map, indent + 2, &mut lines);
                out.push(' ');
                out.push_str(lines.trim_start());
            }
            _ => below(item, indent, out),
        }
    }
}

/// A value after its key or dash: beside it when it is short, below it when it has parts.
fn below(node: &Node, indent: usize, out: &mut String) {
    match &node.value {
        Value::Map(map) if !map.entries.is_empty() => {
            out.push('\n');
            map_lines(map, indent + 2, out);
        }
        Value::List(items) if !items.is_empty() => {
            out.push('\n');
            list_lines(items, indent + 2, out);
        }
        _ => {
            out.push(' ');
            inline(node, out);
            out.push('\n');
        }
    }
}

fn inline(node: &Node, out: &mut String) {
    match &node.value {
        Value::Map(_) => out.push_str("{}"),
        Value::List(_) => out.push_str("[]"),
        Value::Scalar(scalar) => out.push_str(&scalar_text(scalar)),
    }
}

fn scalar_text(scalar: &Scalar) -> String {
    if scalar.is_null() {
        return "null".to_owned();
    }
    let text = scalar.text.replace('$', "$$");
    // What was plain before and has no line break is plain again.
    if scalar.style == Style::Plain && !text.contains('\n') {
        text
    } else {
        quoted_if_needed(&text)
    }
}

/// Plain when it can only be read as this text, else in double quotes.
fn quoted_if_needed(text: &str) -> String {
    let simple = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-' | '+' | '@' | '=');
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '_'));
    let words = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    if starts && text.chars().all(simple) && !words.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                write!(out, "\\u{:04X}", u32::from(c)).expect("a string takes any text");
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compose::finding::Findings;
    use crate::compose::interpolate::{Unset, interpolate};
    use crate::compose::parse::parse;
    use crate::compose::source::Sources;
    use crate::compose::tree::Entry;

    fn read(text: &str) -> Node {
        let mut sources = Sources::default();
        let file = sources.add("x", text);
        let mut findings = Findings::default();
        let mut tree = parse(&sources, file, &mut findings).unwrap();
        interpolate(&mut tree, &|_| None, Unset::Refuse, &mut findings);
        assert!(findings.sorted().is_empty(), "{text}\n{findings:?}");
        tree
    }

    /// Shape and text alone: quotes and places may differ.
    fn bare(node: &Node) -> String {
        match &node.value {
            Value::Scalar(scalar) if scalar.is_null() => "~".to_owned(),
            Value::Scalar(scalar) => format!("{:?}", scalar.text),
            Value::List(items) => format!("{:?}", items.iter().map(bare).collect::<Vec<_>>()),
            Value::Map(map) => {
                format!(
                    "{:?}",
                    map.entries
                        .iter()
                        .map(|e| (e.key.clone(), bare(&e.value)))
                        .collect::<Vec<_>>()
                )
            }
        }
    }

    #[test]
    fn what_is_written_is_short_and_reads_the_same() {
        let tree =
            read("a: {b: [x, {c: 1, d: [e]}, []], \"y\": 'no', z: ~}\nm: |\n  two\n  lines $$x\np: 0440\n");
        let text = yaml(&tree);
        let wanted = "\
a:
  b:
    - x
    - c: 1
      d:
        - e
    - []
  \"y\": \"no\"
  z: null
m: \"two\\nlines $$x\\n\"
p: 0440
";
        assert_eq!(text, wanted);
        assert_eq!(bare(&read(&text)), bare(&tree));
    }

    fn tree() -> impl Strategy<Value = Node> {
        let place = read("a").place;
        let leaf = "\\PC{0,12}".prop_map(move |text| Node::text_at(place, text));
        leaf.prop_recursive(4, 40, 4, move |inner| {
            let map =
                prop::collection::btree_map("\\PC{1,6}", inner.clone(), 1..4).prop_map(move |entries| {
                    let entry = |(key, value)| Entry { key, place, value };
                    Node::map_at(
                        place,
                        entries
                            .into_iter()
                            .filter(|(key, _)| key != "<<")
                            .map(entry)
                            .collect(),
                    )
                });
            prop_oneof![
                map,
                prop::collection::vec(inner, 0..4).prop_map(move |items| Node::list_at(place, items))
            ]
        })
    }

    proptest! {
        #[test]
        fn every_tree_reads_back_as_itself(tree in tree()) {
            let keyed = Node::map_at(tree.place, vec![Entry { key: "k".into(), place: tree.place, value: tree.clone() }]);
            let text = yaml(&keyed);
            if !text.contains("${") {
                prop_assert_eq!(bare(&read(&text)), bare(&keyed), "{}", text);
            }
        }
    }
}
