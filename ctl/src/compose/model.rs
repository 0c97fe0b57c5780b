//! What a set of files says, typed, with names as the user wrote them. Knows no cluster names or ids: `convert` gives
//! them. Whoever reads a value from here may rely on its form; whether values fit together is `check`'s business.

use std::collections::BTreeMap;
use std::net::IpAddr;

use shoal_proto::container::{Device, HealthCheck, LogDriver, PullPolicy, Ulimit};
use shoal_proto::resources::Resources;
use shoal_proto::service::{EndpointMode, Platform, Prefer, Protocol, RestartPolicy};
use shoal_proto::update::UpdatePolicy;

use super::source::Place;

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub place: Place,
}

/// A stack, before it has a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    /// From `name:`.
    pub name: Option<At<String>>,
    /// By the name in the file.
    pub services: BTreeMap<String, Service>,
    /// By the name in the file.
    pub networks: BTreeMap<String, Network>,
    /// By the name in the file.
    pub volumes: BTreeMap<String, Volume>,
    /// By the name in the file.
    pub secrets: BTreeMap<String, Content>,
    /// By the name in the file.
    pub configs: BTreeMap<String, Content>,
    /// Services left out because none of their profiles is active, with these profiles.
    pub inactive: BTreeMap<String, Vec<String>>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Where its name stands.
    pub place: Place,
    /// `image:`; absent in a fragment or beside `build:`.
    pub image: Option<At<String>>,
    /// Whether there is a `build:`, and where.
    pub build: Option<Place>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// Replaces the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// From files and from `environment:`; none removes the image's variable.
    pub environment: BTreeMap<String, Option<String>>,
    /// Container labels.
    pub labels: BTreeMap<String, String>,
    /// Hostname, with templates.
    pub hostname: Option<String>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// `user[:group]`.
    pub user: Option<String>,
    /// Further groups.
    pub groups: Vec<String>,
    /// `tty`, `stdin_open`, `read_only`, `privileged`, `init`.
    pub switches: Switches,
    /// Signal that asks it to stop.
    pub stop_signal: Option<String>,
    /// How long it may take to stop.
    pub stop_grace_ms: Option<u64>,
    /// Health check.
    pub health: Option<HealthCheck>,
    /// `volumes:` and `tmpfs:`.
    pub mounts: Vec<At<Mount>>,
    /// Secrets it sees.
    pub secrets: Vec<At<Reference>>,
    /// Configs it sees.
    pub configs: Vec<At<Reference>>,
    /// Lines of the hosts file: name and address.
    pub extra_hosts: Vec<(String, String)>,
    /// `dns`, `dns_search`, `dns_opt`.
    pub dns: shoal_proto::container::DnsConfig,
    /// Added capabilities.
    pub cap_add: Vec<String>,
    /// Dropped capabilities.
    pub cap_drop: Vec<String>,
    /// Security options.
    pub security_opt: Vec<String>,
    /// Kernel settings.
    pub sysctls: BTreeMap<String, String>,
    /// Limits per process.
    pub ulimits: Vec<Ulimit>,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Size of `/dev/shm` in bytes.
    pub shm_bytes: Option<u64>,
    /// -1000 … 1000.
    pub oom_score_adj: Option<i64>,
    /// When to pull.
    pub pull: PullPolicy,
    /// What the image must be built for.
    pub platform: Option<Platform>,
    /// Where output goes.
    pub logging: Option<LogDriver>,
    /// Published ports, ranges written out.
    pub ports: Vec<At<Port>>,
    /// Networks by the name in the file; empty means `default`.
    pub networks: BTreeMap<String, At<Attachment>>,
    /// Instead of networks.
    pub network_mode: Option<At<NetworkMode>>,
    /// Services it waits for.
    pub depends_on: BTreeMap<String, At<Dependency>>,
    /// Kept as a network alias.
    pub container_name: Option<String>,
    /// Profiles it belongs to; none means always active.
    pub profiles: Vec<String>,
    /// How many, where, and how it changes.
    pub deploy: Deploy,
}

/// Settings that are on or off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Switches {
    /// Allocate a terminal.
    pub tty: bool,
    /// Keep standard input open.
    pub stdin_open: bool,
    /// Root file system is read-only.
    pub read_only: bool,
    /// All rights on the host.
    pub privileged: bool,
    /// Run an init; none means the Engine's default.
    pub init: Option<bool>,
}

/// One mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path in the container.
    pub target: String,
    /// Not writable.
    pub read_only: bool,
    /// What is mounted.
    pub source: MountSource,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A path of the node.
    Bind {
        /// Absolute path.
        path: String,
        /// Propagation; empty means the Engine's default.
        propagation: String,
        /// Make the path when it is missing.
        create: bool,
    },
    /// A volume.
    Volume {
        /// Name in the file; none makes an anonymous one.
        name: Option<String>,
        /// Do not copy what the image has there.
        no_copy: bool,
        /// Path inside the volume.
        subpath: String,
        /// Labels of an anonymous volume.
        labels: BTreeMap<String, String>,
    },
    /// A file of this machine, taken along as a config.
    File(LocalFile),
    /// Memory.
    Tmpfs {
        /// Bytes; zero means no bound of its own.
        size_bytes: u64,
        /// Mode of the root; zero means 1777.
        mode: u32,
    },
}

