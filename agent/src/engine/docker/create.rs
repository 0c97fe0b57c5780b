//! From a container plan to the Engine's create request. Every key of a plan is named here, once.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig,
    HostConfigLogConfig, Mount as EngineMount, MountBindOptions, MountBindOptionsPropagationEnum,
    MountTmpfsOptions, MountType, MountVolumeOptions, MountVolumeOptionsDriverConfig, NetworkingConfig,
    PortBinding, PortMap, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use shoal_proto::container::{ContainerSpec, HealthCheck, Mount, MountKind};
use shoal_proto::service::HostPort;

use crate::engine::{Attachment, BoundFile, ContainerPlan, EngineError, EngineResult, IsWayOut, Wiring};

/// From this API on (Engine 28) the network with the way out can be named.
const API_WAY_OUT: (u32, u32) = (1, 48);
const NANOS_PER_MS: u64 = 1_000_000;

pub(super) fn body(plan: &ContainerPlan, api: (u32, u32)) -> EngineResult<ContainerCreateBody> {
    let spec = &plan.spec;
    let ports = plan.host_ports.iter().map(port_key).collect::<Vec<_>>();
    Ok(ContainerCreateBody {
        hostname: spec.hostname.clone(),
        user: spec.user.clone(),
        tty: Some(spec.tty),
        open_stdin: Some(spec.open_stdin),
        env: some_list(&spec.env),
        cmd: spec.command.clone(),
        entrypoint: spec.entrypoint.clone(),
        healthcheck: spec.health.as_ref().map(|check| health(check, api)).transpose()?,
        image: Some(plan.image.clone()),
        working_dir: spec.dir.clone(),
        labels: Some(plan.labels.clone().into_iter().collect()),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec.stop_grace_ms.map(|ms| signed(ms.div_ceil(1_000))),
        exposed_ports: some_list(&ports),
        host_config: Some(host_config(plan, api)?),
        networking_config: networking(plan, api),
        ..ContainerCreateBody::default()
    })
}

fn host_config(plan: &ContainerPlan, api: (u32, u32)) -> EngineResult<HostConfig> {
    let spec = &plan.spec;
    let limits = plan.resources.limits;
    Ok(HostConfig {
        nano_cpus: nonzero(limits.nano_cpus),
        memory: nonzero(limits.memory_bytes),
        memory_reservation: nonzero(plan.resources.reservations.memory_bytes),
        pids_limit: nonzero(limits.pids),
        mounts: Some(mounts(plan, api)?),
        devices: some_list(&devices(spec)),
        init: spec.init,
        ulimits: some_list(&ulimits(spec)),
        log_config: log_config(plan),
        network_mode: Some(network_mode(plan)),
        port_bindings: port_bindings(&plan.host_ports),
        // A task is never restarted in place.
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        cap_add: some_list(&spec.cap_add),
        cap_drop: some_list(&spec.cap_drop),
        dns: some_list(&spec.dns.nameservers),
        dns_search: some_list(&spec.dns.search),
        dns_options: some_list(&spec.dns.options),
        extra_hosts: some_list(&extra_hosts(&spec.hosts)?),
        group_add: some_list(&spec.groups),
        oom_score_adj: spec.oom_score_adj,
        privileged: Some(spec.privileged),
        readonly_rootfs: Some(spec.read_only),
        security_opt: some_list(&spec.security_opt),
        shm_size: spec.shm_bytes.map(signed),
        sysctls: (!spec.sysctls.is_empty()).then(|| spec.sysctls.clone().into_iter().collect()),
        ..HostConfig::default()
    })
}

