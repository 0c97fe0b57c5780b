//! `shoal context`: clusters this workstation knows.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use shoal_proto::identity::{Applicant, DialError, JoinError, JoinToken, Role, join, with_port};

use super::{for_each, warn};
use crate::context::Contexts;
use crate::exit::{Ends, Exit};
use crate::render::output::{Item, PrintArgs, print_list, say};

/// Commands about contexts.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a cluster known here: get a certificate for a token and keep all managers' addresses
    #[command(
        after_help = "Example:\n  shoal context create prod --manager 10.0.0.11:4600 --token SHOAL-1-…"
    )]
    Create(CreateArgs),
    /// List contexts
    #[command(visible_alias = "list")]
    Ls(PrintArgs),
    /// Use a context from now on
    Use {
        /// Its name
        name: String,
    },
    /// Print the name of the current context
    Show,
    /// Forget contexts with their keys
    #[command(visible_alias = "remove")]
    Rm {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// Arguments of `context create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Name of the new context
    name: String,
    /// A manager, HOST[:PORT]
    #[arg(long, value_name = "ADDR")]
    manager: String,
    /// Operator token; - reads it from standard input
    #[arg(long, env = "SHOAL_TOKEN", hide_env_values = true)]
    token: String,
}

impl Command {
    pub(crate) async fn run(self) -> anyhow::Result<Exit> {
        let contexts = Contexts::of_user()?;
        match self {
            Self::Create(args) => create(&contexts, args).await?,
            Self::Ls(print) => list(&contexts, &print)?,
            Self::Use { name } => contexts.choose(&name)?,
            Self::Show => {
                let name = contexts.current();
                let name = name.context("no context is chosen: `shoal context use NAME` chooses one")?;
                say(&format!("{name}\n"));
            }
            Self::Rm { names } => {
                return for_each(&names, async |name| {
                    contexts.remove(name)?;
                    say(&format!("{name}\n"));
                    Ok(())
                })
                .await;
            }
        }
        Ok(Exit::Done)
    }
}

async fn create(contexts: &Contexts, args: CreateArgs) -> anyhow::Result<()> {
    let folder = contexts.folder(&args.name)?;
    if folder.path().exists() {
        bail!(
            "context {} exists already: `shoal context rm {}` forgets it",
            args.name,
            args.name
        );
    }
    let text = if args.token == "-" {
        std::io::read_to_string(std::io::stdin()).context("cannot read the token from standard input")?
    } else {
        args.token
    };
    let token: JoinToken = text.trim().parse()?;
    let applicant = Applicant {
        hostname: user(),
        ..Applicant::default()
    };
    let manager = with_port(&args.manager);
    let joined = join(&manager, &token, Role::Operator, applicant, None)
        .await
        .map_err(|error| match error {
            JoinError::Dial(DialError::Unreachable { .. }) => Ends::with(Exit::NoManager, error.to_string()),
            // Its own words alone: the causes behind it say the same once more.
            other => Ends::with(Exit::Refused, other.to_string()),
        })?;
    warn(&joined.warnings);
    let mut managers = joined.managers;
    if !managers.contains(&manager) {
        managers.insert(0, manager);
    }
    folder.write_identity(&joined.credentials, None, &managers)?;
    if contexts.current().is_none() {
        contexts.choose(&args.name)?;
    }
    say(&format!("{}\n", args.name));
    Ok(())
}

/// The name to show for this operator: the user's at this workstation.
fn user() -> String {
    let named = ["USER", "LOGNAME", "USERNAME"]
        .iter()
        .find_map(|n| std::env::var(n).ok());
    named
        .filter(|n| !n.is_empty())
        .unwrap_or_else(|| "operator".to_owned())
}

fn list(contexts: &Contexts, print: &PrintArgs) -> anyhow::Result<()> {
    let current = contexts.current();
    let mut items = Vec::new();
    for name in contexts.names()? {
        let membership = contexts.folder(&name)?.membership(None)?;
        let managers = membership
            .as_ref()
            .map(|m| m.managers.join(","))
            .unwrap_or_default();
        let cluster = membership.map(|m| m.cluster.to_string()).unwrap_or_default();
        let star = if current.as_deref() == Some(&name) {
            " *"
        } else {
            ""
        };
        items.push(Item {
            id: name.clone(),
            cells: vec![format!("{name}{star}"), cluster.clone(), managers.clone()],
            data: json!({"Name": name, "Cluster": cluster, "Managers": managers, "Current": !star.is_empty()}),
        });
    }
    print_list(print, &["NAME", "CLUSTER", "MANAGERS"], items);
    Ok(())
}
