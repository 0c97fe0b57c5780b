//! `deploy:` and the older keys that mean the same.

use shoal_proto::resources::Resources;
use shoal_proto::service::{EndpointMode, RestartCondition, RestartPolicy};
use shoal_proto::update::{FailureAction, UpdateOrder, UpdatePolicy};

use super::{Reader, Section};
use crate::compose::finding::Finding;
use crate::compose::model::{At, Deploy, ModeName};

/// Reads everything about number, place, resources and change of a service.
pub(super) fn read(reader: &mut Reader<'_>, service: &Section<'_, '_>) -> Deploy {
    let mut deploy = match reader.section(service, "deploy") {
        Some(section) => section_of(reader, &section),
        None => Deploy::default(),
    };
    let restart = restart(reader, service);
    deploy.restart = deploy.restart.or(restart);
    scale(reader, service, &mut deploy);
    older_limits(reader, service, &mut deploy);
    deploy
}

fn section_of(reader: &mut Reader<'_>, deploy: &Section<'_, '_>) -> Deploy {
    let mut out = Deploy {
        mode: reader.parsed(deploy, "mode", mode),
        replicas: reader.number_at(deploy, "replicas"),
        max_concurrent: reader.number_at(deploy, "max_concurrent"),
        labels: reader.text_map(deploy, "labels"),
        endpoint: reader.parsed(deploy, "endpoint_mode", endpoint),
        restart: reader
            .section(deploy, "restart_policy")
            .map(|section| restart_policy(reader, &section)),
        update: update_policy(reader, deploy, "update_config"),
        rollback: update_policy(reader, deploy, "rollback_config"),
        ..Deploy::default()
    };
    if let Some(placement) = reader.section(deploy, "placement") {
        out.constraints = reader.texts_at(&placement, "constraints");
        out.max_per_node = reader
            .number(&placement, "max_replicas_per_node")
            .unwrap_or_default();
        out.spread = preferences(reader, &placement);
    }
    if let Some(resources) = reader.section(deploy, "resources") {
        out.limits = amounts(reader, &resources, "limits");
        out.reservations = amounts(reader, &resources, "reservations");
    }
    out
}

fn mode(text: &str) -> Result<ModeName, String> {
    match text {
        "" | "replicated" => Ok(ModeName::Replicated),
        "global" => Ok(ModeName::Global),
        "replicated-job" => Ok(ModeName::ReplicatedJob),
        "global-job" => Ok(ModeName::GlobalJob),
        _ => Err(format!(
            "{text:?} is not a mode; expected replicated, global, replicated-job or global-job"
        )),
    }
}

fn endpoint(text: &str) -> Result<EndpointMode, String> {
    match text.to_ascii_lowercase().as_str() {
        "vip" => Ok(EndpointMode::Vip),
        "dnsrr" => Ok(EndpointMode::DnsRoundRobin),
        _ => Err(format!("{text:?} is not an endpoint mode; expected vip or dnsrr")),
    }
}

fn preferences(reader: &mut Reader<'_>, placement: &Section<'_, '_>) -> Vec<At<String>> {
    let items = reader.items(placement, "preferences");
    let path = placement.path.key("preferences");
    let mut spread = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = path.item(index);
        let Some(section) = reader.as_section(item, path) else {
            continue;
        };
        match reader.text_at(&section, "spread") {
            Some(descriptor) => spread.push(descriptor),
            None => reader.error(item.place, path, "expected spread: and a node label"),
        }
    }
    spread
}

fn amounts(reader: &mut Reader<'_>, resources: &Section<'_, '_>, key: &str) -> Resources {
    let Some(section) = reader.section(resources, key) else {
        return Resources::default();
    };
    Resources {
        nano_cpus: reader
            .parsed(&section, "cpus", nano_cpus)
            .map_or(0, |at| at.value),
        memory_bytes: reader.bytes(&section, "memory").unwrap_or_default(),
        pids: pids(reader, &section, "pids"),
    }
}

/// Number of processes; -1 means no bound.
fn pids(reader: &mut Reader<'_>, section: &Section<'_, '_>, key: &str) -> u64 {
    let read = |text: &str| match text.parse::<i64>() {
        Ok(number) => Ok(u64::try_from(number).unwrap_or(0)),
        Err(_) => Err(format!("{text:?} is not a number of processes")),
    };
    reader.parsed(section, key, read).map_or(0, |at| at.value)
}

