//! `shoal registry`: credentials that the cluster uses at every pull.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::warn;
use crate::client::Credential;
use crate::exit::Exit;
use crate::render::inspect;
use crate::render::output::{Item, PrintArgs, print_list, say};
use crate::render::table::since;
use crate::session::Session;

/// Commands about registries.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keep credentials for a registry in the cluster, sealed
    #[command(
        after_help = "Example:\n  shoal registry login --username ci --password-stdin registry.example:5000 < token"
    )]
    Login(LoginArgs),
    /// Forget the credentials for a registry
    Logout {
        /// The registry
        registry: String,
    },
    /// List registries with credentials
    #[command(visible_alias = "list")]
    Ls(PrintArgs),
}

/// Arguments of `registry login`.
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// Who
    #[arg(short, long)]
    username: String,
    /// Read the password or token from standard input
    #[arg(long)]
    password_stdin: bool,
    /// The registry, such as registry.example:5000
    #[arg(default_value = "docker.io")]
    registry: String,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        match self {
            Self::Login(args) => login(session, args).await,
            Self::Logout { registry } => {
                warn(
                    &session
                        .cluster()
                        .await?
                        .logout_registry(&registry)
                        .await?
                        .warnings,
                );
                say(&format!("{registry}\n"));
                Ok(Exit::Done)
            }
            Self::Ls(print) => list(session, &print).await,
        }
    }
}

async fn login(session: &Session, args: LoginArgs) -> anyhow::Result<Exit> {
    if !args.password_stdin && std::io::stdin().is_terminal() {
        bail!("a password typed here would show: give it on standard input with --password-stdin");
    }
    let mut password = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut password)
        .context("cannot read the password from standard input")?;
    let password = password.trim_end_matches(['\r', '\n']).to_owned();
    if password.is_empty() {
        bail!("the password on standard input is empty");
    }
    let credential = Credential {
        host: args.registry.clone(),
        username: args.username,
        password,
    };
    warn(
        &session
            .cluster()
            .await?
            .login_registry(credential)
            .await?
            .warnings,
    );
    say(&format!("{}\n", args.registry));
    Ok(Exit::Done)
}

async fn list(session: &Session, print: &PrintArgs) -> anyhow::Result<Exit> {
    let rows = session.cluster().await?.registries().await?;
    let item = |r: &crate::client::RegistryRow| Item {
        id: r.host.clone(),
        cells: vec![r.host.clone(), r.username.clone(), since(r.updated_at)],
        data: json!({"Registry": r.host, "Username": r.username, "UpdatedAt": inspect::time(r.updated_at)}),
    };
    print_list(
        print,
        &["REGISTRY", "USERNAME", "UPDATED"],
        rows.iter().map(item).collect(),
    );
    Ok(Exit::Done)
}