fn health(check: &HealthCheck, api: (u32, u32)) -> EngineResult<HealthConfig> {
    if check.start_interval_ms > 0 {
        needs(api, (1, 44), "start_interval of a health check")?;
    }
    let nanos = |ms: u64| nonzero(ms.saturating_mul(NANOS_PER_MS));
    Ok(HealthConfig {
        test: some_list(&check.test),
        interval: nanos(check.interval_ms),
        timeout: nanos(check.timeout_ms),
        retries: nonzero(u64::from(check.retries)),
        start_period: nanos(check.start_period_ms),
        start_interval: nanos(check.start_interval_ms),
    })
}

fn mounts(plan: &ContainerPlan, api: (u32, u32)) -> EngineResult<Vec<EngineMount>> {
    let asked = plan.spec.mounts.iter().map(|mount| asked_mount(mount, api));
    let files = plan.files.iter().map(|file| Ok(file_mount(file)));
    asked.chain(files).collect()
}

/// `Mount`, never `Binds`: those make a directory where the source is missing.
fn file_mount(file: &BoundFile) -> EngineMount {
    EngineMount {
        target: Some(file.destination.clone()),
        source: Some(file.source.clone()),
        typ: Some(MountType::BIND),
        read_only: Some(true),
        ..EngineMount::default()
    }
}

fn asked_mount(mount: &Mount, api: (u32, u32)) -> EngineResult<EngineMount> {
    let mut out = EngineMount {
        target: Some(mount.destination.clone()),
        read_only: Some(mount.read_only),
        ..EngineMount::default()
    };
    match &mount.kind {
        MountKind::Bind {
            source, propagation, ..
        } => {
            out.typ = Some(MountType::BIND);
            out.source = Some(source.clone());
            out.bind_options = bind_options(propagation)?;
        }
        MountKind::Volume { name, subpath, .. } => {
            if !subpath.is_empty() {
                needs(api, (1, 45), "subpath of a volume")?;
            }
            out.typ = Some(MountType::VOLUME);
            out.source = (!name.is_empty()).then(|| name.clone());
            out.volume_options = Some(volume_options(&mount.kind));
        }
        MountKind::Tmpfs { size_bytes, mode } => {
            out.typ = Some(MountType::TMPFS);
            let mode = nonzero(u64::from(*mode));
            out.tmpfs_options = Some(MountTmpfsOptions {
                size_bytes: nonzero(*size_bytes),
                mode,
                options: None,
            });
        }
    }
    Ok(out)
}

fn bind_options(propagation: &str) -> EngineResult<Option<MountBindOptions>> {
    if propagation.is_empty() {
        return Ok(None);
    }
    let parsed = propagation.parse::<MountBindOptionsPropagationEnum>().map_err(|_| {
        EngineError::Refused(format!(
            "propagation {propagation:?} of a bind mount: one of private, rprivate, shared, rshared, slave, rslave"
        ))
    })?;
    Ok(Some(MountBindOptions {
        propagation: Some(parsed),
        ..MountBindOptions::default()
    }))
}

fn volume_options(kind: &MountKind) -> MountVolumeOptions {
    let MountKind::Volume {
        driver,
        driver_options,
        labels,
        no_copy,
        subpath,
        ..
    } = kind
    else {
        return MountVolumeOptions::default();
    };
    let named = !driver.is_empty() || !driver_options.is_empty();
    let config = named.then(|| MountVolumeOptionsDriverConfig {
        name: Some(if driver.is_empty() {
            "local".to_owned()
        } else {
            driver.clone()
        }),
        options: Some(driver_options.clone().into_iter().collect()),
    });
    MountVolumeOptions {
        no_copy: Some(*no_copy),
        labels: (!labels.is_empty()).then(|| labels.clone().into_iter().collect()),
        driver_config: config,
        subpath: (!subpath.is_empty()).then(|| subpath.clone()),
    }
}

fn devices(spec: &ContainerSpec) -> Vec<DeviceMapping> {
    let text = |value: &str, default: &str| Some(if value.is_empty() { default } else { value }.to_owned());
    let mapped = spec.devices.iter().map(|device| DeviceMapping {
        path_on_host: Some(device.host.clone()),
        path_in_container: text(&device.container, &device.host),
        cgroup_permissions: text(&device.permissions, "rwm"),
    });
    mapped.collect()
}

