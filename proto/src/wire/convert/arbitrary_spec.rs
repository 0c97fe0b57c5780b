//! Arbitrary specs from one seed. Test only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use crate::cluster::ClusterSpec;
use crate::container::{
    ConfigUse, ContainerSpec, Device, DnsConfig, FileTarget, HealthCheck, LogDriver, Mount, MountKind,
    PullPolicy, SecretUse, Ulimit,
};
use crate::digest::Digest;
use crate::network::NetworkSpec;
use crate::resources::{ResourceSpec, Resources};
use crate::service::{
    EndpointMode, HostPort, IngressPort, Mode, NetworkTarget, NetworkUse, Placement, Platform, Prefer,
    Protocol, RestartCondition, RestartPolicy, ServiceSettings, ServiceSpec, TaskTemplate,
};
use crate::stack::{ContentSpec, StackSpec};
use crate::time::Timestamp;
use crate::tunnel_key::TunnelKey;
use crate::update::{FailureAction, UpdateOrder, UpdatePolicy};

/// A stream of numbers from one seed.
pub(super) struct Gen(pub(super) u64);

impl Gen {
    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    pub(super) fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    pub(super) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    pub(super) fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.flag() { Some(make(self)) } else { None }
    }

    pub(super) fn list<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(3)).map(|_| make(self)).collect()
    }

    pub(super) fn word(&mut self) -> String {
        self.one(&["a", "web", "über", "x=y", "with space", ""])
            .to_owned()
            + &self.below(1_000).to_string()
    }

    pub(super) fn name(&mut self) -> String {
        format!("n{}_{}.x", self.below(1_000), self.below(10))
    }

    pub(super) fn path(&mut self) -> String {
        format!("/srv/{}", self.name())
    }

    pub(super) fn map(&mut self) -> BTreeMap<String, String> {
        self.list(|g| (g.word(), g.word())).into_iter().collect()
    }

    pub(super) fn digest(&mut self) -> Digest {
        Digest::of(&self.number().to_le_bytes())
    }

    pub(super) fn tunnel_key(&mut self) -> TunnelKey {
        TunnelKey::from_bytes(*self.digest().as_bytes()).expect("a digest is not all zero")
    }

    pub(super) fn ipv6_addresses(&mut self) -> BTreeSet<Ipv6Addr> {
        let addresses = self.list(|g| Ipv6Addr::from_bits(g.number().into()));
        addresses.into_iter().collect()
    }

    pub(super) fn time(&mut self) -> Timestamp {
        Timestamp::from_ms(self.below(1 << 50))
    }

    pub(super) fn ip(&mut self) -> IpAddr {
        if self.flag() {
            IpAddr::from((self.number() as u32).to_be_bytes())
        } else {
            IpAddr::from(
                self.number()
                    .to_be_bytes()
                    .repeat(2)
                    .try_into()
                    .map(|b: [u8; 16]| b)
                    .unwrap(),
            )
        }
    }

    pub(super) fn port(&mut self) -> u16 {
        1 + self.below(65_535) as u16
    }

    fn ms(&mut self) -> u64 {
        self.below(1_000_000)
    }
}

