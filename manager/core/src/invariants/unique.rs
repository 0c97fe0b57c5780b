//! Property 34: What must be unique is: names per kind, published ports, volumes per node, places in Raft and in the
//! overlay.

use std::collections::BTreeSet;
use std::fmt::Debug;

use super::Transition;
use crate::state::{Event, Object, State, fold_name};

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    let state = transition.after;
    let changed = |of: fn(&Object) -> bool| transition.events.iter().map(Event::object).any(of);
    if changed(|object| object.held_name().is_some()) {
        let names = state
            .objects()
            .filter_map(|object| Some((object.key().kind(), fold_name(object.held_name()?))));
        unique("name", names, found);
    }
    if changed(|object| matches!(object, Object::Service(_))) {
        unique("published port", published_ports(state), found);
    }
    if changed(|object| matches!(object, Object::Volume(_))) {
        unique(
            "volume",
            state.volumes().map(|volume| (volume.node, volume.name.clone())),
            found,
        );
    }
    if changed(|object| matches!(object, Object::Node(_))) {
        let places = state
            .nodes()
            .filter_map(|node| Some(node.plan.manager.as_ref()?.raft_id));
        unique("place in Raft", places, found);
        let numbers = state.nodes().filter_map(|node| node.plan.overlay);
        unique("number in the overlay", numbers, found);
    }
}

fn published_ports(state: &State) -> impl Iterator<Item = (shoal_proto::service::Protocol, u16)> {
    state
        .services()
        .filter(|service| service.removed_at.is_none())
        .flat_map(|service| &service.settings.ingress_ports)
        .filter(|port| port.published_port != 0)
        .map(|port| (port.protocol, port.published_port))
}

fn unique<T: Ord + Debug>(what: &str, all: impl Iterator<Item = T>, found: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for one in all {
        if seen.contains(&one) {
            found.push(format!("{what} {one:?} is given twice"));
        }
        seen.insert(one);
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::id::ServiceId;
    use shoal_proto::node::{ManagerMembership, Node};
    use shoal_proto::overlay::OverlayNumber;
    use shoal_proto::service::{IngressPort, Protocol, Service};
    use shoal_proto::volume::Volume;

    use crate::fixture::Fixture;
    use crate::state::Change;

    /// A service changed by an entry that looked at no guard.
    fn edit_unguarded(fixture: &mut Fixture, id: ServiceId, edit: impl FnOnce(&mut Service)) {
        let mut service = Service::clone(fixture.state.service(id).unwrap());
        edit(&mut service);
        fixture.change(Change::Put(service.into()));
    }

    #[test]
    fn a_name_that_is_given_twice_is_found() {
        let mut fixture = Fixture::new();
        fixture.service("web", 1);
        let (other, _) = fixture.service("other", 1);
        let mut renamed = (**fixture.state.service(other).unwrap()).clone();
        renamed.name = "WEB".to_owned();
        renamed.id = fixture.ids.service(fixture.now);
        let revision = fixture.revision(renamed.id, 1, Default::default());
        renamed.revision = revision;
        fixture.change(Change::Put(renamed.into()));
        assert_eq!(fixture.violated(), ["unique"]);
    }

    #[test]
    fn a_port_that_is_given_to_two_services_is_found() {
        for (protocol, expected) in [(Protocol::Tcp, true), (Protocol::Udp, false)] {
            let mut fixture = Fixture::new();
            let publish = |protocol| IngressPort {
                name: String::new(),
                protocol,
                container_port: 80,
                published_port: 8_080,
                host_ip: None,
                prefer: None,
            };
            let (web, _) = fixture.service("web", 1);
            let (other, _) = fixture.service("other", 1);
            let tcp = publish(Protocol::Tcp);
            edit_unguarded(&mut fixture, web, |web| web.settings.ingress_ports = vec![tcp]);
            assert!(!fixture.violated().contains(&"unique"));
            let second = publish(protocol);
            edit_unguarded(&mut fixture, other, |other| {
                other.settings.ingress_ports = vec![second]
            });
            assert_eq!(fixture.violated().contains(&"unique"), expected);
        }
    }

    #[test]
    fn a_volume_that_is_on_a_node_twice_is_found() {
        let mut fixture = Fixture::new();
        let nodes = [fixture.node(), fixture.node()];
        let (service, _) = fixture.service("db", 1);
        for (node, expected) in [(0, None), (1, None), (1, Some("unique"))] {
            let volume = Volume {
                id: fixture.ids.volume(fixture.now),
                meta: Default::default(),
                name: "data".to_owned(),
                node: nodes[node],
                service,
            };
            fixture.change(Change::Put(volume.into()));
            assert_eq!(fixture.violated().first().copied(), expected);
        }
    }

    #[test]
    fn a_number_in_the_overlay_that_is_given_twice_is_found() {
        let mut fixture = Fixture::new();
        for expected in [None, Some("unique")] {
            let node = fixture.node();
            fixture.edit_node(node, |node| node.plan.overlay = OverlayNumber::new(7).ok());
            assert_eq!(fixture.violated().first().copied(), expected);
        }
    }

    #[test]
    fn a_place_in_raft_that_is_given_twice_is_found() {
        let mut fixture = Fixture::new();
        let nodes = [fixture.node(), fixture.node()];
        for (node, expected) in [(0, None), (1, Some("unique"))] {
            let mut member = Node::clone(fixture.state.node(nodes[node]).unwrap());
            member.plan.manager = Some(ManagerMembership {
                raft_id: 1,
                addr: "10.0.0.1:7420".to_owned(),
            });
            fixture.change(Change::Put(member.into()));
            assert_eq!(fixture.violated().first().copied(), expected);
        }
    }
}
