//! From an assignment to a container: pure. It fills in placeholders, resolves names to what is on this node, and
//! refuses what cannot be, naming it. What the Engine's API calls things is not known here.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use shoal_proto::container::{ContainerSpec, FileTarget, LogDriver, MountKind};
use shoal_proto::id::{ClusterId, NetworkId, NodeId, TaskId};
use shoal_proto::network::{ENCRYPTED_OPTION, INGRESS_NAME, Network, NetworkSpec, way_out};
use shoal_proto::prefix::Prefix;
use shoal_proto::resources::ResourceSpec;
use shoal_proto::service::{HostPort, NetworkTarget, SlotKey};
use shoal_proto::view::Secrecy;

use super::template::{TemplateError, Values};
use super::{
    LABEL_BOOT, LABEL_CLUSTER, LABEL_EPOCH, LABEL_NETWORK, LABEL_NODE, LABEL_REVISION, LABEL_TASK,
    NetworkPlan, VolumePlan,
};
use crate::assignments::Assigned;
use crate::network::desired::LEAST_MTU6;
use crate::network::ipv6::Ipv6;
use crate::network::ours;

/// The cluster's networks by id, as this node sees them.
pub type Networks = BTreeMap<NetworkId, Network>;

/// Option of a network: its largest packet in bytes, where an operator wants it smaller than the tunnel's.
pub const OPTION_MTU: &str = "com.docker.network.driver.mtu";

/// What a plan needs to know about the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Whose node.
    pub cluster: ClusterId,
    /// Which.
    pub node: NodeId,
    /// Counts the node's sessions.
    pub epoch: u64,
    /// Changes with every boot of the host.
    pub boot: String,
    /// The host's name.
    pub hostname: String,
    /// `linux`.
    pub os: String,
    /// `x86_64`, …
    pub arch: String,
    /// Whether it has IPv6.
    pub ipv6: Ipv6,
}

/// A file of the host, bound read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundFile {
    /// Absolute path on the host; filled in by whoever wrote it.
    pub source: String,
    /// Absolute path in the container.
    pub destination: String,
}

/// A network of the node, and the container's address there. Names are the agent's to answer: the Engine, which knows of
/// this node alone, is told none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Name on the Engine.
    pub network: String,
    /// Its address; none lets the Engine choose.
    pub address: Option<Ipv4Addr>,
    /// Its IPv6 address; none where the network has none on this node.
    pub ipv6_address: Option<Ipv6Addr>,
    /// Whether the way out of the container is there.
    pub way_out: IsWayOut,
}

/// Whether a container's default route leads through a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsWayOut {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// How a container meets the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wiring {
    /// On bridges of the node; empty means the Engine's default bridge.
    Bridges(Vec<Attachment>),
    /// The host's own.
    Host,
    /// None at all.
    None,
}

/// A container as it is to be made, with nothing left to look up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPlan {
    /// Whose.
    pub task: TaskId,
    /// Deterministic: the same task has the same name on every try.
    pub name: String,
    /// What the Engine is asked to run.
    pub image: String,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// The operator's wishes with placeholders filled in.
    pub spec: ContainerSpec,
    /// What it is sure to get and may use.
    pub resources: ResourceSpec,
    /// Where its output goes.
    pub log: LogDriver,
    /// Network.
    pub wiring: Wiring,
    /// Ports the Engine publishes.
    pub host_ports: Vec<HostPort>,
    /// Secrets and configs.
    pub files: Vec<BoundFile>,
    /// Networks that must be there.
    pub networks: Vec<NetworkPlan>,
    /// Volumes that must be there.
    pub volumes: Vec<VolumePlan>,
    /// Where it asks for names: this node's gateway on one of its networks; none where it is on none of the cluster.
    pub gateway: Option<Ipv4Addr>,
}

impl ContainerPlan {
    /// A device whose packets are too small for IPv6 has none of its addresses: the Engine would refuse the container.
    pub fn leave_small_networks_without_ipv6(&mut self) {
        let is_small = |network: &&mut NetworkPlan| network.mtu.is_some_and(|mtu| mtu < LEAST_MTU6);
        for network in self.networks.iter_mut().filter(is_small) {
            network.prefix = None;
            let Wiring::Bridges(bridges) = &mut self.wiring else {
                continue;
            };
            for bridge in bridges.iter_mut().filter(|bridge| bridge.network == network.name) {
                bridge.ipv6_address = None;
            }
        }
    }
}

/// Why a container cannot be made from an assignment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A placeholder is wrong.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The assignment names a network it does not describe.
    #[error("network {0} of the task is not in its assignment")]
    NetworkUnknown(String),
    /// The host's network cannot be had together with others.
    #[error("task is on the host's network or none, and on others, too: only one of these is possible")]
    NetworksMixed,
    /// An option of the network is no number.
    #[error("network {network}: {OPTION_MTU}={text} is not a number of bytes such as 1400")]
    Mtu {
        /// Its name.
        network: String,
        /// What is written there.
        text: String,
    },
}

/// Name of a task's container.
#[must_use]
pub fn container_name(assigned: &Assigned) -> String {
    assigned.task_name()
}

