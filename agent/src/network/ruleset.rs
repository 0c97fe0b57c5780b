//! Our table of nftables: its static chains, and all that changes as elements of sets and maps. Pure.
//! The whole table is written here as it is given to `nft`; nothing here runs it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use shoal_proto::id::{NetworkId, ServiceId};
use shoal_proto::service::{IngressPort, Prefer};

use super::chains;
use super::model::Memory;
use super::ours;
use super::side::{Family, Side};
use super::table::{Chain, Kind, Pool, Set};
pub use super::table::{Change, FoundChain, FoundRuleset, Ruleset};
use super::view::{self, EndpointState, Inside, Outside, Secrecy, View};

/// Blocks of the networks and of the overlay.
const SUBNETS: Kind = Kind::ranges("address");
/// What the tasks behind a bridge may call by address.
const OWN: Kind = Kind::ranges("ifname . address");
/// Bridges whose tasks reach nothing outside of their network.
const CLOSED: Kind = Kind::set("ifname");
/// This node's addresses on its bridges.
const GATEWAYS: Kind = Kind::set("ifname . address");
/// Addresses of tasks that open no connection from there.
const ANSWERING: Kind = Kind::set("address");
/// Addresses of the other nodes' hosts.
const PEERS: Kind = Kind::set("address");
/// From a node's link address to its mark.
const ENTRIES: Kind = Kind::map("ether_addr", "mark");
/// What virtual IPs are for.
const TRANSPORTS: Kind = Kind::set("inet_proto");
/// All virtual IPs.
const VIRTUAL: Kind = Kind::set("address");
/// Virtual IPs with ready tasks.
const BALANCED: Kind = Kind::map("address", "verdict");
/// Tasks of this node as pairs of the same address: who calls its own service and is chosen itself.
const SELVES: Kind = Kind::set("address . address");
/// Ports of the mesh on all addresses: all of them, and those with ready tasks.
const CLAIMED: Kind = Kind::set("inet_proto . inet_service");
const OPEN: Kind = Kind::map("inet_proto . inet_service", "verdict");
/// The same on one address.
const CLAIMED_AT: Kind = Kind::set("address . inet_proto . inet_service");
const OPEN_AT: Kind = Kind::map("address . inet_proto . inet_service", "verdict");

/// Bridges with what they hold for containers started by hand.
const BY_HAND: Kind = Kind::ranges("ifname . address");
/// Whom such a container asks for names when it was not told otherwise.
const RESOLVERS: Kind = Kind::set("address");

/// The table of one family as it should be on a node with this view.
#[must_use]
pub fn of(view: &View, side: Side) -> Ruleset {
    let pools = pools(view, side);
    let family = side.family();
    let mut ruleset = Ruleset {
        family,
        chains: chains::fixed(view, side),
        sets: sets(view, side),
        pools: BTreeMap::new(),
        memories: BTreeSet::new(),
    };
    for (service, network, address) in virtual_ips(view) {
        let Some(members) = pools.get(&(service, network)) else {
            continue;
        };
        let name = pool_name(service, network);
        let chain = name.replacen("pool", "vip", 1);
        let element = (side.address(address).to_string(), Some(goto(&chain)));
        ruleset.element("balanced", BALANCED, element);
        let rule = spread(family, (&name, members.len()), ("@transports", ""));
        ruleset.chains.insert(chain, rule);
        ruleset.pools.insert(name, Pool(members.clone()));
    }
    let published = published(view, side);
    for (service, port) in mesh(view, family) {
        let Some(ready) = published.get(&service) else {
            continue;
        };
        // `nft` takes no name that begins with a digit.
        let (name, members) = match port.prefer {
            Some(Prefer::Local) if !ready.near.is_empty() => (format!("near-{service}"), &ready.near),
            _ => (format!("mesh-{service}"), &ready.all),
        };
        let (set, kind) = bound_to(port).map_or(("open", OPEN), |_| ("open_at", OPEN_AT));
        let chain = format!("port-{}", key(port).replace(" . ", "-").replace(':', "_"));
        ruleset.element(set, kind, (key(port), Some(goto(&chain))));
        let to = format!(" : {}", port.container_port);
        let protocol = port.protocol.to_string();
        let rule = spread(family, (&name, members.len()), (&protocol, &to));
        ruleset.chains.insert(chain, rule);
        ruleset.pools.insert(name, Pool(members.clone()));
    }
    ruleset
}

