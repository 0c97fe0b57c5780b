//! `shoal node`: list, look at, change and remove nodes.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use shoal_proto::node::NodeState;
use tokio::time::{Instant, sleep};

use super::{for_each, inspect_each, task, warn, write_each};
use crate::client::{Cluster, NodeRow, NodeUpdate};
use crate::exit::{Ends, Exit};
use crate::flags;
use crate::render::inspect;
use crate::render::output::{Item, ListArgs, print_list, say};
use crate::render::table::natural;
use crate::session::Session;
use crate::wait::{self, Goal, WaitArgs};

/// Commands about nodes.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List nodes
    #[command(
        visible_alias = "list",
        after_help = "Filters: id, name, role, availability, node.label, engine.label"
    )]
    Ls(ListArgs),
    /// Show all of one or more nodes
    Inspect {
        /// Names, ids or unique prefixes; `self` is the node of the manager that answers
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Change what a node may do
    ///
    /// A drain is waited for: until no task is left on the node, with what each is at.
    #[command(
        after_help = "Examples:\n  shoal node update --availability drain h3\n  shoal node update --label-add zone=a h3"
    )]
    Update(UpdateArgs),
    /// List the tasks of nodes
    #[command(after_help = task::FILTERS_HELP)]
    Ps(task::NodePsArgs),
    /// Make nodes managers
    Promote {
        /// Names, ids or unique prefixes
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Make managers workers again
    Demote {
        /// Names, ids or unique prefixes
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Remove nodes: drain, wait until their tasks run elsewhere, demote, revoke
    #[command(
        after_help = "Examples:\n  shoal node rm h3\n  shoal node rm --force h3    # the host is dead and will not come back"
    )]
    Rm {
        /// Names, ids or unique prefixes
        #[arg(required = true)]
        nodes: Vec<String>,
        /// For a host that is dead: at once, and its return is refused
        #[arg(short, long)]
        force: bool,
    },
}

/// Arguments of `node update`.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// active takes tasks, pause takes no new ones, drain moves them away and waits until they are
    #[arg(long)]
    availability: Option<Availability>,
    /// worker or manager
    #[arg(long)]
    role: Option<Role>,
    /// Set a label KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    label_add: Vec<String>,
    /// Remove a label
    #[arg(long, value_name = "KEY")]
    label_rm: Vec<String>,
    #[command(flatten)]
    wait: WaitArgs,
    /// Name, id or unique prefix
    node: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Availability {
    Active,
    Pause,
    Drain,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    Worker,
    Manager,
}

/// How long a change of role that goes on under another leader is followed.
const ROLE_PATIENCE: Duration = Duration::from_secs(15);
const ROLE_POLL: Duration = Duration::from_millis(200);

const WORKER: &str = "worker";
const MANAGER: &str = "manager";

impl Command {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        match self {
            Self::Ls(args) => list(session, args).await,
            Self::Inspect { nodes } => {
                inspect_each(session, &nodes, async |c, node| {
                    Ok(inspect::node(&c.node(node).await?))
                })
                .await
            }
            Self::Update(args) => update(session, args).await,
            Self::Ps(args) => task::node_ps(session, args).await,
            Self::Promote { nodes } => set_role(session, &nodes, MANAGER).await,
            Self::Demote { nodes } => set_role(session, &nodes, WORKER).await,
            Self::Rm { nodes, force } => {
                write_each(session, &nodes, async |c, node| c.remove_node(node, force).await).await
            }
        }
    }
}

async fn list(session: &Session, args: ListArgs) -> anyhow::Result<Exit> {
    let mut rows = session.cluster().await?.nodes(args.filters).await?;
    rows.sort_by(|a, b| natural(a.node.name(), b.node.name()));
    let head = [
        "ID",
        "HOSTNAME",
        "STATUS",
        "AVAILABILITY",
        "MANAGER STATUS",
        "ENGINE VERSION",
    ];
    print_list(&args.print, &head, rows.iter().map(item).collect());
    Ok(Exit::Done)
}

