//! What runs in a container.

use super::Invalid;
use super::checks::{absolute, duration_ms, list, map, message, optional, optional_text, text, texts};
use crate::container::{ContainerSpec, Device, DnsConfig, HealthCheck, Ulimit};
use crate::wire;

impl From<&ContainerSpec> for wire::ContainerSpec {
    fn from(spec: &ContainerSpec) -> Self {
        Self {
            image: spec.image.clone(),
            image_digest: spec.image_digest.clone(),
            entrypoint: spec.entrypoint.as_deref().map(string_list),
            command: spec.command.as_deref().map(string_list),
            env: spec.env.clone(),
            labels: spec.labels.clone(),
            hostname: spec.hostname.clone(),
            dir: spec.dir.clone(),
            user: spec.user.clone(),
            groups: spec.groups.clone(),
            tty: spec.tty,
            open_stdin: spec.open_stdin,
            read_only: spec.read_only,
            init: spec.init,
            stop_signal: spec.stop_signal.clone(),
            stop_grace_ms: spec.stop_grace_ms,
            health: spec.health.as_ref().map(Into::into),
            mounts: spec.mounts.iter().map(Into::into).collect(),
            secrets: spec.secrets.iter().map(Into::into).collect(),
            configs: spec.configs.iter().map(Into::into).collect(),
            hosts: spec.hosts.clone(),
            dns: Some((&spec.dns).into()),
            cap_add: spec.cap_add.clone(),
            cap_drop: spec.cap_drop.clone(),
            privileged: spec.privileged,
            security_opt: spec.security_opt.clone(),
            sysctls: spec.sysctls.clone(),
            ulimits: spec.ulimits.iter().map(Into::into).collect(),
            devices: spec.devices.iter().map(Into::into).collect(),
            shm_bytes: spec.shm_bytes,
            oom_score_adj: spec.oom_score_adj,
            pull: wire::PullPolicy::from(spec.pull).into(),
        }
    }
}

fn string_list(values: &[String]) -> wire::StringList {
    wire::StringList {
        values: values.to_vec(),
    }
}

impl TryFrom<wire::ContainerSpec> for ContainerSpec {
    type Error = Invalid;
    fn try_from(spec: wire::ContainerSpec) -> Result<Self, Invalid> {
        let arguments = |list: Option<wire::StringList>, field: &str| {
            list.map(|list| texts(list.values, field)).transpose()
        };
        Ok(Self {
            image: image(spec.image)?,
            image_digest: spec.image_digest.map(image_digest).transpose()?,
            entrypoint: arguments(spec.entrypoint, "entrypoint")?,
            command: arguments(spec.command, "command")?,
            env: env(spec.env)?,
            labels: map(spec.labels, "labels")?,
            hostname: optional_text(spec.hostname, "hostname")?,
            dir: optional_text(spec.dir, "dir")?,
            user: optional_text(spec.user, "user")?,
            groups: texts(spec.groups, "groups")?,
            tty: spec.tty,
            open_stdin: spec.open_stdin,
            read_only: spec.read_only,
            init: spec.init,
            stop_signal: optional_text(spec.stop_signal, "stop_signal")?,
            stop_grace_ms: spec
                .stop_grace_ms
                .map(|ms| duration_ms(ms, "stop_grace_ms"))
                .transpose()?,
            health: optional(spec.health, "health")?,
            mounts: list(spec.mounts, "mounts")?,
            secrets: list(spec.secrets, "secrets")?,
            configs: list(spec.configs, "configs")?,
            hosts: texts(spec.hosts, "hosts")?,
            dns: message(spec.dns, "dns")?,
            cap_add: texts(spec.cap_add, "cap_add")?,
            cap_drop: texts(spec.cap_drop, "cap_drop")?,
            privileged: spec.privileged,
            security_opt: texts(spec.security_opt, "security_opt")?,
            sysctls: map(spec.sysctls, "sysctls")?,
            ulimits: list(spec.ulimits, "ulimits")?,
            devices: list(spec.devices, "devices")?,
            shm_bytes: spec.shm_bytes,
            oom_score_adj: spec.oom_score_adj.map(oom_score_adj).transpose()?,
            pull: super::checks::enumeration::<wire::PullPolicy, _>(spec.pull, "pull")?,
        })
    }
}

fn image(value: String) -> Result<String, Invalid> {
    let right = !value.is_empty() && value.len() <= 1_024 && !value.contains(char::is_whitespace);
    if right {
        return Ok(value);
    }
    Err(Invalid::new(
        "image",
        format!("{value:?} is not an image: expected a name such as nginx:1.27"),
    ))
}

