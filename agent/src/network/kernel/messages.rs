//! Our steps as netlink messages, and back: values only, nothing is sent from here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use crate::network::model::{Interface, Lane, Mac, Route, Rule, RuleStep, Way};
use crate::network::ours::{self, MARK_MASK, ROUTE_PROTOCOL};
use crate::network::side::Family;

/// Indexes of the tunnels' devices, as far as they are there.
pub(super) type Devices = BTreeMap<Lane, u32>;

/// The tunnel whose device has that index.
pub(super) fn lane_of(devices: &Devices, index: u32) -> Option<Lane> {
    let mut devices = devices.iter();
    devices.find_map(|(lane, device)| (*device == index).then_some(*lane))
}

/// As netlink calls a family.
pub(super) const fn family(of: Family) -> AddressFamily {
    match of {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

fn read_family(of: AddressFamily) -> Option<Family> {
    Family::ALL.into_iter().find(|family| self::family(*family) == of)
}

/// An address of the device with that index.
pub(super) fn address(device: u32, interface: Interface) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(Family::of(interface.address));
    if interface.address.is_ipv6() {
        // The cluster gave it to nobody else; it is there at once.
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    message.header.prefix_len = interface.length;
    message.header.index = device;
    let address = interface.address;
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
    ];
    message
}

/// The address from which the node asks for tasks on a bridge.
pub(super) fn asking() -> Interface {
    Interface {
        address: ours::ASKING.into(),
        length: 64,
    }
}

/// Whether a message is about that address, which is in use already.
pub(super) fn is_asking(message: &AddressMessage) -> bool {
    let tentative = message.header.flags.contains(AddressHeaderFlags::Tentative);
    let address = AddressAttribute::Address(ours::ASKING.into());
    !tentative && message.attributes.contains(&address)
}

/// The device and the address of a message; none when the kernel made it for itself (link-local).
pub(super) fn read_address(message: &AddressMessage) -> Option<(u32, Interface)> {
    let one = |local| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) if local => Some(*address),
            AddressAttribute::Address(address) if !local => Some(*address),
            _ => None,
        })
    };
    // In IPv6 the one is told only where it differs from the other.
    let address = one(true).or_else(|| one(false))?;
    if matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()) {
        return None;
    }
    let interface = Interface {
        address,
        length: message.header.prefix_len,
    };
    Some((message.header.index, interface))
}

/// A permanent neighbour; without a link address to name one that is to go.
pub(super) fn neighbour(device: u32, address: IpAddr, link: Option<Mac>) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(Family::of(address));
    message.header.ifindex = device;
    message.header.state = NeighbourState::Permanent;
    let address = NeighbourAttribute::Destination(neighbour_at(address));
    message.attributes.push(address);
    let link = link.map(|link| NeighbourAttribute::LinkLayerAddress(link.to_vec()));
    message.attributes.extend(link);
    message
}

fn neighbour_at(address: IpAddr) -> NeighbourAddress {
    match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    }
}

/// An address that the node answers for on the bridge with that index.
pub(super) fn proxy(bridge: u32, address: Ipv6Addr) -> NeighbourMessage {
    let mut message = neighbour(bridge, address.into(), None);
    message.header.flags = NeighbourFlags::Proxy;
    message
}

/// All addresses that the node answers for, as a question.
pub(super) fn proxies() -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.flags = NeighbourFlags::Proxy;
    message
}

/// Device and address of such an entry.
pub(super) fn read_proxy(message: &NeighbourMessage) -> Option<(u32, Ipv6Addr)> {
    let proxy = message.header.flags.contains(NeighbourFlags::Proxy);
    match neighbour_address(message)? {
        IpAddr::V6(address) if proxy => Some((message.header.ifindex, address)),
        _ => None,
    }
}

/// A forwarding entry of the tunnel.
pub(super) fn forwarding(device: u32, link: Mac, host: Ipv4Addr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = device;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    message.attributes = vec![
        NeighbourAttribute::LinkLayerAddress(link.to_vec()),
        NeighbourAttribute::Destination(NeighbourAddress::Inet(host)),
    ];
    message
}

/// Device, address and link address of a permanent neighbour or of any forwarding entry.
pub(super) fn read_neighbour(message: &NeighbourMessage) -> Option<(u32, IpAddr, Mac)> {
    let learnt = message.header.state != NeighbourState::Permanent;
    if message.header.family != AddressFamily::Bridge && learnt {
        return None;
    }
    let link = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    });
    Some((message.header.ifindex, neighbour_address(message)?, link?))
}

/// The address of a neighbour, or the host of a forwarding entry.
pub(super) fn neighbour_address(message: &NeighbourMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some((*address).into()),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some((*address).into()),
        // So the crate gives the destination of a forwarding entry.
        NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => {
            let bytes: [u8; 4] = bytes.as_slice().try_into().ok()?;
            Some(Ipv4Addr::from(bytes).into())
        }
        _ => None,
    })
}

