//! Inspection with Docker's field names, so that scripts written for Swarm find what they look for.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::{Value, json};
use shoal_proto::content::ContentVersion;
use shoal_proto::id::NetworkId;
use shoal_proto::node::{Node, NodeState};
use shoal_proto::object::{Actor, Meta};
use shoal_proto::service::{DRAIN_MS, EndpointMode, Mode, ServiceSettings, ServiceSpec};
use shoal_proto::update::{Direction, FailureAction, Rollout, RolloutState, UpdateOrder, UpdatePolicy};

use crate::client::{ContentRow, NetworkRow, ServiceDetail, StackRevisionDetail};
use crate::render::inspect_template as template;
pub(crate) use crate::render::inspect_template::NS;

/// A list of objects as Docker prints them.
#[must_use]
pub fn print(found: Vec<Value>) -> String {
    let text = serde_json::to_string_pretty(&Value::Array(found)).expect("JSON values always print");
    format!("{text}\n")
}

/// Who did something.
#[must_use]
pub fn actor(actor: &Actor) -> String {
    match actor {
        Actor::Leader => "shoal".to_owned(),
        Actor::Operator(name) => name.clone(),
        Actor::Node(node) => format!("node {node}"),
    }
}

/// An RFC 3339 time.
#[must_use]
pub fn time(at: shoal_proto::time::Timestamp) -> String {
    let ms = i64::try_from(at.as_ms()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms)
        .map(|t| t.to_string())
        .unwrap_or_default()
}

fn head(id: String, meta: &Meta) -> Value {
    json!({
        "ID": id,
        "Version": {"Index": meta.version},
        "CreatedAt": time(meta.created_at),
        "UpdatedAt": time(meta.updated_at),
        "UpdatedBy": actor(&meta.cause.actor),
    })
}

fn with(mut base: Value, more: Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more);
    }
    base
}

/// A service: settings, template, update status.
#[must_use]
pub fn service(detail: &ServiceDetail) -> Value {
    let service = &detail.row.service;
    let settings = &service.settings;
    let virtual_ip = |(network, address): &(NetworkId, Ipv4Addr)| {
        let mut told = json!({"NetworkID": network.to_string(), "Addr": address.to_string()});
        if let Some(ipv6) = detail.row.ipv6_addresses.get(&network.to_string()) {
            told["IPv6Addr"] = json!(ipv6);
        }
        told
    };
    let virtual_ips: Vec<Value> = service.addresses.iter().map(virtual_ip).collect();
    let spec = json!({
        "Name": service.name,
        "Labels": settings.labels,
        "TaskTemplate": template::task(&detail.revision.template, settings),
        "Mode": mode(&settings.mode),
        "UpdateConfig": policy(&settings.update),
        "RollbackConfig": policy(&settings.rollback),
        "Drain": settings.drain_ms.unwrap_or(DRAIN_MS) * NS,
        "EndpointSpec": {"Mode": endpoint(settings), "Ports": template::ports(&detail.revision.template, settings)},
    });
    with(
        head(service.id.to_string(), &service.meta),
        json!({
            "Spec": spec,
            "PreviousSpec": detail.previous.as_ref().map(|p| json!({"TaskTemplate": template::task(&p.template, settings)})),
            "Endpoint": {"Spec": {"Mode": endpoint(settings)}, "Ports": template::ports(&detail.revision.template, settings), "VirtualIPs": virtual_ips},
            "UpdateStatus": service.rollout.as_ref().map(rollout),
            "ServiceStatus": {"RunningTasks": detail.row.running, "DesiredTasks": detail.row.desired, "CompletedTasks": detail.row.completed},
            "Revision": {"ID": detail.revision.id.to_string(), "Number": detail.revision.number, "Digest": detail.revision.digest.to_string()},
            "SettingWriters": service.setting_writers,
        }),
    )
}

/// One revision of a stack: each service as it was asked for. Of secrets and configs, versions and no bytes.
#[must_use]
pub fn stack(detail: &StackRevisionDetail) -> Value {
    let spec = |service: &ServiceSpec| {
        let settings = &service.settings;
        json!({
            "Name": service.name,
            "Labels": settings.labels,
            "TaskTemplate": template::task(&service.template, settings),
            "Mode": mode(&settings.mode),
            "UpdateConfig": policy(&settings.update),
            "RollbackConfig": policy(&settings.rollback),
            "EndpointSpec": {"Mode": endpoint(settings), "Ports": template::ports(&service.template, settings)},
        })
    };
    let revision = &detail.revision;
    json!({
        "ID": detail.id,
        "Name": detail.name,
        "Revision": revision.number,
        "Newest": detail.newest,
        "CreatedAt": time(revision.created_at),
        "By": revision.by,
        "Restores": revision.restores,
        "Services": detail.services.iter().map(spec).collect::<Vec<_>>(),
        "Lost": detail.lost,
        "Networks": detail.names.networks,
        "ContentVersions": detail.names.versions,
    })
}

fn endpoint(settings: &ServiceSettings) -> &'static str {
    match settings.endpoint {
        EndpointMode::Vip => "vip",
        EndpointMode::DnsRoundRobin => "dnsrr",
    }
}

fn mode(mode: &Mode) -> Value {
    match mode {
        Mode::Replicated { replicas } => json!({"Replicated": {"Replicas": replicas}}),
        Mode::Global => json!({"Global": {}}),
        Mode::ReplicatedJob {
            max_concurrent,
            total_completions,
        } => {
            json!({"ReplicatedJob": {"MaxConcurrent": max_concurrent, "TotalCompletions": total_completions}})
        }
        Mode::GlobalJob => json!({"GlobalJob": {}}),
    }
}

