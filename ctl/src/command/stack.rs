//! `shoal stack`: deploy, list, look at and remove stacks.

use clap::{Args, Subcommand};
use serde_json::json;

use super::service_rows::print_services;
use super::{
    service_logs, stack_deploy, stack_diff, stack_files, stack_history, stack_restart, stack_rm, task,
};
use crate::exit::Exit;
use crate::render::output::{Item, ListArgs, print_list};
use crate::render::table::natural;
use crate::session::Session;

/// Commands about stacks.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Deploy a stack from Compose files, and wait for the outcome
    #[command(
        visible_alias = "up",
        after_help = "Example:\n  shoal stack deploy -c compose.yaml shop"
    )]
    Deploy(Box<stack_deploy::DeployArgs>),
    /// Say what holds for Compose files, offline
    #[command(after_help = "Example:\n  shoal stack check -c compose.yaml --strict")]
    Check(stack_files::CheckArgs),
    /// Print Compose files as one, with variables put in, offline
    Config(stack_files::ConfigArgs),
    /// List stacks
    #[command(visible_alias = "list", after_help = "Filters: id, name")]
    Ls(ListArgs),
    /// List the tasks of a stack
    #[command(after_help = task::FILTERS_HELP)]
    Ps(task::StackPsArgs),
    /// List the services of a stack
    #[command(after_help = "Filters: id, name, label, mode")]
    Services(ServicesArgs),
    /// List the revisions of a stack
    History(stack_history::HistoryArgs),
    /// Show all of one revision of a stack
    #[command(after_help = "Example:\n  shoal stack inspect --revision 3 shop")]
    Inspect(stack_history::InspectArgs),
    /// Show what lies between two revisions, or between a file and what runs; changes nothing
    #[command(
        after_help = "Examples:\n  shoal stack diff shop 3 5\n  shoal stack diff --exit-code -c compose.yaml shop"
    )]
    Diff(Box<stack_diff::DiffArgs>),
    /// Go back to an older revision of the whole stack, and wait for the outcome
    #[command(after_help = "Example:\n  shoal stack rollback --to 3 shop")]
    Rollback(stack_history::RollbackArgs),
    /// Show what the tasks of a stack wrote, in the order of time
    #[command(after_help = "Example:\n  shoal stack logs -f --tail 20 shop web api")]
    Logs(service_logs::StackLogsArgs),
    /// Replace the tasks of a stack by new ones, as an update does
    #[command(after_help = "Example:\n  shoal stack restart shop web")]
    Restart(stack_restart::RestartArgs),
    /// Remove stacks: services, networks, secrets and configs; volumes stay
    #[command(visible_aliases = ["remove", "down"])]
    Rm(stack_rm::RmArgs),
}

/// Arguments of `stack services`.
#[derive(Debug, Args)]
pub struct ServicesArgs {
    #[command(flatten)]
    list: ListArgs,
    /// The stack
    stack: String,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        match self {
            Self::Deploy(args) => stack_deploy::run(session, *args).await,
            Self::Check(args) => stack_files::check(&args),
            Self::Config(args) => stack_files::config(&args),
            Self::Ls(args) => list(session, args).await,
            Self::Ps(args) => task::stack_ps(session, args).await,
            Self::Services(args) => services(session, args).await,
            Self::History(args) => stack_history::history(session, args).await,
            Self::Inspect(args) => stack_history::inspect(session, args).await,
            Self::Diff(args) => stack_diff::run(session, *args).await,
            Self::Rollback(args) => stack_history::rollback(session, args).await,
            Self::Logs(args) => service_logs::stack(session, args).await,
            Self::Restart(args) => stack_restart::run(session, args).await,
            Self::Rm(args) => stack_rm::run(session, args).await,
        }
    }
}

async fn list(session: &Session, args: ListArgs) -> anyhow::Result<Exit> {
    let mut rows = session.cluster().await?.stacks(args.filters).await?;
    rows.sort_by(|a, b| natural(&a.stack.name, &b.stack.name));
    let item = |row: &crate::client::StackRow| Item {
        id: row.stack.id.to_string(),
        cells: vec![row.stack.name.clone(), row.services.to_string()],
        data: json!({"ID": row.stack.id.to_string(), "Name": row.stack.name, "Services": row.services}),
    };
    print_list(
        &args.print,
        &["NAME", "SERVICES"],
        rows.iter().map(item).collect(),
    );
    Ok(Exit::Done)
}

async fn services(session: &Session, mut args: ServicesArgs) -> anyhow::Result<Exit> {
    let mut cluster = session.cluster().await?;
    cluster.stack(&args.stack).await?;
    args.list.filters.push(format!("stack={}", args.stack));
    let rows = cluster.services(args.list.filters.clone()).await?;
    print_services(&args.list, rows);
    Ok(Exit::Done)
}
