//! One service: the keys that are about its container. Numbers, places and changes are in `deploy`.

use std::collections::BTreeMap;

use shoal_proto::container::{Device, DnsConfig, HealthCheck, LogDriver, PullPolicy, Ulimit};
use shoal_proto::service::Platform;

use super::{Reader, Section, deploy, environment, mount, port, reference, words};
use crate::compose::model::{At, Attachment, Condition, Dependency, Need, NetworkMode, Service, Switches};
use crate::compose::path::Path;
use crate::compose::short;
use crate::compose::source::Place;
use crate::compose::tree::{Node, Value};

pub(super) fn read(reader: &mut Reader<'_>, place: Place, node: &Node, path: Path<'_>) -> Option<Service> {
    if node.is_null() {
        reader.error(place, path, "the service has no body; expected at least image:");
        return None;
    }
    let s = &reader.as_section(node, path)?;
    let mut labels = environment::labels(reader, s);
    labels.extend(reader.text_map(s, "labels"));
    let (network_mode, networks) = (network_mode(reader, s), networks(reader, s));
    links(reader, s);
    Some(Service {
        place,
        image: reader.text_at(s, "image"),
        build: s
            .map
            .entry("build")
            .filter(|entry| !entry.value.is_null())
            .map(|entry| entry.place),
        command: command(reader, s, "command"),
        entrypoint: command(reader, s, "entrypoint").map(cleared),
        environment: environment::variables(reader, s),
        labels,
        hostname: reader.text(s, "hostname"),
        working_dir: reader.text(s, "working_dir"),
        user: reader.text(s, "user").filter(|user| !user.is_empty()),
        groups: reader.texts(s, "group_add"),
        switches: switches(reader, s),
        stop_signal: reader.parsed(s, "stop_signal", signal).map(|at| at.value),
        stop_grace_ms: reader.duration_ms(s, "stop_grace_period"),
        health: health(reader, s),
        mounts: mount::read(reader, s),
        secrets: reference::read(reader, s, "secrets"),
        configs: reference::read(reader, s, "configs"),
        extra_hosts: hosts(reader, s),
        dns: dns(reader, s),
        cap_add: reader.texts(s, "cap_add"),
        cap_drop: reader.texts(s, "cap_drop"),
        security_opt: reader.texts(s, "security_opt"),
        sysctls: reader.text_map(s, "sysctls"),
        ulimits: ulimits(reader, s),
        devices: devices(reader, s),
        shm_bytes: reader.bytes(s, "shm_size"),
        oom_score_adj: reader.parsed(s, "oom_score_adj", oom_score).map(|at| at.value),
        pull: reader
            .parsed(s, "pull_policy", pull_policy)
            .map_or(PullPolicy::Missing, |at| at.value),
        platform: reader.parsed(s, "platform", platform).map(|at| at.value),
        logging: logging(reader, s),
        ports: port::read(reader, s),
        networks,
        network_mode,
        depends_on: depends_on(reader, s),
        container_name: reader.text(s, "container_name"),
        profiles: reader.texts(s, "profiles"),
        deploy: deploy::read(reader, s),
    })
}

/// A list as it is, a text split as a shell splits it.
fn command(reader: &mut Reader<'_>, s: &Section<'_, '_>, key: &str) -> Option<Vec<String>> {
    let (node, _) = s.at(key).filter(|(node, _)| !node.is_null())?;
    match &node.value {
        Value::Scalar(_) => reader.parsed(s, key, words::split).map(|at| at.value),
        Value::List(_) | Value::Map(_) => Some(reader.texts(s, key)),
    }
}

/// An empty entrypoint takes the image's away; the Engine wants one empty word for that.
fn cleared(entrypoint: Vec<String>) -> Vec<String> {
    if entrypoint.is_empty() {
        vec![String::new()]
    } else {
        entrypoint
    }
}

fn switches(reader: &mut Reader<'_>, s: &Section<'_, '_>) -> Switches {
    Switches {
        tty: reader.flag(s, "tty").unwrap_or_default(),
        stdin_open: reader.flag(s, "stdin_open").unwrap_or_default(),
        read_only: reader.flag(s, "read_only").unwrap_or_default(),
        privileged: reader.flag(s, "privileged").unwrap_or_default(),
        init: reader.flag(s, "init"),
    }
}

fn signal(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let number = text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    let known = name
        .chars()
        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '+' | '-'));
    if number || (known && name.starts_with(|c: char| c.is_ascii_uppercase())) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not a signal; expected one such as SIGTERM"))
}

fn oom_score(text: &str) -> Result<i64, String> {
    match text.parse::<i64>() {
        Ok(score) if (-1000..=1000).contains(&score) => Ok(score),
        _ => Err(format!(
            "{text:?} is not a score; expected a number from -1000 to 1000"
        )),
    }
}

fn pull_policy(text: &str) -> Result<PullPolicy, String> {
    match text {
        "always" => Ok(PullPolicy::Always),
        "missing" | "if_not_present" => Ok(PullPolicy::Missing),
        "never" => Ok(PullPolicy::Never),
        "build" => Err("images are not built here; build and push it, and name it in image:".to_owned()),
        _ => Err(format!(
            "{text:?} is not a pull policy; expected always, missing or never"
        )),
    }
}

