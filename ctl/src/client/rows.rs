//! What the cluster answers, as rows of domain types.

use std::collections::BTreeMap;

use shoal_proto::cluster::ClusterSpec;
use shoal_proto::content::{Content, ContentVersion};
use shoal_proto::network::Network;
use shoal_proto::node::Node;
use shoal_proto::object::Meta;
use shoal_proto::prefix::Prefix;
use shoal_proto::service::{HostPort, Revision, Service};
use shoal_proto::stack::Stack;
use shoal_proto::task::Task;
use shoal_proto::time::Timestamp;
use shoal_proto::wire;

use crate::exit::{Ends, Exit};

/// The cluster and who leads it.
#[derive(Debug, Clone)]
pub struct ClusterStatus {
    /// Id.
    pub id: String,
    /// Rules.
    pub spec: ClusterSpec,
    /// Of the cluster object, which holds the rules.
    pub version: u64,
    /// Its managers.
    pub managers: Vec<ManagerRow>,
    /// Raft index of the answer.
    pub index: u64,
    /// How old the answer is; zero for one of the leader.
    pub age_ms: u64,
    /// Nodes that are ready, and all.
    pub nodes: (u64, u64),
    /// Services.
    pub services: u64,
    /// Tasks that run.
    pub tasks_running: u64,
    /// Managers that may still be lost.
    pub managers_may_be_lost: u64,
    /// Things to look at.
    pub warnings: Vec<String>,
    /// Whether any one node may be lost; none from a manager that does not say.
    pub spare: Option<super::simulate::Spare>,
}

/// One manager.
#[derive(Debug, Clone)]
pub struct ManagerRow {
    /// Its node.
    pub node: String,
    /// Its host's name.
    pub hostname: String,
    /// host:port.
    pub addr: String,
    /// Leads.
    pub leader: bool,
    /// The leader hears from it.
    pub reachable: bool,
    /// Votes.
    pub voter: bool,
}

/// A row of `node ls`.
#[derive(Debug, Clone)]
pub struct NodeRow {
    /// The node.
    pub node: Node,
    /// Its place among the managers.
    pub manager: Option<ManagerRow>,
    /// The manager that answered runs here.
    pub is_self: bool,
    /// Tasks that run on it.
    pub tasks_running: u64,
}

/// A row of `service ls`.
#[derive(Debug, Clone)]
pub struct ServiceRow {
    /// The service.
    pub service: Service,
    /// Tasks that run.
    pub running: u64,
    /// Tasks that should.
    pub desired: u64,
    /// Tasks of a job that are complete.
    pub completed: u64,
    /// Image of the wanted revision.
    pub image: String,
    /// The stack's name; empty without one.
    pub stack: String,
    /// Its virtual IPv6 addresses, by the id of each network that has them.
    pub ipv6_addresses: BTreeMap<String, String>,
}

/// A service with the templates behind it.
#[derive(Debug, Clone)]
pub struct ServiceDetail {
    /// As in `service ls`.
    pub row: ServiceRow,
    /// The wanted revision.
    pub revision: Revision,
    /// The one before.
    pub previous: Option<Revision>,
    /// Raft index of the answer.
    pub index: u64,
}

/// A row of `service ps`.
#[derive(Debug, Clone)]
pub struct TaskRow {
    /// The task.
    pub task: Task,
    /// Its service's name.
    pub service: String,
    /// Its node's name; empty while it has none.
    pub node: String,
    /// Its image.
    pub image: String,
    /// Number of its revision.
    pub revision: u64,
    /// Made of what its service wants.
    pub up_to_date: bool,
    /// Names of nodes that may have sent it connections longer than they should: they were not waited for.
    pub unheard: Vec<String>,
    /// What the agent is at, where that is not stored.
    pub progress: String,
    /// Host ports of its template.
    pub host_ports: Vec<HostPort>,
}

/// A row of `stack ls`.
#[derive(Debug, Clone)]
pub struct StackRow {
    /// The stack.
    pub stack: Stack,
    /// How many services.
    pub services: u64,
}

/// Secrets and configs are alike but for who may read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentKind {
    /// Bytes that only tasks see.
    Secret,
    /// Bytes that operators may read, too.
    Config,
}

/// A secret or a config.
#[derive(Debug, Clone)]
pub struct ContentRow {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Version and cause.
    pub meta: Meta,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its versions, oldest first.
    pub versions: Vec<ContentVersion>,
    /// The newest bytes of one config; none for secrets and in listings.
    pub data: Option<Vec<u8>>,
}

