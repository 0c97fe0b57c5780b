//! `$NAME`, `${NAME}` and the operators of the Compose Specification, nested, put into the scalars of a tree. Never into
//! the text of a file, so a value cannot become YAML, and never into keys.

use std::fmt;

use super::finding::{Finding, Findings};
use super::path::Path;
use super::tree::{Node, Style, Value};

/// Deepest nesting of `${A:-${B:-…}}`.
pub const MAX_NESTING: usize = 32;
/// Longest text after the variables are put in, in bytes.
pub const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// Where values come from.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What happens where a variable without a default is not set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unset {
    /// It counts as empty, and the user is told.
    #[default]
    Warn,
    /// It is an error.
    Refuse,
}

/// A template with its variables put in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The text.
    pub text: String,
    /// Variables that are not set and have no default, in order, each once.
    pub unset: Vec<String>,
}

/// Why a template has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// `${NAME:?why}`, and it is not there.
    Required {
        /// The variable.
        name: String,
        /// The author's words, possibly empty.
        why: String,
    },
    /// It does not follow the grammar.
    Malformed(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Required { name, why } if why.is_empty() => {
                write!(f, "required variable {name} is missing")
            }
            Self::Required { name, why } => write!(f, "required variable {name} is missing: {why}"),
            Self::Malformed(what) => f.write_str(what),
        }
    }
}

/// Puts the variables into one text.
///
/// # Errors
/// A required variable is missing, or the template is malformed.
pub fn expand(template: &str, lookup: Lookup<'_>) -> Result<Expanded, Problem> {
    let mut expander = Expander {
        rest: template,
        lookup,
        unset: Vec::new(),
        quiet: 0,
    };
    let text = expander.text(0)?;
    Ok(Expanded {
        text,
        unset: expander.unset,
    })
}

/// Puts the variables into every scalar of a tree.
pub fn interpolate(tree: &mut Node, lookup: Lookup<'_>, unset: Unset, findings: &mut Findings) {
    walk(
        tree,
        Path::Root,
        &mut Context {
            lookup,
            unset,
            findings,
        },
    );
}

struct Context<'a> {
    lookup: Lookup<'a>,
    unset: Unset,
    findings: &'a mut Findings,
}

fn walk(node: &mut Node, path: Path<'_>, context: &mut Context<'_>) {
    match &mut node.value {
        Value::Scalar(_) => scalar(node, path, context),
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                walk(item, path.item(index), context);
            }
        }
        Value::Map(map) => {
            for entry in &mut map.entries {
                if entry.key.contains("${") {
                    let message =
                        "variables in keys are not replaced; write the entry as a list item instead";
                    let finding = Finding::warning(path.key(&entry.key).to_string(), message);
                    context.findings.push(finding.at(entry.place));
                }
                walk(&mut entry.value, path.key(&entry.key), context);
            }
        }
    }
}

fn scalar(node: &mut Node, path: Path<'_>, context: &mut Context<'_>) {
    let Value::Scalar(scalar) = &mut node.value else {
        return;
    };
    if !scalar.text.contains('$') {
        return;
    }
    match expand(&scalar.text, context.lookup) {
        Ok(expanded) => {
            for name in &expanded.unset {
                let finding = match context.unset {
                    Unset::Warn => Finding::warning(
                        path.to_string(),
                        format!("variable {name} is not set and counts as empty"),
                    ),
                    Unset::Refuse => Finding::error(path.to_string(), format!("variable {name} is not set")),
                };
                context.findings.push(finding.at(node.place));
            }
            scalar.template = Some(std::mem::replace(&mut scalar.text, expanded.text));
            scalar.style = Style::Text;
        }
        Err(problem) => {
            context
                .findings
                .push_broken(Finding::error(path.to_string(), problem.to_string()).at(node.place));
        }
    }
}

/// Which operator stands between name and word.
#[derive(Clone, Copy)]
enum Operator {
    Default,
    Required,
    Alternative,
}

struct Expander<'t, 'l> {
    rest: &'t str,
    lookup: Lookup<'l>,
    unset: Vec<String>,
    /// Above zero inside a branch that is not taken: its variables are neither asked for nor missed.
    quiet: usize,
}

