//! The subnet of a network, chosen or checked when it is made: apart from every other network, from the overlay, and
//! from where any host sends packets by itself.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use shoal_proto::cluster::ClusterSpec;
use shoal_proto::id::NodeId;
use shoal_proto::network::{INGRESS_NAME, Network, NetworkSpec, ingress_network};
use shoal_proto::subnet::{InvalidSubnet, Subnet};

use super::address::Usage;
use crate::state::State;

/// Smallest subnet of a network: 31 addresses for tasks.
pub const SUBNET_PREFIX_MAX: u8 = 26;

/// Largest subnet of a network.
pub const SUBNET_PREFIX_MIN: u8 = 8;

/// Size of the subnet of the cluster's own network, where the pool has as much.
const INGRESS_PREFIX: u8 = 16;

/// Why a network gets no subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// Not an IPv4 subnet.
    #[error("subnet of network {network}: {source}")]
    Invalid {
        /// The network's name.
        network: String,
        /// What is wrong.
        source: InvalidSubnet,
    },
    /// An IPv6 one: those are not chosen.
    #[error(
        "subnet {subnet} of network {network} is an IPv6 one: IPv6 addresses of a network are from the cluster's own \
         fd…/96; leave the subnet out and ask for them with --ipv6"
    )]
    Six {
        /// The network's name.
        network: String,
        /// As asked for.
        subnet: String,
    },
    /// Too small or too large.
    #[error(
        "subnet {subnet} of network {network} is out of range: /{SUBNET_PREFIX_MIN} to /{SUBNET_PREFIX_MAX}, half of \
         it for tasks and half for nodes"
    )]
    Size {
        /// The network's name.
        network: String,
        /// As asked for.
        subnet: Subnet,
    },
    /// The gateway is not an address of the subnet.
    #[error(
        "gateway {gateway:?} of network {network} is not an address of its subnet {subnet}: leave it out"
    )]
    Gateway {
        /// The network's name.
        network: String,
        /// As asked for.
        gateway: String,
        /// The network's.
        subnet: Subnet,
    },
    /// A gateway without a subnet.
    #[error("network {network} names gateway {gateway:?} and no subnet: name both or neither")]
    GatewayAlone {
        /// The network's name.
        network: String,
        /// As asked for.
        gateway: String,
    },
    /// Somebody else uses some of it.
    #[error("subnet {subnet} of network {network} overlaps {taken}: choose another, or leave it out")]
    Taken {
        /// The network's name.
        network: String,
        /// As asked for.
        subnet: Subnet,
        /// By whom.
        taken: Taken,
    },
    /// No subnet is left.
    #[error(
        "no /{prefix} is free in the address pools ({pools}) for network {network}: {networks} of {size} are taken \
         by networks{routes}; give a --subnet, or add a pool with `shoal cluster update --address-pool`"
    )]
    Exhausted {
        /// The network's name.
        network: String,
        /// Length of an automatic subnet's prefix.
        prefix: u8,
        /// All pools.
        pools: String,
        /// Subnets of that length in all of them.
        size: u64,
        /// Those that networks have a part of.
        networks: u64,
        /// Those that are kept from use otherwise, with an example; empty where there is none.
        routes: String,
    },
}

/// What keeps a subnet from use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Another network.
    Network {
        /// Its name.
        name: String,
        /// Its subnet.
        subnet: Subnet,
    },
    /// The nodes' addresses of the overlay.
    Overlay(Subnet),
    /// A host sends packets there by itself.
    Route {
        /// Which node.
        node: NodeId,
        /// Its hostname.
        hostname: String,
        /// Where to.
        route: Subnet,
    },
}

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Network { name, subnet } => write!(f, "{subnet} of network {name}"),
            Self::Overlay(subnet) => write!(f, "the cluster's overlay subnet {subnet}"),
            Self::Route {
                node,
                hostname,
                route,
            } => write!(f, "the route to {route} on node {hostname} ({node})"),
        }
    }
}

/// The network that a cluster has from its first moment: the first subnet of its pools that the overlay leaves, larger
/// than others.
///
/// # Errors
/// When there is none.
pub fn ingress(rules: &ClusterSpec) -> Result<Network, SubnetError> {
    let spec = NetworkSpec {
        name: INGRESS_NAME.to_owned(),
        ipv6: true,
        ..NetworkSpec::default()
    };
    let mut parts = rules.address_pools.iter().flat_map(|pool| {
        let prefix = pool.prefix().max(INGRESS_PREFIX);
        (0..pool.parts(prefix)).filter_map(move |at| pool.part(prefix, at))
    });
    match parts.find(|part| !part.overlaps(rules.overlay_subnet)) {
        Some(subnet) => Ok(Network {
            subnet: Some(subnet),
            ..Network::new(ingress_network(), None, spec)
        }),
        None => Err(exhausted(&spec, rules, &BTreeMap::new())),
    }
}

