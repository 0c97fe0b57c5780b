//! A task's template with Docker's field names.

use serde_json::{Map, Value, json};
use shoal_proto::container::{ContainerSpec, FileTarget, HealthCheck, Mount, MountKind};
use shoal_proto::resources::Resources;
use shoal_proto::service::{NetworkTarget, Prefer, RestartCondition, ServiceSettings, TaskTemplate};

/// Nanoseconds in a millisecond: Docker's durations are in nanoseconds.
pub(crate) const NS: u64 = 1_000_000;

/// `Spec.TaskTemplate` of a service.
pub(super) fn task(template: &TaskTemplate, settings: &ServiceSettings) -> Value {
    let network = |target: &NetworkTarget| match target {
        NetworkTarget::Named(name) => name.clone(),
        NetworkTarget::Cluster(id) => id.to_string(),
        NetworkTarget::Host => "host".to_owned(),
        NetworkTarget::None => "none".to_owned(),
    };
    let networks: Vec<Value> = template
        .networks
        .iter()
        .map(|n| json!({"Target": network(&n.network), "Aliases": n.aliases}))
        .collect();
    let placement = &template.placement;
    json!({
        "ContainerSpec": container(&template.container),
        "Resources": {
            "Limits": resources(&template.resources.limits),
            "Reservations": resources(&template.resources.reservations),
        },
        "RestartPolicy": restart(settings),
        "Placement": {
            "Constraints": placement.constraints,
            "Preferences": placement.spread.iter().map(|s| json!({"Spread": {"SpreadDescriptor": s}})).collect::<Vec<_>>(),
            "MaxReplicas": placement.max_replicas_per_node,
            "Platforms": placement.platforms.iter().map(|p| json!({"OS": p.os, "Architecture": p.arch})).collect::<Vec<_>>(),
        },
        "Networks": networks,
        "LogDriver": template.log_driver.as_ref().map(|l| json!({"Name": l.name, "Options": l.options})),
        "ForceUpdate": template.force_update,
        "Runtime": "container",
    })
}

/// Published ports of both kinds.
pub(super) fn ports(template: &TaskTemplate, settings: &ServiceSettings) -> Vec<Value> {
    let ingress = settings.ingress_ports.iter().map(|p| {
        json!({"Name": p.name, "Protocol": p.protocol.to_string(), "TargetPort": p.container_port, "PublishedPort": p.published_port,
            "PublishMode": "ingress", "HostIP": p.host_ip, "PreferLocal": p.prefer == Some(Prefer::Local)})
    });
    let host = template.host_ports.iter().map(|p| {
        json!({"Protocol": p.protocol.to_string(), "TargetPort": p.container_port, "PublishedPort": p.published_port,
            "PublishMode": "host", "HostIP": p.host_ip})
    });
    ingress.chain(host).collect()
}

/// When a task that ended is replaced.
fn restart(settings: &ServiceSettings) -> Value {
    let condition = match settings.restart.condition {
        RestartCondition::None => "none",
        RestartCondition::OnFailure => "on-failure",
        RestartCondition::Any => "any",
    };
    json!({
        "Condition": condition,
        "Delay": settings.restart.delay_ms * NS,
        "MaxAttempts": settings.restart.max_attempts,
        "Window": settings.restart.window_ms * NS,
    })
}

fn resources(resources: &Resources) -> Value {
    json!({"NanoCPUs": resources.nano_cpus, "MemoryBytes": resources.memory_bytes, "Pids": resources.pids})
}

