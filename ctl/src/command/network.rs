//! `shoal network`: make, list, look at and remove networks.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::json;
use shoal_proto::network::NetworkSpec;

use super::network_doctor::{self, DoctorArgs};
use super::{NamesArgs, inspect_each, warn, write_each};
use crate::client::NetworkRow;
use crate::exit::Exit;
use crate::flags;
use crate::render::inspect;
use crate::render::output::{Item, ListArgs, print_list, say};
use crate::render::table::natural;
use crate::session::Session;

/// Commands about networks.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a network
    #[command(after_help = "Example:\n  shoal network create --attachable back")]
    Create(CreateArgs),
    /// List networks
    #[command(visible_alias = "list", after_help = "Filters: id, name, label, driver")]
    Ls(ListArgs),
    /// Show all of one or more networks
    Inspect(NamesArgs),
    /// Show how all nodes reach each other, and what is wrong
    #[command(
        after_help = "Every agent asks all others the whole time, on the way that tasks use. A cell shows the median time to \
                      the answer, and the packets lost of a hundred where any were.\n\nExits with 1 when something is wrong."
    )]
    Doctor(DoctorArgs),
    /// Remove networks that nobody uses
    #[command(visible_alias = "remove")]
    Rm(NamesArgs),
}

/// Arguments of `network create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// overlay or bridge: both are networks of the cluster
    #[arg(short, long, default_value = "overlay")]
    driver: String,
    /// Option of the driver KEY=VALUE
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// Set a label KEY=VALUE
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// No way out of the network
    #[arg(long)]
    internal: bool,
    /// Containers started by hand may join
    #[arg(long)]
    attachable: bool,
    /// IPv6 addresses beside the IPv4 ones, from the cluster's own fd…/96
    #[arg(long)]
    ipv6: bool,
    /// Subnet such as 10.1.0.0/24
    #[arg(long, default_value = "", hide_default_value = true)]
    subnet: String,
    /// Address of the gateway
    #[arg(long, default_value = "", hide_default_value = true)]
    gateway: String,
    /// Name
    name: String,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        match self {
            Self::Create(args) => create(session, args).await,
            Self::Ls(args) => list(session, args).await,
            Self::Inspect(NamesArgs { names }) => {
                inspect_each(session, &names, async |c, name| {
                    Ok(inspect::network(&c.network(name).await?))
                })
                .await
            }
            Self::Doctor(args) => network_doctor::run(session, args).await,
            Self::Rm(NamesArgs { names }) => {
                write_each(session, &names, async |c, name| c.remove_network(name).await).await
            }
        }
    }
}

async fn create(session: &Session, args: CreateArgs) -> anyhow::Result<Exit> {
    let pairs = |texts: &[String]| {
        texts
            .iter()
            .map(|t| flags::pair(t))
            .collect::<anyhow::Result<BTreeMap<_, _>>>()
    };
    let spec = NetworkSpec {
        labels: pairs(&args.labels)?,
        driver_options: pairs(&args.options)?,
        name: args.name,
        driver: args.driver,
        internal: args.internal,
        attachable: args.attachable,
        subnet: args.subnet,
        gateway: args.gateway,
        ipv6: args.ipv6,
    };
    let created = session.cluster().await?.create_network(&spec).await?;
    warn(&created.warnings);
    say(&format!("{}\n", created.id));
    Ok(Exit::Done)
}

async fn list(session: &Session, args: ListArgs) -> anyhow::Result<Exit> {
    let mut found = session.cluster().await?.networks(args.filters).await?;
    found.sort_by(|a, b| natural(&a.network.spec.name, &b.network.spec.name));
    print_list(
        &args.print,
        &["ID", "NAME", "DRIVER", "SCOPE", "SUBNET", "ADDRESSES"],
        found.iter().map(item).collect(),
    );
    Ok(Exit::Done)
}

fn item(row: &NetworkRow) -> Item {
    let (id, spec) = (row.network.id.to_string(), &row.network.spec);
    let subnet = row.network.subnet.map(|subnet| subnet.to_string());
    let subnet = subnet.unwrap_or_default();
    let ipv6_subnet = row.ipv6_subnet().unwrap_or_default();
    let subnets = [subnet.as_str(), &ipv6_subnet].join(", ");
    let usage = row.usage.map(|(used, size)| format!("{used}/{size}"));
    let usage = usage.unwrap_or_default();
    let data = json!({"ID": id, "Name": spec.name, "Driver": spec.driver, "Scope": "cluster", "Labels": spec.labels,
        "Encrypted": spec.is_encrypted(), "IPv6": spec.ipv6, "Subnet": subnet, "IPv6Subnet": ipv6_subnet, "Addresses": usage});
    Item {
        id: id.clone(),
        cells: vec![
            id,
            spec.name.clone(),
            if spec.is_encrypted() {
                format!("{}, encrypted", spec.driver)
            } else {
                spec.driver.clone()
            },
            "cluster".to_owned(),
            subnets.trim_end_matches(", ").to_owned(),
            usage,
        ],
        data,
    }
}
