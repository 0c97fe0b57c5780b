//! Containers, networks and volumes: each call leaves things as asked, however often it is repeated.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::time::Duration;

use bollard::models::{
    Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest, NetworkInspect, VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    StopContainerOptionsBuilder,
};
use futures::StreamExt;
use shoal_proto::container::MountKind;

use super::{DockerEngine, create};
use crate::engine::{
    Attachment, ContainerPlan, EngineError, EngineResult, LABEL_CLUSTER, LABEL_NETWORK, LABEL_TASK,
    NetworkPlan, OPTION_MTU, VolumePlan, Wiring,
};

/// Name of a bridge in the kernel.
const OPTION_BRIDGE: &str = "com.docker.network.bridge.name";
/// Whether the Engine puts the node's address in the place of a container's.
const OPTION_MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
/// Who may reach containers from outside, as far as the Engine is concerned.
const OPTIONS_GATEWAY_MODE: [&str; 2] = [
    "com.docker.network.bridge.gateway_mode_ipv4",
    "com.docker.network.bridge.gateway_mode_ipv6",
];
/// From this API on (Engine 28) the Engine keeps everybody from containers unless [`OPTIONS_GATEWAY_MODE`] say
/// otherwise, which those of Engine 27 cannot.
const API_UNPROTECTED: (u32, u32) = (1, 48);
/// How much longer than its grace a stop may take before the Engine counts as silent.
const STOP_SLACK_MS: u64 = 30_000;
/// Largest file that is read out of a container.
const FILE_BYTES_MAX: usize = 1 << 20;
/// One block of a tar archive.
const TAR_BLOCK: usize = 512;

pub(super) async fn create(engine: &DockerEngine, plan: &ContainerPlan) -> EngineResult<String> {
    let body = create::body(plan, engine.api().await?)?;
    make_bind_sources(plan).await?;
    let options = CreateContainerOptionsBuilder::new().name(&plan.name).build();
    let made = engine.client()?.create_container(Some(options), body).await;
    let id = match made.map_err(|error| engine.refine(error)) {
        Ok(made) => made.id,
        Err(EngineError::Conflict(words)) => adopt(engine, plan, words).await?,
        Err(error) => return Err(error),
    };
    if let Wiring::Bridges(attachments) = &plan.wiring {
        // Before API 1.44 a container is made on one network only.
        for attachment in attachments.iter().skip(1) {
            connect(engine, &id, attachment).await?;
        }
    }
    Ok(id)
}

/// The name is taken: by our own earlier try whose answer was lost, or by a stranger.
async fn adopt(engine: &DockerEngine, plan: &ContainerPlan, words: String) -> EngineResult<String> {
    let found = engine.client()?.inspect_container(&plan.name, None).await;
    let found = found.map_err(|error| engine.refine(error))?;
    let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
    let ours = [LABEL_TASK, LABEL_CLUSTER]
        .iter()
        .all(|name| labels.get(*name) == plan.labels.get(*name));
    match found.id {
        Some(id) if ours => Ok(id),
        _ => Err(EngineError::Conflict(words)),
    }
}

/// Paths of the host that were asked to be made: the Engine does it from API 1.42 on only.
async fn make_bind_sources(plan: &ContainerPlan) -> EngineResult<()> {
    for mount in &plan.spec.mounts {
        if let MountKind::Bind {
            source, create: true, ..
        } = &mount.kind
        {
            let made = tokio::fs::create_dir_all(source).await;
            made.map_err(|error| EngineError::Refused(format!("bind source {source}: {error}")))?;
        }
    }
    Ok(())
}

pub(super) async fn stop(engine: &DockerEngine, container: &str, grace_ms: u64) -> EngineResult<()> {
    let client = engine.patient(Duration::from_millis(grace_ms + STOP_SLACK_MS))?;
    let seconds = i32::try_from(grace_ms.div_ceil(1_000)).unwrap_or(i32::MAX);
    let options = StopContainerOptionsBuilder::new().t(seconds).build();
    match client
        .stop_container(container, Some(options))
        .await
        .map_err(|error| engine.refine(error))
    {
        Err(EngineError::Missing(_)) => Ok(()),
        other => other,
    }
}

