//! What a service may ask for: checked when it is written, so that nothing hangs later for a mistake.
//! Looks at the specification alone; names and ports of others are looked up where the change is made.

use std::collections::BTreeSet;

use shoal_proto::container::{ContainerSpec, FileTarget, MountKind};
use shoal_proto::service::{
    EndpointMode, Mode, NetworkTarget, Placement, Service, ServiceSettings, ServiceSpec, TaskTemplate,
};
use shoal_proto::update::{FailureAction, UpdatePolicy};

use crate::scheduler::constraint::{self, ConstraintError};
use crate::scheduler::spread::{self, SpreadError};

/// Longest name of a service; names are DNS labels. Swarm's.
pub const NAME_MAX: usize = 63;

/// Replicas one service may have.
pub const REPLICAS_MAX: u64 = 100_000;

/// Longest wait of any policy: 365 days.
pub const WAIT_MAX_MS: u64 = 365 * 24 * 3_600 * 1_000;

/// Longest drain of a task: an hour.
pub const DRAIN_MAX_MS: u64 = 3_600_000;

/// Least memory the Engine accepts as a limit.
pub const MEMORY_LIMIT_MIN_BYTES: u64 = 6 * 1024 * 1024;

/// Least share of a processor that may be reserved or set as a limit: a thousandth of a core. Swarm's.
pub const NANO_CPUS_MIN: u64 = 1_000_000;

/// Entries of one list of a template: environment, mounts, ports, constraints and the like.
pub const LIST_MAX: usize = 1_000;

/// What is wrong with a specification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The name cannot be a DNS name.
    #[error(
        "service name {0:?} is not valid: 1 to {NAME_MAX} letters, digits, - and _, a letter or digit at both ends"
    )]
    Name(String),
    /// No image.
    #[error("service {0:?} names no image")]
    NoImage(String),
    /// Jobs are not there yet.
    #[error("mode {0} is not supported yet: choose replicated or global")]
    Mode(&'static str),
    /// Replicated became global or the other way round.
    #[error("the mode of service {0:?} cannot change: remove the service and create it anew")]
    ModeChange(String),
    /// The name is the identity.
    #[error("service {was:?} cannot be renamed to {is:?}: create another service")]
    Rename {
        /// As it is.
        was: String,
        /// As asked for.
        is: String,
    },
    /// A number out of its range.
    #[error("{what} is {found}: at most {limit}")]
    TooMuch {
        /// Which value.
        what: &'static str,
        /// What was asked for.
        found: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A rollback that would roll back.
    #[error("failure action rollback is not valid for a rollback: choose pause or continue")]
    RollbackOfRollback,
    /// A constraint that cannot be read.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// A preference that cannot be read.
    #[error(transparent)]
    Spread(#[from] SpreadError),
    /// One task per node has that limit by itself.
    #[error("max_replicas_per_node is only for replicated services")]
    MaxReplicasOfGlobal,
    /// More is reserved than may be used.
    #[error("{what} reserves {reserved} and is limited to {limit}: a reservation is at most the limit")]
    ReservationAboveLimit {
        /// Which amount.
        what: &'static str,
        /// Reserved.
        reserved: u64,
        /// Limit.
        limit: u64,
    },
    /// Less than the Engine takes.
    #[error("memory limit of {0} bytes is too small: at least {MEMORY_LIMIT_MIN_BYTES}")]
    MemoryTooSmall(u64),
    /// Less than a kernel can divide.
    #[error(
        "{what} of {found} billionths of a core is too small: at least {NANO_CPUS_MIN}, a thousandth of a core"
    )]
    CpuTooSmall {
        /// Which value.
        what: &'static str,
        /// What was asked for.
        found: u64,
    },
    /// Port zero in the container.
    #[error("a published port names no container port: 1 to 65535")]
    NoContainerPort,
    /// One port of the node for two of the container.
    #[error("port {0} is published twice by the same service")]
    PortTwice(u16),
    /// Every node answers by the virtual IP, which this service does not have.
    #[error(
        "a service with endpoint mode dnsrr cannot publish ingress ports: publish in host mode, or use vip"
    )]
    IngressWithoutVip,
    /// Every node answers by an address of the task, which one with its host's network, or none, does not have.
    #[error(
        "a service with network {0} cannot publish ingress ports: publish with mode=host, or choose a network of the \
         cluster"
    )]
    IngressWithoutAddress(&'static str),
    /// A path inside the container that is not absolute.
    #[error("mount destination {0:?} is not an absolute path")]
    RelativeDestination(String),
    /// A path of the host that is not absolute.
    #[error("bind source {0:?} is not an absolute path of the host")]
    RelativeSource(String),
    /// Two things at one place.
    #[error("{0:?} is mounted twice")]
    MountedTwice(String),
    /// An entry without a name.
    #[error("environment entry {0:?} has no name: write NAME=value")]
    Environment(String),
}

