//! What a node must know of the cluster's networks, as a function of the state: those it carries with all that is on
//! them, and every service that publishes ports. Which packets go where is the agent's to carry out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use shoal_proto::id::{NetworkId, NodeId, ServiceId, TaskId};
use shoal_proto::network::{Network, ingress_network, way_out};
use shoal_proto::node::Node;
use shoal_proto::overlay::{OVERLAY_IDENTIFIER, OVERLAY_PORT};
use shoal_proto::service::{EndpointMode, NetworkTarget, Service, SlotKey, TaskTemplate};
use shoal_proto::task::{DesiredState, Task, TaskState};
use shoal_proto::view::{self, Endpoint, EndpointState, Inside, Outside, Overlay, Peer, Secrecy, View};

use crate::allocator::address::networks_of;
use crate::orchestrator::evict::is_lost;
use crate::orchestrator::slot::is_open;
use crate::state::{Event, Object, ObjectKey, State};

/// What a node must know at the state's index.
#[must_use]
pub fn view_for(state: &State, node: NodeId) -> View {
    let sight = Sight::of(state, node);
    let mut view = View::new(node, overlay(state));
    let peers = state.nodes().filter_map(|node| Some((node.id, peer(node)?)));
    view.peers = peers.collect();
    for id in sight.services() {
        let Some(service) = state.service(id) else {
            continue;
        };
        let seen = sight.service(service);
        for task in state.tasks_of_service(id) {
            let endpoint = sight.endpoint(task, &seen);
            view.endpoints
                .extend(endpoint.map(|endpoint| (task.id, endpoint)));
        }
        view.services.insert(id, seen);
    }
    view.networks = sight.networks(&view);
    view
}

/// Whether any of these events can change this view. Those of the node's own tasks and of the cluster always can, and are
/// not asked for here.
pub fn is_concerned<'e>(view: &View, state: &State, events: impl IntoIterator<Item = &'e Event>) -> bool {
    let sight = Sight::of(state, view.node);
    events.into_iter().any(|event| sight.is_concerned(view, event))
}

/// The network on which published ports lead to the tasks of a template.
#[must_use]
pub fn mesh_of(state: &State, template: &TaskTemplate) -> Option<NetworkId> {
    let networks = networks_of(template);
    let networks = networks.iter().filter_map(|id| state.network(*id));
    way_out(networks.map(AsRef::as_ref)).map(|network| network.id)
}

/// Whether new connections may go to a task from a node with this view.
#[must_use]
pub fn sends_to(view: &View, task: TaskId) -> bool {
    let Some(endpoint) = view.endpoints.get(&task) else {
        return false;
    };
    let leads = |network: &NetworkId| *network != ingress_network() || endpoint.mesh == Some(*network);
    endpoint.state == EndpointState::Ready && endpoint.addresses.keys().any(leads)
}

/// Whether new connections are for a task, its node apart.
#[must_use]
pub fn takes_connections(task: &Task) -> bool {
    task.status.state == TaskState::Running
        && task.status.healthy != Some(false)
        && task.plan.leaving.is_none()
        && matches!(task.plan.desired, DesiredState::Running | DesiredState::Complete)
}

fn overlay(state: &State) -> Overlay {
    Overlay {
        subnet: state.cluster_spec().overlay_subnet,
        identifier: OVERLAY_IDENTIFIER,
        port: OVERLAY_PORT,
        prefix: state.prefix(),
    }
}

/// A node that others can send to; one whose agent never spoke has no end of the tunnel.
fn peer(node: &Node) -> Option<Peer> {
    let Some(IpAddr::V4(host)) = node.status.addr else {
        return None;
    };
    let about = node.status.description.as_ref();
    Some(Peer {
        number: node.plan.overlay?,
        host,
        name: node.name().to_owned(),
        key: about.and_then(|about| about.tunnel_key),
        ipv6: about.and_then(|about| about.ipv6.clone()),
    })
}

/// Networks on which published ports lead to tasks.
fn meshes(view: &View) -> BTreeSet<NetworkId> {
    let ends = view.endpoints.values();
    ends.filter_map(|endpoint| endpoint.mesh).collect()
}

