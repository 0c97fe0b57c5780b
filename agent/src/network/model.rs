//! The network of a node as values: as it should be, as it is, and the steps between. Nothing here decides or acts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ours;
use super::ruleset::{Change, FoundRuleset, Ruleset};
use super::side::{Block, Family};

/// Address of a device on a link.
pub type Mac = [u8; 6];

/// One of the two tunnels between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Packets are on the wire as they are.
    Open,
    /// They are inside of WireGuard.
    Sealed,
}

impl Lane {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Open, Self::Sealed];

    /// Name of its device.
    #[must_use]
    pub const fn device(self) -> &'static str {
        match self {
            Self::Open => ours::DEVICE,
            Self::Sealed => ours::SEALED_DEVICE,
        }
    }
}

/// A tunnel's device and what lies on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End<D> {
    /// The device, if there is one.
    pub device: Option<D>,
    /// Addresses on it.
    pub addresses: BTreeSet<Interface>,
    /// Link addresses of the nodes' addresses, permanent.
    pub neighbours: BTreeMap<IpAddr, Mac>,
    /// Hosts behind link addresses.
    pub forwarding: BTreeMap<Mac, Ipv4Addr>,
}

impl<D> Default for End<D> {
    fn default() -> Self {
        Self {
            device: None,
            addresses: BTreeSet::new(),
            neighbours: BTreeMap::new(),
            forwarding: BTreeMap::new(),
        }
    }
}

/// Everything of ours as it should be: no device and no table on a node that is in no cluster.
pub type Desired = Holding<(), Device, Ruleset>;

/// Everything of ours as it is: the device and the table of our names.
pub type Found = Holding<Local, FoundDevice, FoundRuleset>;

/// What a kernel holds of ours, or should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding<L, D, R> {
    /// What the node itself brings; nobody asks for that.
    pub local: L,
    /// The open tunnel.
    pub open: End<D>,
    /// The sealed one: without a device where nothing is encrypted, or cannot be.
    pub sealed: End<D>,
    /// Routes with our protocol number.
    pub routes: BTreeSet<Route>,
    /// Rules of policy routing with our protocol number and one of our preferences.
    pub rules: BTreeSet<Rule>,
    /// Settings of the kernel that matter to us: path below `/proc/sys`, value.
    pub sysctls: BTreeMap<String, String>,
    /// Ports of our bridges.
    pub ports: BTreeMap<String, Port>,
    /// Addresses that the node answers for on its bridges. (In IPv4 it does so for whatever it has a route to.)
    pub proxies: BTreeSet<Proxy>,
    /// Bridges from which the node can ask for tasks in IPv6.
    pub asking: BTreeSet<String>,
    /// Our tables of nftables.
    pub rulesets: BTreeMap<Family, R>,
}

impl<L: Default, D, R> Default for Holding<L, D, R> {
    fn default() -> Self {
        Self {
            local: L::default(),
            open: End::default(),
            sealed: End::default(),
            routes: BTreeSet::new(),
            rules: BTreeSet::new(),
            sysctls: BTreeMap::new(),
            ports: BTreeMap::new(),
            proxies: BTreeSet::new(),
            asking: BTreeSet::new(),
            rulesets: BTreeMap::new(),
        }
    }
}

impl<L, D, R> Holding<L, D, R> {
    /// One of the tunnels.
    #[must_use]
    pub const fn end(&self, lane: Lane) -> &End<D> {
        match lane {
            Lane::Open => &self.open,
            Lane::Sealed => &self.sealed,
        }
    }

    /// The same, to be changed.
    pub const fn end_mut(&mut self, lane: Lane) -> &mut End<D> {
        match lane {
            Lane::Open => &mut self.open,
            Lane::Sealed => &mut self.sealed,
        }
    }
}

/// What the node brings, made by others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Local {
    /// Bridges with a name of ours, and their ports.
    pub bridges: BTreeMap<String, BTreeSet<String>>,
    /// Largest packet on the device that holds this node's host address, in bytes; 0 when no device holds it.
    pub underlay_mtu: u32,
    /// Index of the WireGuard device, while that is up: `seal` makes it.
    pub wireguard: Option<u32>,
    /// What bridges do with IP packets between their ports.
    pub bridging: Bridging,
    /// The resolver of names that the Engine gives first to containers which say nothing themselves.
    pub resolver: Option<Ipv4Addr>,
    /// How long connections that are over are remembered.
    pub memory: Memory,
    /// Devices that would no more take a way out from the routers on their link, once the node passes IPv6 packets on.
    pub deaf: BTreeSet<String>,
}

/// How long the kernel remembers connections that are over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Memory {
    /// As the host's settings say: two minutes.
    #[default]
    Fixed,
    /// As the ruleset says.
    Settable,
}