/// The subnet of a network that is to be made: what it asks for, or the next free one of the cluster's pools after the
/// newest network's, so that one that was given back lately comes last.
///
/// # Errors
/// When what it asks for is no subnet, too small or in use, or when none is left.
pub fn choose(state: &State, spec: &NetworkSpec) -> Result<Subnet, SubnetError> {
    let taken = all_taken(state);
    if spec.subnet.is_empty() {
        if !spec.gateway.is_empty() {
            let (network, gateway) = (spec.name.clone(), spec.gateway.clone());
            return Err(SubnetError::GatewayAlone { network, gateway });
        }
        return automatic(state, spec, &taken);
    }
    let subnet = asked(spec)?;
    match first_overlap(&taken, subnet) {
        None => Ok(subnet),
        Some(taken) => Err(SubnetError::Taken {
            network: spec.name.clone(),
            subnet,
            taken: taken.clone(),
        }),
    }
}

fn asked(spec: &NetworkSpec) -> Result<Subnet, SubnetError> {
    let network = || spec.name.clone();
    if spec.subnet.contains(':') {
        let subnet = spec.subnet.clone();
        return Err(SubnetError::Six {
            network: network(),
            subnet,
        });
    }
    let subnet: Subnet = spec.subnet.parse().map_err(|source| SubnetError::Invalid {
        network: network(),
        source,
    })?;
    if !(SUBNET_PREFIX_MIN..=SUBNET_PREFIX_MAX).contains(&subnet.prefix()) {
        let network = network();
        return Err(SubnetError::Size { network, subnet });
    }
    let gateway: Option<Ipv4Addr> = spec.gateway.parse().ok();
    if !spec.gateway.is_empty() && !gateway.is_some_and(|gateway| subnet.contains(gateway)) {
        let gateway = spec.gateway.clone();
        return Err(SubnetError::Gateway {
            network: network(),
            gateway,
            subnet,
        });
    }
    Ok(subnet)
}

fn automatic(
    state: &State,
    spec: &NetworkSpec,
    taken: &BTreeMap<Subnet, Taken>,
) -> Result<Subnet, SubnetError> {
    let rules = state.cluster_spec();
    let newest = state.networks().next_back().and_then(|network| network.subnet);
    let after_newest = candidates(&rules).skip_while(|one| Some(*one) != newest).skip(1);
    after_newest
        .chain(candidates(&rules))
        .find(|one| first_overlap(taken, *one).is_none())
        .ok_or_else(|| exhausted(spec, &rules, taken))
}

/// All subnets of the pools, in their order.
fn candidates(rules: &ClusterSpec) -> impl Iterator<Item = Subnet> + '_ {
    let prefix = rules.address_pool_prefix;
    rules
        .address_pools
        .iter()
        .flat_map(move |pool| (0..pool.parts(prefix)).filter_map(move |place| pool.part(prefix, place)))
}

/// How many subnets of the pools are in use or kept from it; none where there are no pools.
#[must_use]
pub fn usage(state: &State) -> Option<Usage> {
    let (rules, taken) = (state.cluster_spec(), all_taken(state));
    let (mut used, mut size) = (0, 0);
    for candidate in candidates(&rules) {
        size += 1;
        used += u64::from(first_overlap(&taken, candidate).is_some());
    }
    (size > 0).then_some(Usage { used, size })
}

fn exhausted(spec: &NetworkSpec, rules: &ClusterSpec, taken: &BTreeMap<Subnet, Taken>) -> SubnetError {
    let (mut size, mut networks, mut others) = (0, 0, 0);
    let mut example = None;
    for candidate in candidates(rules) {
        size += 1;
        match first_overlap(taken, candidate) {
            Some(Taken::Network { .. }) => networks += 1,
            Some(other) => {
                others += 1;
                example.get_or_insert(other);
            }
            None => {}
        }
    }
    let pools: Vec<String> = rules.address_pools.iter().map(ToString::to_string).collect();
    SubnetError::Exhausted {
        network: spec.name.clone(),
        prefix: rules.address_pool_prefix,
        pools: pools.join(", "),
        size,
        networks,
        routes: example.map_or_else(String::new, |example| {
            format!(", {others} overlap such as {example}")
        }),
    }
}

/// What no network may overlap, each range once. A host's way to everywhere keeps nothing from use.
fn all_taken(state: &State) -> BTreeMap<Subnet, Taken> {
    let overlay = state.cluster_spec().overlay_subnet;
    let mut taken = BTreeMap::from([(overlay, Taken::Overlay(overlay))]);
    for node in state.nodes() {
        let description = node.status.description.as_ref();
        let routes = description.map_or(&[][..], |description| &description.routes);
        for route in routes.iter().filter(|route| route.prefix() > 0) {
            taken.entry(*route).or_insert_with(|| Taken::Route {
                node: node.id,
                hostname: node.name().to_owned(),
                route: *route,
            });
        }
    }
    for network in state.networks() {
        if let Some(subnet) = network.subnet {
            let name = network.spec.name.clone();
            taken.insert(subnet, Taken::Network { name, subnet });
        }
    }
    taken
}

/// Networks first: what an operator can change most easily is named before what the hosts have.
fn first_overlap(taken: &BTreeMap<Subnet, Taken>, subnet: Subnet) -> Option<&Taken> {
    let overlapping = taken.iter().filter(|(other, _)| other.overlaps(subnet));
    overlapping
        .map(|(_, taken)| taken)
        .min_by_key(|taken| !matches!(taken, Taken::Network { .. }))
}

#[cfg(test)]
#[path = "subnet_test.rs"]
mod tests;
