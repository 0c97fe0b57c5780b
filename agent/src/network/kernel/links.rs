//! Devices as netlink messages, and back: the tunnel, our bridges and their ports. Nothing is sent from here.

use std::collections::{BTreeMap, BTreeSet};

use rtnetlink::packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVxlan, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage,
};

use crate::network::model::{Device, FoundDevice, Lane, Port, Tunnel, Up};
use crate::network::ours::{DEVICE_PREFIX, WIREGUARD_DEVICE};

/// A tunnel, to be made.
pub(super) fn tunnel(lane: Lane, device: &Device) -> LinkMessage {
    let tunnel = device.tunnel;
    let mut info = vec![
        InfoVxlan::Id(tunnel.identifier),
        InfoVxlan::Local(tunnel.local),
        InfoVxlan::Port(tunnel.port),
        InfoVxlan::Learning(false),
    ];
    info.extend(tunnel.over.map(InfoVxlan::Link));
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(lane.device().to_owned()),
        LinkAttribute::Mtu(device.mtu),
        LinkAttribute::Address(tunnel.address.to_vec()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vxlan),
            LinkInfo::Data(InfoData::Vxlan(info)),
        ]),
    ];
    message
}

/// The device of a name, as a question.
pub(super) fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

/// A device to be brought up.
pub(super) fn raised(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

/// A device with another largest packet.
pub(super) fn sized(index: u32, mtu: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::Mtu(mtu));
    message
}

/// A port of a bridge to be set.
pub(super) fn set_port(index: u32, how: Port) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    let settings = vec![
        InfoBridgePort::Isolated(how == Port::Isolated),
        InfoBridgePort::HairpinMode(how == Port::Hairpin),
    ];
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(settings)),
    ]));
    message
}

/// All devices of the node that matter.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// The tunnels' devices and their indexes.
    pub(super) devices: BTreeMap<Lane, (u32, FoundDevice)>,
    /// Index of the WireGuard device, while it is up.
    pub(super) wireguard: Option<u32>,
    /// Bridges with a name of ours, and their ports.
    pub(super) bridges: BTreeMap<String, BTreeSet<String>>,
    /// Their indexes.
    pub(super) indexes: BTreeMap<String, u32>,
    /// Names of all devices, by index.
    pub(super) names: BTreeMap<u32, String>,
    /// How the ports are set.
    pub(super) ports: BTreeMap<String, Port>,
    /// Largest packets of all devices, by index.
    pub(super) mtus: BTreeMap<u32, u32>,
}

impl Links {
    /// From a list of all devices.
    pub(super) fn read(messages: &[LinkMessage]) -> Self {
        let mut links = Self::default();
        let mut indexes = BTreeMap::new();
        for message in messages {
            let Some(name) = name(message) else {
                continue;
            };
            links.mtus.insert(message.header.index, mtu(message));
            links.names.insert(message.header.index, name.to_owned());
            let lane = Lane::ALL.into_iter().find(|lane| lane.device() == name);
            if let Some(lane) = lane {
                links
                    .devices
                    .insert(lane, (message.header.index, device(message)));
            } else if name == WIREGUARD_DEVICE && message.header.flags.contains(LinkFlags::Up) {
                links.wireguard = Some(message.header.index);
            } else if is_our_bridge(message) {
                indexes.insert(message.header.index, name.to_owned());
                links.indexes.insert(name.to_owned(), message.header.index);
                links.bridges.insert(name.to_owned(), BTreeSet::new());
            }
        }
        for message in messages {
            let bridge = controller(message).and_then(|index| indexes.get(&index));
            let (Some(bridge), Some(name)) = (bridge, name(message)) else {
                continue;
            };
            let ports = links.bridges.entry(bridge.clone()).or_default();
            ports.insert(name.to_owned());
            links.ports.insert(name.to_owned(), read_port(message));
        }
        links
    }
}

/// Whether it is a bridge with a name of ours.
pub(super) fn is_our_bridge(message: &LinkMessage) -> bool {
    let named = name(message).is_some_and(|name| name.starts_with(DEVICE_PREFIX));
    named && kind(message) == Some(&InfoKind::Bridge)
}

/// Its name.
pub(super) fn name(message: &LinkMessage) -> Option<&str> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

/// Its largest packet, bytes.
pub(super) fn mtu(message: &LinkMessage) -> u32 {
    let mtu = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    mtu.unwrap_or_default()
}

/// The bridge that it is a port of, by index.
pub(super) fn controller(message: &LinkMessage) -> Option<u32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Controller(index) => Some(*index),
        _ => None,
    })
}

fn infos(message: &LinkMessage) -> impl Iterator<Item = &LinkInfo> {
    let infos = message.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    infos.flatten()
}

/// What it is.
pub(super) fn kind(message: &LinkMessage) -> Option<&InfoKind> {
    infos(message).find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    })
}

/// How a port is set.
pub(super) fn read_port(message: &LinkMessage) -> Port {
    let has = |setting: &InfoBridgePort| {
        infos(message).any(|info| match info {
            LinkInfo::PortData(InfoPortData::BridgePort(settings)) => settings.contains(setting),
            _ => false,
        })
    };
    let hairpin = has(&InfoBridgePort::HairpinMode(true));
    match (has(&InfoBridgePort::Isolated(true)), hairpin) {
        (true, false) => Port::Isolated,
        (false, true) => Port::Hairpin,
        _ => Port::Other,
    }
}

fn device(message: &LinkMessage) -> FoundDevice {
    let up = message.header.flags.contains(LinkFlags::Up);
    FoundDevice {
        tunnel: read_tunnel(message),
        mtu: mtu(message),
        up: if up { Up::Yes } else { Up::No },
    }
}

fn read_tunnel(message: &LinkMessage) -> Option<Tunnel> {
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    });
    let settings = infos(message).find_map(|info| match info {
        LinkInfo::Data(InfoData::Vxlan(settings)) => Some(settings),
        _ => None,
    })?;
    let (mut identifier, mut local, mut port, mut over) = (None, None, None, None);
    for setting in settings {
        match setting {
            InfoVxlan::Id(number) => identifier = Some(*number),
            InfoVxlan::Local(address) => local = Some(*address),
            InfoVxlan::Port(number) => port = Some(*number),
            InfoVxlan::Link(index) => over = Some(*index).filter(|index| *index != 0),
            // One that learns believes whoever sends.
            InfoVxlan::Learning(true) => return None,
            _ => {}
        }
    }
    Some(Tunnel {
        identifier: identifier?,
        port: port?,
        local: local?,
        address: address?,
        over,
    })
}
