//! `shoal cluster`: status, rules and join tokens.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use shoal_proto::limits::ONE_USE_TOKEN_MS;

use super::{cluster_spare, cluster_update};
use crate::client::{ClusterStatus, TokenKind};
use crate::exit::{Ends, Exit};
use crate::render::inspect;
use crate::render::output::{Format, say};
use crate::render::table::Table;
use crate::session::Session;
use crate::values::{duration_ms, show_duration};

/// Commands about the cluster.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show managers, nodes, and what needs a look
    #[command(after_help = "Examples:\n  shoal cluster status --format json\n  shoal cluster status --stale")]
    Status(StatusArgs),
    /// Show the cluster's rules
    Inspect,
    /// Change rules that hold for the whole cluster
    #[command(
        after_help = "Examples:\n  shoal cluster update --dispatcher-heartbeat 1s\n  shoal cluster update --log-driver local --log-opt max-size=10m"
    )]
    Update(Box<cluster_update::UpdateArgs>),
    /// Print the token that admits a worker, a manager or an operator's workstation
    #[command(
        after_help = "Examples:\n  shoal cluster join-token worker --rotate\n  shoal cluster join-token worker --one-use --valid 30m"
    )]
    JoinToken(JoinTokenArgs),
}

/// Arguments of `cluster status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// table or json
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "table",
        hide_possible_values = true
    )]
    format: Format,
}

/// Arguments of `cluster join-token`.
#[derive(Debug, Args)]
pub struct JoinTokenArgs {
    /// Who is to be admitted
    role: TokenRole,
    /// Make a new token; the old one, and open one-use tokens of the role, admit nobody any more
    #[arg(long)]
    rotate: bool,
    /// Make a token that admits once, and leave the others as they are
    #[arg(long, conflicts_with = "rotate")]
    one_use: bool,
    /// How long the one-use token is good, at most 720h
    #[arg(long, value_name = "DURATION", default_value = "1h", requires = "one_use")]
    valid: String,
    /// Print the token alone
    #[arg(short, long)]
    quiet: bool,
}

/// Who a token admits.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum TokenRole {
    /// A host that runs tasks.
    Worker,
    /// A host that keeps the state, too.
    Manager,
    /// A workstation.
    Operator,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        match self {
            Self::Status(args) => status(session, args).await,
            Self::Inspect => inspect(session).await,
            Self::Update(args) => cluster_update::run(session, *args).await,
            Self::JoinToken(args) => join_token(session, args).await,
        }
    }
}

async fn status(session: &Session, args: StatusArgs) -> anyhow::Result<Exit> {
    let status = session.cluster().await?.status().await?;
    if args.format == Format::Json {
        say(&format!("{}\n", as_data(&status)));
        return Ok(Exit::Done);
    }
    let mut out = format!("Cluster:   {}\n", status.id);
    out.push_str(&format!(
        "Nodes:     {} ready of {}\n",
        status.nodes.0, status.nodes.1
    ));
    out.push_str(&format!(
        "Services:  {}, {} tasks running\n",
        status.services, status.tasks_running
    ));
    out.push_str(&format!(
        "Managers:  {}; {} more may be lost\n",
        status.managers.len(),
        status.managers_may_be_lost
    ));
    if let Some(spare) = &status.spare {
        out.push_str(&format!("Spare:     {}\n", cluster_spare::line(spare)));
    }
    let mut table = Table::new(&["MANAGER", "ADDRESS", "STATUS"]);
    for manager in &status.managers {
        let state = match (manager.leader, manager.reachable, manager.voter) {
            (true, _, _) => "leader",
            (false, false, _) => "unreachable",
            (false, true, true) => "reachable",
            (false, true, false) => "learner",
        };
        table.row(vec![
            manager.hostname.clone(),
            manager.addr.clone(),
            state.to_owned(),
        ]);
    }
    say(&format!("{out}\n{}", table.render()));
    super::warn(&status.warnings);
    Ok(Exit::Done)
}

fn as_data(status: &ClusterStatus) -> serde_json::Value {
    let manager = |m: &crate::client::ManagerRow| json!({"NodeID": m.node, "Hostname": m.hostname, "Addr": m.addr, "Leader": m.leader, "Reachable": m.reachable, "Voter": m.voter});
    json!({
        "ID": status.id,
        "Index": status.index,
        "AgeMs": status.age_ms,
        "NodesReady": status.nodes.0,
        "Nodes": status.nodes.1,
        "Services": status.services,
        "TasksRunning": status.tasks_running,
        "ManagersMayBeLost": status.managers_may_be_lost,
        "Managers": status.managers.iter().map(manager).collect::<Vec<_>>(),
        "Warnings": status.warnings,
        "Spare": status.spare.as_ref().map(cluster_spare::data),
    })
}

async fn inspect(session: &Session) -> anyhow::Result<Exit> {
    let status = session.cluster().await?.status().await?;
    let found = json!({
        "ID": status.id,
        "Version": {"Index": status.version},
        "Spec": cluster_update::as_data(&status.spec),
    });
    say(&inspect::print(vec![found]));
    Ok(Exit::Done)
}

async fn join_token(session: &Session, args: JoinTokenArgs) -> anyhow::Result<Exit> {
    let role = match args.role {
        TokenRole::Worker => "worker",
        TokenRole::Manager => "manager",
        TokenRole::Operator => "operator",
    };
    let kind = args.kind()?;
    let token = session.cluster().await?.join_token(role, kind).await?;
    if args.quiet {
        say(&format!("{}\n", token.token));
        return Ok(Exit::Done);
    }
    let manager = token.managers.first().map_or("ADDR", String::as_str);
    let how = match args.role {
        TokenRole::Worker => format!("shoal-agent join {manager} --token {}", token.token),
        TokenRole::Manager => format!("shoal-manager join {manager} --token {}", token.token),
        TokenRole::Operator => format!(
            "shoal context create NAME --manager {manager} --token {}",
            token.token
        ),
    };
    if args.rotate {
        say(&format!(
            "The {role} token was replaced; the old one admits nobody any more.\n\n"
        ));
    }
    let place = if matches!(args.role, TokenRole::Operator) {
        "workstation"
    } else {
        "host"
    };
    let once = match kind {
        TokenKind::OneUse { good_ms } => format!(" within {}, once", show_duration(good_ms)),
        TokenKind::Current | TokenKind::Rotated => String::new(),
    };
    say(&format!("To add a {place}, run there{once}:\n\n    {how}\n"));
    Ok(Exit::Done)
}

impl JoinTokenArgs {
    fn kind(&self) -> anyhow::Result<TokenKind> {
        if !self.one_use {
            return Ok(if self.rotate {
                TokenKind::Rotated
            } else {
                TokenKind::Current
            });
        }
        let good_ms = duration_ms(&self.valid)?;
        if !ONE_USE_TOKEN_MS.contains(&good_ms) {
            let message = format!("--valid {}: a one-use token is good for 1s to 720h", self.valid);
            return Err(Ends::with(Exit::Usage, message));
        }
        Ok(TokenKind::OneUse { good_ms })
    }
}
