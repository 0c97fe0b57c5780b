//! Wire ↔ what this crate works with. What cannot be taken is an error that names it; nothing is dropped.

use std::fs;
use std::sync::Arc;

use shoal_proto::container::LogDriver;
use shoal_proto::digest::Digest;
use shoal_proto::id::TaskId;
use shoal_proto::network::Network;
use shoal_proto::node::NodeDescription;
use shoal_proto::resources::Resources;
use shoal_proto::service::TaskTemplate;
use shoal_proto::task::{Task, TaskStatus};
use shoal_proto::view::ViewChange;
use shoal_proto::wire::{self, Invalid};

use crate::assignments::{Assigned, Extent, SetIndex, Update};

use crate::engine::{Credentials, EngineInfo, NodeFacts};
use crate::network::routes;
use crate::reporter::{EngineWord, Report};

/// Billionths in one core.
const NANO_CPUS: u64 = 1_000_000_000;

fn parse<T: std::str::FromStr>(text: &str, field: &str) -> Result<T, Invalid>
where
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error: T::Err| Invalid::new(field, error.to_string()))
}

fn required<T>(value: Option<T>, field: &str) -> Result<T, Invalid> {
    value.ok_or_else(|| Invalid::new(field, "is missing"))
}

pub(super) fn update(set: wire::Assignments) -> Result<Update, Invalid> {
    let mut update = Update {
        extent: if set.complete {
            Extent::Complete
        } else {
            Extent::Increment
        },
        cluster: Some(parse(&set.cluster_id, "cluster_id")?),
        index: SetIndex {
            incarnation: set.incarnation,
            index: set.index,
        },
        ..Update::default()
    };
    for (at, task) in set.tasks.into_iter().enumerate() {
        update
            .tasks
            .push(assigned(task).map_err(|error| error.within(&format!("tasks[{at}]")))?);
    }
    for id in &set.removed_tasks {
        update.removed.push(parse(id, "removed_tasks")?);
    }
    for network in set.networks {
        let network = Network::try_from(network).map_err(|error| error.within("networks"))?;
        update.carried.push(network);
    }
    for id in &set.removed_networks {
        update.removed_networks.push(parse(id, "removed_networks")?);
    }
    let view = set.view.map(ViewChange::try_from).transpose();
    update.view = view.map_err(|error| error.within("view"))?;
    Ok(update)
}

fn assigned(assignment: wire::TaskAssignment) -> Result<Assigned, Invalid> {
    let task = Task::try_from(required(assignment.task, "task")?).map_err(|error| error.within("task"))?;
    let template = required(assignment.template, "template")?;
    let template = TaskTemplate::try_from(template).map_err(|error| error.within("template"))?;
    let log = assignment.default_log_driver.map(LogDriver::try_from).transpose();
    let mut out = Assigned {
        task: task.id,
        service: task.plan.service,
        service_name: assignment.service_name,
        service_labels: assignment.service_labels.into_iter().collect(),
        stack: Some(assignment.stack_name).filter(|name| !name.is_empty()),
        slot: task.plan.slot,
        revision: task.plan.revision,
        desired: task.plan.desired,
        inherits: task.plan.inherits,
        stop_reason: task.plan.stop_reason,
        template: Arc::new(template),
        revision_number: assignment.revision_number,
        contents: Default::default(),
        credential: assignment.credential.map(credentials),
        default_log: log.map_err(|error| error.within("default_log_driver"))?,
        spares: Vec::new(),
        status: task.status,
        addresses: task.plan.addresses.into_iter().collect(),
    };
    for content in assignment.contents {
        let version = parse(&content.version_id, "contents.version_id")?;
        let digest: Digest = parse(&content.digest, "contents.digest")?;
        out.contents.insert(version, digest);
    }
    for spare in assignment.spares {
        let task = required(spare.task, "spares.task")?;
        out.spares.push(parse(&task.id, "spares.task.id")?);
    }
    Ok(out)
}

pub(super) fn credentials(credential: wire::RegistryCredential) -> Credentials {
    Credentials {
        host: credential.host,
        username: credential.username,
        password: credential.password,
    }
}

pub(super) fn reports(list: Vec<(TaskId, TaskStatus)>, epoch: u64) -> wire::TaskReports {
    let reports = list.into_iter().map(|(task, mut status)| {
        status.epoch = epoch;
        wire::TaskReport {
            task_id: task.to_string(),
            status: Some((&status).into()),
        }
    });
    wire::TaskReports {
        reports: reports.collect(),
    }
}

pub(super) fn up(report: Report, epoch: u64) -> wire::SessionUp {
    use wire::session_up::Message;
    let message = match report {
        Report::Tasks(list) => Message::Reports(reports(list, epoch)),
        Report::Unknown(tasks) => Message::Unknown(wire::UnknownTasks {
            task_ids: tasks.iter().map(ToString::to_string).collect(),
        }),
        Report::Engine(EngineWord::Answers) => Message::Engine(wire::EngineReport {
            answering: true,
            message: String::new(),
        }),
        Report::Engine(EngineWord::Silent(message)) => Message::Engine(wire::EngineReport {
            answering: false,
            message,
        }),
    };
    wire::SessionUp {
        message: Some(message),
    }
}

/// What the host is. Where the Engine is silent, what the host itself says stands in for it.
pub(super) fn description(facts: &NodeFacts, machine: Option<Digest>, info: EngineInfo) -> NodeDescription {
    let cpus = if info.cpus > 0 { info.cpus } else { cores() };
    let memory_bytes = if info.memory_bytes > 0 {
        info.memory_bytes
    } else {
        memory()
    };
    let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
    NodeDescription {
        // Containers may run elsewhere than the agent's own idea of the host; the host's name is the host's.
        hostname: facts.hostname.clone(),
        os: or(info.os, &facts.os),
        arch: or(info.arch, &facts.arch),
        machine: machine.unwrap_or_default(),
        resources: Resources {
            nano_cpus: cpus.saturating_mul(NANO_CPUS),
            memory_bytes,
            pids: pids(),
        },
        engine_version: info.version,
        engine_labels: info.labels,
        plugins: info.plugins,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        live_restore: info.live_restore,
        manager_waits: false,
        tunnel_key: None,
        ipv6: facts.ipv6.addresses(),
        routes: routes::of_host(),
    }
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u64)
}

fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1_024)
}

fn pids() -> u64 {
    let limit = |path: &str| {
        fs::read_to_string(path)
            .ok()
            .and_then(|text| text.trim().parse::<u64>().ok())
    };
    let both = [
        limit("/proc/sys/kernel/pid_max"),
        limit("/proc/sys/kernel/threads-max"),
    ];
    both.into_iter().flatten().min().unwrap_or(0)
}