impl Expander<'_, '_> {
    /// Text up to the end, or up to the brace that closes the enclosing `${`.
    fn text(&mut self, depth: usize) -> Result<String, Problem> {
        if depth > MAX_NESTING {
            return Err(Problem::Malformed(format!(
                "variables nested more than {MAX_NESTING} deep"
            )));
        }
        let mut out = String::new();
        let mut braces = 0_usize;
        while let Some(c) = self.rest.chars().next() {
            match c {
                '$' => self.dollar(&mut out, depth)?,
                '}' if depth > 0 && braces == 0 => return Ok(out),
                _ => {
                    braces = match c {
                        '{' => braces + 1,
                        '}' => braces.saturating_sub(1),
                        _ => braces,
                    };
                    out.push(c);
                    self.rest = &self.rest[c.len_utf8()..];
                }
            }
            if out.len() > MAX_TEXT_BYTES {
                return Err(Problem::Malformed(format!(
                    "the text grows beyond {MAX_TEXT_BYTES} bytes"
                )));
            }
        }
        if depth > 0 {
            return Err(Problem::Malformed(
                "${ is not closed; write $${ for a literal one".to_owned(),
            ));
        }
        Ok(out)
    }

    fn dollar(&mut self, out: &mut String, depth: usize) -> Result<(), Problem> {
        let after = &self.rest[1..];
        if let Some(rest) = after.strip_prefix('$') {
            self.rest = rest;
            out.push('$');
        } else if let Some(rest) = after.strip_prefix("{}") {
            self.rest = rest;
            out.push_str("${}");
        } else if let Some(rest) = after.strip_prefix('{') {
            self.rest = rest;
            out.push_str(&self.braced(depth)?);
        } else {
            self.rest = after;
            match self.name() {
                Some(name) => {
                    let value = self.value(&name);
                    out.push_str(&self.or_unset(&name, value));
                }
                None => out.push('$'),
            }
        }
        Ok(())
    }

    /// What follows `${`, its closing brace included.
    fn braced(&mut self, depth: usize) -> Result<String, Problem> {
        let Some(name) = self.name() else {
            let shown: String = self.rest.chars().take(8).collect();
            let message =
                format!("expected a variable name after ${{, found {shown:?}; write $${{ for a literal one");
            return Err(Problem::Malformed(message));
        };
        let value = self.value(&name);
        if self.take("}") {
            return Ok(self.or_unset(&name, value));
        }
        let present = if self.take(":") {
            value.filter(|value| !value.is_empty())
        } else {
            value
        };
        let operator = self.operator(&name)?;
        let word_counts = match operator {
            Operator::Default | Operator::Required => present.is_none(),
            Operator::Alternative => present.is_some(),
        };
        let word = self.word(depth, word_counts)?;
        match (operator, present) {
            (Operator::Default | Operator::Required, Some(value)) => Ok(value),
            (Operator::Required, None) if self.quiet == 0 => Err(Problem::Required { name, why: word }),
            (Operator::Alternative, None) => Ok(String::new()),
            (Operator::Default | Operator::Required, None) | (Operator::Alternative, Some(_)) => Ok(word),
        }
    }

    fn operator(&mut self, name: &str) -> Result<Operator, Problem> {
        for (sign, operator) in [
            ("-", Operator::Default),
            ("?", Operator::Required),
            ("+", Operator::Alternative),
        ] {
            if self.take(sign) {
                return Ok(operator);
            }
        }
        let shown: String = self.rest.chars().take(8).collect();
        let message = match shown.is_empty() {
            true => "${ is not closed; write $${ for a literal one".to_owned(),
            false => format!("expected }} or one of :- - :? ? :+ + after ${{{name}, found {shown:?}"),
        };
        Err(Problem::Malformed(message))
    }

    fn word(&mut self, depth: usize, counts: bool) -> Result<String, Problem> {
        let skipped = usize::from(!counts);
        self.quiet += skipped;
        let word = self.text(depth + 1);
        self.quiet -= skipped;
        let word = word?;
        self.rest = &self.rest[1..];
        Ok(word)
    }

    fn name(&mut self) -> Option<String> {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(self.rest.len());
        let name = &self.rest[..end];
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.rest = &self.rest[end..];
        Some(name.to_owned())
    }

    fn take(&mut self, sign: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(sign) else {
            return false;
        };
        self.rest = rest;
        true
    }

    fn value(&self, name: &str) -> Option<String> {
        if self.quiet > 0 { None } else { (self.lookup)(name) }
    }

    fn or_unset(&mut self, name: &str, value: Option<String>) -> String {
        if value.is_none() && self.quiet == 0 && !self.unset.iter().any(|known| known == name) {
            self.unset.push(name.to_owned());
        }
        value.unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "interpolate_test.rs"]
mod tests;