pub(super) async fn remove(engine: &DockerEngine, container: &str) -> EngineResult<()> {
    let options = RemoveContainerOptionsBuilder::new().v(true).force(true).build();
    match engine
        .client()?
        .remove_container(container, Some(options))
        .await
        .map_err(|error| engine.refine(error))
    {
        Err(EngineError::Missing(_)) => Ok(()),
        Err(EngineError::Conflict(words)) if words.contains("already in progress") => Ok(()),
        other => other,
    }
}

pub(super) async fn connect(
    engine: &DockerEngine,
    container: &str,
    attachment: &Attachment,
) -> EngineResult<()> {
    let request = NetworkConnectRequest {
        container: container.to_owned(),
        endpoint_config: Some(create::endpoint(attachment, engine.api().await?)),
    };
    let done = engine
        .client()?
        .connect_network(&attachment.network, request)
        .await;
    match done.map_err(|error| engine.refine(error)) {
        Err(EngineError::Refused(words) | EngineError::Conflict(words))
            if words.contains("already exists in network") =>
        {
            Ok(())
        }
        other => other,
    }
}

pub(super) async fn ensure_network(engine: &DockerEngine, plan: &NetworkPlan) -> EngineResult<()> {
    let client = engine.client()?;
    match client
        .inspect_network(&plan.name, None)
        .await
        .map_err(|error| engine.refine(error))
    {
        Ok(found) => {
            let labels = found.labels.clone().unwrap_or_default();
            let same = same_label(plan, &labels, LABEL_NETWORK) && is_as_planned(plan, &found);
            if same {
                return Ok(());
            }
            remove_leftover(engine, plan, &labels, &found.id.unwrap_or_default()).await?;
        }
        Err(EngineError::Missing(_)) => {}
        Err(error) => return Err(error),
    }
    match client
        .create_network(network_request(plan, engine.api().await?))
        .await
        .map_err(|error| engine.refine(error))
    {
        Ok(_) => Ok(()),
        // Another task of this node was faster.
        Err(EngineError::Conflict(_)) => Ok(()),
        Err(EngineError::Refused(words)) if words.contains("already exists") => Ok(()),
        Err(error) => Err(error),
    }
}

fn same_label(plan: &NetworkPlan, labels: &HashMap<String, String>, label: &str) -> bool {
    labels.contains_key(label) && labels.get(label) == plan.labels.get(label)
}

/// Takes away a network of this cluster that was removed and made anew under the same name, before the sweeper came by.
async fn remove_leftover(
    engine: &DockerEngine,
    plan: &NetworkPlan,
    labels: &HashMap<String, String>,
    id: &str,
) -> EngineResult<()> {
    if !same_label(plan, labels, LABEL_CLUSTER) {
        return Err(EngineError::Conflict(format!(
            "network {} exists on this node and is not the cluster's: rename or remove it",
            plan.name
        )));
    }
    match engine
        .client()?
        .remove_network(id)
        .await
        .map_err(|error| engine.refine(error))
    {
        Ok(()) | Err(EngineError::Missing(_)) => Ok(()),
        Err(EngineError::Refused(words) | EngineError::Conflict(words)) => {
            Err(EngineError::Conflict(format!(
                "an earlier network {} still has containers on this node, which have to go first: {words}",
                plan.name
            )))
        }
        Err(error) => Err(error),
    }
}

/// Whether the Engine's network has the addresses and the bridge that are wanted now.
fn is_as_planned(plan: &NetworkPlan, found: &NetworkInspect) -> bool {
    if plan.subnet.is_none() {
        return true;
    }
    let ipam = found.ipam.as_ref();
    let configs: Vec<&IpamConfig> = ipam
        .into_iter()
        .flat_map(|ipam| ipam.config.iter().flatten())
        .collect();
    let is_there = |wanted: &IpamConfig| {
        configs.iter().any(|is| {
            (&is.subnet, &is.gateway, &is.ip_range) == (&wanted.subnet, &wanted.gateway, &wanted.ip_range)
        })
    };
    let options = found.options.as_ref();
    let bridge = options.and_then(|options| options.get(OPTION_BRIDGE));
    let families = found.enable_ipv6.unwrap_or_default() == plan.prefix.is_some();
    families && ipam_configs(plan).iter().all(is_there) && bridge == Some(&plan.bridge)
}