fn item(row: &NodeRow) -> Item {
    let node = &row.node;
    let star = if row.is_self { " *" } else { "" };
    let manager = row
        .manager
        .as_ref()
        .map_or("", |m| match (m.leader, m.reachable) {
            (true, _) => "leader",
            (false, true) => "reachable",
            (false, false) => "unreachable",
        });
    let engine = node
        .status
        .description
        .as_ref()
        .map_or("", |d| d.engine_version.as_str());
    let availability = if node.plan.removing_since.is_some() {
        "removing".to_owned()
    } else {
        node.plan.availability.to_string()
    };
    let status = match &node.status.state {
        NodeState::Unknown if node.plan.keys.agent.is_none() => "no agent".to_owned(),
        state => state.to_string(),
    };
    Item {
        id: node.id.to_string(),
        cells: vec![
            format!("{}{star}", node.id),
            node.name().to_owned(),
            status.clone(),
            availability.clone(),
            manager.to_owned(),
            engine.to_owned(),
        ],
        data: json!({
            "ID": node.id.to_string(),
            "Hostname": node.name(),
            "Status": status,
            "Availability": availability,
            "ManagerStatus": manager,
            "EngineVersion": engine,
            "Self": row.is_self,
            "TasksRunning": row.tasks_running,
            "Labels": node.plan.labels,
        }),
    }
}

async fn update(session: &Session, args: UpdateArgs) -> anyhow::Result<Exit> {
    let mut labels_add = std::collections::BTreeMap::new();
    for label in &args.label_add {
        let (key, value) = flags::pair(label)?;
        labels_add.insert(key, value);
    }
    let availability = args.availability.map(|a| match a {
        Availability::Active => "active",
        Availability::Pause => "pause",
        Availability::Drain => "drain",
    });
    let role = args.role.map(|r| match r {
        Role::Worker => WORKER,
        Role::Manager => MANAGER,
    });
    let update = NodeUpdate {
        availability: availability.unwrap_or_default().to_owned(),
        role: role.unwrap_or_default().to_owned(),
        labels_add,
        labels_rm: args.label_rm,
    };
    if update.availability.is_empty()
        && update.role.is_empty()
        && update.labels_add.is_empty()
        && update.labels_rm.is_empty()
    {
        return Err(Ends::with(
            Exit::Usage,
            "nothing to change: give --availability, --role, --label-add or --label-rm",
        ));
    }
    let mut cluster = session.cluster().await?;
    let done = cluster.update_node(&args.node, update).await?;
    if let Some(role) = role {
        follow_role(&mut cluster, &args.node, role, &done.warnings).await?;
    } else {
        warn(&done.warnings);
    }
    say(&format!("{}\n", args.node));
    if !matches!(args.availability, Some(Availability::Drain)) {
        return Ok(Exit::Done);
    }
    let id = cluster.node(&args.node).await?.id.to_string();
    wait::services(&mut cluster, vec![id], Goal::Drained, args.wait).await
}

/// Waits a little for what goes on under another leader.
async fn has_role(cluster: &mut Cluster, node: &str, role: &str) -> anyhow::Result<bool> {
    let until = Instant::now() + ROLE_PATIENCE;
    loop {
        if cluster.node(node).await?.plan.role.to_string() == role {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        sleep(ROLE_POLL).await;
    }
}

async fn set_role(session: &Session, nodes: &[String], role: &str) -> anyhow::Result<Exit> {
    let mut cluster = session.cluster().await?;
    for_each(nodes, async |node| {
        let update = NodeUpdate {
            role: role.to_owned(),
            ..NodeUpdate::default()
        };
        let done = cluster.update_node(node, update).await?;
        follow_role(&mut cluster, node, role, &done.warnings).await?;
        say(&format!("node {node} {}\n", became(role)));
        Ok(())
    })
    .await
}

fn became(role: &str) -> &'static str {
    if role == MANAGER {
        "promoted to a manager"
    } else {
        "demoted to a worker"
    }
}

/// A warning says that it goes on: another manager leads now, or something stands in the way.
async fn follow_role(
    cluster: &mut Cluster,
    node: &str,
    role: &str,
    warnings: &[String],
) -> anyhow::Result<()> {
    if warnings.is_empty() || has_role(cluster, node, role).await? {
        return Ok(());
    }
    let message = format!("node {node} is not {} yet: {}", became(role), warnings.join("; "));
    Err(Ends::with(Exit::TimedOut, message))
}
