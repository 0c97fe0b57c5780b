//! Published ports of services, the ones every node answers on: one service per protocol and port.
//! Nothing is reserved beside the services themselves; a guard keeps two writers from taking one port.

use std::collections::BTreeSet;

use shoal_proto::id::ServiceId;
use shoal_proto::service::{HostPort, IngressPort, Protocol, TaskTemplate, share_an_address};

use crate::state::State;

/// First port that is given where the operator names none. Swarm's.
pub const AUTOMATIC_FIRST: u16 = 30_000;

/// Last port that is given where the operator names none. Swarm's.
pub const AUTOMATIC_LAST: u16 = 32_767;

/// Why ports cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Another service publishes it.
    #[error("port {port}/{protocol} is published already by service {name} ({holder}): choose another")]
    Taken {
        /// Which.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// By whom.
        holder: ServiceId,
        /// The holder's name.
        name: String,
    },
    /// The service names it twice.
    #[error("port {port}/{protocol} is published twice: name it once")]
    Twice {
        /// Which.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
    },
    /// Another service has it on every node, this one wants it on its tasks' nodes, or the other way round.
    #[error(
        "port {port}/{protocol} is published {how} by service {name}: a node has it once, so choose another number"
    )]
    OnNodes {
        /// Which.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// In which way the other one publishes it.
        how: &'static str,
        /// The other service's name.
        name: String,
    },
    /// No automatic port is left.
    #[error(
        "no {protocol} port from {AUTOMATIC_FIRST} to {AUTOMATIC_LAST} is free: name one, or remove a service"
    )]
    Exhausted {
        /// Of which protocol.
        protocol: Protocol,
    },
}

/// The ports a service asks for, each with a number. A port without one keeps what `before` gave to the same
/// protocol and container port, else gets the lowest free one.
///
/// # Errors
/// When a port is taken or named twice, or none is left.
pub fn allocate(
    state: &State,
    service: ServiceId,
    asked: &[IngressPort],
    before: &[IngressPort],
) -> Result<Vec<IngressPort>, PortError> {
    let mut mine = BTreeSet::new();
    for port in asked.iter().filter(|port| port.published_port != 0) {
        let (protocol, number) = (port.protocol, port.published_port);
        if !mine.insert((protocol, number)) {
            return Err(PortError::Twice {
                port: number,
                protocol,
            });
        }
        if let Some(holder) = other_holder(state, service, protocol, number) {
            let name = state
                .service(holder)
                .map(|service| service.name.clone())
                .unwrap_or_default();
            return Err(PortError::Taken {
                port: number,
                protocol,
                holder,
                name,
            });
        }
    }
    let mut ports = Vec::with_capacity(asked.len());
    for port in asked {
        let published_port = match port.published_port {
            0 => automatic(state, service, &mine, kept(before, port), port.protocol)?,
            named => named,
        };
        mine.insert((port.protocol, published_port));
        ports.push(IngressPort {
            published_port,
            ..port.clone()
        });
    }
    Ok(ports)
}

/// Refuses what one node could not give to two services: a port of every node and the same one in host mode. Two in
/// host mode are the scheduler's matter.
///
/// # Errors
/// Names the other service.
pub fn check_host_mode(
    state: &State,
    service: ServiceId,
    every_node: &[IngressPort],
    template: &TaskTemplate,
) -> Result<(), PortError> {
    let named = template.host_ports.iter().filter(|port| port.published_port != 0);
    for port in named {
        let holders = state.port_holders(port.protocol, port.published_port);
        let others = holders.filter(|holder| *holder != service);
        let other = others.filter_map(|id| state.service(id)).find(|other| {
            let ports = other.settings.ingress_ports.iter();
            ports.into_iter().any(|ingress| clash(ingress, port))
        });
        if let Some(other) = other {
            return Err(on_nodes(port, "on every node", &other.name));
        }
    }
    if every_node.is_empty() {
        return Ok(());
    }
    let others = state
        .services()
        .filter(|other| other.id != service && other.removed_at.is_none());
    for other in others {
        let host = state
            .revision(other.revision)
            .map(|found| &found.template.host_ports);
        let mut host = host.into_iter().flatten();
        let taken = host.find(|port| every_node.iter().any(|ingress| clash(ingress, port)));
        if let Some(port) = taken {
            return Err(on_nodes(port, "in host mode", &other.name));
        }
    }
    Ok(())
}

fn on_nodes(port: &HostPort, how: &'static str, name: &str) -> PortError {
    PortError::OnNodes {
        port: port.published_port,
        protocol: port.protocol,
        how,
        name: name.to_owned(),
    }
}

/// Whether a node cannot have both.
fn clash(ingress: &IngressPort, host: &HostPort) -> bool {
    let same = ingress.protocol == host.protocol && ingress.published_port == host.published_port;
    same && share_an_address(ingress.host_ip, host.host_ip)
}

/// The number this port had, where it was an automatic one.
fn kept(before: &[IngressPort], port: &IngressPort) -> Option<u16> {
    before
        .iter()
        .find(|old| old.protocol == port.protocol && old.container_port == port.container_port)
        .map(|old| old.published_port)
        .filter(|number| (AUTOMATIC_FIRST..=AUTOMATIC_LAST).contains(number))
}

fn automatic(
    state: &State,
    service: ServiceId,
    mine: &BTreeSet<(Protocol, u16)>,
    kept: Option<u16>,
    protocol: Protocol,
) -> Result<u16, PortError> {
    kept.into_iter()
        .chain(AUTOMATIC_FIRST..=AUTOMATIC_LAST)
        .find(|number| {
            !mine.contains(&(protocol, *number)) && other_holder(state, service, protocol, *number).is_none()
        })
        .ok_or(PortError::Exhausted { protocol })
}

fn other_holder(state: &State, service: ServiceId, protocol: Protocol, port: u16) -> Option<ServiceId> {
    state
        .port_holders(protocol, port)
        .find(|holder| *holder != service)
}

#[cfg(test)]
#[path = "port_test.rs"]
mod tests;
