//! `shoal stack history`, `inspect` and `rollback`: the numbered revisions of a stack.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;
use shoal_proto::stack::StackRevision;

use super::stack_deploy::{PlanFormat, print_plan, tell};
use super::warn;
use crate::client::{Extent, Rollback, StackDeployed};
use crate::exit::Exit;
use crate::plan;
use crate::render::inspect;
use crate::render::output::{Item, PrintArgs, print_list, say};
use crate::render::table::since;
use crate::session::Session;
use crate::wait::{self, Goal, WaitArgs};

/// Arguments of `stack history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    print: PrintArgs,
    /// The stack
    stack: String,
}

/// Arguments of `stack inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Number of the revision; without it the newest
    #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
    revision: u64,
    /// The stack
    stack: String,
}

/// Arguments of `stack rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Number of the revision to go back to; without it the one before the newest
    #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
    to: u64,
    /// Bring the settings back, too, as the file had them then: replicas, policies, labels, published ports
    #[arg(long)]
    settings: bool,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: WaitArgs,
    /// The stack
    stack: String,
}

pub(super) async fn history(session: &Session, args: HistoryArgs) -> anyhow::Result<Exit> {
    let stack = session.cluster().await?.stack(&args.stack).await?;
    let newest = stack.revisions.last().map_or(0, |newest| newest.number);
    let item = |revision: &StackRevision| {
        let what = revision
            .restores
            .map_or_else(|| "deployed".to_owned(), |restored| format!("back to {restored}"));
        let is_current = revision.number == newest;
        Item {
            id: revision.number.to_string(),
            cells: vec![
                revision.number.to_string(),
                since(revision.created_at),
                revision.by.clone(),
                revision.services.len().to_string(),
                what,
                if is_current { "current" } else { "" }.to_owned(),
            ],
            data: json!({
                "Revision": revision.number,
                "CreatedAt": inspect::time(revision.created_at),
                "By": revision.by,
                "Services": revision.services.len(),
                "Restores": revision.restores,
                "Current": is_current,
            }),
        }
    };
    let head = ["REVISION", "CREATED", "BY", "SERVICES", "HOW", "STATE"];
    print_list(
        &args.print,
        &head,
        stack.revisions.iter().rev().map(item).collect(),
    );
    Ok(Exit::Done)
}

pub(super) async fn inspect(session: &Session, args: InspectArgs) -> anyhow::Result<Exit> {
    let mut cluster = session.cluster().await?;
    let detail = cluster.stack_revision(&args.stack, args.revision).await?;
    say(&inspect::print(vec![inspect::stack(&detail)]));
    Ok(Exit::Done)
}

pub(super) async fn rollback(session: &Session, args: RollbackArgs) -> anyhow::Result<Exit> {
    let mut cluster = session.cluster().await?;
    let back = Rollback {
        to_revision: args.to,
        settings: args.settings,
    };
    let extent = if args.dry_run { Extent::Plan } else { Extent::Full };
    let done = cluster.rollback_stack(&args.stack, back, extent).await?;
    warn(&done.warnings);
    if args.dry_run {
        print_plan(&plan::of(&done), PlanFormat::Text);
        return Ok(Exit::Done);
    }
    tell(&args.stack, &done);
    wait::all(&mut cluster, goals(&done), args.wait).await
}

/// What each service is waited for. That it goes back is what was asked for.
pub(super) fn goals(done: &StackDeployed) -> BTreeMap<String, Goal> {
    let services = done.changes.iter().filter(|change| change.kind == "service");
    let goal = |what: &str| match what {
        "removed" => Goal::Removed,
        "created" | "restarted" => Goal::Converged,
        _ => Goal::Settled,
    };
    services
        .map(|change| (change.id.clone(), goal(&change.what)))
        .collect()
}
