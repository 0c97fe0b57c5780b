//! The fields of a container, in the words of a Compose file. Of secrets and configs it knows numbers of versions, never
//! bytes. Pure.

use std::fmt::Write as _;

use shoal_proto::container::{ContainerSpec, FileTarget, HealthCheck, Mount, MountKind, PullPolicy};
use shoal_proto::id::VersionId;

use super::fields::Fields;
use crate::client::SpecNames;
use crate::values::show_duration;

pub(super) fn add(fields: &mut Fields, container: &ContainerSpec, names: &SpecNames) {
    process(fields, container);
    for mount in &container.mounts {
        fields.entry("volumes", &mount.destination, self::mount(mount));
    }
    for used in &container.secrets {
        content(fields, ("secrets", &used.name), (used.version, &used.file), names);
    }
    for used in &container.configs {
        content(fields, ("configs", &used.name), (used.version, &used.file), names);
    }
    rights(fields, container);
    surroundings(fields, container);
    match container.pull {
        PullPolicy::Missing => {}
        PullPolicy::Always => fields.one("pull_policy", "always"),
        PullPolicy::Never => fields.one("pull_policy", "never"),
    }
    // A field that nobody has told yet does not compile.
    let ContainerSpec {
        image: _,
        image_digest: _,
        entrypoint: _,
        command: _,
        env: _,
        labels: _,
        hostname: _,
        dir: _,
        user: _,
        groups: _,
        tty: _,
        open_stdin: _,
        read_only: _,
        init: _,
        stop_signal: _,
        stop_grace_ms: _,
        health: _,
        mounts: _,
        secrets: _,
        configs: _,
        hosts: _,
        dns: _,
        cap_add: _,
        cap_drop: _,
        privileged: _,
        security_opt: _,
        sysctls: _,
        ulimits: _,
        devices: _,
        shm_bytes: _,
        oom_score_adj: _,
        pull: _,
    } = container;
}

/// What runs, and how it is spoken to.
fn process(fields: &mut Fields, container: &ContainerSpec) {
    let image = &container.image;
    let digest = container.image_digest.as_ref();
    let pinned = digest.map(|digest| format!("{image}@{digest}"));
    fields.one("image", pinned.as_ref().unwrap_or(image));
    fields.some("entrypoint", container.entrypoint.as_ref().map(words));
    fields.some("command", container.command.as_ref().map(words));
    for variable in &container.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, "(taken out)"));
        fields.one(&format!("environment.{name}"), value);
    }
    fields.map("labels", &container.labels);
    fields.some("hostname", container.hostname.as_ref());
    fields.some("working_dir", container.dir.as_ref());
    fields.some("user", container.user.as_ref());
    fields.list("group_add", &container.groups);
    fields.flag("tty", container.tty);
    fields.flag("stdin_open", container.open_stdin);
    fields.flag("read_only", container.read_only);
    fields.some("init", container.init);
    fields.some("stop_signal", container.stop_signal.as_ref());
    fields.some("stop_grace_period", container.stop_grace_ms.map(show_duration));
    if let Some(health) = &container.health {
        healthcheck(fields, health);
    }
}

/// What it may do.
fn rights(fields: &mut Fields, container: &ContainerSpec) {
    fields.list("cap_add", &container.cap_add);
    fields.list("cap_drop", &container.cap_drop);
    fields.flag("privileged", container.privileged);
    fields.list("security_opt", &container.security_opt);
    fields.map("sysctls", &container.sysctls);
    for limit in &container.ulimits {
        let values = format!("{}:{}", limit.soft, limit.hard);
        fields.one(&format!("ulimits.{}", limit.name), values);
    }
    fields.some("oom_score_adj", container.oom_score_adj);
}

