//! Networks, and the addresses that services and tasks have on them.

use std::net::Ipv4Addr;

use super::Invalid;
use super::checks::{self, id, ipv4, list, map, message, name, optional_id, optional_time};
use crate::id::{NetworkId, NodeId};
use crate::limits::NAME_MAX;
use crate::network::{Block, Network, NetworkSpec, Resting};
use crate::time::Timestamp;
use crate::wire;

impl From<&Network> for wire::Network {
    fn from(network: &Network) -> Self {
        Self {
            id: network.id.to_string(),
            meta: Some((&network.meta).into()),
            stack: network.stack.map(|stack| stack.to_string()),
            spec: Some((&network.spec).into()),
            subnet: network
                .subnet
                .map(|subnet| subnet.to_string())
                .unwrap_or_default(),
            blocks: network.blocks.iter().map(Into::into).collect(),
            resting: network.resting.iter().map(Into::into).collect(),
            usage: None,
            prefix: String::new(),
        }
    }
}

impl TryFrom<wire::Network> for Network {
    type Error = Invalid;
    fn try_from(network: wire::Network) -> Result<Self, Invalid> {
        let blocks: Vec<(NodeId, Block)> = list(network.blocks, "blocks")?;
        Ok(Self {
            id: id(&network.id, "id")?,
            meta: message(network.meta, "meta")?,
            stack: optional_id(network.stack, "stack")?,
            spec: message(network.spec, "spec")?,
            subnet: match network.subnet.as_str() {
                "" => None,
                text => Some(checks::subnet(text, "subnet")?),
            },
            blocks: blocks.into_iter().collect(),
            resting: list(network.resting, "resting")?,
        })
    }
}

impl From<&NetworkSpec> for wire::NetworkSpec {
    fn from(spec: &NetworkSpec) -> Self {
        Self {
            name: spec.name.clone(),
            labels: spec.labels.clone(),
            driver: spec.driver.clone(),
            driver_options: spec.driver_options.clone(),
            internal: spec.internal,
            attachable: spec.attachable,
            subnet: spec.subnet.clone(),
            gateway: spec.gateway.clone(),
            ipv6: spec.ipv6,
        }
    }
}

impl TryFrom<wire::NetworkSpec> for NetworkSpec {
    type Error = Invalid;
    fn try_from(spec: wire::NetworkSpec) -> Result<Self, Invalid> {
        Ok(Self {
            name: name(spec.name, NAME_MAX, "name")?,
            labels: map(spec.labels, "labels")?,
            driver: driver(spec.driver)?,
            driver_options: map(spec.driver_options, "driver_options")?,
            internal: spec.internal,
            attachable: spec.attachable,
            subnet: asked_subnet(spec.subnet)?,
            gateway: gateway(spec.gateway)?,
            ipv6: spec.ipv6,
        })
    }
}

fn driver(value: String) -> Result<String, Invalid> {
    match value.as_str() {
        "" | "overlay" | "bridge" => Ok(value),
        _ => Err(Invalid::new(
            "driver",
            format!("{value:?} is not a driver of the cluster: expected overlay or bridge"),
        )),
    }
}

fn asked_subnet(value: String) -> Result<String, Invalid> {
    if value.is_empty() {
        return Ok(value);
    }
    let parts = value.split_once('/').and_then(|(address, bits)| {
        let address: std::net::IpAddr = address.parse().ok()?;
        let bits: u8 = bits.parse().ok()?;
        Some((address, bits))
    });
    match parts {
        Some((std::net::IpAddr::V4(_), 1..=30)) | Some((std::net::IpAddr::V6(_), 1..=126)) => Ok(value),
        _ => Err(Invalid::new(
            "subnet",
            format!("{value:?} is not a subnet: expected one such as 10.1.0.0/24"),
        )),
    }
}

fn gateway(value: String) -> Result<String, Invalid> {
    checks::optional_ip(&value, "gateway").map(|_| value)
}

impl From<(&NodeId, &Block)> for wire::NetworkBlock {
    fn from((node, block): (&NodeId, &Block)) -> Self {
        Self {
            node: node.to_string(),
            subnet: block.subnet.to_string(),
            idle_since_ms: block.idle_since.map(Timestamp::as_ms),
        }
    }
}

impl TryFrom<wire::NetworkBlock> for (NodeId, Block) {
    type Error = Invalid;
    fn try_from(block: wire::NetworkBlock) -> Result<Self, Invalid> {
        let node = id(&block.node, "node")?;
        Ok((
            node,
            Block {
                subnet: checks::subnet(&block.subnet, "subnet")?,
                idle_since: optional_time(block.idle_since_ms),
            },
        ))
    }
}

impl From<&Resting> for wire::RestingAddress {
    fn from(resting: &Resting) -> Self {
        Self {
            address: resting.address.to_string(),
            until_ms: resting.until.as_ms(),
        }
    }
}

impl TryFrom<wire::RestingAddress> for Resting {
    type Error = Invalid;
    fn try_from(resting: wire::RestingAddress) -> Result<Self, Invalid> {
        Ok(Self {
            address: ipv4(&resting.address, "address")?,
            until: Timestamp::from_ms(resting.until_ms),
        })
    }
}

/// A pair of a task or a service, with a conversion of its own.
struct Address((NetworkId, Ipv4Addr));

impl TryFrom<wire::NetworkAddress> for Address {
    type Error = Invalid;
    fn try_from(value: wire::NetworkAddress) -> Result<Self, Invalid> {
        let network = id(&value.network, "network")?;
        Ok(Self((network, ipv4(&value.address, "address")?)))
    }
}

pub(super) fn addresses_out(addresses: &[(NetworkId, Ipv4Addr)]) -> Vec<wire::NetworkAddress> {
    let one = |(network, address): &(NetworkId, Ipv4Addr)| wire::NetworkAddress {
        network: network.to_string(),
        address: address.to_string(),
    };
    addresses.iter().map(one).collect()
}

pub(super) fn addresses_in(
    addresses: Vec<wire::NetworkAddress>,
) -> Result<Vec<(NetworkId, Ipv4Addr)>, Invalid> {
    let addresses: Vec<Address> = list(addresses, "addresses")?;
    Ok(addresses.into_iter().map(|Address(pair)| pair).collect())
}