/// A file of this machine that a mount names.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// Its path as written.
    pub source: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Mode bits a task sees.
    pub mode: u32,
}

/// The bytes never show.
impl std::fmt::Debug for LocalFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size_bytes = self.bytes.len();
        f.debug_struct("LocalFile")
            .field("source", &self.source)
            .field("size_bytes", &size_bytes)
            .finish()
    }
}

/// A secret or config as a service sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Name in the file.
    pub source: String,
    /// Path or name; none means the source's name.
    pub target: Option<String>,
    /// Owner; empty means 0.
    pub uid: String,
    /// Group; empty means 0.
    pub gid: String,
    /// Mode bits.
    pub mode: u32,
}

/// One published port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Label of the user's.
    pub name: String,
    /// Address of the node; none means all.
    pub host_ip: Option<IpAddr>,
    /// Port of the node; none lets the cluster choose.
    pub published: Option<u16>,
    /// Port of the container.
    pub target: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Who answers.
    pub mode: PortMode,
    /// Which ready tasks come first.
    pub prefer: Option<Prefer>,
}

/// Who answers on a published port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PortMode {
    /// Every node.
    #[default]
    Ingress,
    /// The node that runs the task.
    Host,
}

/// A service on a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Further names on it.
    pub aliases: Vec<String>,
}

/// What a service has instead of networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkMode {
    /// The node's own network.
    Host,
    /// Nothing.
    None,
}

/// What must have happened to another service first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// What.
    pub condition: Condition,
    /// Whether it may be missing.
    pub need: Need,
}

/// What must have happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Condition {
    /// It runs.
    #[default]
    Started,
    /// It is healthy.
    Healthy,
    /// It ended with exit code zero.
    Completed,
}

/// Whether a dependency may be missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Need {
    /// It must be there.
    #[default]
    Required,
    /// It is waited for only when it is there.
    Optional,
}

/// How many tasks, where, and how they change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deploy {
    /// Kind of service.
    pub mode: Option<At<ModeName>>,
    /// How many; from `deploy.replicas` or `scale`.
    pub replicas: Option<At<u64>>,
    /// At once, for jobs.
    pub max_concurrent: Option<At<u64>>,
    /// Service labels.
    pub labels: BTreeMap<String, String>,
    /// How the name resolves.
    pub endpoint: Option<At<EndpointMode>>,
    /// Constraints as written.
    pub constraints: Vec<At<String>>,
    /// Node properties to spread over.
    pub spread: Vec<At<String>>,
    /// Zero means no bound.
    pub max_per_node: u64,
    /// Enforced by the Engine.
    pub limits: Resources,
    /// Counted by the scheduler.
    pub reservations: Resources,
    /// From `deploy.restart_policy`, else from `restart`.
    pub restart: Option<RestartPolicy>,
    /// Rules of an update.
    pub update: Option<At<UpdatePolicy>>,
    /// Rules of a rollback.
    pub rollback: Option<At<UpdatePolicy>>,
}

/// The kinds of services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ModeName {
    /// So many tasks.
    #[default]
    Replicated,
    /// One per node.
    Global,
    /// So many completions.
    ReplicatedJob,
    /// One completion per node.
    GlobalJob,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Where its name stands; none for the default network that no file mentions.
    pub place: Option<Place>,
    /// `name:`, free of the stack's prefix.
    pub name: Option<String>,
    /// Whether the stack makes it.
    pub owner: Owner,
    /// `overlay` or `bridge`; empty when not written.
    pub driver: String,
    /// Options of the driver.
    pub driver_options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// No way out.
    pub internal: bool,
    /// Containers started by hand may join.
    pub attachable: bool,
    /// Subnet; empty lets the cluster choose.
    pub subnet: String,
    /// Gateway; empty lets the cluster choose.
    pub gateway: String,
    /// IPv6 addresses beside the IPv4 ones.
    pub ipv6: bool,
}

/// Whether the stack makes an object or finds it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Owner {
    /// Made with the stack.
    #[default]
    Stack,
    /// `external: true`.
    External,
}

/// A named volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Where its name stands.
    pub place: Place,
    /// `name:`, free of the stack's prefix.
    pub name: Option<String>,
    /// Whether the stack makes it.
    pub owner: Owner,
    /// Driver; empty means `local`.
    pub driver: String,
    /// Options of the driver.
    pub driver_options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A secret or a config.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// Where its name stands.
    pub place: Place,
    /// `name:`, free of the stack's prefix.
    pub name: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The bytes; none when it is external, or when a finding says why there are none.
    pub bytes: Option<Vec<u8>>,
    /// Whether the stack makes it.
    pub owner: Owner,
}

/// The bytes never show.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content")
            .field("name", &self.name)
            .field("size_bytes", &self.bytes.as_ref().map(Vec::len))
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}