fn virtual_ips(view: &View) -> impl Iterator<Item = (ServiceId, NetworkId, Ipv4Addr)> {
    view.services.iter().flat_map(|(id, service)| {
        let addresses = service.addresses.iter();
        addresses.map(|(network, address)| (*id, *network, *address))
    })
}

/// Ports that this node answers on with addresses of that family.
pub(super) fn mesh(view: &View, family: Family) -> impl Iterator<Item = (ServiceId, &IngressPort)> {
    let ports = view
        .services
        .iter()
        .flat_map(|(id, service)| service.ports.iter().map(move |port| (*id, port)));
    let answers = move |at: IpAddr| Family::of(at) == family;
    ports.filter(move |(_, port)| port.published_port != 0 && port.host_ip.is_none_or(answers))
}

/// The one address that a port is bound to; none when it answers on all of its family.
fn bound_to(port: &IngressPort) -> Option<IpAddr> {
    port.host_ip.filter(|at| !at.is_unspecified())
}

impl Ruleset {
    /// The same, with names for containers that were started by hand and ask this resolver.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Option<Ipv4Addr>) -> Self {
        if let Some(address) = resolver {
            self.element("resolvers", RESOLVERS, (address.to_string(), None));
        }
        self
    }
}

impl Ruleset {
    /// The same; connections to tasks that are over are forgotten soon where the kernel can be told so.
    ///
    /// The Engine lists what is remembered of a container that ends, and has it forgotten some time later. A client that
    /// has used the port of such a connection again meanwhile would lose its new one.
    #[must_use]
    pub fn with_memory(mut self, memory: Memory) -> Self {
        if memory == Memory::Settable {
            self.memories.insert(ours::BRIEF.to_owned());
            if let Some(leave) = self.chains.get_mut("leave") {
                leave.rules.insert(0, chains::forget_soon(self.family));
            }
        }
        self
    }
}

type Members = BTreeMap<(ServiceId, NetworkId), BTreeSet<IpAddr>>;

/// Who gets the new connections of a service on a network; services without ready tasks are left out.
fn pools(view: &View, side: Side) -> Members {
    let mut pools = Members::new();
    let ready = view.endpoints.values();
    for end in ready.filter(|end| end.state == EndpointState::Ready) {
        for (network, address) in &end.addresses {
            let members = pools.entry((end.service, *network)).or_default();
            members.insert(side.address(*address));
        }
    }
    pools
}

/// Who may get the new connections of a service's published ports.
#[derive(Default)]
struct Ready {
    all: BTreeSet<IpAddr>,
    /// Those on this node.
    near: BTreeSet<IpAddr>,
}

/// Each ready task on the network with its own way out, which an update may change.
fn published(view: &View, side: Side) -> BTreeMap<ServiceId, Ready> {
    let mut published = BTreeMap::<ServiceId, Ready>::new();
    let ready = view.endpoints.values();
    for end in ready.filter(|end| end.state == EndpointState::Ready) {
        if let Some(address) = end.mesh.and_then(|mesh| end.addresses.get(&mesh)) {
            let ready = published.entry(end.service).or_default();
            ready.all.insert(side.address(*address));
            if end.node == view.node {
                ready.near.insert(side.address(*address));
            }
        }
    }
    published
}

fn pool_name(service: ServiceId, network: NetworkId) -> String {
    // `nft` takes no name that begins with a digit.
    format!("pool-{service}-{network}")
}

fn goto(chain: &str) -> String {
    format!("goto {chain}")
}

/// One rule: new connections of these protocols go to any of the members, there to a port of theirs where one is said.
/// The number of members is all of it that changes.
///
/// The protocols are a set with a name: the kernel searches all sets of a table for a name for each that has none.
fn spread(family: Family, (pool, members): (&str, usize), (protocols, port): (&str, &str)) -> Chain {
    let to = format!("numgen random mod {members} map @{pool}{port}");
    Chain::plain([format!("meta l4proto {protocols} dnat {} to {to}", family.word())])
}

fn key(port: &IngressPort) -> String {
    let key = format!("{} . {}", port.protocol, port.published_port);
    bound_to(port).map_or(key.clone(), |address| format!("{address} . {key}"))
}

