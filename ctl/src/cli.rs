//! The command line as a whole: global options, and which noun does what.

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::client::{ContentKind, Freshness};
use crate::command::{
    cluster, completion, content, context, network, node, registry, service, simulate, stack, why,
};
use crate::exit::{Ends, Exit};
use crate::session::Session;

/// Shoal: a cluster scheduler for Docker Engines
#[derive(Debug, Parser)]
#[command(
    name = "shoal",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Manager to ask: HOST:PORT with the context's certificate, or unix:///PATH
    // Not global, as in Docker: after the verb, `service create --host` is a line of the hosts file.
    #[arg(long, env = "SHOAL_HOST", value_name = "ADDR")]
    pub host: Option<String>,
    /// Context to use instead of the current one
    #[arg(long, global = true, value_name = "NAME", display_order = 900)]
    pub context: Option<String>,
    /// Read what the manager that is asked has, even while no manager leads; how old it may be is told
    #[arg(long, global = true)]
    pub stale: bool,
    #[command(subcommand)]
    /// What to do.
    pub noun: Noun,
}

/// What a command is about.
#[derive(Debug, Subcommand)]
pub enum Noun {
    /// The cluster as a whole: status, join tokens
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Nodes of the cluster
    #[command(subcommand)]
    Node(node::Command),
    /// Services
    #[command(subcommand)]
    Service(service::Command),
    /// Stacks of services from Compose files
    #[command(subcommand)]
    Stack(stack::Command),
    /// Say why a task, a service or a node is as it is, and what would help
    #[command(after_help = why::HELP)]
    Why(why::WhyArgs),
    /// Say what would happen if nodes were lost or drained; nothing is changed
    #[command(after_help = simulate::HELP)]
    Simulate(simulate::SimulateArgs),
    /// Networks
    #[command(subcommand)]
    Network(network::Command),
    /// Secrets
    #[command(subcommand)]
    Secret(content::Command),
    /// Configs
    #[command(subcommand)]
    Config(content::Command),
    /// Credentials for registries, kept in the cluster
    #[command(subcommand)]
    Registry(registry::Command),
    /// Clusters this workstation knows
    #[command(subcommand)]
    Context(context::Command),
    /// Print the script that completes words, and names of the cluster, in a shell
    #[command(after_help = completion::HELP)]
    Completion(completion::CompletionArgs),
    /// Say what could stand at the end of a line
    #[command(name = "__complete", hide = true)]
    Complete(completion::CompleteArgs),
}

impl Cli {
    /// Carries the command out.
    ///
    /// # Errors
    /// What stopped it; [`crate::exit::of`] says the exit code.
    pub async fn run(self) -> anyhow::Result<Exit> {
        if self.stale && !self.noun.only_reads() {
            let message =
                "--stale is for commands that only read: status, ls, ps, inspect, services, history, why";
            return Err(Ends::with(Exit::Usage, message));
        }
        let freshness = if self.stale {
            Freshness::Stale
        } else {
            Freshness::Newest
        };
        let session = Session {
            host: self.host,
            context: self.context,
            freshness,
        };
        match self.noun {
            Noun::Cluster(command) => command.run(&session).await,
            Noun::Node(command) => command.run(&session).await,
            Noun::Service(command) => command.run(&session).await,
            Noun::Stack(command) => command.run(&session).await,
            Noun::Why(args) => why::run(&session, args).await,
            Noun::Simulate(args) => simulate::run(&session, args).await,
            Noun::Network(command) => command.run(&session).await,
            Noun::Secret(command) => command.run(&session, ContentKind::Secret).await,
            Noun::Config(command) => command.run(&session, ContentKind::Config).await,
            Noun::Registry(command) => command.run(&session).await,
            Noun::Context(command) => command.run().await,
            Noun::Completion(args) => Ok(completion::script(&args)),
            Noun::Complete(args) => Ok(completion::candidates(Self::command(), session.host, args).await),
        }
    }
}

impl Noun {
    /// Whether a command asks for what every manager holds, and for nothing else.
    const fn only_reads(&self) -> bool {
        match self {
            Self::Cluster(command) => matches!(command, cluster::Command::Status(_)),
            Self::Node(command) => matches!(
                command,
                node::Command::Ls(_) | node::Command::Inspect { .. } | node::Command::Ps(_)
            ),
            Self::Service(command) => matches!(
                command,
                service::Command::Ls(_)
                    | service::Command::Ps(_)
                    | service::Command::Inspect { .. }
                    | service::Command::History { .. }
            ),
            Self::Stack(command) => matches!(
                command,
                stack::Command::Ls(_)
                    | stack::Command::Ps(_)
                    | stack::Command::Services(_)
                    | stack::Command::History(_)
                    | stack::Command::Inspect(_)
            ),
            Self::Network(command) => {
                matches!(
                    command,
                    network::Command::Ls(_) | network::Command::Inspect { .. }
                )
            }
            Self::Secret(command) | Self::Config(command) => {
                matches!(
                    command,
                    content::Command::Ls(_) | content::Command::Inspect { .. }
                )
            }
            Self::Why(_) => true,
            Self::Registry(_)
            | Self::Context(_)
            | Self::Simulate(_)
            | Self::Completion(_)
            | Self::Complete(_) => false,
        }
    }
}