/// What one node looks at.
struct Sight<'a> {
    state: &'a State,
    node: NodeId,
    /// Networks that tasks of its own are on.
    carried: BTreeSet<NetworkId>,
}

impl<'a> Sight<'a> {
    fn of(state: &'a State, node: NodeId) -> Self {
        let open = state.tasks_on_node(node).filter(|task| is_open(task));
        let carried = open.flat_map(|task| task.plan.addresses.iter().map(|(network, _)| *network));
        Self {
            state,
            node,
            carried: carried.collect(),
        }
    }

    /// Services with a task or a name on a network that the node carries, those of its own tasks, and those that publish
    /// ports. Nobody sends to others on the cluster's own network but for these.
    fn services(&self) -> BTreeSet<ServiceId> {
        let state = self.state;
        let mut services: BTreeSet<ServiceId> = state.services_with_ports().collect();
        let own = state.tasks_on_node(self.node).filter(|task| is_open(task));
        services.extend(own.map(|task| task.plan.service));
        for network in self.carried.iter().filter(|network| self.is_named_on(**network)) {
            let tasks = state.tasks_on_network(*network).filter(|task| is_open(task));
            services.extend(tasks.map(|task| task.plan.service));
            let named = state.revisions_using(&ObjectKey::Network(*network));
            services.extend(
                named
                    .filter(|revision| {
                        let service = state.service(revision.service);
                        service.is_some_and(|service| service.revision == revision.id)
                    })
                    .map(|revision| revision.service),
            );
        }
        services
    }

    /// Whether a service is one of [`Self::services`].
    fn sees(&self, service: &Service) -> bool {
        let publishes = service.removed_at.is_none()
            && service
                .settings
                .ingress_ports
                .iter()
                .any(|port| port.published_port != 0);
        let here = |task: &Task| {
            let mut on = task.plan.addresses.iter();
            let own = task.plan.node == Some(self.node);
            is_open(task) && (own || on.any(|(network, _)| self.is_named_on(*network)))
        };
        let mut tasks = self.state.tasks_of_service(service.id);
        publishes || self.is_to_be_named(service) || tasks.any(|task| here(task))
    }

    /// Networks on which tasks and services are known by name.
    fn is_named_on(&self, network: NetworkId) -> bool {
        self.carried.contains(&network) && network != ingress_network()
    }

    fn service(&self, service: &Service) -> view::Service {
        let template = self
            .state
            .revision(service.revision)
            .map(|revision| &revision.template);
        let live = service.removed_at.is_none();
        let ports = service
            .settings
            .ingress_ports
            .iter()
            .filter(|port| live && port.published_port != 0);
        let ports: Vec<_> = ports.cloned().collect();
        let mode = service.settings.endpoint;
        let addresses = service
            .addresses
            .iter()
            .filter(|(network, _)| mode == EndpointMode::Vip && self.is_named_on(*network));
        view::Service {
            name: service.name.clone(),
            mode,
            addresses: addresses.copied().collect(),
            aliases: template.map(|of| self.aliases(of)).unwrap_or_default(),
            ports,
        }
    }

    fn aliases(&self, template: &TaskTemplate) -> BTreeMap<NetworkId, Vec<String>> {
        let used = template.networks.iter();
        used.filter_map(|used| match used.network {
            NetworkTarget::Cluster(id) if self.is_named_on(id) => Some((id, used.aliases.clone())),
            _ => None,
        })
        .collect()
    }

    /// A task that has not ended, where this node may send to it.
    fn endpoint(&self, task: &Task, of: &view::Service) -> Option<Endpoint> {
        let node = task.plan.node.filter(|_| is_open(task))?;
        let own = node == self.node;
        let template = self.state.template_of(task);
        let publishes = !of.ports.is_empty();
        let mesh = template
            .filter(|_| publishes)
            .and_then(|of| mesh_of(self.state, of));
        let seen = |network: &NetworkId| own || self.is_named_on(*network) || mesh == Some(*network);
        let addresses = task.plan.addresses.iter().filter(|(network, _)| seen(network));
        let addresses: BTreeMap<NetworkId, Ipv4Addr> = addresses.copied().collect();
        if addresses.is_empty() {
            return None;
        }
        let answers = self.state.node(node).is_some_and(|node| !is_lost(node));
        Some(Endpoint {
            service: task.plan.service,
            slot: match task.plan.slot {
                SlotKey::Number(number) => Some(number),
                SlotKey::Node(_) => None,
            },
            node,
            aliases: template.map(|of| self.aliases(of)).unwrap_or_default(),
            mesh: mesh.filter(|network| addresses.contains_key(network)),
            addresses,
            state: if answers && takes_connections(task) {
                EndpointState::Ready
            } else {
                EndpointState::Aside
            },
        })
    }

