//! Our table of nftables: its static chains, and all that changes as elements of sets and maps. Pure.
//! The whole table is written here as it is given to `nft`; nothing here runs it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use shoal_proto::id::{NetworkId, ServiceId};
use shoal_proto::service::{IngressPort, Prefer};

use super::chains;
use super::model::Memory;
use super::ours;
use super::table::{Chain, Kind, Pool, Set};
pub use super::table::{Change, FoundChain, FoundRuleset, Ruleset};
use super::view::{self, EndpointState, Inside, Outside, Secrecy, View};

/// Blocks of the networks and of the overlay.
const SUBNETS: Kind = Kind::ranges("ipv4_addr");
/// What the tasks behind a bridge may call by address.
const OWN: Kind = Kind::ranges("ifname . ipv4_addr");
/// Bridges whose tasks reach nothing outside of their network.
const CLOSED: Kind = Kind::set("ifname");
/// This node's addresses on its bridges.
const GATEWAYS: Kind = Kind::set("ifname . ipv4_addr");
/// Addresses of tasks that open no connection from there.
const ANSWERING: Kind = Kind::set("ipv4_addr");
/// Hosts that tunnel to us.
const PEERS: Kind = Kind::set("ipv4_addr");
/// From a node's link address to its mark.
const ENTRIES: Kind = Kind::map("ether_addr", "mark");
/// What virtual IPs are for.
const TRANSPORTS: Kind = Kind::set("inet_proto");
/// All virtual IPs.
const VIRTUAL: Kind = Kind::set("ipv4_addr");
/// Virtual IPs with ready tasks.
const BALANCED: Kind = Kind::map("ipv4_addr", "verdict");
/// Tasks of this node as pairs of the same address: who calls its own service and is chosen itself.
const SELVES: Kind = Kind::set("ipv4_addr . ipv4_addr");
/// Ports of the mesh on all addresses: all of them, and those with ready tasks.
const CLAIMED: Kind = Kind::set("inet_proto . inet_service");
const OPEN: Kind = Kind::map("inet_proto . inet_service", "verdict");
/// The same on one address.
const CLAIMED_AT: Kind = Kind::set("ipv4_addr . inet_proto . inet_service");
const OPEN_AT: Kind = Kind::map("ipv4_addr . inet_proto . inet_service", "verdict");

/// Bridges with what they hold for containers started by hand.
const BY_HAND: Kind = Kind::ranges("ifname . ipv4_addr");
/// Whom such a container asks for names when it was not told otherwise.
const RESOLVERS: Kind = Kind::set("ipv4_addr");

/// The table as it should be on a node with this view.
#[must_use]
pub fn of(view: &View) -> Ruleset {
    let pools = pools(view);
    let mut ruleset = Ruleset {
        chains: chains::fixed(view),
        sets: sets(view),
        pools: BTreeMap::new(),
        memories: BTreeSet::new(),
    };
    for (service, network, address) in virtual_ips(view) {
        let Some(members) = pools.get(&(service, network)) else {
            continue;
        };
        let name = pool_name(service, network);
        let chain = name.replacen("pool", "vip", 1);
        ruleset.element("balanced", BALANCED, (address.to_string(), Some(goto(&chain))));
        ruleset
            .chains
            .insert(chain, spread(&name, members.len(), ("@transports", "")));
        ruleset.pools.insert(name, Pool(members.clone()));
    }
    let published = published(view);
    for (service, port) in mesh(view) {
        let Some(ready) = published.get(&service) else {
            continue;
        };
        // `nft` takes no name that begins with a digit.
        let (name, members) = match port.prefer {
            Some(Prefer::Local) if !ready.near.is_empty() => (format!("near-{service}"), &ready.near),
            _ => (format!("mesh-{service}"), &ready.all),
        };
        let (set, kind) = port.host_ip.map_or(("open", OPEN), |_| ("open_at", OPEN_AT));
        let chain = format!("port-{}", key(port).replace(" . ", "-"));
        ruleset.element(set, kind, (key(port), Some(goto(&chain))));
        let to = format!(" : {}", port.container_port);
        let protocol = port.protocol.to_string();
        ruleset
            .chains
            .insert(chain, spread(&name, members.len(), (&protocol, &to)));
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

/// Ports that this node answers on. Ports of an IPv6 address are none of them.
pub(super) fn mesh(view: &View) -> impl Iterator<Item = (ServiceId, &IngressPort)> {
    let ports = view
        .services
        .iter()
        .flat_map(|(id, service)| service.ports.iter().map(move |port| (*id, port)));
    ports.filter(|(_, port)| port.published_port != 0 && !port.host_ip.is_some_and(|at| at.is_ipv6()))
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
                leave.rules.insert(0, chains::forget_soon());
            }
        }
        self
    }
}

