//! Reads what the kernel holds of ours, and what matters to us of others, by netlink. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::neighbour::NeighbourMessage;
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::packet_route::rule::RuleMessage;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage as Message};

use super::links::Links;
use super::linux::Linux;
use super::{KernelError, messages, sysctl};
use crate::network::model::{Found, Interface, Lane, Proxy};
use crate::network::settings::{FORWARDING, accept_ra};
use crate::network::side::Family;

/// Addresses of this host.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// Those of the tunnels.
    pub(super) of_lanes: BTreeSet<(Lane, Interface)>,
    /// Indexes of devices from which the node can ask for tasks.
    pub(super) asking: BTreeSet<u32>,
    /// Index of the device that holds each of the others.
    pub(super) holders: BTreeMap<IpAddr, u32>,
}

impl Linux {
    pub(super) async fn links(&self) -> Result<Links, KernelError> {
        let found = self
            .dump(Message::GetLink(LinkMessage::default()), "devices")
            .await?;
        let found = found.into_iter().filter_map(|message| match message {
            Message::NewLink(link) => Some(link),
            _ => None,
        });
        Ok(Links::read(&found.collect::<Vec<_>>()))
    }

    pub(super) async fn addresses(&self) -> Result<Addresses, KernelError> {
        let devices = self.known().clone();
        let mut found = Addresses::default();
        // Of either family.
        let question = AddressMessage::default();
        for message in self.dump(Message::GetAddress(question), "addresses").await? {
            let Message::NewAddress(message) = message else {
                continue;
            };
            let Some((index, interface)) = messages::read_address(&message) else {
                if messages::is_asking(&message) {
                    found.asking.insert(message.header.index);
                }
                continue;
            };
            match messages::lane_of(&devices, index) {
                Some(lane) => drop(found.of_lanes.insert((lane, interface))),
                None => drop(found.holders.insert(interface.address, index)),
            }
        }
        Ok(found)
    }

    /// Addresses of the device with that index.
    pub(super) async fn addresses_of(&self, device: u32) -> Result<BTreeSet<Interface>, KernelError> {
        let mut question = AddressMessage::default();
        question.header.family = AddressFamily::Inet;
        let found = self.dump(Message::GetAddress(question), "addresses").await?;
        let found = found.into_iter().filter_map(|message| match message {
            Message::NewAddress(message) => messages::read_address(&message),
            _ => None,
        });
        Ok(found
            .filter(|(index, _)| *index == device)
            .map(|(_, interface)| interface)
            .collect())
    }

    /// Devices whose way out is told by routers on their link, or may be, and that would take no more of them once the host
    /// passes packets on. None where it does so already: whoever decided that has decided this.
    pub(super) async fn deaf(
        &self,
        underlay: Option<u32>,
        names: &BTreeMap<u32, String>,
    ) -> Result<BTreeSet<String>, KernelError> {
        if sysctl::value(FORWARDING).as_deref() != Some("0") {
            return Ok(BTreeSet::new());
        }
        let mut question = RouteMessage::default();
        question.header.address_family = AddressFamily::Inet6;
        let routes = self.dump(Message::GetRoute(question), "routes").await?;
        let told = routes.iter().filter_map(|message| match message {
            Message::NewRoute(route) => messages::told_by_router(route),
            _ => None,
        });
        let names = told.chain(underlay).filter_map(|index| names.get(&index));
        let listens = |name: &&String| sysctl::value(&accept_ra(name)).as_deref() == Some("1");
        Ok(names.filter(listens).cloned().collect())
    }

    pub(super) async fn look_at_neighbours(&self, found: &mut Found) -> Result<(), KernelError> {
        let devices = self.known().clone();
        for family in [AddressFamily::Inet, AddressFamily::Inet6, AddressFamily::Bridge] {
            let mut question = NeighbourMessage::default();
            question.header.family = family;
            for message in self.dump(Message::GetNeighbour(question), "neighbours").await? {
                let Message::NewNeighbour(message) = message else {
                    continue;
                };
                let Some((index, address, link)) = messages::read_neighbour(&message) else {
                    continue;
                };
                let Some(lane) = messages::lane_of(&devices, index) else {
                    continue;
                };
                let end = found.end_mut(lane);
                match (message.header.family, address) {
                    (AddressFamily::Bridge, IpAddr::V4(host)) => drop(end.forwarding.insert(link, host)),
                    (AddressFamily::Bridge, IpAddr::V6(_)) => {}
                    _ => drop(end.neighbours.insert(address, link)),
                }
            }
        }
        let question = Message::GetNeighbour(messages::proxies());
        for message in self.dump(question, "proxies").await? {
            let Message::NewNeighbour(message) = message else {
                continue;
            };
            let proxy = messages::read_proxy(&message);
            found.proxies.extend(proxy.and_then(|(index, address)| {
                let bridge = self.bridge_at(index)?;
                Some(Proxy { bridge, address })
            }));
        }
        Ok(())
    }

    pub(super) async fn look_at_routing(&self, found: &mut Found) -> Result<(), KernelError> {
        let devices = self.known().clone();
        for family in Family::ALL.map(messages::family) {
            let mut question = RouteMessage::default();
            question.header.address_family = family;
            for message in self.dump(Message::GetRoute(question), "routes").await? {
                if let Message::NewRoute(message) = message {
                    found.routes.extend(messages::read_route(&devices, &message));
                }
            }
            let mut question = RuleMessage::default();
            question.header.family = family;
            for message in self.dump(Message::GetRule(question), "rules").await? {
                if let Message::NewRule(message) = message {
                    found.rules.extend(messages::read_rule(&message));
                }
            }
        }
        Ok(())
    }
}