pub(super) fn container(g: &mut Gen) -> ContainerSpec {
    ContainerSpec {
        image: "nginx:1.27".to_owned(),
        image_digest: g.maybe(|g| g.digest().to_string()),
        entrypoint: g.maybe(|g| g.list(Gen::word)),
        command: g.maybe(|g| g.list(Gen::word)),
        env: g.list(|g| format!("K{}", g.word())),
        labels: g.map(),
        hostname: g.maybe(Gen::word),
        dir: g.maybe(Gen::path),
        user: g.maybe(Gen::word),
        groups: g.list(Gen::word),
        tty: g.flag(),
        open_stdin: g.flag(),
        read_only: g.flag(),
        init: g.maybe(Gen::flag),
        stop_signal: g.maybe(Gen::word),
        stop_grace_ms: g.maybe(Gen::ms),
        health: g.maybe(health),
        mounts: g.list(mount),
        secrets: g.list(|g| SecretUse {
            name: g.name(),
            secret: g.maybe(Gen::id),
            version: g.maybe(Gen::id),
            file: file(g),
        }),
        configs: g.list(|g| ConfigUse {
            name: g.name(),
            config: g.maybe(Gen::id),
            version: g.maybe(Gen::id),
            file: file(g),
        }),
        hosts: g.list(Gen::word),
        dns: DnsConfig {
            nameservers: g.list(Gen::word),
            search: g.list(Gen::word),
            options: g.list(Gen::word),
        },
        cap_add: g.list(Gen::word),
        cap_drop: g.list(Gen::word),
        privileged: g.flag(),
        security_opt: g.list(Gen::word),
        sysctls: g.map(),
        ulimits: g.list(|g| Ulimit {
            name: g.name(),
            soft: -1,
            hard: g.below(99) as i64,
        }),
        devices: g.list(|g| Device {
            host: g.path(),
            container: g.path(),
            permissions: "rw".to_owned(),
        }),
        shm_bytes: g.maybe(Gen::number),
        oom_score_adj: g.maybe(|g| g.below(2_001) as i64 - 1_000),
        pull: g.one(&[PullPolicy::Missing, PullPolicy::Always, PullPolicy::Never]),
    }
}

fn health(g: &mut Gen) -> HealthCheck {
    let test = match g.below(4) {
        0 => vec![],
        1 => vec!["NONE".to_owned()],
        2 => vec!["CMD".to_owned(), g.word()],
        _ => vec!["CMD-SHELL".to_owned(), g.word()],
    };
    HealthCheck {
        test,
        interval_ms: g.ms(),
        timeout_ms: g.ms(),
        start_period_ms: g.ms(),
        start_interval_ms: g.ms(),
        retries: g.below(9) as u32,
    }
}

fn mount(g: &mut Gen) -> Mount {
    let kind = match g.below(3) {
        0 => MountKind::Bind {
            source: g.path(),
            propagation: "rshared".to_owned(),
            create: g.flag(),
        },
        1 => MountKind::Volume {
            name: g.maybe(Gen::name).unwrap_or_default(),
            driver: g.word(),
            driver_options: g.map(),
            labels: g.map(),
            no_copy: g.flag(),
            subpath: g.word(),
        },
        _ => MountKind::Tmpfs {
            size_bytes: g.number(),
            mode: g.below(0o10000) as u32,
        },
    };
    Mount {
        destination: g.path(),
        read_only: g.flag(),
        kind,
    }
}

fn file(g: &mut Gen) -> FileTarget {
    FileTarget {
        path: g.path(),
        uid: g.word(),
        gid: g.word(),
        mode: g.below(0o10000) as u32,
    }
}

pub(super) fn resources(g: &mut Gen) -> Resources {
    Resources {
        nano_cpus: g.below(1 << 40),
        memory_bytes: g.below(1 << 40),
        pids: g.below(1 << 20),
    }
}

pub(super) fn log_driver(g: &mut Gen) -> LogDriver {
    LogDriver {
        name: g.word(),
        options: g.map(),
    }
}

fn protocol(g: &mut Gen) -> Protocol {
    g.one(&[Protocol::Tcp, Protocol::Udp, Protocol::Sctp])
}

pub(super) fn template(g: &mut Gen) -> TaskTemplate {
    TaskTemplate {
        container: container(g),
        resources: ResourceSpec {
            reservations: resources(g),
            limits: resources(g),
        },
        placement: Placement {
            constraints: g.list(Gen::word),
            spread: g.list(Gen::word),
            max_replicas_per_node: g.below(9),
            platforms: g.list(|g| Platform {
                os: g.word(),
                arch: g.word(),
            }),
        },
        networks: g.list(network_use),
        host_ports: g.list(|g| HostPort {
            protocol: protocol(g),
            container_port: g.port(),
            published_port: g.maybe(Gen::port).unwrap_or(0),
            host_ip: g.maybe(Gen::ip),
        }),
        log_driver: g.maybe(log_driver),
        force_update: g.number(),
    }
}

fn network_use(g: &mut Gen) -> NetworkUse {
    let network = match g.below(4) {
        0 => NetworkTarget::Named(g.name()),
        1 => NetworkTarget::Cluster(g.id()),
        2 => NetworkTarget::Host,
        _ => NetworkTarget::None,
    };
    NetworkUse {
        network,
        aliases: g.list(Gen::word),
    }
}

