//! What happens to devices, routes and rules of this host, as the kernel tells it; and the one thing that cannot wait
//! for anybody: a new port of our bridges is set before its task sends a packet.

use std::collections::BTreeSet;
use std::net::IpAddr;

use futures::StreamExt as _;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use super::messages::Devices;
use super::{KernelError, Sight, Thing, links, messages, sysctl};
use crate::network::model::{Lane, Port, right_port};

const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv6Rule,
];

/// Watches until the receiver is gone.
pub(super) fn start(sights: UnboundedSender<Sight>) -> Result<JoinHandle<()>, KernelError> {
    let (connection, handle, mut told) =
        rtnetlink::new_multicast_connection(&GROUPS).map_err(KernelError::Open)?;
    Ok(tokio::spawn(async move {
        let connection = tokio::spawn(connection);
        let mut watch = Watch {
            handle,
            bridges: BTreeSet::new(),
            devices: Devices::new(),
        };
        watch.begin().await;
        while let Some((message, _)) = told.next().await {
            for sight in watch.take(message).await {
                if sights.send(sight).is_err() {
                    connection.abort();
                    return;
                }
            }
        }
    }))
}

struct Watch {
    handle: Handle,
    /// Indexes of our bridges.
    bridges: BTreeSet<u32>,
    /// Indexes of the tunnels.
    devices: Devices,
}

impl Watch {
    /// Sets the ports that are there, and learns which bridges are ours.
    async fn begin(&mut self) {
        let all = self
            .ask(Message::GetLink(LinkMessage::default()), NLM_F_DUMP)
            .await;
        for message in &all {
            self.learn(message);
        }
        for message in &all {
            self.set_port(message).await;
        }
    }

    async fn take(&mut self, message: NetlinkMessage<Message>) -> Vec<Sight> {
        match message.payload {
            NetlinkPayload::InnerMessage(Message::NewLink(link)) => {
                // A bridge's words for it: how a port is set is told in them alone, and not how in full.
                if link.header.interface_family == AddressFamily::Bridge {
                    let ours = self.is_port_of_ours(&link);
                    return ours.then_some(Sight::Links).into_iter().collect();
                }
                self.learn(&link);
                self.set_port(&link).await;
                vec![Sight::Links]
            }
            NetlinkPayload::InnerMessage(Message::DelLink(link)) => {
                if link.header.interface_family == AddressFamily::Bridge {
                    return Vec::new();
                }
                self.bridges.remove(&link.header.index);
                self.devices.retain(|_, index| *index != link.header.index);
                vec![Sight::Links]
            }
            NetlinkPayload::InnerMessage(other) => self.thing(&other).into_iter().collect(),
            // More was told than could be kept.
            NetlinkPayload::Overrun(_) => vec![Sight::Missed],
            _ => Vec::new(),
        }
    }

    /// What of ours came or went.
    fn thing(&self, message: &Message) -> Option<Sight> {
        Some(match message {
            Message::NewRoute(route) => {
                Sight::Came(Thing::Route(messages::read_route(&self.devices, route)?))
            }
            Message::DelRoute(route) => {
                Sight::Went(Thing::Route(messages::read_route(&self.devices, route)?))
            }
            Message::NewRule(rule) => Sight::Came(Thing::Rule(messages::read_rule(rule)?)),
            Message::DelRule(rule) => Sight::Went(Thing::Rule(messages::read_rule(rule)?)),
            Message::NewAddress(address) => {
                let (index, interface) = messages::read_address(address)?;
                Sight::Came(Thing::Address(self.lane(index)?, interface))
            }
            Message::DelAddress(address) => {
                let (index, interface) = messages::read_address(address)?;
                Sight::Went(Thing::Address(self.lane(index)?, interface))
            }
            Message::NewNeighbour(neighbour) | Message::DelNeighbour(neighbour) => {
                let lane = self.lane(neighbour.header.ifindex)?;
                let came = matches!(message, Message::NewNeighbour(_));
                let bridge = neighbour.header.family == AddressFamily::Bridge;
                match (messages::read_neighbour(neighbour), bridge) {
                    (Some((_, address, link)), false) if came => {
                        Sight::Came(Thing::Neighbour(lane, address, Some(link)))
                    }
                    // One that is permanent no more is told as changed.
                    (_, false) => Sight::Went(Thing::Neighbour(
                        lane,
                        messages::neighbour_address(neighbour)?,
                        None,
                    )),
                    (found, _) => {
                        let (_, IpAddr::V4(host), link) = found? else {
                            return None;
                        };
                        let entry = Thing::Forwarding(lane, link, host);
                        if came {
                            Sight::Came(entry)
                        } else {
                            Sight::Went(entry)
                        }
                    }
                }
            }
            _ => return None,
        })
    }

    fn lane(&self, index: u32) -> Option<Lane> {
        messages::lane_of(&self.devices, index)
    }

    fn learn(&mut self, link: &LinkMessage) {
        if links::is_our_bridge(link) {
            self.bridges.insert(link.header.index);
        }
        let mut lanes = Lane::ALL.into_iter();
        if let Some(lane) = lanes.find(|lane| links::name(link) == Some(lane.device())) {
            self.devices.insert(lane, link.header.index);
        }
    }

    fn is_port_of_ours(&self, link: &LinkMessage) -> bool {
        links::controller(link).is_some_and(|index| self.bridges.contains(&index))
    }

    /// A port of our bridges that is set otherwise than it should be.
    async fn set_port(&self, link: &LinkMessage) {
        let bridging = if self.is_port_of_ours(link) {
            sysctl::bridging().ok()
        } else {
            None
        };
        let Some(right) = bridging.map(right_port) else {
            return;
        };
        if links::read_port(link) != right {
            self.set(link.header.index, right).await;
        }
    }

    async fn set(&self, index: u32, how: Port) {
        // A port that is gone again has nothing to be set; the keeper looks after all others.
        self.ask(Message::NewLink(links::set_port(index, how)), NLM_F_ACK)
            .await;
    }

    async fn ask(&self, message: Message, flags: u16) -> Vec<LinkMessage> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        let mut found = Vec::new();
        let Ok(mut answers) = self.handle.clone().request(request) else {
            return found;
        };
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::InnerMessage(Message::NewLink(link)) = answer.payload {
                found.push(link);
            }
        }
        found
    }
}
