//! What runs in a container: everything the Engine is told, in our words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{ConfigId, SecretId, VersionId};

/// A container as an operator asked for it. Absent and empty differ where the Engine makes them differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The image as written, such as `nginx:1.27`.
    pub image: String,
    /// The digest it was resolved to for this revision, such as `sha256:…`; none when it could not be resolved.
    pub image_digest: Option<String>,
    /// Replaces the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// `NAME=value`, or `NAME` alone to remove one of the image's.
    pub env: Vec<String>,
    /// Container labels.
    pub labels: BTreeMap<String, String>,
    /// Hostname, with templates.
    pub hostname: Option<String>,
    /// Working directory.
    pub dir: Option<String>,
    /// `user[:group]`.
    pub user: Option<String>,
    /// Further groups.
    pub groups: Vec<String>,
    /// Allocate a terminal.
    pub tty: bool,
    /// Keep standard input open.
    pub open_stdin: bool,
    /// Root file system is read-only.
    pub read_only: bool,
    /// Run an init as PID 1; none means the Engine's default.
    pub init: Option<bool>,
    /// Signal that asks it to stop.
    pub stop_signal: Option<String>,
    /// How long it may take to stop; none means ten seconds.
    pub stop_grace_ms: Option<u64>,
    /// Health check; none means the image's.
    pub health: Option<HealthCheck>,
    /// File systems.
    pub mounts: Vec<Mount>,
    /// Secrets as files.
    pub secrets: Vec<SecretUse>,
    /// Configs as files.
    pub configs: Vec<ConfigUse>,
    /// Lines of `/etc/hosts`: `IP name…`.
    pub hosts: Vec<String>,
    /// Resolver settings.
    pub dns: DnsConfig,
    /// Added capabilities.
    pub cap_add: Vec<String>,
    /// Dropped capabilities.
    pub cap_drop: Vec<String>,
    /// All rights on the host.
    pub privileged: bool,
    /// `no-new-privileges`, `seccomp=…`, `apparmor=…`, `label=…`, as the Engine takes them.
    pub security_opt: Vec<String>,
    /// Kernel settings of the container.
    pub sysctls: BTreeMap<String, String>,
    /// Limits per process.
    pub ulimits: Vec<Ulimit>,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Size of `/dev/shm` in bytes; none means the Engine's default.
    pub shm_bytes: Option<u64>,
    /// -1000 … 1000.
    pub oom_score_adj: Option<i64>,
    /// When to pull.
    pub pull: PullPolicy,
}

/// When an agent pulls an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// When the node does not have it under its digest or, without a digest, its name.
    #[default]
    Missing,
    /// Every time.
    Always,
    /// Never.
    Never,
}

/// How the Engine finds out whether a container is healthy. Zero or empty inherits the image's value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`.
    pub test: Vec<String>,
    /// Time between two checks.
    pub interval_ms: u64,
    /// Time one check may take.
    pub timeout_ms: u64,
    /// Time at the start in which failures do not count.
    pub start_period_ms: u64,
    /// Time between two checks in the start period.
    pub start_interval_ms: u64,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
}

/// One mounted file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the container.
    pub destination: String,
    /// Not writable.
    pub read_only: bool,
    /// What is mounted.
    pub kind: MountKind,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A path of the host.
    Bind {
        /// Absolute path on the host.
        source: String,
        /// `rprivate`, `rshared`, …; empty means the Engine's default.
        propagation: String,
        /// Make the path when it is missing.
        create: bool,
    },
    /// A volume.
    Volume {
        /// Name; empty makes an anonymous one that goes with the task.
        name: String,
        /// Driver; empty means `local`.
        driver: String,
        /// Options of the driver.
        driver_options: BTreeMap<String, String>,
        /// Labels of the volume.
        labels: BTreeMap<String, String>,
        /// Do not copy what the image has at the destination.
        no_copy: bool,
        /// Path inside the volume; empty means all of it.
        subpath: String,
    },
    /// Memory.
    Tmpfs {
        /// Bytes; zero means no bound but the host's.
        size_bytes: u64,
        /// File mode of the root; zero means 1777.
        mode: u32,
    },
}

/// Which content of a secret or config a task gets, and where it sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTarget {
    /// Absolute path, or a name below `/run/secrets` (secrets) or `/` (configs).
    pub path: String,
    /// Owner: number or name as the container knows it; empty means 0.
    pub uid: String,
    /// Group; empty means 0.
    pub gid: String,
    /// Mode bits.
    pub mode: u32,
}

/// A secret as a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretUse {
    /// Name as asked for.
    pub name: String,
    /// Which secret: none as asked for, filled in when the revision is made.
    pub secret: Option<SecretId>,
    /// Which version: none as asked for, filled in when the revision is made.
    pub version: Option<VersionId>,
    /// Where.
    pub file: FileTarget,
}

/// A config as a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigUse {
    /// Name as asked for.
    pub name: String,
    /// Which config: none as asked for, filled in when the revision is made.
    pub config: Option<ConfigId>,
    /// Which version: none as asked for, filled in when the revision is made.
    pub version: Option<VersionId>,
    /// Where.
    pub file: FileTarget,
}

/// Resolver settings of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsConfig {
    /// Addresses.
    pub nameservers: Vec<String>,
    /// Domains.
    pub search: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

/// A limit per process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`, `nproc`, …
    pub name: String,
    /// Soft limit; -1 means none.
    pub soft: i64,
    /// Hard limit; -1 means none.
    pub hard: i64,
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path on the host.
    pub host: String,
    /// Path in the container.
    pub container: String,
    /// `rwm` or part of it.
    pub permissions: String,
}

/// Where the output of a task goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogDriver {
    /// `json-file`, `local`, `journald`, …; empty means the Engine's default.
    pub name: String,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
}

impl LogDriver {
    /// Three files of ten megabytes: enough for a look back, and never a full disk.
    #[must_use]
    pub fn bounded_default() -> Self {
        let options = [("max-size", "10m"), ("max-file", "3")];
        Self {
            name: "json-file".to_owned(),
            options: options
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        }
    }
}
