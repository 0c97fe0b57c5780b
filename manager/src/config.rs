//! The command line of `shoal-manager` and what it turns into. Reads no state and starts nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use shoal_proto::identity::MACHINE_ID_FILE;

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
    /// Where state and identity are kept
    #[arg(
        long,
        env = "SHOAL_DATA_DIR",
        default_value = "/var/lib/shoal",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,
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
    /// The file with this host's machine-id
    #[arg(long, env = "SHOAL_MACHINE_ID_FILE", default_value = MACHINE_ID_FILE, value_name = "FILE", hide = true)]
    pub machine_id_file: PathBuf,
    /// The name this host goes by; its hostname where not given
    #[arg(long, env = "SHOAL_HOSTNAME", value_name = "NAME", hide = true)]
    pub hostname: Option<String>,
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
}

/// Joining a cluster.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// A manager of the cluster
    #[arg(value_name = "ADDR[:PORT]")]
    pub address: String,
    /// The join token; better from --token-file, standard input (`-`) or the environment
    #[arg(
        long,
        env = "SHOAL_TOKEN",
        hide_env_values = true,
        conflicts_with = "token_file"
    )]
    pub token: Option<String>,
    /// A file with the join token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
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
    /// The identity folder, shared with the host's agent.
    #[must_use]
    pub fn identity_dir(&self) -> PathBuf {
        self.data_dir.join("identity")
    }

    /// The manager's own state.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.data_dir.join("manager")
    }
}

/// The labels as a map; a key given twice keeps its last value.
#[must_use]
pub fn label_map(labels: &[(String, String)]) -> BTreeMap<String, String> {
    labels.iter().cloned().collect()
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not a label: expected KEY=VALUE")),
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