/// Swarm's files also know fractions: `1/4`.
fn nano_cpus(text: &str) -> Result<u64, String> {
    let Some((above, below)) = text.split_once('/') else {
        return crate::values::nano_cpus(text).map_err(|error| error.to_string());
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let nanos = number(above).zip(number(below).filter(|below| *below > 0));
    let nanos = nanos.and_then(|(above, below)| Some((above.checked_mul(1_000_000_000)?, below)));
    match nanos {
        Some((nanos, below)) if nanos % below == 0 => Ok(nanos / below),
        Some(_) => Err(format!("{text:?} is finer than a billionth of a core")),
        None => Err(format!(
            "{text:?} is not a number of cores; expected one such as 0.5"
        )),
    }
}

fn restart_policy(reader: &mut Reader<'_>, section: &Section<'_, '_>) -> RestartPolicy {
    let default = RestartPolicy::default();
    let condition = reader.parsed(section, "condition", |text| match text {
        "none" => Ok(RestartCondition::None),
        "on-failure" => Ok(RestartCondition::OnFailure),
        "any" | "" => Ok(RestartCondition::Any),
        _ => Err(format!(
            "{text:?} is not a condition; expected none, on-failure or any"
        )),
    });
    RestartPolicy {
        condition: condition.map_or(default.condition, |at| at.value),
        delay_ms: reader.duration_ms(section, "delay").unwrap_or(default.delay_ms),
        max_attempts: reader
            .number(section, "max_attempts")
            .unwrap_or(default.max_attempts),
        window_ms: reader.duration_ms(section, "window").unwrap_or(default.window_ms),
    }
}

/// `restart:` in Docker's words.
fn restart(reader: &mut Reader<'_>, service: &Section<'_, '_>) -> Option<RestartPolicy> {
    let policy = |condition, max_attempts| RestartPolicy {
        condition,
        max_attempts,
        ..RestartPolicy::default()
    };
    let read = |text: &str| match text
        .split_once(':')
        .map_or((text, None), |(name, n)| (name, Some(n)))
    {
        ("always" | "unless-stopped", None) => Ok(policy(RestartCondition::Any, 0)),
        ("no" | "false", None) => Ok(policy(RestartCondition::None, 0)),
        ("on-failure", None) => Ok(policy(RestartCondition::OnFailure, 0)),
        ("on-failure", Some(attempts)) => match attempts.parse() {
            Ok(attempts) => Ok(policy(RestartCondition::OnFailure, attempts)),
            Err(_) => Err(format!("{attempts:?} is not a number of attempts")),
        },
        _ => Err(format!(
            "{text:?} is not a restart policy; expected no, always, unless-stopped, on-failure or on-failure:N"
        )),
    };
    reader.parsed(service, "restart", read).map(|at| at.value)
}

fn scale(reader: &mut Reader<'_>, service: &Section<'_, '_>, deploy: &mut Deploy) {
    let Some(scale) = reader.number_at::<u64>(service, "scale") else {
        return;
    };
    match &deploy.replicas {
        Some(replicas) if replicas.value != scale.value => {
            let message = format!(
                "scale is {} and deploy.replicas is {}; keep one of them",
                scale.value, replicas.value
            );
            let finding = Finding::error(service.path.key("scale").to_string(), message);
            reader
                .findings
                .push(finding.at(scale.place).and(replicas.place, "the other number"));
        }
        Some(_) => {}
        None => deploy.replicas = Some(scale),
    }
}

/// `cpus`, `mem_limit`, `mem_reservation` and `pids_limit`, where `deploy.resources` does not say it already.
fn older_limits(reader: &mut Reader<'_>, service: &Section<'_, '_>, deploy: &mut Deploy) {
    let cpus = reader.parsed(service, "cpus", nano_cpus).map_or(0, |at| at.value);
    let memory = reader.bytes(service, "mem_limit").unwrap_or_default();
    let reserved = reader.bytes(service, "mem_reservation").unwrap_or_default();
    let pids = pids(reader, service, "pids_limit");
    for (amount, older) in [
        (&mut deploy.limits.nano_cpus, cpus),
        (&mut deploy.limits.memory_bytes, memory),
        (&mut deploy.reservations.memory_bytes, reserved),
        (&mut deploy.limits.pids, pids),
    ] {
        if *amount == 0 {
            *amount = older;
        }
    }
}

fn update_policy(reader: &mut Reader<'_>, deploy: &Section<'_, '_>, key: &str) -> Option<At<UpdatePolicy>> {
    let section = reader.section(deploy, key)?;
    let place = deploy.map.entry(key)?.place;
    let default = UpdatePolicy::default();
    let rollback = key == "rollback_config";
    let action = reader.parsed(&section, "failure_action", |text| match text {
        "pause" => Ok(FailureAction::Pause),
        "continue" => Ok(FailureAction::Continue),
        "rollback" if !rollback => Ok(FailureAction::Rollback),
        _ if rollback => Err(format!(
            "{text:?} is not an action of a rollback; expected pause or continue"
        )),
        _ => Err(format!(
            "{text:?} is not an action; expected pause, continue or rollback"
        )),
    });
    let order = reader.parsed(&section, "order", |text| match text {
        "stop-first" => Ok(UpdateOrder::StopFirst),
        "start-first" => Ok(UpdateOrder::StartFirst),
        _ => Err(format!(
            "{text:?} is not an order; expected stop-first or start-first"
        )),
    });
    let ratio = reader.parsed(&section, "max_failure_ratio", |text| match text.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok((ratio * 1e6).round() as u32),
        _ => Err(format!("{text:?} is not a ratio; expected a number from 0 to 1")),
    });
    let value = UpdatePolicy {
        parallelism: reader
            .number(&section, "parallelism")
            .unwrap_or(default.parallelism),
        delay_ms: reader.duration_ms(&section, "delay").unwrap_or(default.delay_ms),
        failure_action: action.map_or(default.failure_action, |at| at.value),
        monitor_ms: reader
            .duration_ms(&section, "monitor")
            .unwrap_or(default.monitor_ms),
        max_failure_ratio_ppm: ratio.map_or(default.max_failure_ratio_ppm, |at| at.value),
        order: order.map_or(default.order, |at| at.value),
    };
    Some(At { value, place })
}
