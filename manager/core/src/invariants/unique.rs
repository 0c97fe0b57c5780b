//! Property 34: What must be unique is: names per kind, published ports, volumes per node, places in Raft.

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
    use crate::fixture::Fixture;
    use crate::state::Change;

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
}
