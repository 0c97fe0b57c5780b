//! Text → tree, with every key's place, within limits. Decides nothing about Compose: only what the YAML says, and what
//! YAML must not say here (several documents, tabs as indentation, repeated keys, aliases that never end).

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag as YamlTag};

use super::finding::{Finding, Findings};
use super::fragment;
use super::source::{FileId, Place, Sources};
use super::tree::{Entry, Map, Node, Scalar, Style, Tag, Value};
use super::yaml_help;

/// Deepest nesting, aliases written out.
pub const MAX_DEPTH: usize = 64;
/// Most values in one file, aliases written out.
pub const MAX_NODES: usize = 200_000;

/// Reads one file. `None` when there is no tree to go on with; what is wrong is in `findings` either way.
pub fn parse(sources: &Sources, file: FileId, findings: &mut Findings) -> Option<Node> {
    let text = &sources.get(file).text;
    if let Some(finding) = yaml_help::unreadable(text, file) {
        findings.push(finding);
        return None;
    }
    let mut builder = Builder::new(file);
    let outcome = builder.run(text.strip_prefix('\u{feff}').unwrap_or(text));
    let tab = yaml_help::tab_indentation(text, file, &builder.multiline);
    let tree = match (outcome, tab) {
        (Err(finding), Some(tab)) if line_of(&tab) <= line_of(&finding) + 1 => return refuse(findings, tab),
        (Err(finding), _) => return refuse(findings, yaml_help::explain(finding, text)),
        (Ok(_), Some(tab)) => return refuse(findings, tab),
        (Ok(None), None) => return refuse(findings, yaml_help::empty(file)),
        (Ok(tree), None) => tree,
    };
    for finding in builder.repeated {
        findings.push(finding);
    }
    tree
}

/// The parser complains about a bad line when it meets the next one, or already in the one before.
fn line_of(finding: &Finding) -> usize {
    finding.place.map_or(0, |place| place.line)
}

fn refuse(findings: &mut Findings, finding: Finding) -> Option<Node> {
    findings.push(finding);
    None
}

/// An anchored value, with what writing it out costs.
struct Anchor {
    node: Node,
    nodes: usize,
    height: usize,
}

/// A collection that is not closed yet.
struct Open {
    place: Place,
    anchor: usize,
    tag: Tag,
    inside: Inside,
    /// Values in it so far, itself included.
    nodes: usize,
    /// Levels below it so far.
    height: usize,
}

enum Inside {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        key: Option<(String, Place)>,
        seen: HashMap<String, Place>,
        merged: Vec<Node>,
    },
}

struct Builder {
    file: FileId,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchor>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
    repeated: Vec<Finding>,
    /// First and last line of each block or quoted text that spans lines; tabs in them are content.
    multiline: Vec<(usize, usize)>,
}

impl Builder {
    fn new(file: FileId) -> Self {
        Self {
            file,
            open: Vec::new(),
            anchors: HashMap::new(),
            root: None,
            documents: 0,
            nodes: 0,
            repeated: Vec::new(),
            multiline: Vec::new(),
        }
    }

