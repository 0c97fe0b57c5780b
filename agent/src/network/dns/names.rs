//! Which addresses a name has for whom: the rules of names, over the tables of one view. Pure: no sockets, no chance.
//!
//! A name is looked up on the networks of the container that asks. Known names are never `NXDOMAIN` and never go outside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use shoal_proto::id::{NodeId, ServiceId, TaskId};
use shoal_proto::service::EndpointMode;

use super::table::{Asker, Here, Member, Table, Zone};
use crate::network::view::View;

/// What a container wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// In lower case, without the dot at its end.
    pub name: String,
    /// Of which kind.
    pub kind: Kind,
}

/// Kinds of questions that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses, or whatever there is.
    Address,
    /// IPv6 addresses.
    Ipv6,
    /// The name of an address.
    Pointer,
    /// Anything else; the cluster has nothing of it.
    Other,
}

/// What it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The name exists and has these addresses, maybe none (or none of the kind that was asked for).
    Addresses(Vec<IpAddr>),
    /// The address has this name.
    Pointer(String),
    /// It would be the cluster's, and is not there.
    Unknown,
    /// Not the cluster's: for the host's resolvers.
    Outside,
    /// Nobody of the cluster's networks asks.
    Refused,
}

/// All names of one view, ready to be asked for.
#[derive(Debug, Default)]
pub struct Names(Table);

/// A name taken apart: whose, and which of its tasks.
struct Wanted<'a> {
    base: &'a str,
    which: Which,
}

#[derive(Clone, Copy)]
enum Which {
    /// The service as its mode says.
    Service,
    /// All its ready tasks.
    Tasks,
    /// The task of a slot.
    Slot(u64),
    /// The task of a node, where a service has one on each.
    Node(NodeId),
    /// One task.
    Task(TaskId),
}

/// The services that a name stands for: on one network, all by the same name.
struct Held<'a> {
    services: Vec<&'a Here>,
    /// The alias by which they were found; none for their own name.
    alias: Option<&'a str>,
}

impl Names {
    /// Of a view.
    #[must_use]
    pub fn of(view: &View) -> Self {
        Self(Table::of(view))
    }

    /// What a container with this address is told. Addresses come in the order of their tasks' ids.
    #[must_use]
    pub fn answer(&self, asker: Ipv4Addr, question: &Question) -> Answer {
        let Some(asker) = self.asker(asker) else {
            return Answer::Refused;
        };
        if let Some(address) = reversed(&question.name) {
            return self.pointer(&asker, address, question.kind);
        }
        let found = self.addresses(&asker, &question.name, question.kind);
        found.map_or(Answer::Outside, Answer::Addresses)
    }

    /// A task by its address; else whatever is on a network, for example a container started by hand, or a task so new
    /// that the view does not have it.
    fn asker(&self, address: Ipv4Addr) -> Option<Arc<Asker>> {
        if let Some(asker) = self.0.askers.get(&address) {
            return Some(Arc::clone(asker));
        }
        let mut zones = self.0.zones.iter();
        let place = zones.position(|zone| zone.subnet.contains(address))?;
        Some(Arc::new(Asker {
            zones: vec![place],
            service: None,
        }))
    }

    fn zones<'a>(&'a self, asker: &'a Asker) -> impl Iterator<Item = &'a Zone> {
        asker.zones.iter().map(|place| &self.0.zones[*place])
    }

    fn pointer(&self, asker: &Asker, address: IpAddr, kind: Kind) -> Answer {
        let mut all = self.0.zones.iter();
        if !all.any(|zone| zone.holds(address).is_some()) {
            return Answer::Outside;
        }
        let mut own = self.zones(asker);
        let name = own.find_map(|zone| zone.pointers.get(&zone.holds(address)?));
        match name {
            // The addresses of the cluster are nobody else's business.
            None => Answer::Unknown,
            Some(name) if kind == Kind::Pointer => Answer::Pointer(name.clone()),
            Some(_) => Answer::Addresses(Vec::new()),
        }
    }

    /// Addresses of a name, none when it is not known to the asker. The whole name is tried before its parts: an alias
    /// may look like `tasks.web`. Those of both kinds are of the same network.
    fn addresses(&self, asker: &Asker, name: &str, kind: Kind) -> Option<Vec<IpAddr>> {
        forms(name).find_map(|wanted| {
            let held = self.held(asker, wanted.base)?;
            let found = held.services.iter().flat_map(|here| {
                let addresses = here.addresses(wanted.which, (held.alias, kind)).into_iter();
                addresses.filter_map(|address| here.of_kind(address, kind))
            });
            Some(found.collect())
        })
    }

