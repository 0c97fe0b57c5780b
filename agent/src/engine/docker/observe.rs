//! What the Engine shows, in our words: lists, inspections, events, output, facts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bollard::container::LogOutput;
use bollard::models::{
    ContainerInspectResponse, ContainerState as EngineState, ContainerStateStatusEnum, ContainerSummary,
    ContainerSummaryStateEnum, EventMessage, Health as EngineHealth, HealthStatusEnum, NetworkSettings,
    SystemInfo,
};

use super::words;
use crate::clock;
use crate::engine::{
    ContainerState, EngineEvent, EngineInfo, Health, LABEL_BOOT, LABEL_TASK, Listed, LogChunk, Observed,
};
use crate::network::way_out::WayOut;

/// Longest piece of a health check's output that is passed on.
const HEALTH_OUTPUT_MAX: usize = 300;

pub(super) fn info(info: SystemInfo, api: (u32, u32)) -> EngineInfo {
    let labels = info.labels.unwrap_or_default();
    let labels = labels
        .iter()
        .map(|label| label.split_once('=').unwrap_or((label, "")));
    let plugins = info.plugins.unwrap_or_default();
    let kinds = [
        ("Volume", plugins.volume),
        ("Network", plugins.network),
        ("Log", plugins.log),
    ];
    let plugins = kinds.into_iter().flat_map(|(kind, names)| {
        names
            .unwrap_or_default()
            .into_iter()
            .map(move |name| format!("{kind}/{name}"))
    });
    EngineInfo {
        hostname: info.name.unwrap_or_default(),
        os: info.os_type.unwrap_or_default(),
        arch: info.architecture.unwrap_or_default(),
        cpus: info.ncpu.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        memory_bytes: info.mem_total.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        version: info.server_version.unwrap_or_default(),
        api: format!("{}.{}", api.0, api.1),
        labels: labels
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        plugins: plugins.collect(),
        live_restore: info.live_restore_enabled.unwrap_or(false),
    }
}

pub(super) fn listed(summary: ContainerSummary) -> Option<Listed> {
    let task = summary.labels?.get(LABEL_TASK)?.parse().ok()?;
    let state = match summary.state? {
        ContainerSummaryStateEnum::CREATED => ContainerState::Created,
        ContainerSummaryStateEnum::REMOVING => ContainerState::Removing,
        ContainerSummaryStateEnum::EXITED | ContainerSummaryStateEnum::DEAD => ContainerState::Exited,
        _ => ContainerState::Running,
    };
    // Only the text says it on every API: `Up 2 minutes (healthy)`, `Up 1 second (health: starting)`.
    let status = summary.status.unwrap_or_default();
    let health = ["(healthy)", "(unhealthy)", "(health: starting)"]
        .into_iter()
        .find(|word| status.contains(word));
    Some(Listed {
        id: summary.id?,
        task,
        state,
        health: health_word(health.unwrap_or_default()).to_owned(),
    })
}

fn health_word(text: &str) -> &'static str {
    match text {
        "(healthy)" => "healthy",
        "(unhealthy)" => "unhealthy",
        "(health: starting)" => "starting",
        _ => "",
    }
}

/// None when it is not one of ours.
pub(super) fn observed(seen: ContainerInspectResponse) -> Option<Observed> {
    let labels = seen.config.and_then(|config| config.labels).unwrap_or_default();
    let task = labels.get(LABEL_TASK)?.parse().ok()?;
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    let state = seen.state.unwrap_or_default();
    let where_it_is = container_state(&state);
    let ended = where_it_is == ContainerState::Exited;
    let pid = state.pid.and_then(|pid| u32::try_from(pid).ok());
    let pid = pid.filter(|pid| *pid > 0 && where_it_is == ContainerState::Running);
    let memory = seen.host_config.and_then(|config| config.memory);
    let memory_limit_bytes = memory.and_then(|bytes| u64::try_from(bytes).ok());
    let settings = seen.network_settings.unwrap_or_default();
    Some(Observed {
        id: seen.id?,
        name: seen.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        task,
        service: label("com.docker.swarm.service.name"),
        boot: label(LABEL_BOOT),
        state: where_it_is,
        health: state.health.and_then(health).filter(|_| !ended),
        exit_code: state.exit_code.filter(|_| ended),
        oom_killed: state.oom_killed.unwrap_or(false),
        memory_limit_bytes: memory_limit_bytes.unwrap_or(0),
        error: words::plain(&state.error.unwrap_or_default()),
        finished_at: state
            .finished_at
            .filter(|_| ended)
            .and_then(|text| clock::parse_rfc3339(&text)),
        pid,
        way_out: pid.map_or(WayOut::Unknown, WayOut::of_process),
        addresses: addresses(&settings),
        host_ports: host_ports(&settings),
    })
}