fn policy(g: &mut Gen, actions: &[FailureAction]) -> UpdatePolicy {
    UpdatePolicy {
        parallelism: g.below(9),
        delay_ms: g.ms(),
        failure_action: g.one(actions),
        monitor_ms: g.ms(),
        max_failure_ratio_ppm: g.below(1_000_001) as u32,
        order: g.one(&[UpdateOrder::StopFirst, UpdateOrder::StartFirst]),
    }
}

pub(super) fn settings(g: &mut Gen) -> ServiceSettings {
    let mode = match g.below(4) {
        0 => Mode::Replicated {
            replicas: g.below(100),
        },
        1 => Mode::Global,
        2 => Mode::ReplicatedJob {
            max_concurrent: g.below(9),
            total_completions: g.below(9),
        },
        _ => Mode::GlobalJob,
    };
    ServiceSettings {
        mode,
        labels: g.map(),
        update: policy(
            g,
            &[
                FailureAction::Pause,
                FailureAction::Continue,
                FailureAction::Rollback,
            ],
        ),
        rollback: policy(g, &[FailureAction::Pause, FailureAction::Continue]),
        restart: RestartPolicy {
            condition: g.one(&[
                RestartCondition::None,
                RestartCondition::OnFailure,
                RestartCondition::Any,
            ]),
            delay_ms: g.ms(),
            max_attempts: g.below(9),
            window_ms: g.ms(),
        },
        endpoint: g.one(&[EndpointMode::Vip, EndpointMode::DnsRoundRobin]),
        ingress_ports: g.list(|g| IngressPort {
            name: g.word(),
            protocol: protocol(g),
            container_port: g.port(),
            published_port: g.maybe(Gen::port).unwrap_or(0),
            host_ip: g.maybe(Gen::ip),
            prefer: g.maybe(|_| Prefer::Local),
        }),
        drain_ms: g.maybe(Gen::ms),
    }
}

pub(super) fn service_spec(g: &mut Gen) -> ServiceSpec {
    ServiceSpec {
        name: g.name(),
        settings: settings(g),
        template: template(g),
    }
}

pub(super) fn network_spec(g: &mut Gen) -> NetworkSpec {
    NetworkSpec {
        name: g.name(),
        labels: g.map(),
        driver: g.one(&["", "overlay", "bridge"]).to_owned(),
        driver_options: g.map(),
        internal: g.flag(),
        attachable: g.flag(),
        subnet: g.one(&["", "10.1.0.0/24", "fd00::/64"]).to_owned(),
        gateway: g.one(&["", "10.1.0.1"]).to_owned(),
        ipv6: g.flag(),
    }
}

fn content_spec(g: &mut Gen) -> ContentSpec {
    ContentSpec {
        name: g.name(),
        labels: g.map(),
        digest: g.digest(),
    }
}

pub(super) fn stack_spec(g: &mut Gen) -> StackSpec {
    StackSpec {
        name: g.name(),
        services: g.list(service_spec),
        networks: g.list(network_spec),
        secrets: g.list(content_spec),
        configs: g.list(content_spec),
    }
}

pub(super) fn cluster_spec(g: &mut Gen) -> ClusterSpec {
    ClusterSpec {
        heartbeat_period_ms: 100 + g.below(1_000),
        heartbeat_misses: 1 + g.below(9) as u32,
        engine_grace_ms: g.ms(),
        ack_timeout_ms: g.ms(),
        task_history_limit: g.below(9) as u32,
        revision_history_limit: 2 + g.below(9) as u32,
        certificate_lifetime_ms: 7_200_000 + g.ms(),
        log_driver: log_driver(g),
        evictions_per_minute: g.below(9) as u32,
        address_pools: {
            let pools: [&[&str]; 2] = [&["10.128.0.0/9"], &["10.0.0.0/16", "172.16.0.0/12"]];
            g.one(&pools).iter().map(|text| text.parse().unwrap()).collect()
        },
        address_pool_prefix: 16 + g.below(11) as u8,
        overlay_subnet: g.one(&["10.255.0.0/16", "100.64.0.0/10"]).parse().unwrap(),
    }
}