/// Checks a specification by itself.
///
/// # Errors
/// The first thing that is wrong, and what would be right.
pub fn validate(spec: &ServiceSpec) -> Result<(), SpecError> {
    check_name(&spec.name)?;
    if spec.template.container.image.trim().is_empty() {
        return Err(SpecError::NoImage(spec.name.clone()));
    }
    check_settings(&spec.settings)?;
    check_placement(&spec.template.placement, &spec.settings.mode)?;
    check_resources(&spec.template)?;
    check_ports(spec)?;
    check_container(&spec.template)
}

/// Checks what a service may become.
///
/// # Errors
/// When the name or the kind of mode differs.
pub fn validate_change(before: &Service, spec: &ServiceSpec) -> Result<(), SpecError> {
    if before.name != spec.name {
        return Err(SpecError::Rename {
            was: before.name.clone(),
            is: spec.name.clone(),
        });
    }
    let same = std::mem::discriminant(&before.settings.mode) == std::mem::discriminant(&spec.settings.mode);
    if same {
        Ok(())
    } else {
        Err(SpecError::ModeChange(before.name.clone()))
    }
}

/// Checks a number of replicas.
///
/// # Errors
/// When there are more than [`REPLICAS_MAX`].
pub fn check_replicas(replicas: u64) -> Result<(), SpecError> {
    at_most("replicas", replicas, REPLICAS_MAX)
}

fn check_name(name: &str) -> Result<(), SpecError> {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let ends = end(name.chars().next()) && end(name.chars().last());
    if ends && name.len() <= NAME_MAX && name.chars().all(inside) {
        return Ok(());
    }
    Err(SpecError::Name(name.to_owned()))
}

fn check_settings(settings: &ServiceSettings) -> Result<(), SpecError> {
    match settings.mode {
        Mode::Replicated { replicas } => check_replicas(replicas)?,
        Mode::Global => {}
        Mode::ReplicatedJob { .. } => return Err(SpecError::Mode("replicated-job")),
        Mode::GlobalJob => return Err(SpecError::Mode("global-job")),
    }
    check_policy(&settings.update)?;
    check_policy(&settings.rollback)?;
    if settings.rollback.failure_action == FailureAction::Rollback {
        return Err(SpecError::RollbackOfRollback);
    }
    at_most("drain in ms", settings.drain_ms.unwrap_or(0), DRAIN_MAX_MS)?;
    at_most("restart delay in ms", settings.restart.delay_ms, WAIT_MAX_MS)?;
    at_most("restart window in ms", settings.restart.window_ms, WAIT_MAX_MS)
}

fn check_policy(policy: &UpdatePolicy) -> Result<(), SpecError> {
    at_most("delay in ms", policy.delay_ms, WAIT_MAX_MS)?;
    at_most("monitor in ms", policy.monitor_ms, WAIT_MAX_MS)?;
    at_most(
        "max failure ratio in millionths",
        policy.max_failure_ratio_ppm.into(),
        1_000_000,
    )?;
    at_most("parallelism", policy.parallelism, REPLICAS_MAX)
}

fn check_placement(placement: &Placement, mode: &Mode) -> Result<(), SpecError> {
    at_most(
        "number of constraints",
        placement.constraints.len() as u64,
        LIST_MAX as u64,
    )?;
    constraint::parse_all(&placement.constraints)?;
    for preference in &placement.spread {
        spread::parse(preference)?;
    }
    if placement.max_replicas_per_node > 0 && matches!(mode, Mode::Global) {
        return Err(SpecError::MaxReplicasOfGlobal);
    }
    Ok(())
}

fn check_resources(template: &TaskTemplate) -> Result<(), SpecError> {
    let (reserved, limits) = (&template.resources.reservations, &template.resources.limits);
    let amounts = [
        (
            "cpu in billionths of a core",
            reserved.nano_cpus,
            limits.nano_cpus,
        ),
        ("memory in bytes", reserved.memory_bytes, limits.memory_bytes),
        ("pids", reserved.pids, limits.pids),
    ];
    for (what, reserved, limit) in amounts {
        if limit > 0 && reserved > limit {
            return Err(SpecError::ReservationAboveLimit {
                what,
                reserved,
                limit,
            });
        }
    }
    for (what, found) in [
        ("cpu reservation", reserved.nano_cpus),
        ("cpu limit", limits.nano_cpus),
    ] {
        if (1..NANO_CPUS_MIN).contains(&found) {
            return Err(SpecError::CpuTooSmall { what, found });
        }
    }
    match limits.memory_bytes {
        1..MEMORY_LIMIT_MIN_BYTES => Err(SpecError::MemoryTooSmall(limits.memory_bytes)),
        _ => Ok(()),
    }
}

