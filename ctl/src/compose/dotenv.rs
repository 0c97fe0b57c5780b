//! Environment files. `.env` and `env_file:` follow Compose: quotes, comments, variables of earlier lines. The `raw`
//! format follows `docker run --env-file`: everything after `=` is the value. Reads no file and no environment itself.

use super::finding::{Finding, Findings};
use super::interpolate::{Lookup, expand};
use super::source::{FileId, Place, Sources};

/// One line: a name, and a value unless the line only names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// None: to be taken from the caller's environment.
    pub value: Option<String>,
    /// Where the name stands.
    pub place: Place,
}

/// Reads a file with Compose's rules; `lookup` goes before the file's own earlier lines.
pub fn parse(sources: &Sources, file: FileId, lookup: Lookup<'_>, findings: &mut Findings) -> Vec<Variable> {
    let text = &sources.get(file).text;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        chars: text.chars().collect(),
        at: 0,
        line: 1,
        column: 1,
        file,
    };
    let mut out: Vec<Variable> = Vec::new();
    while reader.find_next_line() {
        match reader.variable(&out, lookup, findings) {
            Ok(variable) => out.push(variable),
            Err(finding) => findings.push(finding),
        }
        reader.skip_line();
    }
    out
}

/// Reads a file with the rules of `docker run`: no quotes, no comments behind a value, no variables.
pub fn parse_raw(sources: &Sources, file: FileId, findings: &mut Findings) -> Vec<Variable> {
    let text = &sources.get(file).text;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut out = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let column = line.chars().count() - content.chars().count() + 1;
        let (name, value) = match content.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (content.trim_end(), None),
        };
        let place = Place {
            file,
            line: index + 1,
            column,
            width: name.chars().count().max(1),
        };
        if name.is_empty() || name.contains(char::is_whitespace) {
            let message = format!("{name:?} cannot be the name of a variable");
            findings.push(Finding::error("", message).at(place));
            continue;
        }
        out.push(Variable {
            name: name.to_owned(),
            value,
            place,
        });
    }
    out
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    line: usize,
    column: usize,
    file: FileId,
}

impl Reader {
    /// Goes to the first sign of the next line that says something.
    fn find_next_line(&mut self) -> bool {
        while let Some(c) = self.peek() {
            if c == '#' {
                self.skip_line();
            } else if c.is_whitespace() {
                self.next();
            } else {
                return true;
            }
        }
        false
    }

    fn variable(
        &mut self,
        before: &[Variable],
        lookup: Lookup<'_>,
        findings: &mut Findings,
    ) -> Result<Variable, Finding> {
        let mut place = self.place(1);
        let mut name = self.name();
        if name == "export" && self.peek().is_some_and(is_blank) {
            self.skip_blanks();
            place = self.place(1);
            name = self.name();
        }
        place.width = name.chars().count().max(1);
        self.skip_blanks();
        match self.peek() {
            Some('=' | ':') if !name.is_empty() => self.next(),
            None | Some('\n' | '\r' | '#') => {
                return Ok(Variable {
                    name,
                    value: None,
                    place,
                });
            }
            Some(c) => {
                let message = format!("unexpected {c:?} in the name of a variable; expected NAME=value");
                return Err(Finding::error("", message).at(self.place(1)));
            }
        };
        let template = self.value()?;
        let earlier = |wanted: &str| {
            lookup(wanted).or_else(|| {
                let found = before.iter().rev().find(|variable| variable.name == wanted);
                found.and_then(|variable| variable.value.clone())
            })
        };
        let Template::Variables(template) = template else {
            return Ok(Variable {
                name,
                value: Some(template.text()),
                place,
            });
        };
        let expanded = expand(&template, &earlier)
            .map_err(|problem| Finding::error("", problem.to_string()).at(place))?;
        for unset in &expanded.unset {
            let message = format!("variable {unset} is not set and counts as empty");
            findings.push(Finding::warning("", message).at(place));
        }
        Ok(Variable {
            name,
            value: Some(expanded.text),
            place,
        })
    }

    fn name(&mut self) -> String {
        self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']'))
    }

    fn value(&mut self) -> Result<Template, Finding> {
        let blanks = self.skip_blanks();
        match self.peek() {
            Some('\'') => self.quoted('\'').map(Template::Literal),
            Some('"') => self.quoted('"').map(Template::Variables),
            Some('#') if blanks > 0 => Ok(Template::Literal(String::new())),
            _ => {
                let line = self.take_while(|c| c != '\n');
                let end = line
                    .char_indices()
                    .find(|(at, c)| *c == '#' && line[..*at].ends_with(is_blank));
                let value = end.map_or(line.as_str(), |(at, _)| &line[..at]);
                Ok(Template::Variables(value.trim_end().to_owned()))
            }
        }
    }

    /// A quoted value, which may go over several lines.
    fn quoted(&mut self, quote: char) -> Result<String, Finding> {
        let opened = self.place(1);
        self.next();
        let mut out = String::new();
        loop {
            match self.next() {
                None => return Err(Finding::error("", "this quote is not closed").at(opened)),
                Some(c) if c == quote => break,
                Some('\\') => out.push_str(&self.escape(quote)),
                Some(c) => out.push(c),
            }
        }
        self.skip_blanks();
        match self.peek() {
            None | Some('\n' | '\r' | '#') => Ok(out),
            Some(c) => {
                let message = format!("unexpected {c:?} after the closing quote");
                Err(Finding::error("", message).at(self.place(1)))
            }
        }
    }

    fn escape(&mut self, quote: char) -> String {
        let Some(c) = self.peek() else {
            return "\\".to_owned();
        };
        if quote == '\'' && c != '\'' {
            return "\\".to_owned();
        }
        self.next();
        match (quote, c) {
            ('"', 'n') => "\n".to_owned(),
            ('"', 'r') => "\r".to_owned(),
            ('"', 't') => "\t".to_owned(),
            ('"', '$') => "$$".to_owned(),
            (_, c) => c.to_string(),
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut out = String::new();
        while let Some(c) = self.peek().filter(|c| wanted(*c)) {
            out.push(c);
            self.next();
        }
        out
    }

    fn skip_blanks(&mut self) -> usize {
        self.take_while(is_blank).len()
    }

    fn skip_line(&mut self) {
        self.take_while(|c| c != '\n');
    }

    fn place(&self, width: usize) -> Place {
        Place {
            file: self.file,
            line: self.line,
            column: self.column,
            width,
        }
    }
}

/// A value as written: with variables to put in, or as it is.
enum Template {
    Variables(String),
    Literal(String),
}

impl Template {
    fn text(self) -> String {
        match self {
            Self::Variables(text) | Self::Literal(text) => text,
        }
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

#[cfg(test)]
#[path = "dotenv_test.rs"]
mod tests;
