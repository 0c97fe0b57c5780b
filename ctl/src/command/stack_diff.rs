//! `shoal stack diff`: what lies between two revisions of a stack, or between a file and the cluster. Changes nothing.

use clap::Args;

use super::stack_deploy::{FromFiles, PlanFormat, Prepared, Resolve, prepare, print_plan};
use super::stack_files::FileArgs;
use super::stack_select::SelectArgs;
use crate::client::{DeployOrder, Extent};
use crate::exit::{Ends, Exit};
use crate::plan::{self, Change, What};
use crate::session::Session;

/// Arguments of `stack diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    #[command(flatten)]
    files: FileArgs,
    /// With -c: as if the services that the file does not name any more were removed
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    select: SelectArgs,
    /// With -c: when to ask the registry for the digest behind a tag, as for `stack deploy`
    #[arg(long, value_name = "WHEN", default_value = "changed")]
    resolve_image: Resolve,
    /// End with 8 when something differs
    #[arg(long)]
    exit_code: bool,
    /// text, or json: one thing a line
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true
    )]
    format: PlanFormat,
    /// Name of the stack; with -c it may be left out, as for `stack deploy`
    stack: Option<String>,
    /// Revision to begin at; without it the one before the newest
    #[arg(value_name = "FROM")]
    from: Option<u64>,
    /// Revision to end at; without it the newest
    #[arg(value_name = "TO")]
    to: Option<u64>,
}

pub(super) async fn run(session: &Session, args: DiffArgs) -> anyhow::Result<Exit> {
    let changes = if args.files.is_any_named() {
        against_the_cluster(session, &args).await?
    } else {
        between_revisions(session, &args).await?
    };
    print_plan(&changes, args.format);
    let differs = changes.iter().any(|change| change.what != What::Unchanged);
    Ok(if args.exit_code && differs {
        Exit::Differs
    } else {
        Exit::Done
    })
}

async fn against_the_cluster(session: &Session, args: &DiffArgs) -> anyhow::Result<Vec<Change>> {
    if args.from.is_some() {
        let message = "-c compares a file with what runs: give revisions or a file, not both";
        return Err(Ends::with(Exit::Usage, message));
    }
    let from = FromFiles {
        files: &args.files,
        select: &args.select,
        stack: args.stack.clone(),
        prune: args.prune,
        resolve: args.resolve_image,
        with_registry_auth: false,
    };
    let Prepared {
        mut cluster,
        converted,
        ..
    } = prepare(session, &from).await?;
    let order = DeployOrder {
        prune: args.prune,
        credentials: Vec::new(),
        extent: Extent::Plan,
    };
    let planned = cluster.deploy_stack(&converted.spec, order).await?;
    Ok(plan::of(&planned))
}

async fn between_revisions(session: &Session, args: &DiffArgs) -> anyhow::Result<Vec<Change>> {
    let Some(stack) = &args.stack else {
        let message = "which stack? Write `shoal stack diff STACK` for its revisions, or -c FILE for a file";
        return Err(Ends::with(Exit::Usage, message));
    };
    let mut cluster = session.cluster().await?;
    let to = cluster.stack_revision(stack, args.to.unwrap_or(0)).await?;
    let number = match args.from {
        Some(from) => from,
        None => before_newest(&cluster.stack(stack).await?)?,
    };
    let from = cluster.stack_revision(stack, number).await?;
    Ok(plan::between_revisions(&from, &to))
}

fn before_newest(stack: &shoal_proto::stack::Stack) -> anyhow::Result<u64> {
    let before = stack.revisions.iter().rev().nth(1);
    before.map(|revision| revision.number).ok_or_else(|| {
        let message = format!(
            "stack {} has one revision alone: there is none to compare it with",
            stack.name
        );
        Ends::with(Exit::Refused, message)
    })
}