fn container_state(state: &EngineState) -> ContainerState {
    match state.status {
        Some(ContainerStateStatusEnum::CREATED) => ContainerState::Created,
        Some(ContainerStateStatusEnum::REMOVING) => ContainerState::Removing,
        Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD) => ContainerState::Exited,
        _ if state.running == Some(false) => ContainerState::Exited,
        _ => ContainerState::Running,
    }
}

fn health(health: EngineHealth) -> Option<Health> {
    match health.status? {
        HealthStatusEnum::STARTING => Some(Health::Starting),
        HealthStatusEnum::HEALTHY => Some(Health::Healthy),
        HealthStatusEnum::UNHEALTHY => {
            let last = health.log.unwrap_or_default().pop();
            let code = last.as_ref().and_then(|result| result.exit_code);
            let output = last.and_then(|result| result.output).unwrap_or_default();
            let output: String = words::plain(&output).chars().take(HEALTH_OUTPUT_MAX).collect();
            Some(Health::Unhealthy(match code.filter(|code| *code >= 0) {
                Some(code) if output.is_empty() => format!("check ended with {code} and said nothing"),
                Some(code) => format!("check ended with {code}: {output}"),
                // The Engine's word for a check that did not end by itself.
                None => format!("check failed: {output}"),
            }))
        }
        HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => None,
    }
}

fn addresses(settings: &NetworkSettings) -> BTreeMap<String, IpAddr> {
    let networks = settings.networks.iter().flatten();
    let known = networks.filter_map(|(name, endpoint)| {
        let address = endpoint.ip_address.as_deref()?.parse().ok()?;
        Some((name.clone(), address))
    });
    known.collect()
}

fn host_ports(settings: &NetworkSettings) -> Vec<(u16, u16)> {
    let mut out = Vec::new();
    for (port, bindings) in settings.ports.iter().flatten() {
        let Some(inside) = port.split('/').next().and_then(|number| number.parse().ok()) else {
            continue;
        };
        let outside = bindings
            .iter()
            .flatten()
            .filter_map(|bound| bound.host_port.as_ref()?.parse().ok());
        out.extend(outside.map(|outside| (inside, outside)));
    }
    // The Engine lists IPv4 and IPv6 apart.
    out.sort_unstable();
    out.dedup();
    out
}

pub(super) fn event(message: EventMessage) -> Option<EngineEvent> {
    let actor = message.actor?;
    let task = actor.attributes?.get(LABEL_TASK)?.parse().ok()?;
    let what = message.action?;
    // Every health check is three such events.
    let noise = what.starts_with("exec_");
    (!noise).then_some(EngineEvent {
        container: actor.id?,
        task,
        what,
    })
}

pub(super) fn log_chunk(output: LogOutput) -> LogChunk {
    let stderr = matches!(output, LogOutput::StdErr { .. });
    let bytes = output.into_bytes();
    let space = bytes.iter().position(|byte| *byte == b' ');
    let Some(space) = space.filter(|place| *place <= 40) else {
        return LogChunk {
            stderr,
            time: String::new(),
            bytes,
        };
    };
    let time = String::from_utf8_lossy(&bytes[..space]).into_owned();
    LogChunk {
        stderr,
        time,
        bytes: bytes.slice(space + 1..),
    }
}
