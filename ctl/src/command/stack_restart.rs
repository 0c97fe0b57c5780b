//! `shoal stack restart`: new tasks of the same content, by the services' own rules for updates.

use clap::Args;

use super::stack_deploy::tell;
use super::stack_history::goals;
use super::warn;
use crate::exit::Exit;
use crate::session::Session;
use crate::wait::{self, WaitArgs};

/// Arguments of `stack restart`.
#[derive(Debug, Args)]
pub struct RestartArgs {
    #[command(flatten)]
    wait: WaitArgs,
    /// The stack
    stack: String,
    /// Only these services of it, such as web or shop_web
    services: Vec<String>,
}

pub(super) async fn run(session: &Session, args: RestartArgs) -> anyhow::Result<Exit> {
    let mut cluster = session.cluster().await?;
    let done = cluster.restart_stack(&args.stack, args.services).await?;
    warn(&done.warnings);
    tell(&args.stack, &done);
    wait::all(&mut cluster, goals(&done), args.wait).await
}
