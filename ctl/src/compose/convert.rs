//! The model → what the cluster is asked for: full names, Swarm's labels and defaults. Decides nothing: whatever could be
//! wrong was refused before.

mod content;
mod parts;

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::container::{ContainerSpec, Mount, MountKind};
use shoal_proto::digest::Digest;
use shoal_proto::network::NetworkSpec;
use shoal_proto::resources::ResourceSpec;
use shoal_proto::service::{
    NetworkTarget, NetworkUse, Placement, ServiceSettings, ServiceSpec, TaskTemplate,
};
use shoal_proto::stack::StackSpec;

use super::model::{Model, MountSource, Network, NetworkMode, Owner, Service, Volume};

/// The stack an object belongs to.
pub const NAMESPACE_LABEL: &str = "com.docker.stack.namespace";
/// The image as the file had it.
pub const IMAGE_LABEL: &str = "com.docker.stack.image";
/// The network of services that name none.
const DEFAULT_NETWORK: &str = "default";

/// Bytes to upload before the transaction that names their digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob {
    /// Of the bytes.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The bytes never show.
impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blob")
            .field("digest", &self.digest)
            .field("size_bytes", &self.bytes.len())
            .finish()
    }
}

/// A stack, ready to be asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Converted {
    /// The one transaction.
    pub spec: StackSpec,
    /// What it names, each content once.
    pub blobs: Vec<Blob>,
    /// Networks it expects to find, by their full names.
    pub external_networks: Vec<String>,
    /// Secrets it expects to find.
    pub external_secrets: Vec<String>,
    /// Configs it expects to find.
    pub external_configs: Vec<String>,
}

/// Turns a model into specs under a stack's name.
#[must_use]
pub fn convert(model: &Model, stack: &str) -> Converted {
    let names = Names { model, stack };
    let mut out = Converted::default();
    out.spec.name = stack.to_owned();
    out.spec.services = model
        .services
        .iter()
        .map(|(name, service)| names.service(name, service))
        .collect();
    for name in used_networks(model) {
        match model.networks.get(name) {
            Some(network) if network.owner == Owner::External => {
                if predefined(&names.network(name)).is_none() {
                    out.external_networks.push(names.network(name));
                }
            }
            network => out.spec.networks.push(names.network_spec(name, network)),
        }
    }
    let mut blobs = BTreeMap::new();
    (out.spec.secrets, out.external_secrets) = names.contents(&model.secrets, &mut blobs);
    (out.spec.configs, out.external_configs) = names.contents(&model.configs, &mut blobs);
    names.local_files(&mut out.spec.configs, &mut blobs);
    out.blobs = blobs
        .into_iter()
        .map(|(digest, bytes)| Blob { digest, bytes })
        .collect();
    out
}

/// Networks at least one service is on, the default one included.
fn used_networks(model: &Model) -> BTreeSet<&str> {
    let mut used = BTreeSet::new();
    for service in model
        .services
        .values()
        .filter(|service| service.network_mode.is_none())
    {
        used.extend(service.networks.keys().map(String::as_str));
        if service.networks.is_empty() {
            used.insert(DEFAULT_NETWORK);
        }
    }
    used
}

/// Networks every Engine has.
fn predefined(name: &str) -> Option<NetworkTarget> {
    match name {
        "host" => Some(NetworkTarget::Host),
        "none" => Some(NetworkTarget::None),
        _ => None,
    }
}

struct Names<'a> {
    model: &'a Model,
    stack: &'a str,
}