fn platform(text: &str) -> Result<Platform, String> {
    let mut parts = text.split('/');
    let os = parts.next().unwrap_or_default().to_owned();
    let arch = parts.next().unwrap_or_default().to_owned();
    if os != "linux" {
        return Err(format!(
            "{text:?} is not a platform of Shoal's nodes; expected one such as linux/amd64"
        ));
    }
    Ok(Platform { os, arch })
}

fn health(reader: &mut Reader<'_>, s: &Section<'_, '_>) -> Option<HealthCheck> {
    let section = reader.section(s, "healthcheck")?;
    let disabled = reader.flag(&section, "disable").unwrap_or_default();
    let test = section
        .at("test")
        .filter(|(node, _)| !node.is_null())
        .and_then(|(node, path)| match &node.value {
            Value::Scalar(scalar) => Some(vec!["CMD-SHELL".to_owned(), scalar.text.clone()]),
            Value::List(_) => {
                let words = reader.texts(&section, "test");
                let known = matches!(
                    words.first().map(String::as_str),
                    Some("NONE" | "CMD" | "CMD-SHELL")
                );
                if !known {
                    reader.error(
                        node.place,
                        path,
                        "a list begins with NONE, CMD or CMD-SHELL; a text needs no list",
                    );
                }
                Some(words)
            }
            Value::Map(_) => {
                reader.wrong(node, path, "a command");
                None
            }
        });
    if disabled && test.as_ref().is_some_and(|test| test[0] != "NONE") {
        let place = section
            .map
            .entry("disable")
            .map_or(s.map.entries[0].place, |entry| entry.place);
        reader.error(
            place,
            section.path.key("disable"),
            "a disabled check has no test; keep one of them",
        );
    }
    Some(HealthCheck {
        test: if disabled {
            vec!["NONE".to_owned()]
        } else {
            test.unwrap_or_default()
        },
        interval_ms: reader.duration_ms(&section, "interval").unwrap_or_default(),
        timeout_ms: reader.duration_ms(&section, "timeout").unwrap_or_default(),
        start_period_ms: reader.duration_ms(&section, "start_period").unwrap_or_default(),
        start_interval_ms: reader.duration_ms(&section, "start_interval").unwrap_or_default(),
        retries: reader.number(&section, "retries").unwrap_or_default(),
    })
}

fn hosts(reader: &mut Reader<'_>, s: &Section<'_, '_>) -> Vec<(String, String)> {
    let Some(section) = reader.section(s, "extra_hosts") else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for entry in &section.map.entries {
        for address in reader.texts_at(&section, &entry.key) {
            let text = address.value.trim_start_matches('[').trim_end_matches(']');
            if text != "host-gateway" && text.parse::<std::net::IpAddr>().is_err() {
                let message = format!("{text:?} is not an address; expected one, or host-gateway");
                reader.error(address.place, section.path.key(&entry.key), message);
                continue;
            }
            out.push((entry.key.clone(), text.to_owned()));
        }
    }
    out
}

fn dns(reader: &mut Reader<'_>, s: &Section<'_, '_>) -> DnsConfig {
    let mut nameservers = Vec::new();
    for server in reader.texts_at(s, "dns") {
        match server.value.parse::<std::net::IpAddr>() {
            Ok(_) => nameservers.push(server.value),
            Err(_) => reader.error(
                server.place,
                s.path.key("dns"),
                format!("{:?} is not an address", server.value),
            ),
        }
    }
    DnsConfig {
        nameservers,
        search: reader.texts(s, "dns_search"),
        options: reader.texts(s, "dns_opt"),
    }
}

fn ulimits(reader: &mut Reader<'_>, s: &Section<'_, '_>) -> Vec<Ulimit> {
    let Some(section) = reader.section(s, "ulimits") else {
        return Vec::new();
    };
    let read = |text: &str| match text {
        "unlimited" => Ok(-1),
        _ => text
            .parse::<i64>()
            .ok()
            .filter(|number| *number >= -1)
            .ok_or_else(|| format!("{text:?} is not a limit; expected a number, or -1 for none")),
    };
    let mut out = Vec::new();
    for entry in &section.map.entries {
        let name = entry.key.clone();
        let limit = match entry.value.as_map() {
            None => reader
                .parsed(&section, &entry.key, read)
                .map(|at| (at.value, at.value)),
            Some(map) => {
                let limits = Section {
                    map,
                    path: section.path.key(&entry.key),
                };
                let soft = reader.parsed(&limits, "soft", read).map(|at| at.value);
                let hard = reader.parsed(&limits, "hard", read).map(|at| at.value);
                match (soft, hard) {
                    (Some(soft), hard) => Some((soft, hard.unwrap_or(soft))),
                    (None, Some(hard)) => Some((hard, hard)),
                    (None, None) => None,
                }
            }
        };
        match limit {
            Some((soft, hard)) if hard != -1 && (soft == -1 || soft > hard) => {
                reader.error(
                    entry.place,
                    section.path.key(&entry.key),
                    "the soft limit is above the hard one",
                );
            }
            Some((soft, hard)) => out.push(Ulimit { name, soft, hard }),
            None => {}
        }
    }
    out
}

