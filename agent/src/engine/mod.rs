//! The Engine in our words: what an agent asks of it and what it sees there.
//!
//! Nothing here decides, and nothing here knows which Engine it is: `docker` speaks to a real one, `fake` plays one.

pub mod docker;
pub mod fake;
mod plan;
pub mod template;

use std::collections::BTreeMap;
use std::net::IpAddr;

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use shoal_proto::id::{ClusterId, NodeId, TaskId};
use shoal_proto::prefix::Prefix;
use shoal_proto::service::{Platform, Protocol};
use shoal_proto::subnet::Subnet;
use shoal_proto::time::Timestamp;
use shoal_proto::view::Secrecy;

use crate::network::way_out::WayOut;

pub use plan::{
    Attachment, BoundFile, ContainerPlan, IsWayOut, Networks, NodeFacts, OPTION_MTU, PlanError, Wiring,
    container_name, image_reference, network_name, plan,
};

/// Label with the cluster's id: nothing without it is ever touched.
pub const LABEL_CLUSTER: &str = "io.shoal.cluster";
/// Label with the node's id.
pub const LABEL_NODE: &str = "io.shoal.node";
/// Label with the task's id.
pub const LABEL_TASK: &str = "io.shoal.task";
/// Label with the node's epoch in which the container was made.
pub const LABEL_EPOCH: &str = "io.shoal.epoch";
/// Label with the boot of the host in which the container was made.
pub const LABEL_BOOT: &str = "io.shoal.boot";
/// Label with the revision's id.
pub const LABEL_REVISION: &str = "io.shoal.revision";
/// Label with the id of a network of the cluster.
pub const LABEL_NETWORK: &str = "io.shoal.network";

/// Oldest Engine API an agent works with.
pub const API_MIN: (u32, u32) = (1, 41);

/// Why the Engine did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No answer: says nothing about any container.
    #[error("engine does not answer: {0}")]
    Silent(String),
    /// The thing does not exist there.
    #[error("{0}")]
    Missing(String),
    /// Something is in the way.
    #[error("{0}")]
    Conflict(String),
    /// Any other answer, in the Engine's or the registry's own words.
    #[error("{0}")]
    Refused(String),
    /// The Engine is too old for anything.
    #[error(
        "engine {version} speaks API {has} only: a node needs API {}.{} (Docker 20.10) or newer", API_MIN.0, API_MIN.1
    )]
    Outdated {
        /// Its own version.
        version: String,
        /// Its API version.
        has: String,
    },
    /// The Engine is too old for something the task asks for.
    #[error("engine API {has} cannot do {what}: needs API {needs}")]
    TooOld {
        /// What was asked for.
        what: String,
        /// The Engine's API version.
        has: String,
        /// The first version that can.
        needs: String,
    },
}

impl EngineError {
    /// Whether trying again later may help without anybody changing anything.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Silent(_))
    }
}

/// What an Engine answers.
pub type EngineResult<T> = Result<T, EngineError>;

/// What an Engine and its host are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineInfo {
    /// The host's name as the Engine sees it.
    pub hostname: String,
    /// `linux`.
    pub os: String,
    /// `x86_64`, …
    pub arch: String,
    /// Cores.
    pub cpus: u64,
    /// Bytes.
    pub memory_bytes: u64,
    /// Version, such as `20.10.24`.
    pub version: String,
    /// API version, such as `1.41`.
    pub api: String,
    /// `engine.labels.*`.
    pub labels: BTreeMap<String, String>,
    /// `Log/…`, `Volume/…`, `Network/…`.
    pub plugins: Vec<String>,
    /// Keeps containers running while it restarts.
    pub live_restore: bool,
}

/// User name and password for one registry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// `registry.example:5000`, or `docker.io`.
    pub host: String,
    /// Who.
    pub username: String,
    /// Password or token.
    pub password: String,
}

/// The password never shows in a log.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("host", &self.host)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Where a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Running, or paused by hand: its processes are there.
    Running,
    /// Being removed.
    Removing,
    /// Ended.
    Exited,
}

/// What its health check says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Not decided yet.
    Starting,
    /// Holds.
    Healthy,
    /// Does not hold: the last output of the check.
    Unhealthy(String),
}

/// One container as the Engine shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The Engine's id.
    pub id: String,
    /// Name.
    pub name: String,
    /// The task it was made for.
    pub task: TaskId,
    /// The service's name, as labelled.
    pub service: String,
    /// Boot of the host in which it was made.
    pub boot: String,
    /// Where it is.
    pub state: ContainerState,
    /// Health; none without a check.
    pub health: Option<Health>,
    /// Set once it ended.
    pub exit_code: Option<i64>,
    /// A process of it was killed for lack of memory.
    pub oom_killed: bool,
    /// Bytes of memory it may use; zero means all the node has.
    pub memory_limit_bytes: u64,
    /// The Engine's words about a failed start.
    pub error: String,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Address on each network, by the network's name; empty while not running.
    pub addresses: BTreeMap<String, IpAddr>,
    /// Published by the Engine: container port and node port.
    pub host_ports: Vec<(u16, u16)>,
    /// Its first process; none while it does not run.
    pub pid: Option<u32>,
    /// Its default route, by its own namespace.
    pub way_out: WayOut,
}

/// One line of the list by label: enough to see whether an inspection is worth it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The Engine's id.
    pub id: String,
    /// The task it was made for.
    pub task: TaskId,
    /// Where it is.
    pub state: ContainerState,
    /// The word in the list: `healthy`, `unhealthy`, `starting`, or empty.
    pub health: String,
}

