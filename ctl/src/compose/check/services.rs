//! What spans several keys of a service, or several services: references, published ports, modes, dependencies.

use std::collections::{BTreeMap, HashSet};

use shoal_proto::service::{EndpointMode, share_an_address};

use super::constraint;
use super::unknown::nearest;
use crate::compose::finding::{Finding, Findings};
use crate::compose::model::{At, Condition, ModeName, Model, MountSource, Need, Port, PortMode, Service};

/// Replicas one service may have, as the managers have it.
const REPLICAS_MAX: u64 = 100_000;
/// Longest wait of any policy, as the managers have it: 365 days.
const WAIT_MAX_MS: u64 = 365 * 24 * 3_600 * 1_000;

pub(super) fn check(model: &Model, findings: &mut Findings) {
    for (name, service) in &model.services {
        references(model, name, service, findings);
        targets(name, service, findings);
        mode(name, service, findings);
        placement(name, service, findings);
        depends_on(model, name, service, findings);
        amounts(name, service, findings);
        waits(name, service, findings);
    }
    unused(model, findings);
    ports(model, findings);
    cycles(model, findings);
    if model.services.is_empty() {
        let message = match model
            .inactive
            .values()
            .flatten()
            .collect::<std::collections::BTreeSet<_>>()
        {
            profiles if profiles.is_empty() => "the stack has no services".to_owned(),
            profiles => {
                let list: Vec<&str> = profiles.into_iter().map(String::as_str).collect();
                format!(
                    "no service is active; the profiles are {}: set COMPOSE_PROFILES",
                    list.join(", ")
                )
            }
        };
        findings.push(Finding::warning("services", message));
    }
}

/// A name that no object of a kind has.
fn undefined<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("declare it under {kind}:, or pass the file that does with another -c"),
    };
    format!("{name:?} is not declared under {kind}:; {hint}")
}

fn references(model: &Model, name: &str, service: &Service, findings: &mut Findings) {
    for (network, attachment) in &service.networks {
        if network != "default" && !model.networks.contains_key(network) {
            let message = undefined("networks", network, model.networks.keys());
            findings.push(
                Finding::error(format!("services.{name}.networks.{network}"), message).at(attachment.place),
            );
        }
    }
    for mount in &service.mounts {
        let MountSource::Volume {
            name: Some(volume), ..
        } = &mount.value.source
        else {
            continue;
        };
        if !model.volumes.contains_key(volume) {
            let message = undefined("volumes", volume, model.volumes.keys());
            findings.push(Finding::error(format!("services.{name}.volumes"), message).at(mount.place));
        }
    }
    let uses = [
        ("secrets", &service.secrets, &model.secrets),
        ("configs", &service.configs, &model.configs),
    ];
    for (kind, references, declared) in uses {
        for reference in references {
            if !declared.contains_key(&reference.value.source) {
                let message = undefined(kind, &reference.value.source, declared.keys());
                findings.push(Finding::error(format!("services.{name}.{kind}"), message).at(reference.place));
            }
        }
    }
}

/// Two things at one path of the container.
fn targets(name: &str, service: &Service, findings: &mut Findings) {
    let mounts = service
        .mounts
        .iter()
        .map(|mount| ("volumes", mount.value.target.as_str(), mount.place));
    let file = |kind, folder: &str, reference: &At<crate::compose::model::Reference>| {
        let target = reference
            .value
            .target
            .as_deref()
            .unwrap_or(&reference.value.source);
        let path = if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("{folder}{target}")
        };
        (kind, path, reference.place)
    };
    let mut seen = BTreeMap::new();
    let all = mounts
        .map(|(kind, target, place)| (kind, target.to_owned(), place))
        .chain(
            service
                .secrets
                .iter()
                .map(|reference| file("secrets", "/run/secrets/", reference)),
        )
        .chain(
            service
                .configs
                .iter()
                .map(|reference| file("configs", "/", reference)),
        );
    for (kind, target, place) in all {
        let target = if target.len() > 1 {
            target.trim_end_matches('/').to_owned()
        } else {
            target
        };
        if let Some(first) = seen.get(&target) {
            let message = format!("{target} is already taken in this container");
            findings.push(
                Finding::error(format!("services.{name}.{kind}"), message)
                    .at(place)
                    .and(*first, "taken here"),
            );
        } else {
            seen.insert(target, place);
        }
    }
}

