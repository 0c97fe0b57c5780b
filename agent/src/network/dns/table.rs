//! A view turned into tables, once, so that a question costs the same whatever the number of tasks. Pure.
//! What the tables mean for a question is decided in `names`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use shoal_proto::id::{NetworkId, NodeId, ServiceId, TaskId};
use shoal_proto::prefix::Prefix;
use shoal_proto::service::EndpointMode;
use shoal_proto::subnet::Subnet;

use crate::network::view::{Endpoint, EndpointState, Inside, View, has_ipv6};

/// Everything that is looked up.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Those with IPv6 first, as ways out are chosen, then in the order of their networks' names.
    pub(super) zones: Vec<Zone>,
    /// Tasks by each of their addresses.
    pub(super) askers: HashMap<Ipv4Addr, Arc<Asker>>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asker {
    /// Its networks as places in `Table::zones`, ascending.
    pub(super) zones: Vec<usize>,
    /// Its service's name in lower case; none for a container started by hand.
    pub(super) service: Option<String>,
}

/// The names of one network.
#[derive(Debug)]
pub(super) struct Zone {
    network: NetworkId,
    pub(super) subnet: Subnet,
    prefix: Option<Prefix>,
    /// Who answers to a name, by the name in lower case.
    pub(super) holders: HashMap<String, Holders>,
    /// Each service of the network.
    pub(super) services: HashMap<ServiceId, Here>,
    /// Names of addresses.
    pub(super) pointers: HashMap<Ipv4Addr, String>,
}

/// Who answers to one name.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// The service of that name.
    pub(super) service: Option<ServiceId>,
    /// Those with that alias, ascending, each once.
    pub(super) aliased: Vec<ServiceId>,
}

/// A service on a network.
#[derive(Debug)]
pub(super) struct Here {
    /// In lower case.
    pub(super) name: String,
    pub(super) mode: EndpointMode,
    pub(super) virtual_ip: Option<Ipv4Addr>,
    /// In which all of these have IPv6 addresses, too; none where the network has none.
    pub(super) prefix: Option<Prefix>,
    /// Ascending by id: the newest last.
    pub(super) members: Vec<Member>,
}

/// A task on a network.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) task: TaskId,
    pub(super) slot: Option<u64>,
    pub(super) node: NodeId,
    pub(super) address: Ipv4Addr,
    pub(super) state: EndpointState,
    /// Whether its host has IPv6.
    pub(super) has_ipv6: bool,
    /// In lower case.
    aliases: Vec<String>,
}

impl Member {
    /// Whether new connections are for it.
    pub(super) fn is_ready(&self) -> bool {
        self.state == EndpointState::Ready
    }

    /// Whether it answers to a name of its service: the service's own, or an alias that the task has.
    pub(super) fn answers_to(&self, alias: Option<&str>) -> bool {
        alias.is_none_or(|alias| self.aliases.iter().any(|own| own == alias))
    }
}

impl Table {
    pub(super) fn of(view: &View) -> Self {
        let mut networks: Vec<_> = view.networks.iter().collect();
        networks.sort_by_key(|(id, network)| (network.prefix.is_none(), &network.name, **id));
        let zones = networks.into_iter().map(|(id, network)| Zone {
            network: *id,
            subnet: network.subnet,
            prefix: network.prefix,
            holders: HashMap::new(),
            services: HashMap::new(),
            pointers: HashMap::new(),
        });
        let mut table = Self {
            zones: zones.collect(),
            askers: HashMap::new(),
        };
        for zone in &mut table.zones {
            // Tasks that do not reach each other have no use for each other's names.
            if view.networks[&zone.network].inside == Inside::Together {
                zone.take_services(view);
            }
        }
        table.take_tasks(view);
        table
    }

    fn take_tasks(&mut self, view: &View) {
        let places = self.zones.iter().enumerate();
        let places: HashMap<NetworkId, usize> = places.map(|(place, zone)| (zone.network, place)).collect();
        for (id, end) in &view.endpoints {
            let mut zones = Vec::with_capacity(end.addresses.len());
            for (network, address) in &end.addresses {
                let Some(place) = places.get(network) else {
                    continue;
                };
                zones.push(*place);
                let has_ipv6 = end.node == view.node || has_ipv6(view, end.node);
                self.zones[*place].take_task((*id, has_ipv6), end, *address);
            }
            zones.sort_unstable();
            let service = view.services.get(&end.service);
            let asker = Arc::new(Asker {
                zones,
                service: service.map(|service| service.name.to_lowercase()),
            });
            let addresses = end.addresses.values();
            self.askers
                .extend(addresses.map(|address| (*address, Arc::clone(&asker))));
        }
    }
}

impl Zone {
    /// The IPv4 address of this network that an address is, or lies beside; none where it is of no such.
    pub(super) fn holds(&self, address: IpAddr) -> Option<Ipv4Addr> {
        let beside = match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(address) => self.prefix?.beside(address),
        };
        beside.filter(|address| self.subnet.contains(*address))
    }

    fn take_services(&mut self, view: &View) {
        for (id, service) in &view.services {
            let virtual_ip = service.addresses.get(&self.network).copied();
            let aliases = service.aliases.get(&self.network);
            if virtual_ip.is_none() && aliases.is_none() {
                continue;
            }
            let here = Here {
                name: service.name.to_lowercase(),
                mode: service.mode,
                virtual_ip,
                prefix: self.prefix,
                members: Vec::new(),
            };
            if let Some(address) = virtual_ip {
                self.pointers.insert(address, here.name.clone());
            }
            self.holders.entry(here.name.clone()).or_default().service = Some(*id);
            self.services.insert(*id, here);
            for alias in aliases.into_iter().flatten() {
                self.take_alias(*id, &alias.to_lowercase());
            }
        }
    }

    fn take_alias(&mut self, service: ServiceId, alias: &str) {
        if !self.holders.contains_key(alias) {
            self.holders.insert(alias.to_owned(), Holders::default());
        }
        let Some(holders) = self.holders.get_mut(alias) else {
            return;
        };
        if let Err(place) = holders.aliased.binary_search(&service) {
            holders.aliased.insert(place, service);
        }
    }

    fn take_task(&mut self, (id, has_ipv6): (TaskId, bool), end: &Endpoint, address: Ipv4Addr) {
        let aliases = end.aliases.get(&self.network).into_iter().flatten();
        let aliases: Vec<String> = aliases.map(|alias| alias.to_lowercase()).collect();
        let Some(here) = self.services.get_mut(&end.service) else {
            return;
        };
        let place = end.slot.map_or(end.node.to_string(), |slot| slot.to_string());
        self.pointers.insert(address, format!("{}.{place}", here.name));
        here.members.push(Member {
            task: id,
            slot: end.slot,
            node: end.node,
            address,
            state: end.state,
            has_ipv6,
            aliases: aliases.clone(),
        });
        for alias in &aliases {
            self.take_alias(end.service, alias);
        }
    }
}
