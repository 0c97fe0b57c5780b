//! A view kept up to date at the price of what changed: the same as computing it anew and comparing, item by item.

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::id::{NetworkId, NodeId, ServiceId, TaskId};
use shoal_proto::view::{Parts, View, ViewChange};

use super::{Sight, meshes, overlay, peer};
use crate::orchestrator::evict::is_lost;
use crate::state::{Event, Object, State};

/// Takes what these events changed into the view, and says what that was. None: the node uses other networks than
/// before, and the view is to be computed anew; it is untouched then.
pub fn follow<'e>(
    view: &mut View,
    state: &State,
    events: impl IntoIterator<Item = &'e Event>,
) -> Option<ViewChange> {
    let sight = Sight::of(state, view.node);
    if sight.carried != carried(view) || view.overlay != overlay(state) {
        return None;
    }
    let mut touched = Touched::default();
    for event in events.into_iter().filter(|event| sight.is_concerned(view, event)) {
        touched.note(state, event);
    }
    let mut change = ViewChange::none(view.node);
    let before = (!touched.services.is_empty()).then(|| meshes(view));
    for id in std::mem::take(&mut touched.services) {
        follow_service(&sight, view, &mut change, (id, &mut touched.tasks));
    }
    for id in touched.tasks {
        let task = state.task(id);
        let service = task.and_then(|task| view.services.get(&task.plan.service));
        let endpoint = task
            .zip(service)
            .and_then(|(task, service)| sight.endpoint(task, service));
        set(&mut view.endpoints, &mut change.endpoints, id, endpoint);
    }
    for id in touched.nodes {
        let peer = state.node(id).and_then(|node| peer(node));
        set(&mut view.peers, &mut change.peers, id, peer);
    }
    if before.is_some_and(|before| before != meshes(view)) {
        let networks = sight.networks(view);
        change.networks = Parts::between(&view.networks, &networks);
        view.networks = networks;
        return Some(change);
    }
    for id in touched.networks {
        let network = state.network(id).filter(|_| view.networks.contains_key(&id));
        let network = network.and_then(|network| sight.network(network));
        set(&mut view.networks, &mut change.networks, id, network);
    }
    Some(change)
}

/// What a view says the node carries: the networks of its own tasks.
fn carried(view: &View) -> BTreeSet<NetworkId> {
    let own = view
        .endpoints
        .values()
        .filter(|endpoint| endpoint.node == view.node);
    own.flat_map(|endpoint| endpoint.addresses.keys().copied())
        .collect()
}

/// What may have to be said anew.
#[derive(Default)]
struct Touched {
    services: BTreeSet<ServiceId>,
    tasks: BTreeSet<TaskId>,
    nodes: BTreeSet<NodeId>,
    networks: BTreeSet<NetworkId>,
}

impl Touched {
    fn note(&mut self, state: &State, event: &Event) {
        match event.object() {
            Object::Task(task) => {
                self.tasks.insert(task.id);
                self.services.insert(task.plan.service);
            }
            Object::Service(service) => drop(self.services.insert(service.id)),
            Object::Network(network) => drop(self.networks.insert(network.id)),
            Object::Node(node) => {
                self.nodes.insert(node.id);
                let lost = |object: Option<&Object>| match object {
                    Some(Object::Node(node)) => Some(is_lost(node)),
                    _ => None,
                };
                if lost(event.before()) != lost(event.after()) {
                    self.tasks
                        .extend(state.tasks_on_node(node.id).map(|task| task.id));
                }
            }
            _ => {}
        }
    }
}

fn follow_service(
    sight: &Sight<'_>,
    view: &mut View,
    change: &mut ViewChange,
    (id, tasks): (ServiceId, &mut BTreeSet<TaskId>),
) {
    let found = sight.state.service(id).filter(|service| sight.sees(service));
    let service = found.map(|service| sight.service(service));
    let publishes = |service: Option<&shoal_proto::view::Service>| service.map(|of| of.ports.is_empty());
    if publishes(view.services.get(&id)) != publishes(service.as_ref()) {
        tasks.extend(sight.state.tasks_of_service(id).map(|task| task.id));
    }
    set(&mut view.services, &mut change.services, id, service);
}

fn set<K: Ord + Copy, V: Clone + PartialEq>(
    all: &mut BTreeMap<K, V>,
    parts: &mut Parts<K, V>,
    key: K,
    value: Option<V>,
) {
    if all.get(&key) == value.as_ref() {
        return;
    }
    match value {
        Some(value) => {
            parts.changed.insert(key, value.clone());
            all.insert(key, value);
        }
        None => {
            parts.removed.push(key);
            all.remove(&key);
        }
    }
}

#[cfg(test)]
#[path = "view_follow_test.rs"]
mod tests;
