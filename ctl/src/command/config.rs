//! `shoal config`: make, list, look at and remove configs.

use clap::Subcommand;
use shoal_proto::config::CONFIG_BYTES_MAX;

use super::{content, for_each, warn};
use crate::cli::Session;
use crate::exit::Exit;
use crate::render::inspect;
use crate::render::output::{ListArgs, check_format, print_list, say};

/// Commands about configs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a config from a file or standard input
    #[command(after_help = "Example:\n  printf %s hunter2 | shoal config create password -")]
    Create(content::CreateArgs),
    /// List configs
    #[command(visible_alias = "list", after_help = "Filters: id, name, label")]
    Ls(ListArgs),
    /// Show all of one or more configs
    Inspect {
        /// Names, ids or unique prefixes
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove configs that nobody uses
    #[command(visible_alias = "remove")]
    Rm {
        /// Names, ids or unique prefixes
        #[arg(required = true)]
        names: Vec<String>,
    },
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        match self {
            Self::Create(args) => create(session, &args).await,
            Self::Ls(args) => list(session, args).await,
            Self::Inspect { names } => inspect_all(session, &names).await,
            Self::Rm { names } => remove(session, &names).await,
        }
    }
}

async fn create(session: &Session, args: &content::CreateArgs) -> anyhow::Result<Exit> {
    let (bytes, labels) = (args.read(CONFIG_BYTES_MAX)?, args.labels()?);
    let mut cluster = session.cluster().await?;
    let digest = cluster.upload(&bytes).await?;
    let created = cluster.create_config(&args.name, labels, digest).await?;
    warn(&created.warnings);
    say(&format!("{}\n", created.id));
    Ok(Exit::Done)
}

async fn list(session: &Session, args: ListArgs) -> anyhow::Result<Exit> {
    check_format(&args.print)?;
    let found = session.cluster().await?.configs(args.filters).await?;
    let items = found
        .iter()
        .map(|s| content::item(s.id.to_string(), &s.name, &s.meta, &s.versions))
        .collect();
    print_list(&args.print, &content::HEAD, items);
    Ok(Exit::Done)
}

async fn inspect_all(session: &Session, names: &[String]) -> anyhow::Result<Exit> {
    let mut cluster = session.cluster().await?;
    let mut found = Vec::new();
    let result = for_each(names, async |name| {
        found.push(inspect::config(&cluster.config(name).await?));
        Ok(())
    })
    .await;
    say(&inspect::print(found));
    result
}

async fn remove(session: &Session, names: &[String]) -> anyhow::Result<Exit> {
    let mut cluster = session.cluster().await?;
    for_each(names, async |name| {
        warn(&cluster.remove_config(name).await?.warnings);
        say(&format!("{name}\n"));
        Ok(())
    })
    .await
}