impl Names<'_> {
    /// `name:` as it is, an external one as it is called in the file, all others with the stack's name before them.
    fn full(&self, key: &str, name: Option<&String>, owner: Owner) -> String {
        match (name, owner) {
            (Some(name), _) => name.clone(),
            (None, Owner::External) => key.to_owned(),
            (None, Owner::Stack) => format!("{}_{key}", self.stack),
        }
    }

    fn network(&self, key: &str) -> String {
        match self.model.networks.get(key) {
            Some(network) => self.full(key, network.name.as_ref(), network.owner),
            None => self.full(key, None, Owner::Stack),
        }
    }

    fn labelled(&self, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut labels = labels.clone();
        labels.insert(NAMESPACE_LABEL.to_owned(), self.stack.to_owned());
        labels
    }

    fn network_spec(&self, key: &str, network: Option<&Network>) -> NetworkSpec {
        let name = self.network(key);
        let Some(network) = network else {
            let labels = self.labelled(&BTreeMap::new());
            return NetworkSpec {
                name,
                labels,
                driver: "overlay".to_owned(),
                ..NetworkSpec::default()
            };
        };
        let driver = if network.driver.is_empty() {
            "overlay".to_owned()
        } else {
            network.driver.clone()
        };
        NetworkSpec {
            name,
            labels: self.labelled(&network.labels),
            driver,
            driver_options: network.driver_options.clone(),
            internal: network.internal,
            attachable: network.attachable,
            subnet: network.subnet.clone(),
            gateway: network.gateway.clone(),
            ipv6: network.ipv6,
        }
    }

    fn service(&self, key: &str, service: &Service) -> ServiceSpec {
        let deploy = &service.deploy;
        let image = service
            .image
            .as_ref()
            .map(|image| image.value.clone())
            .unwrap_or_default();
        let mut labels = self.labelled(&deploy.labels);
        labels.insert(IMAGE_LABEL.to_owned(), image.clone());
        let (ingress_ports, host_ports) = parts::ports(service);
        ServiceSpec {
            name: format!("{}_{key}", self.stack),
            settings: ServiceSettings {
                mode: parts::mode(deploy),
                labels,
                update: deploy
                    .update
                    .as_ref()
                    .map(|at| at.value.clone())
                    .unwrap_or_default(),
                rollback: deploy
                    .rollback
                    .as_ref()
                    .map(|at| at.value.clone())
                    .unwrap_or_default(),
                restart: deploy.restart.clone().unwrap_or_default(),
                endpoint: deploy.endpoint.as_ref().map(|at| at.value).unwrap_or_default(),
                ingress_ports,
                drain_ms: None,
            },
            template: TaskTemplate {
                container: self.container(service, image),
                resources: ResourceSpec {
                    reservations: deploy.reservations,
                    limits: deploy.limits,
                },
                placement: Placement {
                    constraints: deploy.constraints.iter().map(|text| text.value.clone()).collect(),
                    spread: deploy.spread.iter().map(|text| text.value.clone()).collect(),
                    max_replicas_per_node: deploy.max_per_node,
                    platforms: service.platform.clone().into_iter().collect(),
                },
                networks: self.networks(key, service),
                host_ports,
                log_driver: service.logging.clone(),
                force_update: 0,
            },
        }
    }

    fn container(&self, service: &Service, image: String) -> ContainerSpec {
        let (cap_add, cap_drop) = parts::capabilities(&service.cap_add, &service.cap_drop);
        let hosts = service
            .extra_hosts
            .iter()
            .map(|(name, address)| format!("{address} {name}"))
            .collect();
        ContainerSpec {
            image,
            image_digest: None,
            entrypoint: service.entrypoint.clone(),
            command: service.command.clone(),
            env: parts::environment(service),
            labels: self.labelled(&service.labels),
            hostname: service.hostname.clone(),
            dir: service.working_dir.clone(),
            user: service.user.clone(),
            groups: service.groups.clone(),
            tty: service.switches.tty,
            open_stdin: service.switches.stdin_open,
            read_only: service.switches.read_only,
            init: service.switches.init,
            stop_signal: service.stop_signal.clone(),
            stop_grace_ms: service.stop_grace_ms,
            health: service.health.clone(),
            mounts: service
                .mounts
                .iter()
                .filter_map(|mount| self.mount(&mount.value))
                .collect(),
            secrets: self.secrets(&service.secrets),
            configs: self.configs(service),
            hosts,
            dns: service.dns.clone(),
            cap_add,
            cap_drop,
            privileged: service.switches.privileged,
            security_opt: service.security_opt.clone(),
            sysctls: service.sysctls.clone(),
            ulimits: service.ulimits.clone(),
            devices: service.devices.clone(),
            shm_bytes: service.shm_bytes,
            oom_score_adj: service.oom_score_adj,
            pull: service.pull,
        }
    }

    /// A mount the node makes; none for a file that is taken along.
    fn mount(&self, mount: &super::model::Mount) -> Option<Mount> {
        let kind = match &mount.source {
            MountSource::Bind {
                path,
                propagation,
                create,
            } => MountKind::Bind {
                source: path.clone(),
                propagation: propagation.clone(),
                create: *create,
            },
            MountSource::File(_) => return None,
            MountSource::Tmpfs { size_bytes, mode } => MountKind::Tmpfs {
                size_bytes: *size_bytes,
                mode: *mode,
            },
            MountSource::Volume {
                name,
                no_copy,
                subpath,
                labels,
            } => {
                let volume = name
                    .as_ref()
                    .and_then(|name| self.model.volumes.get(name).map(|volume| (name, volume)));
                let (name, driver, driver_options, labels) = match volume {
                    Some((key, volume)) => self.volume(key, volume),
                    None => (
                        String::new(),
                        String::new(),
                        BTreeMap::new(),
                        self.labelled(labels),
                    ),
                };
                let (no_copy, subpath) = (*no_copy, subpath.clone());
                MountKind::Volume {
                    name,
                    driver,
                    driver_options,
                    labels,
                    no_copy,
                    subpath,
                }
            }
        };
        Some(Mount {
            destination: mount.target.clone(),
            read_only: mount.read_only,
            kind,
        })
    }

    /// Full name, driver, options and labels. An external volume is taken as it is found.
    fn volume(
        &self,
        key: &str,
        volume: &Volume,
    ) -> (String, String, BTreeMap<String, String>, BTreeMap<String, String>) {
        let name = self.full(key, volume.name.as_ref(), volume.owner);
        match volume.owner {
            Owner::External => (name, String::new(), BTreeMap::new(), BTreeMap::new()),
            Owner::Stack => (
                name,
                volume.driver.clone(),
                volume.driver_options.clone(),
                self.labelled(&volume.labels),
            ),
        }
    }

    fn networks(&self, key: &str, service: &Service) -> Vec<NetworkUse> {
        let instead = service.network_mode.as_ref().map(|mode| match mode.value {
            NetworkMode::Host => NetworkTarget::Host,
            NetworkMode::None => NetworkTarget::None,
        });
        if let Some(network) = instead {
            return vec![NetworkUse {
                network,
                aliases: Vec::new(),
            }];
        }
        let attached = |network: &str, aliases: &[String]| {
            let name = self.network(network);
            if let Some(network) = predefined(&name) {
                return NetworkUse {
                    network,
                    aliases: Vec::new(),
                };
            }
            let mut all = vec![key.to_owned()];
            for alias in aliases.iter().chain(&service.container_name) {
                if !all.contains(alias) {
                    all.push(alias.clone());
                }
            }
            NetworkUse {
                network: NetworkTarget::Named(name),
                aliases: all,
            }
        };
        if service.networks.is_empty() {
            return vec![attached(DEFAULT_NETWORK, &[])];
        }
        service
            .networks
            .iter()
            .map(|(name, attachment)| attached(name, &attachment.value.aliases))
            .collect()
    }
}
