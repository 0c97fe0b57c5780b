//! The fields of a container, in the words of a Compose file. Of secrets and configs it knows numbers of versions, never
//! bytes. Pure.

use std::fmt::Write as _;

use shoal_proto::container::{ContainerSpec, FileTarget, HealthCheck, Mount, MountKind, PullPolicy};
use shoal_proto::id::VersionId;

use super::fields::Fields;
use crate::client::SpecNames;
use crate::values::show_duration;

pub(super) fn add(fields: &mut Fields, container: &ContainerSpec, names: &SpecNames) {
    let ContainerSpec {
        image,
        image_digest,
        entrypoint,
        command,
        env,
        labels,
        hostname,
        dir,
        user,
        groups,
        tty,
        open_stdin,
        read_only,
        init,
        stop_signal,
        stop_grace_ms,
        health,
        mounts,
        secrets,
        configs,
        hosts,
        dns,
        cap_add,
        cap_drop,
        privileged,
        security_opt,
        sysctls,
        ulimits,
        devices,
        shm_bytes,
        oom_score_adj,
        pull,
    } = container;
    let pinned = image_digest.as_ref().map(|digest| format!("{image}@{digest}"));
    fields.one("image", pinned.as_ref().unwrap_or(image));
    fields.some("entrypoint", entrypoint.as_ref().map(words));
    fields.some("command", command.as_ref().map(words));
    for variable in env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, "(taken out)"));
        fields.one(&format!("environment.{name}"), value);
    }
    fields.map("labels", labels);
    fields.some("hostname", hostname.as_ref());
    fields.some("working_dir", dir.as_ref());
    fields.some("user", user.as_ref());
    fields.list("group_add", groups);
    fields.flag("tty", *tty);
    fields.flag("stdin_open", *open_stdin);
    fields.flag("read_only", *read_only);
    fields.some("init", *init);
    fields.some("stop_signal", stop_signal.as_ref());
    fields.some("stop_grace_period", stop_grace_ms.map(show_duration));
    if let Some(health) = health {
        healthcheck(fields, health);
    }
    for mount in mounts {
        fields.entry("volumes", &mount.destination, self::mount(mount));
    }
    for used in secrets {
        content(fields, ("secrets", &used.name), (used.version, &used.file), names);
    }
    for used in configs {
        content(fields, ("configs", &used.name), (used.version, &used.file), names);
    }
    fields.list("extra_hosts", hosts);
    fields.list("dns", &dns.nameservers);
    fields.list("dns_search", &dns.search);
    fields.list("dns_opt", &dns.options);
    fields.list("cap_add", cap_add);
    fields.list("cap_drop", cap_drop);
    fields.flag("privileged", *privileged);
    fields.list("security_opt", security_opt);
    fields.map("sysctls", sysctls);
    for limit in ulimits {
        fields.one(
            &format!("ulimits.{}", limit.name),
            format!("{}:{}", limit.soft, limit.hard),
        );
    }
    for device in devices {
        let (host, inside) = (&device.host, &device.container);
        fields.entry(
            "devices",
            inside,
            format!("{host}:{inside}:{}", device.permissions),
        );
    }
    fields.some("shm_size", shm_bytes.map(size));
    fields.some("oom_score_adj", *oom_score_adj);
    match pull {
        PullPolicy::Missing => {}
        PullPolicy::Always => fields.one("pull_policy", "always"),
        PullPolicy::Never => fields.one("pull_policy", "never"),
    }
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