fn mode(name: &str, service: &Service, findings: &mut Findings) {
    let deploy = &service.deploy;
    let error = |key: &str, message: String, place| {
        Finding::error(format!("services.{name}.deploy.{key}"), message).at(place)
    };
    if let Some(replicas) = deploy
        .replicas
        .as_ref()
        .filter(|replicas| replicas.value > REPLICAS_MAX)
    {
        let message = format!(
            "{} replicas are more than the limit of {REPLICAS_MAX}",
            replicas.value
        );
        findings.push(error("replicas", message, replicas.place));
    }
    let Some(mode) = &deploy.mode else { return };
    match mode.value {
        ModeName::Replicated => {}
        ModeName::Global => {
            if let Some(replicas) = &deploy.replicas {
                let message =
                    "a global service runs once on every node; take replicas away, or set mode: replicated";
                let finding = error("replicas", message.to_owned(), replicas.place);
                findings.push(finding.and(mode.place, "set to global here"));
            }
            if deploy.max_per_node > 0 {
                let message = "a global service runs once on every node; take max_replicas_per_node away";
                findings.push(error("placement", message.to_owned(), mode.place));
            }
        }
        ModeName::ReplicatedJob | ModeName::GlobalJob => {
            let message =
                "jobs are not supported yet; a service with restart_policy: {condition: none} runs once";
            findings.push(error("mode", message.to_owned(), mode.place));
        }
    }
}

fn placement(name: &str, service: &Service, findings: &mut Findings) {
    for text in &service.deploy.constraints {
        if let Err(message) = constraint::check(&text.value) {
            let key = format!("services.{name}.deploy.placement.constraints");
            findings.push(Finding::error(key, message).at(text.place));
        }
    }
    for text in &service.deploy.spread {
        if let Err(message) = constraint::check_spread(&text.value) {
            let key = format!("services.{name}.deploy.placement.preferences");
            findings.push(Finding::error(key, message).at(text.place));
        }
    }
}

/// Waits that no operator sits through.
fn waits(name: &str, service: &Service, findings: &mut Findings) {
    let deploy = &service.deploy;
    let update = deploy.update.as_ref().map(|at| &at.value);
    let rollback = deploy.rollback.as_ref().map(|at| &at.value);
    let waits = [
        ("deploy.update_config.delay", update.map(|policy| policy.delay_ms)),
        (
            "deploy.update_config.monitor",
            update.map(|policy| policy.monitor_ms),
        ),
        (
            "deploy.rollback_config.delay",
            rollback.map(|policy| policy.delay_ms),
        ),
        (
            "deploy.rollback_config.monitor",
            rollback.map(|policy| policy.monitor_ms),
        ),
        (
            "deploy.restart_policy.delay",
            deploy.restart.as_ref().map(|policy| policy.delay_ms),
        ),
        (
            "deploy.restart_policy.window",
            deploy.restart.as_ref().map(|policy| policy.window_ms),
        ),
        ("stop_grace_period", service.stop_grace_ms),
    ];
    for (key, _) in waits
        .into_iter()
        .filter(|(_, ms)| ms.is_some_and(|ms| ms > WAIT_MAX_MS))
    {
        let finding = Finding::error(
            format!("services.{name}.{key}"),
            format!("{key} is longer than 365 days, the limit"),
        );
        findings.push(finding.at(service.place));
    }
}

/// What is declared and made for nobody.
fn unused(model: &Model, findings: &mut Findings) {
    let services = || model.services.values();
    let default_used =
        services().any(|service| service.networks.is_empty() && service.network_mode.is_none());
    for (name, network) in &model.networks {
        let used = services().any(|service| service.networks.contains_key(name))
            || (name == "default" && default_used);
        if let Some(place) = network.place.filter(|_| !used && model.inactive.is_empty()) {
            let finding = Finding::warning(
                format!("networks.{name}"),
                "no service is on it, so it is not made",
            );
            findings.push(finding.at(place));
        }
    }
    let mounts = |wanted: &str| {
        let all = services().flat_map(|service| &service.mounts);
        all.into_iter().any(|mount| matches!(&mount.value.source, MountSource::Volume { name: Some(name), .. } if name == wanted))
    };
    for (name, volume) in &model.volumes {
        if model.inactive.is_empty() && !mounts(name) {
            let finding = Finding::warning(
                format!("volumes.{name}"),
                "no service mounts it, so it is not made",
            );
            findings.push(finding.at(volume.place));
        }
    }
}

fn amounts(name: &str, service: &Service, findings: &mut Findings) {
    let deploy = &service.deploy;
    let error = |key: &str, message: String| {
        Finding::error(format!("services.{name}.deploy.resources.{key}"), message).at(service.place)
    };
    let (limits, reserved) = (&deploy.limits, &deploy.reservations);
    if limits.memory_bytes > 0 && limits.memory_bytes < 6 << 20 {
        let message = format!(
            "a memory limit of {} bytes is below the Engine's least of 6m",
            limits.memory_bytes
        );
        findings.push(error("limits.memory", message));
    }
    if limits.memory_bytes > 0 && reserved.memory_bytes > limits.memory_bytes {
        findings.push(error(
            "reservations.memory",
            "more memory is reserved than the limit allows".to_owned(),
        ));
    }
    if limits.nano_cpus > 0 && reserved.nano_cpus > limits.nano_cpus {
        findings.push(error(
            "reservations.cpus",
            "more cores are reserved than the limit allows".to_owned(),
        ));
    }
}

