//! Swarm's placeholders, such as `{{.Node.Hostname}}`, filled in on the node. Go's templates are not rebuilt:
//! a placeholder we do not know is an error that names it, never text that slips through.

use std::collections::BTreeMap;

/// What placeholders stand for, for one task on one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    plain: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

/// Why a text could not be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is no such placeholder.
    #[error("unknown placeholder {{{{{name}}}}} in {text:?}: known are {known}")]
    Unknown {
        /// The placeholder.
        name: String,
        /// Where.
        text: String,
        /// What there is.
        known: String,
    },
    /// `{{` without `}}`.
    #[error("{0:?} opens a placeholder with {{{{ and does not close it")]
    Unclosed(String),
}

impl Values {
    /// From `.Name` to its value, and the service's labels for `{{index .Service.Labels "key"}}`.
    #[must_use]
    pub fn new(plain: BTreeMap<String, String>, labels: BTreeMap<String, String>) -> Self {
        Self { plain, labels }
    }

    /// Fills in every placeholder of a text.
    ///
    /// # Errors
    /// When a placeholder is unknown or not closed.
    pub fn expand(&self, text: &str) -> Result<String, TemplateError> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("{{") {
            out.push_str(&rest[..start]);
            let inner = &rest[start + 2..];
            let end = inner
                .find("}}")
                .ok_or_else(|| TemplateError::Unclosed(text.to_owned()))?;
            out.push_str(&self.value(inner[..end].trim(), text)?);
            rest = &inner[end + 2..];
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&self, name: &str, text: &str) -> Result<String, TemplateError> {
        // `{{-` and `-}}` trim in Go; nothing stands around a placeholder that would need it here.
        let name = name.trim_start_matches('-').trim_end_matches('-').trim();
        if let Some(value) = self.plain.get(name) {
            return Ok(value.clone());
        }
        if let Some(key) = label_key(name) {
            return Ok(self.labels.get(key).cloned().unwrap_or_default());
        }
        Err(TemplateError::Unknown {
            name: name.to_owned(),
            text: text.to_owned(),
            known: self.plain.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }
}

/// The key in `.Service.Labels.key` or `index .Service.Labels "key"`.
fn label_key(name: &str) -> Option<&str> {
    if let Some(key) = name.strip_prefix(".Service.Labels.") {
        return Some(key);
    }
    let key = name
        .strip_prefix("index")?
        .trim_start()
        .strip_prefix(".Service.Labels")?
        .trim();
    key.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::Values;

    fn values() -> Values {
        let plain = [(".Node.Hostname", "h1"), (".Task.Slot", "3")];
        let labels = [("tier", "front")];
        let own = |(k, v): (&str, &str)| (k.to_owned(), v.to_owned());
        Values::new(plain.map(own).into(), labels.map(own).into())
    }

    #[test]
    fn placeholders_are_filled_in() {
        let text = "{{.Node.Hostname}}-{{ .Task.Slot }}-{{index .Service.Labels \"tier\"}}";
        assert_eq!(values().expand(text).unwrap(), "h1-3-front");
        assert_eq!(values().expand("plain").unwrap(), "plain");
    }

    #[test]
    fn an_unknown_placeholder_is_named() {
        let error = values().expand("x{{.Node.Nmae}}").unwrap_err().to_string();
        assert!(
            error.contains("{{.Node.Nmae}}") && error.contains(".Task.Slot"),
            "{error}"
        );
    }

    #[test]
    fn an_open_placeholder_is_refused() {
        assert!(values().expand("{{.Node.Hostname").is_err());
    }
}