/// What all bridges of a host do with IP packets between their ports: a setting that Kubernetes, Docker and others rely
/// on, which is why we follow it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Bridging {
    /// They pass them on past the IP layer.
    #[default]
    Plain,
    /// They show them to the ruleset (`bridge-nf-call-iptables`).
    Filtered,
}

/// How a port of a bridge is set, so that each packet of a task meets the ruleset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// It reaches no other such port: what its task sends takes the IP layer. Right on a bridge that is `Plain`.
    Isolated,
    /// It reaches all ports, itself as well. Right on a bridge that is `Filtered`, which sends a packet whose address it
    /// has changed straight to the port.
    Hairpin,
    /// Otherwise.
    Other,
}

/// An address of a device, and the block that it reaches without a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface {
    /// The address.
    pub address: IpAddr,
    /// Leading bits that the block shares.
    pub length: u8,
}

/// The tunnel's device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// What cannot change while it exists.
    pub tunnel: Tunnel,
    /// Largest packet inside of it, in bytes.
    pub mtu: u32,
}

/// What a tunnel is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunnel {
    /// VXLAN network identifier.
    pub identifier: u32,
    /// UDP port.
    pub port: u16,
    /// Address of this host.
    pub local: Ipv4Addr,
    /// Its own link address.
    pub address: Mac,
    /// Index of the device that it runs over; none: whatever leads to the other host.
    pub over: Option<u32>,
}

/// The device of our name as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundDevice {
    /// None when it is no tunnel of our kind.
    pub tunnel: Option<Tunnel>,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Whether it is up.
    pub up: Up,
}

/// Whether a device is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Up {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// How ports must be set on bridges that do so.
#[must_use]
pub fn right_port(bridging: Bridging) -> Port {
    match bridging {
        Bridging::Plain => Port::Isolated,
        Bridging::Filtered => Port::Hairpin,
    }
}

/// A route through the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Through which tunnel.
    pub lane: Lane,
    /// Routing table.
    pub table: u32,
    /// Where to.
    pub to: Block,
    /// How.
    pub way: Way,
}

/// What becomes of a routed packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// It goes to the node with this overlay address.
    Via(IpAddr),
    /// It is for this node, which calls from that source address there.
    Here {
        /// The source.
        source: IpAddr,
    },
}

/// An address that the node answers for on a bridge: whoever asks for it there sends to the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Proxy {
    /// Name of the bridge.
    pub bridge: String,
    /// The address.
    pub address: Ipv6Addr,
}

/// A rule of policy routing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Of which packets.
    pub family: Family,
    /// Its place.
    pub preference: u32,
    /// Only for packets from this device.
    pub from: Option<String>,
    /// Only for packets with this mark in the bits of `ours::MARK_MASK`.
    pub mark: Option<u32>,
    /// What it does.
    pub step: RuleStep,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleStep {
    /// Looks into a table.
    Table(u32),
    /// Goes on with the rule of that preference.
    Goto(u32),
    /// Nothing.
    Nothing,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Removes the device of a tunnel's name, and with it what lies on it.
    RemoveDevice(Lane),
    /// Makes a tunnel, down.
    MakeDevice(Lane, Device),
    /// Sets a tunnel's largest packet.
    SetMtu(Lane, u32),
    /// Brings a tunnel up.
    RaiseDevice(Lane),
    /// Gives a tunnel an address.
    AddAddress(Lane, Interface),
    /// Takes one away.
    RemoveAddress(Lane, Interface),
    /// Adds or replaces a permanent neighbour.
    SetNeighbour(Lane, IpAddr, Mac),
    /// Removes one.
    RemoveNeighbour(Lane, IpAddr),
    /// Adds a forwarding entry.
    AddForwarding(Lane, Mac, Ipv4Addr),
    /// Removes one.
    RemoveForwarding(Lane, Mac, Ipv4Addr),
    /// Adds a route; fails where somebody else has one to the same place.
    AddRoute(Route),
    /// Removes one.
    RemoveRoute(Route),
    /// Adds a rule.
    AddRule(Rule),
    /// Removes one.
    RemoveRule(Rule),
    /// Writes a setting: path below `/proc/sys`, value.
    SetSysctl(String, String),
    /// Sets a port of a bridge.
    SetPort(String, Port),
    /// Gives a bridge the address from which the node asks for tasks in IPv6.
    AddAsking(String),
    /// Takes it away.
    RemoveAsking(String),
    /// From now on the node answers for an address.
    AddProxy(Proxy),
    /// It does so no more.
    RemoveProxy(Proxy),
    /// Changes our table of a family, all of it or nothing.
    Ruleset(Family, Vec<Change>),
}