/// Docker calls the entrypoint `Command` and the command `Args`.
fn container(spec: &ContainerSpec) -> Value {
    let image = spec
        .image_digest
        .as_ref()
        .map_or_else(|| spec.image.clone(), |d| format!("{}@{d}", spec.image));
    let all = json!({
        "Image": image,
        "Labels": spec.labels,
        "Command": spec.entrypoint,
        "Args": spec.command,
        "Hostname": spec.hostname,
        "Env": spec.env,
        "Dir": spec.dir,
        "User": spec.user,
        "Groups": spec.groups,
        "TTY": spec.tty,
        "OpenStdin": spec.open_stdin,
        "ReadOnly": spec.read_only,
        "Init": spec.init,
        "StopSignal": spec.stop_signal,
        "StopGracePeriod": spec.stop_grace_ms.map(|ms| ms * NS),
        "Healthcheck": spec.health.as_ref().map(health),
        "Mounts": spec.mounts.iter().map(mount).collect::<Vec<_>>(),
        "Secrets": files("Secret", spec.secrets.iter().map(|s| (s.secret.map(|i| i.to_string()), &s.name, &s.file))),
        "Configs": files("Config", spec.configs.iter().map(|c| (c.config.map(|i| i.to_string()), &c.name, &c.file))),
        "Hosts": spec.hosts,
        "DNSConfig": {"Nameservers": spec.dns.nameservers, "Search": spec.dns.search, "Options": spec.dns.options},
        "CapabilityAdd": spec.cap_add,
        "CapabilityDrop": spec.cap_drop,
        "Privileged": spec.privileged,
        "SecurityOpt": spec.security_opt,
        "Sysctls": spec.sysctls,
        "Ulimits": spec.ulimits.iter().map(|u| json!({"Name": u.name, "Soft": u.soft, "Hard": u.hard})).collect::<Vec<_>>(),
        "Devices": spec.devices.iter()
            .map(|d| json!({"PathOnHost": d.host, "PathInContainer": d.container, "CgroupPermissions": d.permissions}))
            .collect::<Vec<_>>(),
        "ShmSize": spec.shm_bytes,
        "OomScoreAdj": spec.oom_score_adj,
    });
    without_empty(all)
}

fn health(check: &HealthCheck) -> Value {
    json!({
        "Test": check.test,
        "Interval": check.interval_ms * NS,
        "Timeout": check.timeout_ms * NS,
        "StartPeriod": check.start_period_ms * NS,
        "StartInterval": check.start_interval_ms * NS,
        "Retries": check.retries,
    })
}

fn mount(mount: &Mount) -> Value {
    let base = |kind: &str, source: &str| json!({"Type": kind, "Source": source, "Target": mount.destination, "ReadOnly": mount.read_only});
    let (mut value, key, options) = match &mount.kind {
        MountKind::Bind {
            source,
            propagation,
            create,
        } => (
            base("bind", source),
            "BindOptions",
            json!({"Propagation": propagation, "CreateMountpoint": create}),
        ),
        MountKind::Volume {
            name,
            driver,
            driver_options,
            labels,
            no_copy,
            subpath,
        } => {
            let options = json!({"NoCopy": no_copy, "Labels": labels, "Subpath": subpath,
                "DriverConfig": {"Name": driver, "Options": driver_options}});
            (base("volume", name), "VolumeOptions", options)
        }
        MountKind::Tmpfs { size_bytes, mode } => (
            base("tmpfs", ""),
            "TmpfsOptions",
            json!({"SizeBytes": size_bytes, "Mode": mode}),
        ),
    };
    value[key] = options;
    value
}

fn files<'a>(
    kind: &str,
    uses: impl Iterator<Item = (Option<String>, &'a String, &'a FileTarget)>,
) -> Vec<Value> {
    let one = |(id, name, file): (Option<String>, &String, &FileTarget)| {
        let mut value =
            json!({"File": {"Name": file.path, "UID": file.uid, "GID": file.gid, "Mode": file.mode}});
        value[format!("{kind}ID")] = json!(id);
        value[format!("{kind}Name")] = json!(name);
        value
    };
    uses.map(one).collect()
}

/// Docker leaves out what was not asked for.
fn without_empty(value: Value) -> Value {
    let Value::Object(fields) = value else {
        return value;
    };
    let empty = |v: &Value| match v {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    Value::Object(
        fields
            .into_iter()
            .filter(|(_, v)| !empty(v))
            .collect::<Map<_, _>>(),
    )
}