/// Name of one of the cluster's networks on the node: its own, but for the one that an Engine in Swarm mode has, too.
#[must_use]
pub fn network_name(spec: &NetworkSpec) -> String {
    if spec.name == INGRESS_NAME {
        return format!("shoal_{INGRESS_NAME}");
    }
    spec.name.clone()
}

/// The image reference that is pulled and run: by digest where the revision has one.
#[must_use]
pub fn image_reference(spec: &ContainerSpec) -> String {
    match &spec.image_digest {
        Some(digest) if !spec.image.contains('@') => format!("{}@{digest}", without_tag(&spec.image)),
        _ => spec.image.clone(),
    }
}

/// Docker refuses `name:tag@digest` in older versions and ignores the tag in all.
fn without_tag(image: &str) -> &str {
    match image.rfind(':') {
        Some(colon) if !image[colon..].contains('/') => &image[..colon],
        _ => image,
    }
}

/// Makes the plan of a task's container.
///
/// # Errors
/// When a placeholder is unknown or a network is missing from the assignment.
pub fn plan(assigned: &Assigned, networks: &Networks, facts: &NodeFacts) -> Result<ContainerPlan, PlanError> {
    let values = values(assigned, facts);
    let mut spec = assigned.template.container.clone();
    fill_in(&mut spec, &values)?;
    let wiring = wiring(assigned, networks, facts)?;
    let log = assigned.template.log_driver.clone();
    let log = log
        .or_else(|| assigned.default_log.clone())
        .unwrap_or_else(LogDriver::bounded_default);
    let files = bound_files(&spec);
    Ok(ContainerPlan {
        task: assigned.task,
        name: container_name(assigned),
        image: image_reference(&spec),
        labels: labels(assigned, facts),
        resources: assigned.template.resources,
        log,
        gateway: gateway(assigned, networks, facts),
        networks: network_plans(assigned, networks, facts)?,
        volumes: volume_plans(&spec, assigned),
        wiring,
        host_ports: assigned.template.host_ports.clone(),
        files,
        spec,
    })
}

fn values(assigned: &Assigned, facts: &NodeFacts) -> Values {
    let slot = match assigned.slot {
        SlotKey::Number(number) => number.to_string(),
        SlotKey::Node(node) => node.to_string(),
    };
    let plain = [
        (".Service.ID", assigned.service.to_string()),
        (".Service.Name", assigned.service_name.clone()),
        (".Node.ID", facts.node.to_string()),
        (".Node.Hostname", facts.hostname.clone()),
        (".Node.Platform.OS", facts.os.clone()),
        (".Node.Platform.Architecture", facts.arch.clone()),
        (".Task.ID", assigned.task.to_string()),
        (".Task.Name", assigned.task_name()),
        (".Task.Slot", slot),
    ];
    let plain = plain
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Values::new(plain, assigned.service_labels.clone())
}

/// Placeholders count where Swarm lets them: environment, hostname, mounts, labels and options of volumes.
fn fill_in(spec: &mut ContainerSpec, values: &Values) -> Result<(), TemplateError> {
    for variable in &mut spec.env {
        *variable = values.expand(variable)?;
    }
    if let Some(hostname) = &mut spec.hostname {
        *hostname = values.expand(hostname)?;
    }
    for mount in &mut spec.mounts {
        mount.destination = values.expand(&mount.destination)?;
        match &mut mount.kind {
            MountKind::Bind { source, .. } => *source = values.expand(source)?,
            MountKind::Volume {
                name,
                driver_options,
                labels,
                ..
            } => {
                *name = values.expand(name)?;
                for value in driver_options.values_mut().chain(labels.values_mut()) {
                    *value = values.expand(value)?;
                }
            }
            MountKind::Tmpfs { .. } => {}
        }
    }
    Ok(())
}

fn labels(assigned: &Assigned, facts: &NodeFacts) -> BTreeMap<String, String> {
    let mut labels = assigned.template.container.labels.clone();
    let mut set = |name: &str, value: String| labels.insert(name.to_owned(), value);
    set("com.docker.swarm.node.id", facts.node.to_string());
    set("com.docker.swarm.service.id", assigned.service.to_string());
    set("com.docker.swarm.service.name", assigned.service_name.clone());
    set("com.docker.swarm.task", String::new());
    set("com.docker.swarm.task.id", assigned.task.to_string());
    set("com.docker.swarm.task.name", assigned.task_name());
    if let Some(stack) = &assigned.stack {
        set("com.docker.stack.namespace", stack.clone());
    }
    set(LABEL_CLUSTER, facts.cluster.to_string());
    set(LABEL_NODE, facts.node.to_string());
    set(LABEL_TASK, assigned.task.to_string());
    set(LABEL_EPOCH, facts.epoch.to_string());
    set(LABEL_BOOT, facts.boot.clone());
    set(LABEL_REVISION, assigned.revision.to_string());
    labels
}

