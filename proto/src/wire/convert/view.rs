//! What a node is told about the cluster's networks.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::checks::{self, enumeration, id, ipv4, list, optional_id, port, texts};
use super::{At as _, Invalid};
use crate::id::{InvalidId, NetworkId, NodeId, ServiceId, TaskId};
use crate::limits::{HOSTNAME_MAX, VIEW_ENTRIES_MAX};
use crate::overlay::OverlayNumber;
use crate::service::EndpointMode;
use crate::subnet::Subnet;
use crate::view::{
    Endpoint, EndpointState, Inside, Network, Outside, Overlay, Parts, Peer, Secrecy, Service, ViewChange,
};
use crate::wire;

impl From<&ViewChange> for wire::NetworkView {
    fn from(change: &ViewChange) -> Self {
        Self {
            node: change.node.to_string(),
            overlay: change.overlay.as_ref().map(Into::into),
            peers: out(&change.peers),
            removed_peers: ids_out(&change.peers.removed),
            networks: out(&change.networks),
            removed_networks: ids_out(&change.networks.removed),
            services: out(&change.services),
            removed_services: ids_out(&change.services.removed),
            endpoints: out(&change.endpoints),
            removed_endpoints: ids_out(&change.endpoints.removed),
        }
    }
}

impl TryFrom<wire::NetworkView> for ViewChange {
    type Error = Invalid;
    fn try_from(view: wire::NetworkView) -> Result<Self, Invalid> {
        Ok(Self {
            node: id(&view.node, "node")?,
            overlay: view.overlay.map(Overlay::try_from).transpose().at("overlay")?,
            peers: parts(view.peers, &view.removed_peers, "peers")?,
            networks: parts(view.networks, &view.removed_networks, "networks")?,
            services: parts(view.services, &view.removed_services, "services")?,
            endpoints: parts(view.endpoints, &view.removed_endpoints, "endpoints")?,
        })
    }
}

fn out<K, V, W: for<'a> From<(&'a K, &'a V)>>(parts: &Parts<K, V>) -> Vec<W> {
    parts.changed.iter().map(W::from).collect()
}