/// A route through the device with that index.
pub(super) fn route(device: u32, route: Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(Family::of(route.to.first));
    message.header.destination_prefix_length = route.to.length;
    message.header.protocol = RouteProtocol::from(ROUTE_PROTOCOL);
    // Numbers above 255 are in the attribute only.
    message.header.table = u8::try_from(route.table).unwrap_or_default();
    let inet = |address| match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    };
    message.attributes = vec![
        RouteAttribute::Table(route.table),
        RouteAttribute::Destination(inet(route.to.first)),
        RouteAttribute::Oif(device),
    ];
    match route.way {
        Way::Via(gateway) => {
            message.header.kind = RouteType::Unicast;
            message.header.scope = RouteScope::Universe;
            if route.lane == Lane::Sealed {
                // Its addresses lie behind the WireGuard device.
                message.header.flags = RouteFlags::Onlink;
            }
            message.attributes.push(RouteAttribute::Gateway(inet(gateway)));
        }
        Way::Here { source } => {
            message.header.kind = RouteType::Local;
            message.header.scope = RouteScope::Host;
            message.attributes.push(RouteAttribute::PrefSource(inet(source)));
        }
    }
    message
}

/// A route of ours through one of these devices; none when somebody else made it.
pub(super) fn read_route(devices: &Devices, message: &RouteMessage) -> Option<Route> {
    if u8::from(message.header.protocol) != ROUTE_PROTOCOL {
        return None;
    }
    let mut table = u32::from(message.header.table);
    let family = read_family(message.header.address_family)?;
    let mut to = family.everywhere();
    to.length = message.header.destination_prefix_length;
    let inet = |address: &RouteAddress| match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    };
    let (mut gateway, mut source, mut lane) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Destination(address) => to.first = inet(address)?,
            RouteAttribute::Gateway(address) => gateway = inet(address),
            RouteAttribute::Oif(index) => lane = lane_of(devices, *index),
            RouteAttribute::PrefSource(address) => source = inet(address),
            _ => {}
        }
    }
    let way = match message.header.kind {
        // The kernel forgets the source when its address goes, and keeps the route.
        RouteType::Local => Way::Here {
            source: source.unwrap_or(family.everywhere().first),
        },
        _ => Way::Via(gateway?),
    };
    let lane = lane?;
    Some(Route { lane, table, to, way })
}

/// The device of a route that a router on its link has told.
pub(super) fn told_by_router(message: &RouteMessage) -> Option<u32> {
    let oif = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    };
    let told = message.header.protocol == RouteProtocol::Ra;
    told.then(|| message.attributes.iter().find_map(oif)).flatten()
}

/// A rule of policy routing.
pub(super) fn rule(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family(rule.family);
    message.attributes = vec![
        RuleAttribute::Priority(rule.preference),
        RuleAttribute::Protocol(RouteProtocol::from(ROUTE_PROTOCOL)),
    ];
    if let Some(mark) = rule.mark {
        let mark = [RuleAttribute::FwMark(mark), RuleAttribute::FwMask(MARK_MASK)];
        message.attributes.extend(mark);
    }
    let from = rule.from.clone().map(RuleAttribute::Iifname);
    message.attributes.extend(from);
    match rule.step {
        RuleStep::Table(table) => {
            message.header.action = RuleAction::ToTable;
            message.attributes.push(RuleAttribute::Table(table));
        }
        RuleStep::Goto(preference) => {
            message.header.action = RuleAction::Goto;
            message.attributes.push(RuleAttribute::Goto(preference));
        }
        RuleStep::Nothing => message.header.action = RuleAction::Nop,
    }
    message
}

/// A rule of ours; none when somebody else made it.
pub(super) fn read_rule(message: &RuleMessage) -> Option<Rule> {
    let (mut preference, mut from, mut protocol) = (0, None, 0);
    let (mut mark, mut mask, mut table, mut next) = (0, None, 0, 0);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(number) => preference = *number,
            RuleAttribute::Protocol(number) => protocol = u8::from(*number),
            RuleAttribute::Iifname(name) => from = Some(name.clone()),
            RuleAttribute::FwMark(bits) => mark = *bits,
            RuleAttribute::FwMask(bits) => mask = Some(*bits),
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::Goto(number) => next = *number,
            _ => {}
        }
    }
    let masked = mask.is_none_or(|mask| mask == MARK_MASK);
    if protocol != ROUTE_PROTOCOL || !ours::RULES.contains(&preference) || !masked {
        return None;
    }
    let step = match message.header.action {
        RuleAction::ToTable => RuleStep::Table(table),
        RuleAction::Goto => RuleStep::Goto(next),
        _ => RuleStep::Nothing,
    };
    Some(Rule {
        family: read_family(message.header.family)?,
        preference,
        from,
        mark: mask.map(|_| mark),
        step,
    })
}

#[cfg(test)]
#[path = "messages_test.rs"]
mod tests;
