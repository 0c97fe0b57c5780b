//! Blocks of a network: the upper half of its subnet, one block for each node that carries it. Its first address is
//! the node's gateway; on an attachable network the others are for containers started there by hand.

use shoal_proto::id::NodeId;
use shoal_proto::network::{Block, Network};
use shoal_proto::reason::NetworkPart;
use shoal_proto::subnet::Subnet;
use shoal_proto::time::Timestamp;

use super::{NetworkFull, REST_MS};
use crate::state::State;

/// Addresses of an attachable network's block: a part of the subnet within these bounds.
const ATTACHABLE_BITS: std::ops::RangeInclusive<u8> = 2..=4;

/// Length of the prefix of a network's blocks. Where nobody may join by hand, a node needs its gateway and no more.
#[must_use]
pub fn prefix(network: &Network, subnet: Subnet) -> u8 {
    if !network.spec.attachable {
        return 32;
    }
    // One of 256 parts of the subnet.
    let bits = 24_u8.saturating_sub(subnet.prefix());
    32 - bits.clamp(*ATTACHABLE_BITS.start(), *ATTACHABLE_BITS.end())
}

/// How many blocks a subnet has: the last address is the subnet's own, for everybody.
#[must_use]
pub fn size(network: &Network, subnet: Subnet) -> u64 {
    let prefix = prefix(network, subnet);
    let half = subnet.parts(prefix) / 2;
    if prefix == 32 { half - 1 } else { half }
}

/// The next free block after the highest one given, going round; none where the network has no addresses.
///
/// # Errors
/// When all are given.
pub fn next_free(network: &Network) -> Result<Option<Subnet>, NetworkFull> {
    let Some(subnet) = network.subnet else {
        return Ok(None);
    };
    let (prefix, size) = (prefix(network, subnet), size(network, subnet));
    let first = subnet.parts(prefix) / 2;
    let given = || network.blocks.values().map(|block| block.subnet);
    let place =
        |block: Subnet| (block.first().to_bits() - subnet.first().to_bits()) >> (32 - u32::from(prefix));
    let start = given()
        .max()
        .map_or(0, |block| u64::from(place(block)) - first + 1);
    let free =
        |block: &Subnet| given().all(|other| !other.overlaps(*block)) && !holds_gateway(network, *block);
    (0..size)
        .filter_map(|step| subnet.part(prefix, first + (start + step) % size))
        .find(free)
        .map(Some)
        .ok_or_else(|| NetworkFull::of(network, NetworkPart::Nodes, network.blocks.len() as u64, size))
}

fn holds_gateway(network: &Network, block: Subnet) -> bool {
    let gateway = network.spec.gateway.parse();
    gateway.is_ok_and(|gateway| block.contains(gateway))
}

/// Gives blocks to nodes that carry the network and have none, and takes those back of nodes that are gone or have
/// carried nothing for [`REST_MS`]. On an attachable network a node keeps its block: somebody may have joined there by
/// hand. Says when to look again.
///
/// # Errors
/// When a node that carries the network can get none; the others have theirs.
pub fn keep(
    state: &State,
    network: &mut Network,
    carried_anew: impl Fn(NodeId) -> bool,
    now: Timestamp,
) -> Result<Option<Timestamp>, NetworkFull> {
    let (id, attachable) = (network.id, network.spec.attachable);
    let mut look_at: Option<Timestamp> = None;
    network.blocks.retain(|node, block| {
        if state.node(*node).is_none() {
            return false;
        }
        if attachable || state.carries(id, *node) || carried_anew(*node) {
            block.idle_since = None;
            return true;
        }
        let until = *block.idle_since.get_or_insert(now) + REST_MS;
        if until > now {
            look_at = Some(look_at.map_or(until, |at| at.min(until)));
        }
        until > now
    });
    for node in state.carriers(id) {
        if state.node(node).is_some() {
            give(network, node)?;
        }
    }
    Ok(look_at)
}

/// The node has a block afterwards, where the network has any.
///
/// # Errors
/// When all are given.
pub fn give(network: &mut Network, node: NodeId) -> Result<(), NetworkFull> {
    if let Some(block) = network.blocks.get_mut(&node) {
        block.idle_since = None;
        return Ok(());
    }
    if let Some(subnet) = next_free(network)? {
        let idle_since = None;
        network.blocks.insert(node, Block { subnet, idle_since });
    }
    Ok(())
}

#[cfg(test)]
#[path = "block_test.rs"]
mod tests;