/// What it finds.
fn surroundings(fields: &mut Fields, container: &ContainerSpec) {
    fields.list("extra_hosts", &container.hosts);
    fields.list("dns", &container.dns.nameservers);
    fields.list("dns_search", &container.dns.search);
    fields.list("dns_opt", &container.dns.options);
    for device in &container.devices {
        let (host, inside) = (&device.host, &device.container);
        let value = format!("{host}:{inside}:{}", device.permissions);
        fields.entry("devices", inside, value);
    }
    fields.some("shm_size", container.shm_bytes.map(size));
}

fn healthcheck(fields: &mut Fields, check: &HealthCheck) {
    let HealthCheck {
        test,
        interval_ms,
        timeout_ms,
        start_period_ms,
        start_interval_ms,
        retries,
    } = check;
    fields.some("healthcheck.test", (!test.is_empty()).then(|| words(test)));
    let waits = [
        ("healthcheck.interval", interval_ms),
        ("healthcheck.timeout", timeout_ms),
        ("healthcheck.start_period", start_period_ms),
        ("healthcheck.start_interval", start_interval_ms),
    ];
    for (field, wait_ms) in waits {
        fields.some(field, (*wait_ms != 0).then(|| show_duration(*wait_ms)));
    }
    fields.number("healthcheck.retries", u64::from(*retries));
}

/// A secret or config: which version, and where a task sees it.
fn content(
    fields: &mut Fields,
    (kind, name): (&str, &str),
    (version, file): (Option<VersionId>, &FileTarget),
    names: &SpecNames,
) {
    let FileTarget { path, uid, gid, mode } = file;
    let version = match version.map(|version| version.to_string()) {
        None => "its newest version".to_owned(),
        Some(id) => match names.versions.get(&id) {
            Some(number) => format!("version {number}"),
            None => format!("version {id}"),
        },
    };
    let mut text = format!("{version} at {path}, mode {mode:o}");
    for (word, owner) in [("uid", uid), ("gid", gid)] {
        if !owner.is_empty() && owner != "0" {
            write!(text, ", {word} {owner}").expect("a string takes any text");
        }
    }
    fields.entry(&format!("{kind}.{name}"), path, text);
}

fn mount(mount: &Mount) -> String {
    let mut text = match &mount.kind {
        MountKind::Bind {
            source,
            propagation,
            create,
        } => {
            let made = if *create { ", made when missing" } else { "" };
            let spread = if propagation.is_empty() { "" } else { ", " };
            format!("bind {source}:{}{spread}{propagation}{made}", mount.destination)
        }
        MountKind::Volume {
            name,
            driver,
            driver_options,
            labels,
            no_copy,
            subpath,
        } => {
            let mut text = format!("volume {name}:{}", mount.destination);
            for (word, value) in [("driver", driver), ("subpath", subpath)] {
                if !value.is_empty() {
                    write!(text, ", {word} {value}").expect("a string takes any text");
                }
            }
            for (word, map) in [("option", driver_options), ("label", labels)] {
                for (key, value) in map {
                    write!(text, ", {word} {key}={value}").expect("a string takes any text");
                }
            }
            text + if *no_copy { ", nocopy" } else { "" }
        }
        MountKind::Tmpfs { size_bytes, mode } => {
            let mut text = format!("tmpfs {}", mount.destination);
            if *size_bytes != 0 {
                write!(text, ", size {}", size(*size_bytes)).expect("a string takes any text");
            }
            if *mode != 0 {
                write!(text, ", mode {mode:o}").expect("a string takes any text");
            }
            text
        }
    };
    if mount.read_only {
        text.push_str(", read-only");
    }
    text
}

fn words(words: impl AsRef<[String]>) -> String {
    serde_json::to_string(words.as_ref()).expect("texts always print")
}

/// A size in the largest unit that says it whole.
pub(super) fn size(bytes: u64) -> String {
    for (unit, power) in [("g", 30), ("m", 20), ("k", 10)] {
        if bytes != 0 && bytes.is_multiple_of(1 << power) {
            return format!("{}{unit}", bytes >> power);
        }
    }
    bytes.to_string()
}