    /// Who answers to a name, on the first network that knows it: the service of that name, which no alias of others
    /// can take away; then the asker's own stack's; then all with that alias.
    fn held<'a>(&'a self, asker: &'a Asker, name: &'a str) -> Option<Held<'a>> {
        let services = |zone: &'a Zone, ids: &[ServiceId]| {
            let here = ids.iter().filter_map(|id| zone.services.get(id));
            here.collect::<Vec<_>>()
        };
        let named = self.zones(asker).find_map(|zone| {
            let id = zone.holders.get(name)?.service?;
            Some(services(zone, &[id]))
        });
        if let Some(services) = named {
            return Some(Held {
                services,
                alias: None,
            });
        }
        let aliased = |zone: &'a Zone| {
            let ids = &zone.holders.get(name)?.aliased;
            (!ids.is_empty()).then(|| services(zone, ids))
        };
        let own = self.zones(asker).find_map(|zone| {
            let own = of_own_stack(asker.service.as_deref()?, name, &aliased(zone)?)?;
            Some(vec![own])
        });
        let services = own.or_else(|| self.zones(asker).find_map(aliased))?;
        Some(Held {
            services,
            alias: Some(name),
        })
    }
}

impl Here {
    /// An address as it is asked for.
    fn of_kind(&self, address: Ipv4Addr, kind: Kind) -> Option<IpAddr> {
        match kind {
            Kind::Address => Some(address.into()),
            Kind::Ipv6 => Some(self.prefix?.address(address).into()),
            Kind::Pointer | Kind::Other => None,
        }
    }

    fn addresses(&self, which: Which, (alias, kind): (Option<&str>, Kind)) -> Vec<Ipv4Addr> {
        let has = |member: &&Member| kind != Kind::Ipv6 || member.has_ipv6;
        let members = self.members.iter().filter(has);
        let members = members.filter(|member| member.answers_to(alias));
        match which {
            Which::Service if self.mode == EndpointMode::Vip => self.virtual_ip.into_iter().collect(),
            Which::Service | Which::Tasks => {
                let ready = members.filter(|member| member.is_ready());
                ready.map(|member| member.address).collect()
            }
            Which::Slot(slot) => the_one(members.filter(|member| member.slot == Some(slot))),
            Which::Node(node) => {
                the_one(members.filter(|member| member.slot.is_none() && member.node == node))
            }
            Which::Task(task) => the_one(members.filter(|member| member.task == task)),
        }
    }
}

/// A name of one place says who is there, not who takes connections: copies that find each other by such names, to
/// become ready together, could never start otherwise. A ready one is preferred, then the newest.
fn the_one<'a>(members: impl Iterator<Item = &'a Member>) -> Vec<Ipv4Addr> {
    let best = members.max_by_key(|member| (member.is_ready(), member.task));
    best.map(|member| member.address).into_iter().collect()
}

/// Two stacks on one network both call a service `db`: each means its own. A stack names its services
/// `STACK_SERVICE`, and gives them the alias `SERVICE`.
fn of_own_stack<'a>(asker: &str, alias: &str, services: &[&'a Here]) -> Option<&'a Here> {
    let own = services.iter().filter_map(|here| {
        let stack = here.name.strip_suffix(alias)?.strip_suffix('_')?;
        let same = asker.strip_prefix(stack)?.starts_with('_');
        same.then_some((stack.len(), *here))
    });
    own.max_by_key(|(length, _)| *length).map(|(_, here)| here)
}

/// The ways to read a name, the one that says most literally what was asked first.
fn forms(name: &str) -> impl Iterator<Item = Wanted<'_>> {
    let form = |base, which| Wanted { base, which };
    let tasks = name.strip_prefix("tasks.");
    let (base, last) = name.rsplit_once('.').unwrap_or((name, ""));
    // `SERVICE.SLOT.TASK` and `SERVICE.NODE.TASK` are what tasks are called.
    let task = last.parse().ok().zip(base.rsplit_once('.'));
    let task = task.filter(|(_, (_, place))| slot(place).is_some() || place.parse::<NodeId>().is_ok());
    [
        Some(form(name, Which::Service)),
        tasks.map(|base| form(base, Which::Tasks)),
        slot(last).map(|slot| form(base, Which::Slot(slot))),
        last.parse().ok().map(|node| form(base, Which::Node(node))),
        task.map(|(task, (service, _))| form(service, Which::Task(task))),
    ]
    .into_iter()
    .flatten()
}

/// A slot's number as it is written: `02` is none.
fn slot(text: &str) -> Option<u64> {
    let slot: u64 = text.parse().ok()?;
    (slot.to_string() == text).then_some(slot)
}

/// The address that `4.3.2.1.in-addr.arpa` asks for, or one of 32 digits before `ip6.arpa`.
fn reversed(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".ip6.arpa") {
        return reversed_ipv6(digits).map(IpAddr::from);
    }
    let mut octets = name.strip_suffix(".in-addr.arpa")?.rsplit('.');
    let mut octet = || octets.next()?.parse::<u8>().ok();
    let address = Ipv4Addr::new(octet()?, octet()?, octet()?, octet()?);
    octets.next().is_none().then_some(address.into())
}

fn reversed_ipv6(digits: &str) -> Option<Ipv6Addr> {
    let digits: Vec<&str> = digits.rsplit('.').collect();
    let whole = digits.len() == 32 && digits.iter().all(|digit| digit.len() == 1);
    let bits = u128::from_str_radix(&digits.concat(), 16).ok();
    bits.filter(|_| whole).map(Ipv6Addr::from_bits)
}

#[cfg(test)]
#[path = "names_test.rs"]
mod tests;
