//! The command line of `shoal-manager` and what it turns into. Reads no state and starts nothing.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use shoal_daemon::args::{HostArgs, TokenArgs, parse_label};
use shoal_proto::cluster::ClusterSpec;
use shoal_proto::subnet::Subnet;

/// Keeps the state of a Shoal cluster and decides what runs where.
#[derive(Debug, Parser)]
#[command(name = "shoal-manager", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon; without an identity it waits for `init` or `join`
    Run(RunArgs),
    /// Found a cluster with this host as its first manager
    Init(InitArgs),
    /// Make this host a manager of a cluster
    Join(JoinArgs),
    /// End this host's part in managing its cluster
    Leave(LeaveArgs),
    /// Say what the daemon on this host is and waits for
    Status(SocketArgs),
}

/// Where the daemon listens for orders.
#[derive(Debug, Clone, Args)]
pub struct SocketArgs {
    /// The daemon's own socket
    #[arg(
        long,
        env = "SHOAL_MANAGER_SOCKET",
        default_value = "/run/shoal/manager.sock",
        value_name = "PATH"
    )]
    pub socket: PathBuf,
}

/// The daemon.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Where agents, operators and other managers connect
    #[arg(
        long,
        env = "SHOAL_LISTEN",
        default_value = "0.0.0.0:4600",
        value_name = "ADDR:PORT"
    )]
    pub listen: SocketAddr,
    /// Address or interface by which the others reach this host
    #[arg(long, env = "SHOAL_ADVERTISE", value_name = "ADDR|IFACE")]
    pub advertise: Option<String>,
    /// The host
    #[command(flatten)]
    pub host: HostArgs,
    /// The daemon's own socket
    #[command(flatten)]
    pub socket: SocketArgs,
    /// Where health and metrics are served; loopback only
    #[arg(
        long,
        env = "SHOAL_MANAGER_HEALTH",
        default_value = "127.0.0.1:4601",
        value_name = "ADDR:PORT"
    )]
    pub health: SocketAddr,
}

/// Founding a cluster.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The daemon's own socket
    #[command(flatten)]
    pub socket: SocketArgs,
    /// A manager that may hold a cluster already: if it answers, nothing is founded (repeatable)
    #[arg(long = "peer", value_name = "ADDR:PORT")]
    pub peers: Vec<String>,
    /// A label of this node (repeatable)
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub labels: Vec<(String, String)>,
    /// Address or interface by which the others reach this host
    #[arg(long, value_name = "ADDR|IFACE")]
    pub advertise: Option<String>,
    /// Found a cluster although this host belonged to one once
    #[arg(long)]
    pub reset: bool,
    /// Rules of the cluster
    #[command(flatten)]
    pub rules: RuleArgs,
}

/// Rules that a cluster is founded with, because changing them later moves no network that is there.
#[derive(Debug, Default, Args)]
pub struct RuleArgs {
    /// Where subnets of networks are taken from that name none (repeatable) [default: 10.128.0.0/9]
    #[arg(long, value_name = "SUBNET")]
    pub address_pool: Vec<Subnet>,
    /// Length of such a subnet's prefix [default: 20]
    #[arg(long, value_name = "BITS")]
    pub address_pool_prefix: Option<u8>,
    /// Where nodes have their addresses of the overlay [default: 10.255.0.0/16]
    #[arg(long, value_name = "SUBNET")]
    pub overlay_subnet: Option<Subnet>,
}

impl RuleArgs {
    /// The rules: the defaults, but for what was given.
    #[must_use]
    pub fn spec(self) -> ClusterSpec {
        let default = ClusterSpec::default();
        ClusterSpec {
            address_pools: if self.address_pool.is_empty() {
                default.address_pools
            } else {
                self.address_pool
            },
            address_pool_prefix: self.address_pool_prefix.unwrap_or(default.address_pool_prefix),
            overlay_subnet: self.overlay_subnet.unwrap_or(default.overlay_subnet),
            ..default
        }
    }
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
    /// Address or interface by which the others reach this host
    #[arg(long, value_name = "ADDR|IFACE")]
    pub advertise: Option<String>,
    /// Give up what this host was before
    #[arg(long)]
    pub reset: bool,
    /// The daemon's own socket
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// Leaving a cluster.
#[derive(Debug, Args)]
pub struct LeaveArgs {
    /// Leave even though the other managers cannot be told
    #[arg(long)]
    pub force: bool,
    /// The daemon's own socket
    #[command(flatten)]
    pub socket: SocketArgs,
}

impl RunArgs {
    /// The manager's own state.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.host.data_dir.join("manager")
    }
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