/// A service's name and one of its ports.
type Published<'a> = (&'a str, &'a At<Port>);

/// Every pair of published ports that cannot both be listened on.
fn ports(model: &Model, findings: &mut Findings) {
    let mut seen: BTreeMap<(u16, String), Vec<Published<'_>>> = BTreeMap::new();
    for (name, service) in &model.services {
        let dnsrr = service
            .deploy
            .endpoint
            .as_ref()
            .filter(|mode| mode.value == EndpointMode::DnsRoundRobin);
        for port in &service.ports {
            if let Some(dnsrr) = dnsrr.filter(|_| port.value.mode == PortMode::Ingress) {
                let message = "a dnsrr service has no address for every node to answer on; use mode: host";
                let finding = Finding::error(format!("services.{name}.ports"), message).at(port.place);
                findings.push(finding.and(dnsrr.place, "dnsrr is set here"));
            }
            let Some(published) = port.value.published else {
                continue;
            };
            let others = seen
                .entry((published, port.value.protocol.to_string()))
                .or_default();
            if let Some((other, first)) = others
                .iter()
                .find(|(other, first)| clash(name, port, other, first))
            {
                let message = format!(
                    "port {published}/{} is already published by {}",
                    port.value.protocol,
                    if *other == name { "this service" } else { other }
                );
                let finding = Finding::error(format!("services.{name}.ports"), message).at(port.place);
                findings.push(finding.and(first.place, "published here"));
            }
            others.push((name, port));
        }
    }
}

/// Host ports of two services may still be on different nodes; the scheduler keeps them apart.
fn clash(name: &str, port: &At<Port>, other: &str, first: &At<Port>) -> bool {
    let same_address = share_an_address(port.value.host_ip, first.value.host_ip);
    let both_host = port.value.mode == PortMode::Host && first.value.mode == PortMode::Host;
    same_address && (name == other || !both_host)
}

fn depends_on(model: &Model, name: &str, service: &Service, findings: &mut Findings) {
    for (other, dependency) in &service.depends_on {
        let key = format!("services.{name}.depends_on.{other}");
        let finding = match (model.services.get(other), model.inactive.get(other)) {
            (Some(target), _)
                if dependency.value.condition == Condition::Healthy && target.health.is_none() =>
            {
                let message =
                    format!("{other} has no healthcheck: here; only its image's can make it healthy");
                Finding::warning(key, message)
            }
            (Some(_), _) => continue,
            (None, Some(profiles)) if dependency.value.need == Need::Required => {
                let message = format!(
                    "{other} is not active; set COMPOSE_PROFILES={}",
                    profiles.join(",")
                );
                Finding::error(key, message)
            }
            (None, _) if dependency.value.need == Need::Optional => {
                Finding::warning(key, format!("{other} is not there and not waited for"))
            }
            (None, _) => Finding::error(key, undefined("services", other, model.services.keys())),
        };
        findings.push(finding.at(dependency.place));
    }
}

fn cycles(model: &Model, findings: &mut Findings) {
    let mut done = HashSet::new();
    for start in model.services.keys() {
        let mut trail: Vec<(&str, Vec<&str>)> = vec![(start, waits_for(model, start))];
        while let Some((name, rest)) = trail.last_mut() {
            let (name, next) = (*name, rest.pop());
            let Some(next) = next else {
                done.insert(name);
                trail.pop();
                continue;
            };
            if done.contains(next) {
                continue;
            }
            if let Some(at) = trail.iter().position(|(seen, _)| *seen == next) {
                let mut names: Vec<&str> = trail[at..].iter().map(|(name, _)| *name).collect();
                names.push(next);
                let place = model.services[name].depends_on[next].place;
                let message = format!("these wait for each other: {}", names.join(" → "));
                findings
                    .push(Finding::error(format!("services.{name}.depends_on.{next}"), message).at(place));
                continue;
            }
            trail.push((next, waits_for(model, next)));
        }
    }
}

fn waits_for<'a>(model: &'a Model, name: &str) -> Vec<&'a str> {
    let Some(service) = model.services.get(name) else {
        return Vec::new();
    };
    service
        .depends_on
        .keys()
        .rev()
        .map(String::as_str)
        .filter(|other| model.services.contains_key(*other))
        .collect()
}