type Members = BTreeMap<(ServiceId, NetworkId), BTreeSet<Ipv4Addr>>;

/// Who gets the new connections of a service on a network; services without ready tasks are left out.
fn pools(view: &View) -> Members {
    let mut pools = Members::new();
    let ready = view.endpoints.values();
    for end in ready.filter(|end| end.state == EndpointState::Ready) {
        for (network, address) in &end.addresses {
            pools.entry((end.service, *network)).or_default().insert(*address);
        }
    }
    pools
}

/// Who may get the new connections of a service's published ports.
#[derive(Default)]
struct Ready {
    all: BTreeSet<Ipv4Addr>,
    /// Those on this node.
    near: BTreeSet<Ipv4Addr>,
}

/// Each ready task on the network with its own way out, which an update may change.
fn published(view: &View) -> BTreeMap<ServiceId, Ready> {
    let mut published = BTreeMap::<ServiceId, Ready>::new();
    let ready = view.endpoints.values();
    for end in ready.filter(|end| end.state == EndpointState::Ready) {
        if let Some(address) = end.mesh.and_then(|mesh| end.addresses.get(&mesh)) {
            let ready = published.entry(end.service).or_default();
            ready.all.insert(*address);
            if end.node == view.node {
                ready.near.insert(*address);
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
fn spread(pool: &str, members: usize, (protocols, port): (&str, &str)) -> Chain {
    let to = format!("numgen random mod {members} map @{pool}{port}");
    Chain::plain([format!("meta l4proto {protocols} dnat ip to {to}")])
}

fn key(port: &IngressPort) -> String {
    let key = format!("{} . {}", port.protocol, port.published_port);
    port.host_ip
        .map_or(key.clone(), |address| format!("{address} . {key}"))
}

/// Sets whose elements are the view itself; those of ready services are added by `of`.
fn sets(view: &View) -> BTreeMap<String, Set> {
    let text = |address: Ipv4Addr| (address.to_string(), None);
    let subnets = view.networks.values().map(|network| network.subnet);
    let subnets = subnets.chain([view.overlay.subnet]);
    let sealed = view.networks.values();
    let sealed = sealed.filter(|network| network.secrecy == Secrecy::Encrypted);
    let sealed = sealed.map(|network| (network.subnet.to_string(), None));
    let own = view.networks.iter();
    let own = own.filter(|(_, network)| network.inside == Inside::Together);
    let own = own.map(|(id, network)| (format!("{} . {}", ours::bridge(*id), network.subnet), None));
    let closed = view.networks.iter();
    let closed = closed.filter(|(_, network)| network.outside == Outside::Closed);
    let gateways = view::carried(view).filter_map(|(id, network)| {
        let gateway = network.blocks.get(&view.node)?.first();
        Some((format!("{} . {gateway}", ours::bridge(id)), None))
    });
    let joined = view::carried(view).filter(|(_, network)| network.attachable);
    let by_hand = joined.filter_map(|(id, network)| {
        let block = network.blocks.get(&view.node)?;
        Some((format!("{} . {block}", ours::bridge(id)), None))
    });
    let entries = view.others().map(|peer| {
        let mark = ours::mark(peer.number).to_string();
        (ours::mac_text(peer.number.mac()), Some(mark))
    });
    let transports = ["tcp", "udp", "sctp"];
    let selves = view::own(view).flat_map(|(_, end)| end.addresses.values());
    let selves = selves.map(|address| (format!("{address} . {address}"), None));
    let claimed = |bound: bool| {
        let ports = mesh(view).map(|(_, port)| port);
        let ports = ports.filter(move |port| port.host_ip.is_some() == bound);
        ports.map(|port| (key(port), None))
    };
    let sets = [
        (
            "subnets",
            Set::of(SUBNETS, subnets.map(|block| (block.to_string(), None))),
        ),
        ("sealed", Set::of(SUBNETS, sealed)),
        ("own", Set::of(OWN, own)),
        (
            "closed",
            Set::of(CLOSED, closed.map(|(id, _)| (ours::bridge(*id), None))),
        ),
        ("gateways", Set::of(GATEWAYS, gateways)),
        ("by_hand", Set::of(BY_HAND, by_hand)),
        ("resolvers", Set::of(RESOLVERS, [])),
        ("answering", Set::of(ANSWERING, answering(view).map(text))),
        ("peers", Set::of(PEERS, view.others().map(|peer| text(peer.host)))),
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
    sets.into_iter()
        .map(|(name, set)| (name.to_owned(), set))
        .collect()
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
