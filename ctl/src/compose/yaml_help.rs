//! Plain words for the ways a YAML file breaks before it is a tree: binary, tabs, a forgotten blank. Guesses only what
//! the text shows.

use super::finding::Finding;
use super::source::{FileId, MAX_FILE_BYTES, Place};

/// Why a text is not worth parsing: empty, too large, or not text.
#[must_use]
pub fn unreadable(text: &str, file: FileId) -> Option<Finding> {
    let start = Place {
        file,
        line: 1,
        column: 1,
        width: 1,
    };
    if text.len() > MAX_FILE_BYTES {
        let message = format!("the file has {} bytes, the limit is {MAX_FILE_BYTES}", text.len());
        return Some(Finding::error("", message).at(start));
    }
    if text.trim().is_empty() {
        return Some(empty(file));
    }
    for (number, line) in text.lines().enumerate() {
        let bad = line
            .chars()
            .enumerate()
            .find(|(_, c)| c.is_control() && *c != '\t' && *c != '\r');
        if let Some((column, c)) = bad {
            let place = Place {
                file,
                line: number + 1,
                column: column + 1,
                width: 1,
            };
            let message = format!(
                "control character U+{:04X}: this is not a text file",
                u32::from(c)
            );
            return Some(Finding::error("", message).at(place));
        }
    }
    None
}

/// What to say of a file without content; comments are none.
#[must_use]
pub fn empty(file: FileId) -> Finding {
    let start = Place {
        file,
        line: 1,
        column: 1,
        width: 1,
    };
    Finding::error("", "the file is empty; expected a mapping with services:").at(start)
}

/// The first line that is indented with a tab, unless it lies in a block or quoted text, where tabs are content.
#[must_use]
pub fn tab_indentation(text: &str, file: FileId, multiline: &[(usize, usize)]) -> Option<Finding> {
    let mut blocks = multiline.iter().peekable();
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        while blocks.next_if(|(_, last)| *last < number).is_some() {}
        let content = line.trim_start();
        let indent = &line[..line.len() - content.len()];
        let inside = blocks.peek().is_some_and(|(first, _)| *first < number);
        if content.is_empty() || content.starts_with('#') || inside {
            continue;
        }
        if let Some(column) = indent.find('\t') {
            let place = Place {
                file,
                line: number,
                column: column + 1,
                width: 1,
            };
            return Some(Finding::error("", "tab used for indentation; YAML wants blanks").at(place));
        }
    }
    None
}

/// Adds what probably happened to a parser's message.
#[must_use]
pub fn explain(mut finding: Finding, text: &str) -> Finding {
    let Some(place) = finding.place else {
        return finding;
    };
    let line = text.lines().nth(place.line - 1).unwrap_or_default();
    let before: String = line.chars().take(place.column - 1).collect();
    let after: String = line.chars().skip(place.column - 1).collect();
    if before.ends_with('$') && after.starts_with('{') {
        finding.message = "a ${…} inside [ ] or { } needs quotes around the whole value".to_owned();
        return finding;
    }
    // The parser notices a broken line only when it meets the next token, often a line later.
    let from = place.line.saturating_sub(2);
    for (number, line) in text.lines().enumerate().skip(from).take(2) {
        let Some(key) = glued_key(line) else { continue };
        finding.message = format!(
            "{}; line {}: write a blank after {key:?}",
            finding.message,
            number + 1
        );
        break;
    }
    finding
}

/// `image:nginx`: a key with its value glued to the colon.
fn glued_key(line: &str) -> Option<&str> {
    let content = line.trim().trim_start_matches("- ");
    let colon = content.find(':')?;
    let key = &content[..colon];
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let glued = content[colon + 1..]
        .chars()
        .next()
        .is_some_and(|c| !c.is_whitespace() && c != '/');
    (is_key && glued).then_some(&content[..=colon])
}
