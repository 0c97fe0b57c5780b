//! `shoal service`: make, look at, change, scale, roll back and remove services.

use clap::{Args, Subcommand};

use super::{for_each, inspect_each, service_logs, service_revise, service_rows, task, warn};
use crate::exit::{Ends, Exit};
use crate::render::inspect;
use crate::render::output::{ListArgs, say};
use crate::session::Session;
use crate::wait::{self, Goal, WaitArgs};

/// Commands about services.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a service
    #[command(
        after_help = "Example:\n  shoal service create --name web --replicas 3 -p 8000:8000 nginx:1.27"
    )]
    Create(Box<service_revise::CreateArgs>),
    /// List services
    #[command(visible_alias = "list", after_help = "Filters: id, name, label, mode, stack")]
    Ls(ListArgs),
    /// List the tasks of services
    #[command(after_help = task::FILTERS_HELP)]
    Ps(task::ServicePsArgs),
    /// Show all of one or more services
    Inspect {
        /// Names, ids or unique prefixes
        #[arg(required = true)]
        services: Vec<String>,
    },
    /// Set the replicas of services: all or none
    #[command(after_help = "Example:\n  shoal service scale web=5 api=2")]
    Scale(ScaleArgs),
    /// Change a service
    #[command(
        after_help = "Examples:\n  shoal service update --image nginx:1.28 --update-parallelism 2 web\n  \
                      shoal service update --pause web"
    )]
    Update(Box<service_revise::UpdateArgs>),
    /// Go back to an older revision
    #[command(after_help = "Example:\n  shoal service rollback --to 3 web")]
    Rollback(service_revise::RollbackArgs),
    /// Show what tasks wrote
    Logs(service_logs::LogsArgs),
    /// Remove services
    #[command(visible_alias = "remove")]
    Rm(RmArgs),
    /// List the revisions of a service
    History(service_rows::HistoryArgs),
}

/// Arguments of `service scale`.
#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// SERVICE=REPLICAS
    #[arg(required = true, value_name = "SERVICE=REPLICAS")]
    scales: Vec<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Arguments of `service rm`.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// Names, ids or unique prefixes
    #[arg(required = true)]
    services: Vec<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        match self {
            Self::Create(args) => service_revise::create(session, *args).await,
            Self::Ls(args) => service_rows::list(session, args).await,
            Self::Ps(args) => task::service_ps(session, args).await,
            Self::Inspect { services } => {
                inspect_each(session, &services, async |c, s| {
                    Ok(inspect::service(&c.service(s).await?))
                })
                .await
            }
            Self::Scale(args) => scale(session, args).await,
            Self::Update(args) => service_revise::update(session, *args).await,
            Self::Rollback(args) => service_revise::rollback(session, args).await,
            Self::Logs(args) => service_logs::run(session, args).await,
            Self::Rm(args) => remove(session, args).await,
            Self::History(args) => service_rows::history(session, args).await,
        }
    }
}

async fn scale(session: &Session, args: ScaleArgs) -> anyhow::Result<Exit> {
    let mut scales = Vec::new();
    for text in &args.scales {
        let parsed = text
            .split_once('=')
            .and_then(|(s, n)| Some((s.to_owned(), n.parse::<u64>().ok()?)));
        let wrong = || {
            Ends::with(
                Exit::Usage,
                format!("{text:?} is not a scale: write SERVICE=REPLICAS, such as web=5"),
            )
        };
        scales.push(parsed.ok_or_else(wrong)?);
    }
    let mut cluster = session.cluster().await?;
    let mut ids = Vec::new();
    for (service, _) in &scales {
        ids.push(cluster.service(service).await?.row.service.id.to_string());
    }
    let done = cluster.scale(&scales).await?;
    warn(&done.warnings);
    for (service, replicas) in &scales {
        say(&format!("{service} scaled to {replicas}\n"));
    }
    wait::services(&mut cluster, ids, Goal::Settled, args.wait).await
}

async fn remove(session: &Session, args: RmArgs) -> anyhow::Result<Exit> {
    let mut cluster = session.cluster().await?;
    let mut ids = Vec::new();
    let result = for_each(&args.services, async |service| {
        let id = cluster.service(service).await?.row.service.id.to_string();
        let done = cluster.remove_service(&id).await?;
        warn(&done.warnings);
        say(&format!("{service}\n"));
        ids.push(id);
        Ok(())
    })
    .await;
    wait::services(&mut cluster, ids, Goal::Removed, args.wait).await?;
    result
}