/// What the Engine is told of addresses: of IPv4 ones, and of those beside them.
fn ipam_configs(plan: &NetworkPlan) -> Vec<IpamConfig> {
    let config = |subnet: String, block: Option<(String, String)>| {
        let (gateway, ip_range) = block.unzip();
        IpamConfig {
            subnet: Some(subnet),
            gateway,
            ip_range,
            ..IpamConfig::default()
        }
    };
    let Some(subnet) = plan.subnet else {
        return Vec::new();
    };
    let block = plan
        .block
        .map(|block| (block.first().to_string(), block.to_string()));
    let mut configs = vec![config(subnet.to_string(), block)];
    configs.extend(plan.prefix.map(|prefix| {
        let text = |(first, length): (Ipv6Addr, u8)| format!("{first}/{length}");
        let block = plan.block.map(|block| prefix.range(block));
        let block = block.map(|range| (range.0.to_string(), text(range)));
        config(text(prefix.range(subnet)), block)
    }));
    configs
}

fn network_request(plan: &NetworkPlan, api: (u32, u32)) -> NetworkCreateRequest {
    let mut options: HashMap<String, String> = plan.options.clone().into_iter().collect();
    if plan.subnet.is_some() {
        let mut set = |name: &str, value: String| options.insert(name.to_owned(), value);
        set(OPTION_BRIDGE, plan.bridge.clone());
        // The agent's rules do it, for what leaves the cluster only.
        set(OPTION_MASQUERADE, "false".to_owned());
        if api >= API_UNPROTECTED {
            // The Engine would drop what comes through the tunnel; who may call whom is said by the agent's rules.
            let families = if plan.prefix.is_some() { 2 } else { 1 };
            for option in &OPTIONS_GATEWAY_MODE[..families] {
                set(option, "nat-unprotected".to_owned());
            }
        }
    }
    if let Some(mtu) = plan.mtu {
        options.insert(OPTION_MTU.to_owned(), mtu.to_string());
    }
    NetworkCreateRequest {
        name: plan.name.clone(),
        driver: Some("bridge".to_owned()),
        internal: Some(plan.internal),
        attachable: Some(true),
        // Said in both cases: an Engine may have another default.
        enable_ipv6: Some(plan.prefix.is_some()),
        ipam: plan.subnet.map(|_| Ipam {
            config: Some(ipam_configs(plan)),
            ..Ipam::default()
        }),
        options: Some(options),
        labels: Some(plan.labels.clone().into_iter().collect()),
        ..NetworkCreateRequest::default()
    }
}

pub(super) async fn ensure_volume(engine: &DockerEngine, plan: &VolumePlan) -> EngineResult<()> {
    let driver = if plan.driver.is_empty() {
        "local"
    } else {
        &plan.driver
    };
    let request = VolumeCreateRequest {
        name: Some(plan.name.clone()),
        driver: Some(driver.to_owned()),
        driver_opts: Some(plan.options.clone().into_iter().collect()),
        labels: Some(plan.labels.clone().into_iter().collect()),
        ..VolumeCreateRequest::default()
    };
    // The Engine answers with the volume that is there, and refuses another driver under the same name.
    let made = engine.client()?.create_volume(request).await;
    made.map(|_| ()).map_err(|error| engine.refine(error))
}

pub(super) async fn read_file(
    engine: &DockerEngine,
    container: &str,
    path: &str,
) -> EngineResult<Option<Vec<u8>>> {
    let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
    let mut stream = Box::pin(engine.client()?.download_from_container(container, Some(options)));
    let mut archive = Vec::new();
    while let Some(piece) = stream.next().await {
        match piece.map_err(|error| engine.refine(error)) {
            Ok(bytes) => archive.extend_from_slice(&bytes),
            Err(EngineError::Missing(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
        if archive.len() > FILE_BYTES_MAX {
            return Err(EngineError::Refused(format!(
                "{path} of the container is larger than {FILE_BYTES_MAX} bytes"
            )));
        }
    }
    Ok(first_file(&archive))
}

/// Content of the first regular file of a tar archive.
fn first_file(archive: &[u8]) -> Option<Vec<u8>> {
    let header = archive.get(..TAR_BLOCK)?;
    let digits = std::str::from_utf8(&header[124..136]).ok()?;
    let size = usize::from_str_radix(digits.trim_matches(['\0', ' ']), 8).ok()?;
    let regular = matches!(header[156], b'0' | 0);
    archive
        .get(TAR_BLOCK..TAR_BLOCK + size)
        .filter(|_| regular)
        .map(<[u8]>::to_vec)
}
