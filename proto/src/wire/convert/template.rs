//! The template of a task: container, placement, networks, ports.

use super::Invalid;
use super::checks::{id, list, message, name, optional, required, texts};
use crate::limits::NAME_MAX;
use crate::service::{NetworkTarget, NetworkUse, Placement, TaskTemplate};
use crate::wire::{self, network_use};

impl From<&TaskTemplate> for wire::TaskTemplate {
    fn from(template: &TaskTemplate) -> Self {
        Self {
            container: Some((&template.container).into()),
            resources: Some((&template.resources).into()),
            placement: Some((&template.placement).into()),
            networks: template.networks.iter().map(Into::into).collect(),
            host_ports: template.host_ports.iter().map(Into::into).collect(),
            log_driver: template.log_driver.as_ref().map(Into::into),
            force_update: template.force_update,
        }
    }
}

impl TryFrom<wire::TaskTemplate> for TaskTemplate {
    type Error = Invalid;
    fn try_from(template: wire::TaskTemplate) -> Result<Self, Invalid> {
        Ok(Self {
            container: message(template.container, "container")?,
            resources: message(template.resources, "resources")?,
            placement: message(template.placement, "placement")?,
            networks: list(template.networks, "networks")?,
            host_ports: list(template.host_ports, "host_ports")?,
            log_driver: optional(template.log_driver, "log_driver")?,
            force_update: template.force_update,
        })
    }
}

impl From<&Placement> for wire::Placement {
    fn from(placement: &Placement) -> Self {
        Self {
            constraints: placement.constraints.clone(),
            spread: placement.spread.clone(),
            max_replicas_per_node: placement.max_replicas_per_node,
            platforms: placement.platforms.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<wire::Placement> for Placement {
    type Error = Invalid;
    fn try_from(placement: wire::Placement) -> Result<Self, Invalid> {
        Ok(Self {
            constraints: texts(placement.constraints, "constraints")?,
            spread: texts(placement.spread, "spread")?,
            max_replicas_per_node: placement.max_replicas_per_node,
            platforms: list(placement.platforms, "platforms")?,
        })
    }
}

impl From<&NetworkUse> for wire::NetworkUse {
    fn from(used: &NetworkUse) -> Self {
        let network = match &used.network {
            NetworkTarget::Named(name) => network_use::Network::Named(name.clone()),
            NetworkTarget::Cluster(id) => network_use::Network::Cluster(id.to_string()),
            NetworkTarget::Host => network_use::Network::Host(wire::Nothing {}),
            NetworkTarget::None => network_use::Network::None(wire::Nothing {}),
        };
        Self {
            network: Some(network),
            aliases: used.aliases.clone(),
        }
    }
}

impl TryFrom<wire::NetworkUse> for NetworkUse {
    type Error = Invalid;
    fn try_from(used: wire::NetworkUse) -> Result<Self, Invalid> {
        let network = match required(used.network, "network")? {
            network_use::Network::Named(named) => NetworkTarget::Named(name(named, NAME_MAX, "named")?),
            network_use::Network::Cluster(cluster) => NetworkTarget::Cluster(id(&cluster, "cluster")?),
            network_use::Network::Host(_) => NetworkTarget::Host,
            network_use::Network::None(_) => NetworkTarget::None,
        };
        Ok(Self {
            network,
            aliases: texts(used.aliases, "aliases")?,
        })
    }
}
