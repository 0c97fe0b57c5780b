//! Findings as text with the line they are about, and as JSON for machines. Chooses nothing and hides nothing.

use annotate_snippets::{AnnotationKind, Group, Level as Heading, Renderer, Snippet};
use serde::Serialize;

use crate::compose::finding::{Finding, Findings, Level};
use crate::compose::source::{Place, Sources};

/// Longest line that is shown; of a longer one only the part around the place.
const MAX_LINE: usize = 200;

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// For a terminal.
    Colour,
    /// For a file or a pipe.
    Plain,
}

/// All findings in their order, each with its place and line, and a count at the end.
#[must_use]
pub fn text(sources: &Sources, findings: &Findings, style: Style) -> String {
    let mut out = String::new();
    for finding in findings.sorted() {
        out.push_str(&one(sources, finding, style));
        out.push_str("\n\n");
    }
    let count = |level: Level| match findings.count(level) {
        1 => format!("1 {}", level.as_str()),
        number => format!("{number} {}s", level.as_str()),
    };
    if !findings.sorted().is_empty() {
        out.push_str(&format!("{}, {}\n", count(Level::Error), count(Level::Warning)));
    }
    if findings.dropped() > 0 {
        out.push_str(&format!("{} more are not shown\n", findings.dropped()));
    }
    out
}

/// One finding with its lines.
#[must_use]
pub fn one(sources: &Sources, finding: &Finding, style: Style) -> String {
    let heading = match finding.level {
        Level::Error => Heading::ERROR,
        Level::Warning => Heading::WARNING,
    };
    let title = if finding.key.is_empty() || finding.key == finding.message {
        finding.message.clone()
    } else {
        format!("{}: {}", finding.key, finding.message)
    };
    let renderer = match style {
        Style::Colour => Renderer::styled(),
        Style::Plain => Renderer::plain(),
    };
    let Some(place) = finding.place else {
        return renderer.render(&[Group::with_title(heading.primary_title(title))]);
    };
    let mut group =
        heading
            .primary_title(title)
            .element(snippet(sources, place, AnnotationKind::Primary, ""));
    for (place, what) in &finding.related {
        group = group.element(snippet(sources, *place, AnnotationKind::Context, what));
    }
    renderer.render(&[group])
}

/// The one line of a place, cut around it when it is long.
fn snippet<'a>(
    sources: &'a Sources,
    place: Place,
    kind: AnnotationKind,
    label: &'a str,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let line = sources.line(place);
    let start = byte_of(line, place.column - 1);
    let end = byte_of(line, place.column - 1 + place.width).max(start);
    // A window that begins late enough to show the place and is never longer than the limit.
    let from = if line.len() > MAX_LINE {
        byte_of(line, (place.column - 1).saturating_sub(MAX_LINE / 2))
    } else {
        0
    };
    let window = &line[from..];
    let window = &window[..byte_of(window, MAX_LINE)];
    let span = (start - from).min(window.len())..(end - from).min(window.len());
    let annotation = kind.span(span);
    let annotation = if label.is_empty() {
        annotation
    } else {
        annotation.label(label)
    };
    Snippet::source(window)
        .line_start(place.line)
        .path(sources.get(place.file).name.as_str())
        .annotation(annotation)
}

/// Where the character of a number begins, or the end of the line.
fn byte_of(line: &str, character: usize) -> usize {
    line.char_indices()
        .nth(character)
        .map_or(line.len(), |(at, _)| at)
}

/// One finding for machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JsonFinding<'a> {
    /// `warning` or `error`.
    pub level: &'static str,
    /// Path of the key.
    pub key: &'a str,
    /// What is the matter.
    pub message: &'a str,
    /// The file's name as it was given.
    pub file: Option<&'a str>,
    /// From 1.
    pub line: Option<usize>,
    /// In characters, from 1.
    pub column: Option<usize>,
}

/// All findings for machines, in their order.
#[must_use]
pub fn json<'a>(sources: &'a Sources, findings: &'a Findings) -> Vec<JsonFinding<'a>> {
    let one = |finding: &'a Finding| JsonFinding {
        level: finding.level.as_str(),
        key: &finding.key,
        message: &finding.message,
        file: finding.place.map(|place| sources.get(place.file).name.as_str()),
        line: finding.place.map(|place| place.line),
        column: finding.place.map(|place| place.column),
    };
    findings.sorted().into_iter().map(one).collect()
}

#[cfg(test)]
#[path = "diagnostic_test.rs"]
mod tests;