/// Kept as the registry writes it; only its form is checked.
fn image_digest(value: String) -> Result<String, Invalid> {
    super::checks::digest(&value, "image_digest").map(|_| value)
}

fn env(values: Vec<String>) -> Result<Vec<String>, Invalid> {
    for (at, value) in values.iter().enumerate() {
        if value.is_empty() || value.starts_with('=') || value.contains('\0') {
            let why = format!("{value:?} is not an environment entry: expected NAME=value or NAME");
            return Err(Invalid::new(format!("env[{at}]"), why));
        }
    }
    texts(values, "env")
}

fn oom_score_adj(value: i64) -> Result<i64, Invalid> {
    if (-1_000..=1_000).contains(&value) {
        return Ok(value);
    }
    Err(Invalid::new(
        "oom_score_adj",
        format!("{value} is out of range: -1000 to 1000"),
    ))
}

impl From<&HealthCheck> for wire::HealthCheck {
    fn from(health: &HealthCheck) -> Self {
        Self {
            test: health.test.clone(),
            interval_ms: health.interval_ms,
            timeout_ms: health.timeout_ms,
            start_period_ms: health.start_period_ms,
            start_interval_ms: health.start_interval_ms,
            retries: health.retries,
        }
    }
}

impl TryFrom<wire::HealthCheck> for HealthCheck {
    type Error = Invalid;
    fn try_from(health: wire::HealthCheck) -> Result<Self, Invalid> {
        let known = match health.test.first().map(String::as_str) {
            None => true,
            Some("NONE") => health.test.len() == 1,
            Some("CMD") => health.test.len() > 1,
            Some("CMD-SHELL") => health.test.len() == 2,
            Some(_) => false,
        };
        if !known {
            let why = format!(
                "{:?} is not a test: expected NONE, CMD with arguments, or CMD-SHELL with one line",
                health.test
            );
            return Err(Invalid::new("test", why));
        }
        Ok(Self {
            test: texts(health.test, "test")?,
            interval_ms: duration_ms(health.interval_ms, "interval_ms")?,
            timeout_ms: duration_ms(health.timeout_ms, "timeout_ms")?,
            start_period_ms: duration_ms(health.start_period_ms, "start_period_ms")?,
            start_interval_ms: duration_ms(health.start_interval_ms, "start_interval_ms")?,
            retries: health.retries,
        })
    }
}

impl From<&DnsConfig> for wire::DnsConfig {
    fn from(dns: &DnsConfig) -> Self {
        Self {
            nameservers: dns.nameservers.clone(),
            search: dns.search.clone(),
            options: dns.options.clone(),
        }
    }
}

impl TryFrom<wire::DnsConfig> for DnsConfig {
    type Error = Invalid;
    fn try_from(dns: wire::DnsConfig) -> Result<Self, Invalid> {
        Ok(Self {
            nameservers: texts(dns.nameservers, "nameservers")?,
            search: texts(dns.search, "search")?,
            options: texts(dns.options, "options")?,
        })
    }
}

impl From<&Ulimit> for wire::Ulimit {
    fn from(limit: &Ulimit) -> Self {
        Self {
            name: limit.name.clone(),
            soft: limit.soft,
            hard: limit.hard,
        }
    }
}

impl TryFrom<wire::Ulimit> for Ulimit {
    type Error = Invalid;
    fn try_from(limit: wire::Ulimit) -> Result<Self, Invalid> {
        if limit.name.is_empty() {
            return Err(Invalid::new(
                "name",
                "is empty: expected nofile, nproc or another limit's name",
            ));
        }
        Ok(Self {
            name: text(limit.name, "name")?,
            soft: limit.soft,
            hard: limit.hard,
        })
    }
}

impl From<&Device> for wire::Device {
    fn from(device: &Device) -> Self {
        Self {
            host: device.host.clone(),
            container: device.container.clone(),
            permissions: device.permissions.clone(),
        }
    }
}

impl TryFrom<wire::Device> for Device {
    type Error = Invalid;
    fn try_from(device: wire::Device) -> Result<Self, Invalid> {
        let known = device.permissions.chars().all(|c| matches!(c, 'r' | 'w' | 'm'));
        if !known {
            let why = format!(
                "{:?} are not device permissions: expected rwm or part of it",
                device.permissions
            );
            return Err(Invalid::new("permissions", why));
        }
        Ok(Self {
            host: absolute(device.host, "host")?,
            container: absolute(device.container, "container")?,
            permissions: device.permissions,
        })
    }
}