fn wiring(assigned: &Assigned, networks: &Networks, facts: &NodeFacts) -> Result<Wiring, PlanError> {
    let mut bridges = Vec::new();
    let mut whole = None;
    let all = assigned.networks().filter_map(|id| networks.get(&id));
    let out = way_out(all).map(|network| network.id);
    for used in &assigned.template.networks {
        match &used.network {
            NetworkTarget::Host => whole = Some(Wiring::Host),
            NetworkTarget::None => whole = Some(Wiring::None),
            NetworkTarget::Named(name) => return Err(PlanError::NetworkUnknown(name.clone())),
            NetworkTarget::Cluster(id) => {
                let network = networks
                    .get(id)
                    .ok_or_else(|| PlanError::NetworkUnknown(id.to_string()))?;
                let address = assigned.addresses.get(id).copied();
                let prefix = prefix_of(network, facts);
                bridges.push(Attachment {
                    network: network_name(&network.spec),
                    address,
                    ipv6_address: address.and_then(|address| Some(prefix?.address(address))),
                    way_out: if out == Some(*id) {
                        IsWayOut::Yes
                    } else {
                        IsWayOut::No
                    },
                });
            }
        }
    }
    match whole {
        Some(_) if !bridges.is_empty() => Err(PlanError::NetworksMixed),
        Some(whole) => Ok(whole),
        None => Ok(Wiring::Bridges(bridges)),
    }
}

/// Where everybody on a network has an IPv6 address beside the IPv4 one, as far as this node has IPv6.
fn prefix_of(network: &Network, facts: &NodeFacts) -> Option<Prefix> {
    let carried = network.spec.ipv6 && facts.ipv6 == Ipv6::There;
    carried.then(|| Prefix::of_cluster(facts.cluster))
}

fn gateway(assigned: &Assigned, networks: &Networks, facts: &NodeFacts) -> Option<Ipv4Addr> {
    let mut gateways = assigned
        .networks()
        .filter_map(|id| networks.get(&id)?.gateway_of(facts.node));
    gateways.next()
}

fn network_plans(
    assigned: &Assigned,
    networks: &Networks,
    facts: &NodeFacts,
) -> Result<Vec<NetworkPlan>, PlanError> {
    let named = assigned.networks().filter_map(|id| networks.get(&id));
    named.map(|network| network_plan(network, facts)).collect()
}

fn network_plan(network: &Network, facts: &NodeFacts) -> Result<NetworkPlan, PlanError> {
    let spec = &network.spec;
    let mut labels = spec.labels.clone();
    labels.extend(super::ownership(facts.cluster, facts.node));
    labels.insert(LABEL_NETWORK.to_owned(), network.id.to_string());
    // Options of an overlay (`encrypted`, VXLAN ids) mean nothing to a bridge and are refused by it.
    let mut options = match spec.driver.as_str() {
        "bridge" => spec.driver_options.clone(),
        _ => BTreeMap::new(),
    };
    let mtu = spec.driver_options.get(OPTION_MTU).map(|text| {
        text.parse().map_err(|_| PlanError::Mtu {
            network: spec.name.clone(),
            text: text.clone(),
        })
    });
    options.remove(OPTION_MTU);
    options.remove(ENCRYPTED_OPTION);
    Ok(NetworkPlan {
        name: network_name(spec),
        labels,
        options,
        internal: spec.internal,
        subnet: network.subnet,
        block: network.blocks.get(&facts.node).map(|block| block.subnet),
        prefix: prefix_of(network, facts),
        bridge: ours::bridge(network.id),
        mtu: mtu.transpose()?,
        secrecy: if spec.is_encrypted() {
            Secrecy::Encrypted
        } else {
            Secrecy::Open
        },
    })
}

fn volume_plans(spec: &ContainerSpec, assigned: &Assigned) -> Vec<VolumePlan> {
    let named = spec.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Volume {
            name,
            driver,
            driver_options,
            labels,
            ..
        } if !name.is_empty() => {
            let mut labels = labels.clone();
            if let Some(stack) = &assigned.stack {
                labels
                    .entry("com.docker.stack.namespace".to_owned())
                    .or_insert_with(|| stack.clone());
            }
            Some(VolumePlan {
                name: name.clone(),
                driver: driver.clone(),
                options: driver_options.clone(),
                labels,
            })
        }
        _ => None,
    });
    named.collect()
}

/// In the order secrets, then configs; sources are filled in by whoever writes the files.
fn bound_files(spec: &ContainerSpec) -> Vec<BoundFile> {
    let secrets = spec
        .secrets
        .iter()
        .map(|used| in_container(&used.file, &used.name, "/run/secrets/"));
    let configs = spec
        .configs
        .iter()
        .map(|used| in_container(&used.file, &used.name, "/"));
    let all = secrets.chain(configs);
    all.map(|destination| BoundFile {
        source: String::new(),
        destination,
    })
    .collect()
}

/// Absolute path a secret or config is seen at.
fn in_container(file: &FileTarget, name: &str, below: &str) -> String {
    match file.path.as_str() {
        "" => format!("{below}{name}"),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("{below}{path}"),
    }
}

#[cfg(test)]
#[path = "plan_test.rs"]
mod tests;