    fn networks(&self, view: &View) -> BTreeMap<NetworkId, view::Network> {
        let all: BTreeSet<NetworkId> = self.carried.iter().copied().chain(meshes(view)).collect();
        let networks = all.into_iter().filter_map(|id| self.state.network(id));
        networks
            .filter_map(|network| Some((network.id, self.network(network)?)))
            .collect()
    }

    fn network(&self, network: &Network) -> Option<view::Network> {
        let blocks = network
            .blocks
            .iter()
            .filter(|(node, _)| **node == self.node || network.spec.attachable);
        Some(view::Network {
            name: network.spec.name.clone(),
            subnet: network.subnet?,
            blocks: blocks.map(|(node, block)| (*node, block.subnet)).collect(),
            outside: if network.spec.internal {
                Outside::Closed
            } else {
                Outside::Reachable
            },
            inside: if network.id == ingress_network() {
                Inside::Apart
            } else {
                Inside::Together
            },
            attachable: network.spec.attachable,
            secrecy: if network.spec.is_encrypted() {
                Secrecy::Encrypted
            } else {
                Secrecy::Open
            },
            prefix: self.state.prefix_of(network),
        })
    }

    fn is_concerned(&self, view: &View, event: &Event) -> bool {
        let objects = [event.before(), event.after()];
        let known = objects.iter().flatten().any(|object| self.knows(view, object));
        known
            && match objects {
                [Some(before), Some(after)] => self.is_told_apart(before, after),
                _ => true,
            }
    }

    /// Whether the view says anything of an object, or would.
    fn knows(&self, view: &View, object: &Object) -> bool {
        match object {
            Object::Task(task) => {
                let mut on = task.plan.addresses.iter();
                view.services.contains_key(&task.plan.service)
                    || task.plan.node == Some(self.node)
                    || on.any(|(network, _)| self.is_named_on(*network))
            }
            Object::Service(service) => {
                view.services.contains_key(&service.id)
                    || !service.settings.ingress_ports.is_empty()
                    || self.is_to_be_named(service)
            }
            Object::Network(network) => view.networks.contains_key(&network.id),
            Object::Node(_) => true,
            _ => false,
        }
    }

    fn is_to_be_named(&self, service: &Service) -> bool {
        let revision = self.state.revision(service.revision);
        revision.is_some_and(|revision| {
            let on = networks_of(&revision.template);
            on.iter().any(|network| self.is_named_on(*network))
        })
    }

    /// Whether a view may say something else of it afterwards.
    fn is_told_apart(&self, before: &Object, after: &Object) -> bool {
        match (before, after) {
            (Object::Task(before), Object::Task(after)) => {
                let of = |task: &Task| (is_open(task), task.plan.node, takes_connections(task));
                of(before) != of(after) || before.plan.addresses != after.plan.addresses
            }
            (Object::Service(before), Object::Service(after)) => {
                let of = |service: &Service| {
                    let settings = &service.settings;
                    (
                        service.revision,
                        service.removed_at.is_some(),
                        settings.endpoint,
                        settings.ingress_ports.clone(),
                        service.addresses.clone(),
                    )
                };
                of(before) != of(after)
            }
            (Object::Node(before), Object::Node(after)) => {
                peer(before) != peer(after) || is_lost(before) != is_lost(after)
            }
            (Object::Network(before), Object::Network(after)) => self.network(before) != self.network(after),
            _ => true,
        }
    }
}

#[path = "view_follow.rs"]
mod follow;
pub use follow::follow;

#[cfg(test)]
#[path = "view_test.rs"]
mod tests;