fn ids_out<K: ToString>(ids: &[K]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn parts<W, K, V>(changed: Vec<W>, removed: &[String], field: &str) -> Result<Parts<K, V>, Invalid>
where
    (K, V): TryFrom<W, Error = Invalid>,
    K: Ord + std::str::FromStr<Err = InvalidId>,
{
    let entries = changed.len() + removed.len();
    if entries > VIEW_ENTRIES_MAX {
        let found = format!("holds {entries} entries: at most {VIEW_ENTRIES_MAX} are taken");
        return Err(Invalid::new(field, found));
    }
    let changed = changed.into_iter().map(<(K, V)>::try_from);
    let removed = removed.iter().map(|removed| id(removed, "removed"));
    Ok(Parts {
        changed: changed.collect::<Result<_, _>>().at(field)?,
        removed: removed.collect::<Result<_, _>>().at(field)?,
    })
}

impl From<&Overlay> for wire::Overlay {
    fn from(overlay: &Overlay) -> Self {
        Self {
            subnet: overlay.subnet.to_string(),
            identifier: overlay.identifier,
            port: overlay.port.into(),
            prefix: overlay
                .prefix
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        }
    }
}

impl TryFrom<wire::Overlay> for Overlay {
    type Error = Invalid;
    fn try_from(overlay: wire::Overlay) -> Result<Self, Invalid> {
        Ok(Self {
            subnet: checks::subnet(&overlay.subnet, "subnet")?,
            identifier: overlay.identifier,
            port: port(overlay.port, "port")?,
            prefix: checks::prefix(&overlay.prefix, "prefix")?,
        })
    }
}

impl From<(&NodeId, &Peer)> for wire::Peer {
    fn from((node, peer): (&NodeId, &Peer)) -> Self {
        Self {
            node: node.to_string(),
            number: peer.number.get().into(),
            host: peer.host.to_string(),
            name: peer.name.clone(),
            key: peer.key.map(|key| key.to_string()).unwrap_or_default(),
            ipv6: checks::host_ipv6_sent(peer.ipv6.as_ref()),
        }
    }
}

impl TryFrom<wire::Peer> for (NodeId, Peer) {
    type Error = Invalid;
    fn try_from(peer: wire::Peer) -> Result<Self, Invalid> {
        let number = u16::try_from(peer.number).unwrap_or_default();
        let number = OverlayNumber::new(number).map_err(|error| Invalid::new("number", error.to_string()))?;
        let node = id(&peer.node, "node")?;
        Ok((
            node,
            Peer {
                number,
                host: ipv4(&peer.host, "host")?,
                name: checks::name(peer.name, HOSTNAME_MAX, "name")?,
                key: checks::tunnel_key(&peer.key, "key")?,
                ipv6: checks::host_ipv6(peer.ipv6, "ipv6")?,
            },
        ))
    }
}

impl From<(&NetworkId, &Network)> for wire::NetworkSeen {
    fn from((of, network): (&NetworkId, &Network)) -> Self {
        let block = |(node, subnet): (&NodeId, &Subnet)| wire::BlockSeen {
            node: node.to_string(),
            subnet: subnet.to_string(),
        };
        Self {
            id: of.to_string(),
            name: network.name.clone(),
            subnet: network.subnet.to_string(),
            blocks: network.blocks.iter().map(block).collect(),
            closed: network.outside == Outside::Closed,
            apart: network.inside == Inside::Apart,
            attachable: network.attachable,
            encrypted: network.secrecy == Secrecy::Encrypted,
            prefix: network
                .prefix
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        }
    }
}

impl TryFrom<wire::NetworkSeen> for (NetworkId, Network) {
    type Error = Invalid;
    fn try_from(network: wire::NetworkSeen) -> Result<Self, Invalid> {
        let block = |block: wire::BlockSeen| {
            let node: NodeId = id(&block.node, "blocks.node")?;
            Ok((node, checks::subnet(&block.subnet, "blocks.subnet")?))
        };
        let of = id(&network.id, "id")?;
        let blocks: Result<_, Invalid> = network.blocks.into_iter().map(block).collect();
        Ok((
            of,
            Network {
                name: network.name,
                subnet: checks::subnet(&network.subnet, "subnet")?,
                blocks: blocks?,
                outside: if network.closed {
                    Outside::Closed
                } else {
                    Outside::Reachable
                },
                inside: if network.apart {
                    Inside::Apart
                } else {
                    Inside::Together
                },
                attachable: network.attachable,
                secrecy: if network.encrypted {
                    Secrecy::Encrypted
                } else {
                    Secrecy::Open
                },
                prefix: checks::prefix(&network.prefix, "prefix")?,
            },
        ))
    }
}

impl From<(&ServiceId, &Service)> for wire::ServiceSeen {
    fn from((of, service): (&ServiceId, &Service)) -> Self {
        Self {
            id: of.to_string(),
            name: service.name.clone(),
            mode: wire::EndpointMode::from(service.mode).into(),
            on: on_networks(&service.addresses, &service.aliases),
            ports: service.ports.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<wire::ServiceSeen> for (ServiceId, Service) {
    type Error = Invalid;
    fn try_from(service: wire::ServiceSeen) -> Result<Self, Invalid> {
        let (addresses, aliases) = from_networks(service.on).at("on")?;
        let of = id(&service.id, "id")?;
        Ok((
            of,
            Service {
                name: service.name,
                mode: enumeration::<wire::EndpointMode, EndpointMode>(service.mode, "mode")?,
                addresses,
                aliases,
                ports: list(service.ports, "ports")?,
            },
        ))
    }
}

impl From<(&TaskId, &Endpoint)> for wire::Endpoint {
    fn from((task, endpoint): (&TaskId, &Endpoint)) -> Self {
        Self {
            task: task.to_string(),
            service: endpoint.service.to_string(),
            slot: endpoint.slot,
            node: endpoint.node.to_string(),
            on: on_networks(&endpoint.addresses, &endpoint.aliases),
            mesh: endpoint.mesh.map(|network| network.to_string()),
            ready: endpoint.state == EndpointState::Ready,
        }
    }
}

impl TryFrom<wire::Endpoint> for (TaskId, Endpoint) {
    type Error = Invalid;
    fn try_from(endpoint: wire::Endpoint) -> Result<Self, Invalid> {
        let (addresses, aliases) = from_networks(endpoint.on).at("on")?;
        let task = id(&endpoint.task, "task")?;
        Ok((
            task,
            Endpoint {
                service: id(&endpoint.service, "service")?,
                slot: endpoint.slot,
                node: id(&endpoint.node, "node")?,
                addresses,
                aliases,
                mesh: optional_id(endpoint.mesh, "mesh")?,
                state: if endpoint.ready {
                    EndpointState::Ready
                } else {
                    EndpointState::Aside
                },
            },
        ))
    }
}

type Addresses = BTreeMap<NetworkId, Ipv4Addr>;
type Aliases = BTreeMap<NetworkId, Vec<String>>;

/// One entry for each network that is in either.
fn on_networks(addresses: &Addresses, aliases: &Aliases) -> Vec<wire::OnNetwork> {
    let mut on: BTreeMap<NetworkId, wire::OnNetwork> = BTreeMap::new();
    let entry = |network: &NetworkId| wire::OnNetwork {
        network: network.to_string(),
        ..wire::OnNetwork::default()
    };
    for (network, address) in addresses {
        on.entry(*network).or_insert_with(|| entry(network)).address = Some(address.to_string());
    }
    for (network, names) in aliases {
        on.entry(*network).or_insert_with(|| entry(network)).names =
            Some(wire::Names { names: names.clone() });
    }
    on.into_values().collect()
}

fn from_networks(on: Vec<wire::OnNetwork>) -> Result<(Addresses, Aliases), Invalid> {
    let (mut addresses, mut aliases) = (Addresses::new(), Aliases::new());
    for one in on {
        let network = id(&one.network, "network")?;
        if let Some(address) = one.address {
            addresses.insert(network, ipv4(&address, "address")?);
        }
        if let Some(names) = one.names {
            aliases.insert(network, texts(names.names, "names")?);
        }
    }
    Ok((addresses, aliases))
}
