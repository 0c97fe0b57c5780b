//! The `key=value,key=value` form of `--mount`, `--publish`, `--secret`, `--config` and `--network`.

use anyhow::{anyhow, bail};

/// Fields of one value, in the order given, taken out one by one so that what is left over can be refused.
pub(crate) struct Fields {
    left: Vec<(String, String)>,
}

impl Fields {
    /// Splits at commas. A field without `=` gets an empty value; quotes protect commas as in CSV.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut left = Vec::new();
        for field in split(text)? {
            let (key, value) = field.split_once('=').unwrap_or((&field, ""));
            if key.is_empty() {
                bail!("{text:?} has an empty field: write key=value,key=value");
            }
            left.push((key.trim().to_ascii_lowercase(), value.to_owned()));
        }
        Ok(Self { left })
    }

    /// Takes the one field with any of these names.
    pub(crate) fn take(&mut self, names: &[&str]) -> anyhow::Result<Option<String>> {
        let mut found = self.take_all(names);
        match found.len() {
            0 => Ok(None),
            1 => Ok(found.pop()),
            _ => Err(anyhow!("{} is given twice", names[0])),
        }
    }

    /// Takes all fields with any of these names.
    pub(crate) fn take_all(&mut self, names: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        self.left.retain(|(key, value)| {
            let hit = names.contains(&key.as_str());
            if hit {
                found.push(value.clone());
            }
            !hit
        });
        found
    }

    /// Takes a field that is true when it stands alone.
    pub(crate) fn take_flag(&mut self, names: &[&str]) -> anyhow::Result<bool> {
        match self.take(names)?.as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(other) => Err(anyhow!("{} is {other:?}: write true or false", names[0])),
        }
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self, known: &str) -> anyhow::Result<()> {
        match self.left.first() {
            None => Ok(()),
            Some((key, _)) => Err(anyhow!("{key:?} is not a field here: known are {known}")),
        }
    }
}

fn split(text: &str) -> anyhow::Result<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields
                .last_mut()
                .expect("there is always a last field")
                .push(other),
        }
    }
    if quoted {
        bail!("{text:?} has an open quote");
    }
    Ok(fields)
}