fn devices(reader: &mut Reader<'_>, s: &Section<'_, '_>) -> Vec<Device> {
    let items = reader.items(s, "devices");
    let list = s.path.key("devices");
    let mut out = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let device = match item.as_scalar() {
            Some(scalar) => short::device(&scalar.text).map(|(host, container, permissions)| Device {
                host: host.to_owned(),
                container: container.to_owned(),
                permissions: permissions.to_owned(),
            }),
            None => reader.as_section(item, list.item(index)).and_then(|section| {
                let host = reader.text(&section, "source")?;
                let container = reader.text(&section, "target").unwrap_or_else(|| host.clone());
                let permissions = reader
                    .text(&section, "permissions")
                    .unwrap_or_else(|| "rwm".to_owned());
                Some(Device {
                    host,
                    container,
                    permissions,
                })
            }),
        };
        match device {
            Some(device) if device.host.starts_with('/') => out.push(device),
            Some(device) => {
                let message = format!(
                    "{:?} is not a path of the host; devices by other names are not supported yet",
                    device.host
                );
                reader.error(item.place, list.item(index), message);
            }
            None => reader.error(
                item.place,
                list.item(index),
                "expected host[:container[:permissions]]",
            ),
        }
    }
    out
}

fn logging(reader: &mut Reader<'_>, s: &Section<'_, '_>) -> Option<LogDriver> {
    let section = reader.section(s, "logging")?;
    Some(LogDriver {
        name: reader.text(&section, "driver").unwrap_or_default(),
        options: reader.text_map(&section, "options"),
    })
}

fn network_mode(reader: &mut Reader<'_>, s: &Section<'_, '_>) -> Option<At<NetworkMode>> {
    let (node, path) = s.at("network_mode").filter(|(node, _)| !node.is_null())?;
    let mode = match node.as_scalar().map(|scalar| scalar.text.as_str()) {
        Some("host") => NetworkMode::Host,
        Some("none") => NetworkMode::None,
        Some(mode @ ("bridge" | "default")) => {
            reader.warning(
                node.place,
                path,
                format!("{mode} means the stack's default network here"),
            );
            return None;
        }
        _ => {
            reader.wrong(
                node,
                path,
                "a network mode of a service; expected host or none, or use networks:",
            );
            return None;
        }
    };
    if let Some(networks) = s.map.entry("networks").filter(|entry| !entry.value.is_null()) {
        reader.error(
            networks.place,
            s.path.key("networks"),
            "networks: and network_mode: exclude each other",
        );
    }
    Some(At {
        value: mode,
        place: node.place,
    })
}

fn networks(reader: &mut Reader<'_>, s: &Section<'_, '_>) -> BTreeMap<String, At<Attachment>> {
    let mut out = BTreeMap::new();
    let Some(section) = reader.section(s, "networks") else {
        return out;
    };
    for entry in &section.map.entries {
        let aliases = match reader.section(&section, &entry.key) {
            Some(attachment) => reader.texts(&attachment, "aliases"),
            None => Vec::new(),
        };
        out.insert(
            entry.key.clone(),
            At {
                value: Attachment { aliases },
                place: entry.place,
            },
        );
    }
    out
}

fn depends_on(reader: &mut Reader<'_>, s: &Section<'_, '_>) -> BTreeMap<String, At<Dependency>> {
    let mut out = BTreeMap::new();
    let Some(section) = reader.section(s, "depends_on") else {
        return out;
    };
    for entry in &section.map.entries {
        let mut dependency = Dependency {
            condition: Condition::Started,
            need: Need::Required,
        };
        if let Some(details) = reader.section(&section, &entry.key) {
            let condition = reader.parsed(&details, "condition", |text| match text {
                "service_started" => Ok(Condition::Started),
                "service_healthy" => Ok(Condition::Healthy),
                "service_completed_successfully" => Ok(Condition::Completed),
                _ => Err(format!(
                    "{text:?} is not a condition; expected service_started, service_healthy or \
                     service_completed_successfully"
                )),
            });
            dependency.condition = condition.map(|at| at.value).unwrap_or_default();
            if reader.flag(&details, "required") == Some(false) {
                dependency.need = Need::Optional;
            }
            reader.flag(&details, "restart");
        }
        out.insert(
            entry.key.clone(),
            At {
                value: dependency,
                place: entry.place,
            },
        );
    }
    out
}

/// Names resolve without links; only an alias would be lost.
fn links(reader: &mut Reader<'_>, s: &Section<'_, '_>) {
    for link in reader.texts_at(s, "links") {
        let path = s.path.key("links");
        match link.value.split_once(':').filter(|(name, alias)| name != alias) {
            None => reader.warning(
                link.place,
                path,
                "services on one network find each other without links",
            ),
            Some((name, alias)) => {
                let message =
                    format!("links are not made; give {name} the alias {alias} under its networks:");
                reader.error(link.place, path, message);
            }
        }
    }
}