fn policy(policy: &UpdatePolicy) -> Value {
    let action = match policy.failure_action {
        FailureAction::Pause => "pause",
        FailureAction::Continue => "continue",
        FailureAction::Rollback => "rollback",
    };
    let order = match policy.order {
        UpdateOrder::StopFirst => "stop-first",
        UpdateOrder::StartFirst => "start-first",
    };
    json!({
        "Parallelism": policy.parallelism,
        "Delay": policy.delay_ms * NS,
        "FailureAction": action,
        "Monitor": policy.monitor_ms * NS,
        "MaxFailureRatio": f64::from(policy.max_failure_ratio_ppm) / 1e6,
        "Order": order,
    })
}

fn rollout(rollout: &Rollout) -> Value {
    let state = match (rollout.direction, rollout.state) {
        (Direction::Update, RolloutState::Running) => "updating",
        (Direction::Update, RolloutState::Paused) => "paused",
        (Direction::Update, RolloutState::Completed) => "completed",
        (Direction::Rollback, RolloutState::Running) => "rollback_started",
        (Direction::Rollback, RolloutState::Paused) => "rollback_paused",
        (Direction::Rollback, RolloutState::Completed) => "rollback_completed",
    };
    json!({
        "State": state,
        "StartedAt": time(rollout.started_at),
        "CompletedAt": rollout.ended_at.map(time),
        "Message": rollout.reason.as_ref().map(ToString::to_string).unwrap_or_default(),
    })
}

/// A node.
#[must_use]
pub fn node(node: &Node) -> Value {
    let state = match node.status.state {
        NodeState::Unknown => "unknown",
        NodeState::Ready => "ready",
        NodeState::Down | NodeState::EngineDown => "down",
    };
    let description = node.status.description.as_ref().map(|d| {
        json!({
            "Hostname": d.hostname,
            "Platform": {"Architecture": d.arch, "OS": d.os},
            "Resources": {"NanoCPUs": d.resources.nano_cpus, "MemoryBytes": d.resources.memory_bytes, "Pids": d.resources.pids},
            "Engine": {"EngineVersion": d.engine_version, "Labels": d.engine_labels, "Plugins": d.plugins, "LiveRestore": d.live_restore},
            "AgentVersion": d.agent_version,
        })
    });
    let manager = node.plan.manager.as_ref().map(|m| json!({"Addr": m.addr}));
    with(
        head(node.id.to_string(), &node.meta),
        json!({
            "Spec": {"Labels": node.plan.labels, "Role": node.plan.role.to_string(), "Availability": node.plan.availability.to_string()},
            "Description": description,
            "Status": {
                "State": state,
                "Message": node.status.reason.as_ref().map(ToString::to_string).unwrap_or_default(),
                "Addr": node.status.addr.map(|a| a.to_string()).unwrap_or_default(),
                "Since": time(node.status.since),
            },
            "ManagerStatus": manager,
        }),
    )
}

fn versions(versions: &[ContentVersion]) -> Vec<Value> {
    let version = |v: &ContentVersion| json!({"ID": v.id.to_string(), "Number": v.number, "Size": v.size_bytes, "CreatedAt": time(v.created_at)});
    versions.iter().map(version).collect()
}

/// A secret without its bytes, or a config with its newest, in base64 as Docker prints them.
#[must_use]
pub fn content(row: &ContentRow) -> Value {
    let mut spec = json!({"Name": row.name, "Labels": row.labels});
    if let Some(data) = &row.data {
        spec["Data"] = json!(data_encoding::BASE64.encode(data));
    }
    with(
        head(row.id.clone(), &row.meta),
        json!({"Spec": spec, "Versions": versions(&row.versions)}),
    )
}

/// A network.
#[must_use]
pub fn network(row: &NetworkRow) -> Value {
    let network = &row.network;
    let spec = &network.spec;
    let usage = row.usage.map(|(used, size)| json!({"Used": used, "Size": size}));
    let blocks: BTreeMap<String, String> = network
        .blocks
        .iter()
        .map(|(node, block)| (node.to_string(), block.subnet.to_string()))
        .collect();
    let given = network.subnet.map(|subnet| subnet.to_string());
    let subnet = given.unwrap_or_else(|| spec.subnet.clone());
    let mut ipam: Vec<Value> = Vec::new();
    if !subnet.is_empty() {
        ipam.push(json!({"Subnet": subnet, "Gateway": spec.gateway}));
    }
    if let Some(subnet) = row.ipv6_subnet() {
        let beside = |gateway| row.prefix.map(|prefix| prefix.address(gateway).to_string());
        let gateway = spec.gateway.parse().ok().and_then(beside).unwrap_or_default();
        ipam.push(json!({"Subnet": subnet, "Gateway": gateway}));
    }
    with(
        head(network.id.to_string(), &network.meta),
        json!({
            "Name": spec.name,
            "Id": network.id.to_string(),
            "Scope": "cluster",
            "Driver": spec.driver,
            "EnableIPv4": true,
            "EnableIPv6": spec.ipv6,
            "Internal": spec.internal,
            "Attachable": spec.attachable,
            "Encrypted": spec.is_encrypted(),
            "IPAM": {"Config": ipam},
            "Addresses": usage,
            "NodeBlocks": blocks,
            "Options": spec.driver_options,
            "Labels": spec.labels,
        }),
    )
}
