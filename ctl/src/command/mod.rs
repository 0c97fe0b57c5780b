//! One noun a file: arguments in, calls out, the answer printed.

pub mod cluster;
mod cluster_spare;
mod cluster_update;
pub mod completion;
pub mod content;
pub mod context;
mod log_choice;
mod log_merge;
pub mod network;
pub mod network_doctor;
pub mod node;
pub mod registry;
pub mod service;
pub mod service_logs;
pub mod service_revise;
pub mod service_rows;
pub mod simulate;
pub mod stack;
pub mod stack_deploy;
pub mod stack_diff;
pub mod stack_files;
pub mod stack_history;
pub mod stack_restart;
pub mod stack_rm;
pub mod stack_select;
pub mod task;
pub mod why;

use clap::Args;
use serde_json::Value;

use crate::client::{Cluster, Created};
use crate::exit::{Ends, Exit};
use crate::render::inspect;
use crate::render::output::say;
use crate::session::Session;

/// Which things a command is about.
#[derive(Debug, Args)]
pub struct NamesArgs {
    /// Names, ids or unique prefixes
    #[arg(required = true)]
    names: Vec<String>,
}

/// Prints what the cluster wants the operator to know.
pub(crate) fn warn(warnings: &[String]) {
    for warning in warnings {
        anstream::eprintln!("warning: {warning}");
    }
}

/// Does one thing for each name, all of them even if some fail; failures are told at the end.
pub(crate) async fn for_each<F>(names: &[String], mut one: F) -> anyhow::Result<Exit>
where
    F: AsyncFnMut(&str) -> anyhow::Result<()>,
{
    if let [only] = names {
        return one(only).await.map(|()| Exit::Done);
    }
    let mut failed = Vec::new();
    for name in names {
        if let Err(error) = one(name).await {
            anstream::eprintln!("error: {error:#}");
            failed.push((name.as_str(), crate::exit::of(&error)));
        }
    }
    let Some((_, exit)) = failed.first() else {
        return Ok(Exit::Done);
    };
    let which: Vec<&str> = failed.iter().map(|(name, _)| *name).collect();
    let message = format!("{} of {} failed: {}", failed.len(), names.len(), which.join(", "));
    Err(Ends::with(*exit, message))
}

/// Prints each named thing as `one` shows it, all that are found even if some are not.
pub(crate) async fn inspect_each<F>(session: &Session, names: &[String], one: F) -> anyhow::Result<Exit>
where
    F: AsyncFn(&mut Cluster, &str) -> anyhow::Result<Value>,
{
    let mut cluster = session.cluster().await?;
    let mut found = Vec::new();
    let result = for_each(names, async |name| {
        found.push(one(&mut cluster, name).await?);
        Ok(())
    })
    .await;
    say(&inspect::print(found));
    result
}

/// Carries a write out for each name and prints the name once it is done.
pub(crate) async fn write_each<F>(session: &Session, names: &[String], one: F) -> anyhow::Result<Exit>
where
    F: AsyncFn(&mut Cluster, &str) -> anyhow::Result<Created>,
{
    let mut cluster = session.cluster().await?;
    for_each(names, async |name| {
        warn(&one(&mut cluster, name).await?.warnings);
        say(&format!("{name}\n"));
        Ok(())
    })
    .await
}