/// Sets whose elements are the view itself; those of ready services are added by `of`.
fn sets(view: &View, side: Side) -> BTreeMap<String, Set> {
    let text = |address: Ipv4Addr| (side.address(address).to_string(), None);
    let subnets = view.networks.values().map(|network| network.subnet);
    let subnets = subnets.chain([view.overlay.subnet]);
    let sealed = view.networks.values();
    let sealed = sealed.filter(|network| network.secrecy == Secrecy::Encrypted);
    let sealed = sealed.map(|network| (side.block(network.subnet).to_string(), None));
    let entries = view.others().map(|peer| {
        let mark = ours::mark(peer.number).to_string();
        (ours::mac_text(peer.number.mac()), Some(mark))
    });
    let transports = ["tcp", "udp", "sctp"];
    let selves = view::own(view).flat_map(|(_, end)| end.addresses.values());
    let selves = selves.map(|address| {
        let address = side.address(*address);
        (format!("{address} . {address}"), None)
    });
    let hosts: BTreeSet<IpAddr> = match side {
        Side::V4 => view.others().map(|peer| peer.host.into()).collect(),
        Side::V6(_) => {
            let own = view.others().flat_map(|peer| peer.ipv6.iter().flatten());
            own.map(|address| (*address).into()).collect()
        }
    };
    let peers = hosts.iter().map(|host| (host.to_string(), None));
    let claimed = |bound: bool| {
        let ports = mesh(view, side.family()).map(|(_, port)| port);
        let ports = ports.filter(move |port| bound_to(port).is_some() == bound);
        ports.map(|port| (key(port), None))
    };
    let sets = [
        (
            "subnets",
            Set::of(
                SUBNETS,
                subnets.map(|subnet| (side.block(subnet).to_string(), None)),
            ),
        ),
        ("sealed", Set::of(SUBNETS, sealed)),
        ("resolvers", Set::of(RESOLVERS, [])),
        ("answering", Set::of(ANSWERING, answering(view).map(text))),
        ("peers", Set::of(PEERS, peers)),
        ("entries", Set::of(ENTRIES, entries)),
        (
            "transports",
            Set::of(TRANSPORTS, transports.map(|name| (name.to_owned(), None))),
        ),
        (
            "virtual",
            Set::of(VIRTUAL, virtual_ips(view).map(|(_, _, address)| text(address))),
        ),
        ("balanced", Set::of(BALANCED, [])),
        ("selves", Set::of(SELVES, selves)),
        ("claimed", Set::of(CLAIMED, claimed(false))),
        ("claimed_at", Set::of(CLAIMED_AT, claimed(true))),
        ("open", Set::of(OPEN, [])),
        ("open_at", Set::of(OPEN_AT, [])),
    ];
    let sets = sets.into_iter().chain(of_bridges(view, side));
    sets.map(|(name, set)| (name.to_owned(), set)).collect()
}

/// Those about our bridges.
fn of_bridges(view: &View, side: Side) -> [(&'static str, Set); 4] {
    let own = view.networks.iter();
    let own = own.filter(|(_, network)| network.inside == Inside::Together);
    let own = own.map(|(id, network)| {
        let block = side.block(network.subnet);
        (format!("{} . {block}", ours::bridge(*id)), None)
    });
    let closed = view.networks.iter();
    let closed = closed.filter(|(_, network)| network.outside == Outside::Closed);
    let gateways = view::carried(view).filter_map(|(id, network)| {
        let gateway = side.address(network.blocks.get(&view.node)?.first());
        Some((format!("{} . {gateway}", ours::bridge(id)), None))
    });
    let joined = view::carried(view).filter(|(_, network)| network.attachable);
    let by_hand = joined.filter_map(|(id, network)| {
        let block = side.block(*network.blocks.get(&view.node)?);
        Some((format!("{} . {block}", ours::bridge(id)), None))
    });
    [
        ("own", Set::of(OWN, own)),
        (
            "closed",
            Set::of(CLOSED, closed.map(|(id, _)| (ours::bridge(*id), None))),
        ),
        ("gateways", Set::of(GATEWAYS, gateways)),
        ("by_hand", Set::of(BY_HAND, by_hand)),
    ]
}

/// Tasks of this node that are on a network of lone tasks beside networks of their own: only published ports lead there.
fn answering(view: &View) -> impl Iterator<Item = Ipv4Addr> {
    let beside = view::own(view).filter(|(_, end)| end.addresses.len() > 1);
    let addresses = beside.flat_map(|(_, end)| &end.addresses);
    let apart = addresses.filter(|(id, _)| {
        let network = view.networks.get(*id);
        network.is_some_and(|network| network.inside == Inside::Apart)
    });
    apart.map(|(_, address)| *address)
}

#[cfg(test)]
#[path = "ruleset_test.rs"]
mod tests;
