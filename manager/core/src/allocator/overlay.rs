//! A number in the overlay for each node, given once by the leader. Numbers go round, so that the one of a removed node
//! is given again last.

use std::collections::BTreeSet;

use shoal_proto::cluster::Cluster;
use shoal_proto::id::NodeId;
use shoal_proto::node::Node;
use shoal_proto::overlay::{OVERLAY_NUMBER_MAX, OverlayNumber, SEALED_PREFIX_MAX};
use shoal_proto::subnet::Subnet;

use crate::state::{Group, State};

/// No number is left for a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "overlay subnet {subnet} has no number left for node {node}, all {size} are used: remove nodes, or make the \
     cluster's overlay subnet larger"
)]
pub struct OverlayFull {
    /// The cluster's.
    pub subnet: Subnet,
    /// Who gets none.
    pub node: NodeId,
    /// How many there are.
    pub size: u16,
}

/// Numbers for these nodes, as far as they have none, in one group; empty where there is nothing to give.
///
/// # Errors
/// When none is left for one of them.
pub fn give(state: &State, nodes: &BTreeSet<NodeId>) -> Result<Group, OverlayFull> {
    let mut group = Group::new();
    let Some(cluster) = state.cluster().filter(|_| !nodes.is_empty()) else {
        return Ok(group);
    };
    let subnet = cluster.spec.overlay_subnet;
    let size = size(subnet);
    let mut taken: BTreeSet<u16> = state
        .nodes()
        .filter_map(|node| node.plan.overlay)
        .map(OverlayNumber::get)
        .collect();
    let mut last = cluster.last_overlay;
    for node in nodes.iter().filter_map(|id| state.node(*id)) {
        if node.plan.overlay.is_some() {
            continue;
        }
        let number = next_free(&taken, last, size).ok_or(OverlayFull {
            subnet,
            node: node.id,
            size,
        })?;
        last = number.get();
        taken.insert(last);
        let mut node = Node::clone(node);
        node.plan.overlay = Some(number);
        group.put(node);
    }
    if last != cluster.last_overlay {
        group.put(Cluster {
            last_overlay: last,
            ..Cluster::clone(cluster)
        });
    }
    Ok(group)
}

/// Why the nodes cannot have their addresses in another subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverlayError {
    /// A network has some of it.
    #[error("overlay subnet {subnet} overlaps {theirs} of network {network}: choose another")]
    Taken {
        /// As asked for.
        subnet: Subnet,
        /// The network's.
        theirs: Subnet,
        /// Its name.
        network: String,
    },
    /// Some node's number has no address in it.
    #[error(
        "overlay subnet {subnet} has {size} addresses and node {node} has number {number}: choose a larger one"
    )]
    Small {
        /// As asked for.
        subnet: Subnet,
        /// How many.
        size: u16,
        /// Whose number is too high.
        node: NodeId,
        /// Its number.
        number: OverlayNumber,
    },
    /// It has no second address for each node.
    #[error(
        "overlay subnet {subnet} is too small for network {network}, which is encrypted: nodes need a second address, \
         so it must be a /{SEALED_PREFIX_MAX} or larger"
    )]
    Unsealed {
        /// The nodes' subnet.
        subnet: Subnet,
        /// The network's name.
        network: String,
    },
}

/// Whether the nodes have addresses for encrypted networks in this subnet.
///
/// # Errors
/// When it is too small for them.
pub fn check_sealed(subnet: Subnet, network: &str) -> Result<(), OverlayError> {
    if subnet.prefix() <= SEALED_PREFIX_MAX {
        return Ok(());
    }
    Err(OverlayError::Unsealed {
        subnet,
        network: network.to_owned(),
    })
}

/// Whether the nodes may have their addresses in this subnet.
///
/// # Errors
/// When a network overlaps it, a node's number has no address in it, or it is too small for an encrypted network.
pub fn check(state: &State, subnet: Subnet) -> Result<(), OverlayError> {
    for network in state.networks() {
        if let Some(theirs) = network.subnet.filter(|theirs| theirs.overlaps(subnet)) {
            let network = network.spec.name.clone();
            return Err(OverlayError::Taken {
                subnet,
                theirs,
                network,
            });
        }
        if network.spec.is_encrypted() {
            check_sealed(subnet, &network.spec.name)?;
        }
    }
    for node in state.nodes() {
        if let Some(number) = node.plan.overlay.filter(|number| number.get() > size(subnet)) {
            return Err(OverlayError::Small {
                subnet,
                size: size(subnet),
                node: node.id,
                number,
            });
        }
    }
    Ok(())
}

/// How many numbers have an address in this subnet.
#[must_use]
pub fn size(subnet: Subnet) -> u16 {
    let inside = subnet.size().saturating_sub(2);
    u16::try_from(inside).map_or(OVERLAY_NUMBER_MAX, |inside| inside.min(OVERLAY_NUMBER_MAX))
}

fn next_free(taken: &BTreeSet<u16>, last: u16, size: u16) -> Option<OverlayNumber> {
    let behind = last.saturating_add(1)..=size;
    behind
        .chain(1..=last.min(size))
        .find(|number| !taken.contains(number))
        .and_then(|number| OverlayNumber::new(number).ok())
}

#[cfg(test)]
#[path = "overlay_test.rs"]
mod tests;