    fn run(&mut self, text: &str) -> Result<Option<Node>, Finding> {
        let mut parser = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| {
                let mark = error.marker();
                let place = self.place(mark.line(), mark.col(), 1);
                if error.info().contains("recursion limit") {
                    return too_deep(place);
                }
                Finding::error("", format!("not valid YAML: {}", error.info())).at(place)
            })?;
            self.on_event(event, span)?;
        }
        Ok(self.root.take())
    }

    fn on_event(&mut self, event: Event<'_>, span: Span) -> Result<(), Finding> {
        let place = self.span_place(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => self.start_document(place),
            Event::SequenceStart(anchor, tag) => {
                self.start(place, anchor, tag.as_deref(), Inside::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                let inside = Inside::Map {
                    entries: Vec::new(),
                    key: None,
                    seen: HashMap::new(),
                    merged: Vec::new(),
                };
                self.start(place, anchor, tag.as_deref(), inside)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => self.alias(id, place),
            Event::Scalar(text, style, anchor, tag) => {
                self.note_lines(style, span);
                self.count(1, place)?;
                let node = scalar(place, text.into_owned(), style, tag.as_deref())?;
                self.finish(node, anchor, 1, 1)
            }
        }
    }

    fn note_lines(&mut self, style: ScalarStyle, span: Span) {
        let (first, last) = (span.start.line(), span.end.line());
        match style {
            ScalarStyle::Plain => {}
            // A block's span begins with its content, on the line after the sign.
            ScalarStyle::Literal | ScalarStyle::Folded => {
                self.multiline.push((first.saturating_sub(1), last))
            }
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted if last > first => {
                self.multiline.push((first, last));
            }
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {}
        }
    }

    fn start_document(&mut self, place: Place) -> Result<(), Finding> {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        let message = "a second YAML document begins here; write each document to a file of its own and pass them \
                       all with -c";
        Err(Finding::error("", message).at(place))
    }

    fn start(
        &mut self,
        place: Place,
        anchor: usize,
        tag: Option<&YamlTag>,
        inside: Inside,
    ) -> Result<(), Finding> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(place));
        }
        self.count(1, place)?;
        let tag = read_tag(place, tag)?.0;
        self.open.push(Open {
            place,
            anchor,
            tag,
            inside,
            nodes: 1,
            height: 1,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Finding> {
        let open = self.open.pop().expect("the parser closes only what it opened");
        let value = match open.inside {
            Inside::List(items) => Value::List(items),
            Inside::Map { entries, merged, .. } => {
                Value::Map(fragment::with_merge_keys(Map { entries }, merged))
            }
        };
        let node = Node {
            place: open.place,
            tag: open.tag,
            value,
        };
        self.finish(node, open.anchor, open.nodes, open.height)
    }

    fn alias(&mut self, id: usize, place: Place) -> Result<(), Finding> {
        let Some(anchor) = self.anchors.get(&id) else {
            return Err(Finding::error("", "this alias stands inside the value it repeats").at(place));
        };
        let (node, nodes, height) = (&anchor.node, anchor.nodes, anchor.height);
        if self.open.len() + height > MAX_DEPTH {
            return Err(too_deep(place));
        }
        // Copied only when it is known to fit.
        let node = (self.nodes + nodes <= MAX_NODES).then(|| node.clone());
        self.count(nodes, place)?;
        let node = node.expect("the count above refuses what does not fit");
        self.finish(node, 0, nodes, height)
    }

    fn count(&mut self, nodes: usize, place: Place) -> Result<(), Finding> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} values once aliases are written out");
            return Err(Finding::error("", message).at(place));
        }
        Ok(())
    }

    /// Hands a complete value to the collection around it.
    fn finish(&mut self, node: Node, anchor: usize, nodes: usize, height: usize) -> Result<(), Finding> {
        if anchor > 0 {
            // The copy that is kept costs memory as well: anchors within anchors add up.
            self.count(nodes, node.place)?;
            self.anchors.insert(
                anchor,
                Anchor {
                    node: node.clone(),
                    nodes,
                    height,
                },
            );
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.nodes += nodes;
        open.height = open.height.max(height + 1);
        match &mut open.inside {
            Inside::List(items) => items.push(node),
            Inside::Map {
                entries,
                key,
                seen,
                merged,
            } => match key.take() {
                None => *key = Some(key_text(node)?),
                Some((text, _)) if text == fragment::MERGE_KEY => {
                    merged.extend(fragment::merge_values(node)?);
                }
                Some((text, at)) => match seen.insert(text.clone(), at) {
                    None => entries.push(Entry {
                        key: text,
                        place: at,
                        value: node,
                    }),
                    Some(first) => self.repeated.push(
                        Finding::error(
                            text.clone(),
                            format!("the key {text:?} is given twice in one mapping"),
                        )
                        .at(at)
                        .and(first, "first given here"),
                    ),
                },
            },
        }
        Ok(())
    }

    fn span_place(&self, span: Span) -> Place {
        let width = if span.start.line() == span.end.line() {
            span.end.col().saturating_sub(span.start.col())
        } else {
            1
        };
        self.place(span.start.line(), span.start.col(), width)
    }

    fn place(&self, line: usize, column: usize, width: usize) -> Place {
        Place {
            file: self.file,
            line: line.max(1),
            column: column + 1,
            width: width.max(1),
        }
    }
}

fn too_deep(place: Place) -> Finding {
    Finding::error("", format!("nested more than {MAX_DEPTH} levels deep")).at(place)
}

fn key_text(node: Node) -> Result<(String, Place), Finding> {
    match node.value {
        Value::Scalar(scalar) if !scalar.is_null() => Ok((scalar.text, node.place)),
        Value::Scalar(_) => Err(Finding::error("", "a key is missing before the colon").at(node.place)),
        Value::List(_) | Value::Map(_) => {
            Err(Finding::error("", "a key must be a single value, not a list or a mapping").at(node.place))
        }
    }
}

fn scalar(place: Place, text: String, style: ScalarStyle, tag: Option<&YamlTag>) -> Result<Node, Finding> {
    let (tag, forced) = read_tag(place, tag)?;
    let style = match (style, forced) {
        (_, Some(style)) => style,
        (ScalarStyle::Plain, None) => Style::Plain,
        (_, None) => Style::Text,
    };
    Ok(Node {
        place,
        tag,
        value: Value::Scalar(Scalar {
            text,
            style,
            template: None,
        }),
    })
}

/// What a tag asks for: a way of merging, or a style.
fn read_tag(place: Place, tag: Option<&YamlTag>) -> Result<(Tag, Option<Style>), Finding> {
    let Some(tag) = tag else {
        return Ok((Tag::None, None));
    };
    if tag.is_yaml_core_schema() {
        let style = if tag.suffix == "str" {
            Some(Style::Text)
        } else {
            None
        };
        return Ok((Tag::None, style));
    }
    match tag.suffix.as_str() {
        "reset" => Ok((Tag::Reset, None)),
        "override" => Ok((Tag::Override, None)),
        "" => Ok((Tag::None, Some(Style::Text))),
        other => {
            let message = format!("unknown tag !{other}; Compose knows !reset and !override");
            Err(Finding::error("", message).at(place))
        }
    }
}

#[cfg(test)]
#[path = "parse_test.rs"]
mod tests;
