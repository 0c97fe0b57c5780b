//! What secrets and configs have in common on the command line.

use std::collections::BTreeMap;
use std::io::Read as _;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use shoal_proto::object::Meta;
use shoal_proto::secret::ContentVersion;

use crate::flags;
use crate::render::output::Item;
use crate::render::table::ago;

/// Arguments of `secret create` and `config create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Set a label KEY=VALUE
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Name
    pub(crate) name: String,
    /// File with the content; - reads standard input
    file: String,
}

impl CreateArgs {
    /// Labels as given.
    pub(crate) fn labels(&self) -> anyhow::Result<BTreeMap<String, String>> {
        self.labels.iter().map(|l| flags::pair(l)).collect()
    }

    /// The content, refused when it is empty or larger than `bytes_max`.
    pub(crate) fn read(&self, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // One byte more than allowed tells a large file from one that just fits, without reading all of it.
        let limit = bytes_max as u64 + 1;
        if self.file == "-" {
            std::io::stdin()
                .take(limit)
                .read_to_end(&mut bytes)
                .context("cannot read standard input")?;
        } else {
            let file =
                std::fs::File::open(&self.file).with_context(|| format!("cannot read {}", self.file))?;
            file.take(limit)
                .read_to_end(&mut bytes)
                .with_context(|| format!("cannot read {}", self.file))?;
        }
        if bytes.is_empty() {
            bail!("{} is empty: {} needs at least one byte", self.file, self.name);
        }
        if bytes.len() > bytes_max {
            bail!(
                "{} is larger than the {} KiB that {} may have",
                self.file,
                bytes_max / 1024,
                self.name
            );
        }
        Ok(bytes)
    }
}

/// Head of the listing.
pub(crate) const HEAD: [&str; 5] = ["ID", "NAME", "VERSIONS", "CREATED", "UPDATED"];

/// A row of the listing.
pub(crate) fn item(id: String, name: &str, meta: &Meta, versions: &[ContentVersion]) -> Item {
    let since = |at| format!("{} ago", ago(crate::clock::now().ms_since(at)));
    Item {
        cells: vec![
            id.clone(),
            name.to_owned(),
            versions.len().to_string(),
            since(meta.created_at),
            since(meta.updated_at),
        ],
        data: json!({
            "ID": id,
            "Name": name,
            "Versions": versions.iter().map(|v| v.number).collect::<Vec<_>>(),
            "CreatedAt": meta.created_at.as_ms(),
            "UpdatedAt": meta.updated_at.as_ms(),
        }),
        id,
    }
}