/// A row of `network ls`.
#[derive(Debug, Clone)]
pub struct NetworkRow {
    /// The network.
    pub network: Network,
    /// Of its addresses for tasks and virtual IPs: in use, and in all.
    pub usage: Option<(u64, u64)>,
    /// In which everybody on it has an IPv6 address; none where it is of IPv4 alone.
    pub prefix: Option<Prefix>,
}

impl NetworkRow {
    pub(super) fn read(message: wire::Network) -> anyhow::Result<Self> {
        let usage = message.usage.as_ref().map(|usage| (usage.used, usage.size));
        let prefix = (!message.prefix.is_empty()).then(|| message.prefix.parse::<Prefix>());
        let prefix = prefix
            .transpose()
            .map_err(|error| not_understood(&error.to_string()))?;
        let network = read(message)?;
        Ok(Self {
            network,
            usage,
            prefix,
        })
    }

    /// Its IPv6 addresses, as the first of them and the length of what they share.
    #[must_use]
    pub fn ipv6_subnet(&self) -> Option<String> {
        let (first, length) = self.prefix?.range(self.network.subnet?);
        Some(format!("{first}/{length}"))
    }
}

/// A row of `registry ls`.
#[derive(Debug, Clone)]
pub struct RegistryRow {
    /// Which registry.
    pub host: String,
    /// Who.
    pub username: String,
    /// Last login.
    pub updated_at: Timestamp,
}

/// Something that was made or changed.
#[derive(Debug, Clone, Default)]
pub struct Created {
    /// Its id.
    pub id: String,
    /// Raft index of the write.
    pub index: u64,
    /// To be shown.
    pub warnings: Vec<String>,
}

/// A join token and where to use it.
#[derive(Debug, Clone)]
pub struct JoinToken {
    /// The token.
    pub token: String,
    /// host:port of every manager.
    pub managers: Vec<String>,
}

/// Turns a message into its domain type; what a newer manager says and we do not understand is an error.
pub(super) fn read<W, D>(message: W) -> anyhow::Result<D>
where
    D: TryFrom<W>,
    D::Error: std::fmt::Display,
{
    D::try_from(message).map_err(|error| not_understood(&error.to_string()))
}

/// As [`read`], for a message that must be there.
pub(super) fn read_some<W, D>(message: Option<W>, what: &str) -> anyhow::Result<D>
where
    D: TryFrom<W>,
    D::Error: std::fmt::Display,
{
    read(message.ok_or_else(|| not_understood(&format!("{what} is missing")))?)
}

fn not_understood(why: &str) -> anyhow::Error {
    Ends::with(
        Exit::Refused,
        format!("the manager's answer is not understood: {why}; is this shoal older than the cluster?"),
    )
}

pub(super) fn manager_row(row: wire::ManagerStatus) -> ManagerRow {
    ManagerRow {
        node: row.node_id,
        hostname: row.hostname,
        addr: row.addr,
        leader: row.leader,
        reachable: row.reachable,
        voter: row.voter,
    }
}

pub(super) fn node_row(row: wire::NodeRow) -> anyhow::Result<NodeRow> {
    Ok(NodeRow {
        node: read_some(row.node, "node")?,
        manager: row.manager.filter(|m| !m.node_id.is_empty()).map(manager_row),
        is_self: row.self_,
        tasks_running: row.tasks_running,
    })
}

pub(super) fn service_row(row: wire::ServiceRow) -> anyhow::Result<ServiceRow> {
    Ok(ServiceRow {
        service: read_some(row.service, "service")?,
        running: row.running_tasks,
        desired: row.desired_tasks,
        completed: row.completed_tasks,
        image: row.image,
        stack: row.stack_name,
        ipv6_addresses: row.ipv6_addresses,
    })
}

pub(super) fn task_row(row: wire::TaskRow) -> anyhow::Result<TaskRow> {
    Ok(TaskRow {
        task: read_some(row.task, "task")?,
        service: row.service_name,
        node: row.node_name,
        image: row.image,
        revision: row.revision_number,
        up_to_date: row.up_to_date,
        unheard: row.unheard_names,
        progress: row.progress,
        host_ports: row
            .host_ports
            .into_iter()
            .map(read)
            .collect::<anyhow::Result<_>>()?,
    })
}

impl<I: ToString> From<Content<I>> for ContentRow {
    /// Without bytes.
    fn from(content: Content<I>) -> Self {
        Self {
            id: content.id.to_string(),
            name: content.name,
            meta: content.meta,
            labels: content.labels,
            versions: content.versions,
            data: None,
        }
    }
}

pub(super) fn created(id: String, index: u64, warnings: Vec<String>) -> Created {
    Created { id, index, warnings }
}