fn check_ports(spec: &ServiceSpec) -> Result<(), SpecError> {
    let ingress = &spec.settings.ingress_ports;
    let host = &spec.template.host_ports;
    let ports = ingress
        .iter()
        .map(|p| p.container_port)
        .chain(host.iter().map(|p| p.container_port));
    if ports.into_iter().any(|port| port == 0) {
        return Err(SpecError::NoContainerPort);
    }
    if !ingress.is_empty() && spec.settings.endpoint == EndpointMode::DnsRoundRobin {
        return Err(SpecError::IngressWithoutVip);
    }
    let apart = spec.template.networks.iter().find_map(|used| match used.network {
        NetworkTarget::Host => Some("host"),
        NetworkTarget::None => Some("none"),
        NetworkTarget::Cluster(_) | NetworkTarget::Named(_) => None,
    });
    if let Some(network) = apart.filter(|_| !ingress.is_empty()) {
        return Err(SpecError::IngressWithoutAddress(network));
    }
    let mut taken = BTreeSet::new();
    let published = ingress.iter().map(|p| (p.protocol, p.published_port, None));
    let published = published.chain(host.iter().map(|p| (p.protocol, p.published_port, p.host_ip)));
    for (protocol, port, address) in published.filter(|(_, port, _)| *port != 0) {
        if !taken.insert((protocol, port, address)) {
            return Err(SpecError::PortTwice(port));
        }
    }
    Ok(())
}

fn check_container(template: &TaskTemplate) -> Result<(), SpecError> {
    let container = &template.container;
    at_most(
        "number of environment entries",
        container.env.len() as u64,
        LIST_MAX as u64,
    )?;
    at_most("number of mounts", container.mounts.len() as u64, LIST_MAX as u64)?;
    if let Some(entry) = container
        .env
        .iter()
        .find(|entry| entry.is_empty() || entry.starts_with('='))
    {
        return Err(SpecError::Environment(entry.clone()));
    }
    at_most(
        "stop grace period in ms",
        container.stop_grace_ms.unwrap_or(0),
        WAIT_MAX_MS,
    )?;
    let mut taken = BTreeSet::new();
    for mount in &container.mounts {
        if !mount.destination.starts_with('/') {
            return Err(SpecError::RelativeDestination(mount.destination.clone()));
        }
        if let MountKind::Bind { source, .. } = &mount.kind
            && !source.starts_with('/')
        {
            return Err(SpecError::RelativeSource(source.clone()));
        }
        if !taken.insert(mount.destination.trim_end_matches('/').to_owned()) {
            return Err(SpecError::MountedTwice(mount.destination.clone()));
        }
    }
    check_files(container, taken)
}

/// Secrets and configs: each at a place of its own, which is nobody else's. `taken` are those of the mounts.
fn check_files(container: &ContainerSpec, mut taken: BTreeSet<String>) -> Result<(), SpecError> {
    let secrets = container
        .secrets
        .iter()
        .map(|used| seen_at(&used.file, &used.name, "/run/secrets/"));
    let configs = container
        .configs
        .iter()
        .map(|used| seen_at(&used.file, &used.name, "/"));
    for path in secrets.chain(configs) {
        if !taken.insert(path.clone()) {
            return Err(SpecError::MountedTwice(path));
        }
    }
    Ok(())
}

/// The path inside the container; a name alone is one below the usual folder.
fn seen_at(file: &FileTarget, name: &str, folder: &str) -> String {
    match file.path.as_str() {
        "" => format!("{folder}{name}"),
        absolute if absolute.starts_with('/') => absolute.trim_end_matches('/').to_owned(),
        relative => format!("{folder}{relative}"),
    }
}

fn at_most(what: &'static str, found: u64, limit: u64) -> Result<(), SpecError> {
    if found > limit {
        Err(SpecError::TooMuch { what, found, limit })
    } else {
        Ok(())
    }
}

#[cfg(test)]
#[path = "validate_test.rs"]
mod tests;