fn ulimits(spec: &ContainerSpec) -> Vec<ResourcesUlimits> {
    let mapped = spec.ulimits.iter().map(|limit| ResourcesUlimits {
        name: Some(limit.name.clone()),
        soft: Some(limit.soft),
        hard: Some(limit.hard),
    });
    mapped.collect()
}

fn log_config(plan: &ContainerPlan) -> Option<HostConfigLogConfig> {
    let log = &plan.log;
    (!log.name.is_empty()).then(|| HostConfigLogConfig {
        typ: Some(log.name.clone()),
        config: Some(log.options.clone().into_iter().collect()),
    })
}

fn network_mode(plan: &ContainerPlan) -> String {
    match &plan.wiring {
        Wiring::Host => "host".to_owned(),
        Wiring::None => "none".to_owned(),
        Wiring::Bridges(bridges) => bridges
            .first()
            .map_or_else(|| "bridge".to_owned(), |first| first.network.clone()),
    }
}

fn networking(plan: &ContainerPlan, api: (u32, u32)) -> Option<NetworkingConfig> {
    let Wiring::Bridges(bridges) = &plan.wiring else {
        return None;
    };
    let first = bridges.first()?;
    let endpoints = HashMap::from([(first.network.clone(), endpoint(first, api))]);
    Some(NetworkingConfig {
        endpoints_config: Some(endpoints),
    })
}

/// How a container is on one network.
pub(super) fn endpoint(attachment: &Attachment, api: (u32, u32)) -> EndpointSettings {
    // Older ones take the same one by themselves: `way_out` follows their order.
    let chosen = attachment.way_out == IsWayOut::Yes && api >= API_WAY_OUT;
    EndpointSettings {
        gw_priority: chosen.then_some(1),
        ipam_config: attachment.address.map(|address| EndpointIpamConfig {
            ipv4_address: Some(address.to_string()),
            ipv6_address: attachment.ipv6_address.map(|address| address.to_string()),
            ..EndpointIpamConfig::default()
        }),
        ..EndpointSettings::default()
    }
}

fn port_key(port: &HostPort) -> String {
    format!("{}/{}", port.container_port, port.protocol)
}

fn port_bindings(ports: &[HostPort]) -> Option<PortMap> {
    let mut map = PortMap::new();
    for port in ports {
        let bound = PortBinding {
            host_ip: port.host_ip.map(|address| address.to_string()),
            // Empty lets the Engine choose.
            host_port: Some(if port.published_port == 0 {
                String::new()
            } else {
                port.published_port.to_string()
            }),
        };
        map.entry(port_key(port))
            .or_default()
            .get_or_insert_default()
            .push(bound);
    }
    (!map.is_empty()).then_some(map)
}

/// From `IP name…` to the Engine's `name:IP`.
fn extra_hosts(lines: &[String]) -> EngineResult<Vec<String>> {
    let mut out = Vec::new();
    for line in lines {
        let mut words = line.split_whitespace();
        let address = words.next();
        let mut names = words.peekable();
        let (Some(address), true) = (address, names.peek().is_some()) else {
            return Err(EngineError::Refused(format!(
                "hosts line {line:?}: expected an address and names"
            )));
        };
        out.extend(names.map(|name| format!("{name}:{address}")));
    }
    Ok(out)
}

fn needs(api: (u32, u32), least: (u32, u32), what: &str) -> EngineResult<()> {
    if api >= least {
        return Ok(());
    }
    Err(EngineError::TooOld {
        what: what.to_owned(),
        has: format!("{}.{}", api.0, api.1),
        needs: format!("{}.{}", least.0, least.1),
    })
}

fn nonzero(value: u64) -> Option<i64> {
    (value > 0).then(|| signed(value))
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn some_list<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}
