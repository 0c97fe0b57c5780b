//! The parts of a service that need no names of the stack: variables, mode, ports, capabilities.

use std::collections::BTreeSet;

use shoal_proto::service::{HostPort, IngressPort, Mode};

use crate::compose::model::{Deploy, ModeName, PortMode, Service};

pub(super) fn environment(service: &Service) -> Vec<String> {
    let line = |(name, value): (&String, &Option<String>)| match value {
        Some(value) => format!("{name}={value}"),
        None => name.clone(),
    };
    service.environment.iter().map(line).collect()
}

pub(super) fn mode(deploy: &Deploy) -> Mode {
    let replicas = deploy.replicas.as_ref().map_or(1, |replicas| replicas.value);
    match deploy.mode.as_ref().map(|mode| mode.value).unwrap_or_default() {
        ModeName::Replicated => Mode::Replicated { replicas },
        ModeName::Global => Mode::Global,
        ModeName::ReplicatedJob => Mode::ReplicatedJob {
            max_concurrent: deploy.max_concurrent.as_ref().map_or(replicas, |max| max.value),
            total_completions: replicas,
        },
        ModeName::GlobalJob => Mode::GlobalJob,
    }
}

pub(super) fn ports(service: &Service) -> (Vec<IngressPort>, Vec<HostPort>) {
    let (mut ingress, mut host) = (Vec::new(), Vec::new());
    for port in service.ports.iter().map(|port| &port.value) {
        let (protocol, container_port, host_ip) = (port.protocol, port.target, port.host_ip);
        let published_port = port.published.unwrap_or_default();
        match port.mode {
            PortMode::Ingress => {
                ingress.push(IngressPort {
                    name: port.name.clone(),
                    protocol,
                    container_port,
                    published_port,
                    host_ip,
                    prefer: port.prefer,
                });
            }
            PortMode::Host => host.push(HostPort {
                protocol,
                container_port,
                published_port,
                host_ip,
            }),
        }
    }
    ingress.sort();
    ingress.dedup();
    host.sort();
    host.dedup();
    (ingress, host)
}

/// Upper case with `CAP_`, each once and in order; `ALL` stands alone, and what is added is not dropped.
pub(super) fn capabilities(add: &[String], drop: &[String]) -> (Vec<String>, Vec<String>) {
    let normal = |list: &[String]| {
        let names: BTreeSet<String> = list
            .iter()
            .map(|name| name.trim().to_ascii_uppercase())
            .map(|name| {
                if name == "ALL" || name.starts_with("CAP_") {
                    name
                } else {
                    format!("CAP_{name}")
                }
            })
            .collect();
        if names.contains("ALL") {
            BTreeSet::from(["ALL".to_owned()])
        } else {
            names
        }
    };
    let (add, drop) = (normal(add), normal(drop));
    let drop = drop.difference(&add).cloned().collect();
    (add.into_iter().collect(), drop)
}
