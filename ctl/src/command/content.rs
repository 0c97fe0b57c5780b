//! `shoal secret` and `shoal config`: make, list, look at and remove what tasks see as files.

use std::collections::BTreeMap;
use std::io::Read as _;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueHint};
use serde_json::json;
use shoal_proto::config::CONFIG_BYTES_MAX;
use shoal_proto::secret::SECRET_BYTES_MAX;
use shoal_proto::stack::ContentSpec;

use super::{NamesArgs, inspect_each, warn, write_each};
use crate::client::{ContentKind, ContentRow};
use crate::exit::Exit;
use crate::flags;
use crate::render::inspect;
use crate::render::output::{Item, ListArgs, print_list, say};
use crate::render::table::{natural, since};
use crate::session::Session;

/// Commands about secrets or configs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make one from a file or standard input
    #[command(after_help = "Example:\n  printf %s hunter2 | shoal secret create password -")]
    Create(CreateArgs),
    /// List them
    #[command(visible_alias = "list", after_help = "Filters: id, name, label")]
    Ls(ListArgs),
    /// Show all of one or more
    Inspect(NamesArgs),
    /// Remove those that nobody uses
    #[command(visible_alias = "remove")]
    Rm(NamesArgs),
}

/// Arguments of `secret create` and `config create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Set a label KEY=VALUE
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Name
    name: String,
    /// File with the content; - reads standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: String,
}

impl CreateArgs {
    /// Labels as given.
    fn labels(&self) -> anyhow::Result<BTreeMap<String, String>> {
        self.labels.iter().map(|l| flags::pair(l)).collect()
    }

    /// The content, refused when it is empty or larger than `bytes_max`.
    fn read(&self, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
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

impl Command {
    pub(crate) async fn run(self, session: &Session, kind: ContentKind) -> anyhow::Result<Exit> {
        match self {
            Self::Create(args) => create(session, kind, &args).await,
            Self::Ls(args) => list(session, kind, args).await,
            Self::Inspect(NamesArgs { names }) => {
                inspect_each(session, &names, async |c, name| {
                    Ok(inspect::content(&c.content(kind, name).await?))
                })
                .await
            }
            Self::Rm(NamesArgs { names }) => {
                write_each(session, &names, async |c, name| {
                    c.remove_content(kind, name).await
                })
                .await
            }
        }
    }
}

const fn bytes_max(kind: ContentKind) -> usize {
    match kind {
        ContentKind::Secret => SECRET_BYTES_MAX,
        ContentKind::Config => CONFIG_BYTES_MAX,
    }
}

async fn create(session: &Session, kind: ContentKind, args: &CreateArgs) -> anyhow::Result<Exit> {
    let (bytes, labels) = (args.read(bytes_max(kind))?, args.labels()?);
    let mut cluster = session.cluster().await?;
    let digest = cluster.upload(&bytes).await?;
    let spec = ContentSpec {
        name: args.name.clone(),
        labels,
        digest,
    };
    let created = cluster.create_content(kind, &spec).await?;
    warn(&created.warnings);
    say(&format!("{}\n", created.id));
    Ok(Exit::Done)
}

async fn list(session: &Session, kind: ContentKind, args: ListArgs) -> anyhow::Result<Exit> {
    let mut found = session.cluster().await?.contents(kind, args.filters).await?;
    found.sort_by(|a, b| natural(&a.name, &b.name));
    let head = ["ID", "NAME", "VERSIONS", "CREATED", "UPDATED"];
    print_list(&args.print, &head, found.iter().map(item).collect());
    Ok(Exit::Done)
}

fn item(row: &ContentRow) -> Item {
    Item {
        id: row.id.clone(),
        cells: vec![
            row.id.clone(),
            row.name.clone(),
            row.versions.len().to_string(),
            since(row.meta.created_at),
            since(row.meta.updated_at),
        ],
        data: json!({
            "ID": row.id,
            "Name": row.name,
            "Labels": row.labels,
            "Versions": row.versions.iter().map(|v| v.number).collect::<Vec<_>>(),
            "CreatedAt": inspect::time(row.meta.created_at),
            "UpdatedAt": inspect::time(row.meta.updated_at),
        }),
    }
}
