//! The command line of `shoal-agent`. It checks what can be checked without touching anything.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use shoal_daemon::args::{HostArgs, TokenArgs, parse_label};

use crate::secrets::SECRETS_DIR;

/// Runs the tasks of one node of a Shoal cluster through the local Docker Engine.
#[derive(Debug, Parser)]
#[command(name = "shoal-agent", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon; without an identity it waits for `join`
    Run(Box<RunArgs>),
    /// Make this host a node of a cluster
    Join(JoinArgs),
    /// End this host's membership: its tasks, networks and secrets go
    Leave(LeaveArgs),
    /// Say what the daemon on this host is and waits for
    Status(SocketArgs),
    /// Seal what encrypted networks send; started by the daemon where the kernel has no WireGuard
    #[command(hide = true)]
    Tunnel(TunnelArgs),
}

/// The program that seals.
#[derive(Debug, Clone, Args)]
pub struct TunnelArgs {
    /// Name of its device
    #[arg(value_name = "DEVICE")]
    pub device: String,
    /// Where it is told its key and its peers
    #[arg(value_name = "SOCKET")]
    pub socket: PathBuf,
}

/// Where the daemon listens for orders.
#[derive(Debug, Clone, Args)]
pub struct SocketArgs {
    /// The daemon's own socket
    #[arg(
        long,
        env = "SHOAL_AGENT_SOCKET",
        default_value = "/run/shoal/agent.sock",
        value_name = "PATH"
    )]
    pub socket: PathBuf,
}

/// The daemon.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The host
    #[command(flatten)]
    pub host: HostArgs,
    /// The Docker Engine
    #[arg(
        long,
        env = "SHOAL_ENGINE",
        default_value = "unix:///var/run/docker.sock",
        value_name = "unix://PATH"
    )]
    pub engine: String,
    /// Address by which the other hosts reach this one; as the managers see it where not given
    #[arg(long, env = "SHOAL_ADVERTISE", value_name = "ADDR")]
    pub advertise: Option<IpAddr>,
    /// A label of this node, used when it joins (repeatable)
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub labels: Vec<(String, String)>,
    /// The memory in which secrets are kept
    #[arg(long, env = "SHOAL_SECRETS_DIR", default_value = SECRETS_DIR, value_name = "DIR")]
    pub secrets_dir: PathBuf,
    /// The daemon's own socket
    #[command(flatten)]
    pub socket: SocketArgs,
    /// Socket of the manager on this host, if there is one
    #[arg(
        long,
        env = "SHOAL_MANAGER_SOCKET",
        default_value = "/run/shoal/manager.sock",
        value_name = "PATH",
        hide = true
    )]
    pub manager_socket: PathBuf,
    /// Where health and metrics are served; loopback only
    #[arg(
        long,
        env = "SHOAL_AGENT_HEALTH",
        default_value = "127.0.0.1:4602",
        value_name = "ADDR:PORT"
    )]
    pub health: SocketAddr,
}

/// Joining a cluster.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// A manager of the cluster
    #[arg(value_name = "ADDR[:PORT]")]
    pub address: String,
    /// The token
    #[command(flatten)]
    pub token: TokenArgs,
    /// A label of this node (repeatable)
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub labels: Vec<(String, String)>,
    /// Address by which the other hosts reach this one
    #[arg(long, value_name = "ADDR")]
    pub advertise: Option<IpAddr>,
    /// Give up what this host was before, with the tasks it runs
    #[arg(long)]
    pub reset: bool,
    /// The daemon's own socket
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// Leaving a cluster.
#[derive(Debug, Args)]
pub struct LeaveArgs {
    /// Leave even though containers cannot be removed
    #[arg(long)]
    pub force: bool,
    /// The daemon's own socket
    #[command(flatten)]
    pub socket: SocketArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