impl Listed {
    /// Whether the list says something else than the last look did.
    #[must_use]
    pub fn differs(&self, known: Option<&Observed>) -> bool {
        let Some(known) = known else {
            return true;
        };
        let health = match &known.health {
            None => "",
            Some(Health::Starting) => "starting",
            Some(Health::Healthy) => "healthy",
            Some(Health::Unhealthy(_)) => "unhealthy",
        };
        known.state != self.state || health != self.health
    }
}

/// A network to be there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkPlan {
    /// Name on the Engine.
    pub name: String,
    /// Labels, ours among them.
    pub labels: BTreeMap<String, String>,
    /// Options of the bridge.
    pub options: BTreeMap<String, String>,
    /// No way out.
    pub internal: bool,
    /// Its addresses, the same on all nodes.
    pub subnet: Option<Subnet>,
    /// This node's part of them: the first is the gateway, the others are for containers started by hand.
    pub block: Option<Subnet>,
    /// In which it has IPv6 addresses beside those; none where it has IPv4 ones alone.
    pub prefix: Option<Prefix>,
    /// Name of the bridge in the kernel.
    pub bridge: String,
    /// Largest packet, bytes; none leaves it to the Engine.
    pub mtu: Option<u32>,
    /// Which tunnel its packets take.
    pub secrecy: Secrecy,
}

/// A network of ours on the Engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSeen {
    /// Name on the Engine.
    pub name: String,
    /// The cluster's id for it.
    pub network: String,
}

/// A volume to be there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumePlan {
    /// Name.
    pub name: String,
    /// Driver; empty means `local`.
    pub driver: String,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Something happened to a container of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineEvent {
    /// The container.
    pub container: String,
    /// The task it was made for.
    pub task: TaskId,
    /// The Engine's word: `start`, `die`, `destroy`, `health_status: healthy`, …
    pub what: String,
}

/// Which lines of a container's output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Go on with new lines.
    pub follow: bool,
    /// Only so many from the end; none means all.
    pub tail: Option<u64>,
    /// Only from then on, in seconds since the epoch; zero means all.
    pub since_s: u64,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// One piece of a container's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// From standard error.
    pub stderr: bool,
    /// RFC 3339 time by the Engine; empty where it gave none.
    pub time: String,
    /// The bytes, as they came.
    pub bytes: bytes::Bytes,
}

/// What a registry says about an image reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// `sha256:…`
    pub digest: String,
    /// What it was built for.
    pub platforms: Vec<Platform>,
}

/// What an agent asks of an Engine. Every call is safe to repeat.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// What it and its host are.
    async fn info(&self) -> EngineResult<EngineInfo>;

    /// A word that changes when the Engine restarts without keeping containers running. It is asked over a new
    /// connection: an Engine that is going down does not answer it.
    async fn instance(&self) -> EngineResult<String>;

    /// Containers with the cluster's label.
    async fn list(&self, cluster: ClusterId) -> EngineResult<Vec<Listed>>;

    /// One container; none when it is not there or not one of ours.
    async fn inspect(&self, container: &str) -> EngineResult<Option<Observed>>;

    /// Name of a running container, ours or not, that has this port of the node published; none when there is none.
    async fn publisher(&self, protocol: Protocol, port: u16) -> EngineResult<Option<String>>;

    /// What happens to the cluster's containers from now on. Ends when the Engine does.
    async fn events(&self, cluster: ClusterId) -> EngineResult<BoxStream<'static, EngineEvent>>;

    /// Whether the image is there.
    async fn image_present(&self, reference: &str) -> EngineResult<bool>;

    /// Fetches an image. `progress` hears short words about it.
    async fn pull(
        &self,
        reference: &str,
        credentials: Option<&Credentials>,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> EngineResult<()>;

    /// What the registry says the reference is now.
    async fn resolve(&self, reference: &str, credentials: Option<&Credentials>) -> EngineResult<Resolved>;

    /// Makes a container, or finds the one made before for the same task. Answers its id.
    async fn create(&self, plan: &ContainerPlan) -> EngineResult<String>;

    /// Reads one small file of a container, started or not; none when it is not there.
    async fn read_file(&self, container: &str, path: &str) -> EngineResult<Option<Vec<u8>>>;

    /// Starts a container; fine when it runs already.
    async fn start(&self, container: &str) -> EngineResult<()>;

    /// Stops a container with its own signal, and by force after the grace; fine when it is stopped or gone.
    async fn stop(&self, container: &str, grace_ms: u64) -> EngineResult<()>;

    /// Removes a container with its anonymous volumes; fine when it is gone.
    async fn remove(&self, container: &str) -> EngineResult<()>;

    /// Makes a network unless it is there.
    async fn ensure_network(&self, plan: &NetworkPlan) -> EngineResult<()>;

    /// Networks with the cluster's label.
    async fn networks(&self, cluster: ClusterId) -> EngineResult<Vec<NetworkSeen>>;

    /// Removes a network; a conflict when something uses it, fine when it is gone.
    async fn remove_network(&self, name: &str) -> EngineResult<()>;

    /// Puts a container on a further network; fine when it is on it.
    async fn connect(&self, container: &str, attachment: &Attachment) -> EngineResult<()>;

    /// Makes a volume unless it is there.
    async fn ensure_volume(&self, plan: &VolumePlan) -> EngineResult<()>;

    /// A container's output.
    async fn logs(
        &self,
        container: &str,
        query: LogQuery,
    ) -> EngineResult<BoxStream<'static, EngineResult<LogChunk>>>;
}

/// Labels every container of a task carries, Swarm's and ours.
#[must_use]
pub fn ownership(cluster: ClusterId, node: NodeId) -> BTreeMap<String, String> {
    BTreeMap::from([
        (LABEL_CLUSTER.to_owned(), cluster.to_string()),
        (LABEL_NODE.to_owned(), node.to_string()),
    ])
}
