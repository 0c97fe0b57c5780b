//! A view that follows is the view computed anew, whatever happens.

use std::net::{IpAddr, Ipv4Addr};

use shoal_proto::id::{NetworkId, NodeId, RevisionId, ServiceId};
use shoal_proto::node::{Node, NodeState};
use shoal_proto::overlay::OverlayNumber;
use shoal_proto::service::{IngressPort, NetworkTarget, NetworkUse, Protocol, TaskTemplate};
use shoal_proto::task::{DesiredState, Leaving, TaskState};
use shoal_proto::view::View;

use super::super::view_for;
use super::follow;
use crate::fixture::Fixture;
use crate::state::{Change, ObjectKey};

/// A cluster that changes at random, from one seed.
struct Chaos {
    fixture: Fixture,
    nodes: Vec<NodeId>,
    networks: Vec<NetworkId>,
    services: Vec<(ServiceId, RevisionId)>,
    seed: u64,
    given: u32,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut chaos = Self {
            fixture: Fixture::new(),
            nodes: Vec::new(),
            networks: Vec::new(),
            services: Vec::new(),
            seed,
            given: 0,
        };
        for _ in 0..3 {
            chaos.node();
        }
        for name in ["a", "b", "c"] {
            chaos.fixture.now = chaos.fixture.now + 1;
            let attachable = name == "c";
            let network = chaos
                .fixture
                .network_with(name, "", |spec| spec.attachable = attachable);
            chaos.networks.push(network);
        }
        for (name, on) in [("web", 0..1), ("api", 1..2), ("both", 0..2), ("none", 0..0)] {
            let networks = chaos.networks[on].to_vec();
            let service = chaos.fixture.service_on(name, 3, &networks);
            chaos.services.push(service);
        }
        chaos
    }

    fn below(&mut self, end: usize) -> usize {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) as usize % end
    }

    fn node(&mut self) {
        let id = self.fixture.node();
        let number = u16::try_from(self.fixture.state.nodes().count()).unwrap();
        self.fixture
            .edit_node(id, |node| node.plan.overlay = OverlayNumber::new(number).ok());
        self.nodes.push(id);
    }

    fn status(&mut self, edit: impl FnOnce(&mut Node)) {
        let at = self.below(self.nodes.len());
        let id = self.nodes[at];
        let mut node = Node::clone(self.fixture.state.node(id).unwrap());
        edit(&mut node);
        node.status.version += 1;
        self.fixture.change(Change::NodeStatus {
            node: id,
            status: Box::new(node.status),
        });
    }

    fn task(&mut self) {
        let (service, node) = (self.below(self.services.len()), self.below(self.nodes.len()));
        let web = self.services[service];
        let revision = self.fixture.state.service(web.0).unwrap().revision;
        let template = self.fixture.state.revision(revision).unwrap().template.clone();
        self.given += 1;
        let given = self.given;
        let addresses = crate::allocator::address::networks_of(&template)
            .into_iter()
            .map(|network| (network, Ipv4Addr::from_bits(0x0a80_0000 + given)));
        let addresses: Vec<_> = addresses.collect();
        let (node, running) = (self.nodes[node], self.below(2) == 0);
        self.fixture
            .task_with((web.0, revision), given.into(), Some(node), |task| {
                task.plan.addresses = addresses;
                if running {
                    task.status.state = TaskState::Running;
                }
            });
    }

    fn any_task(&mut self) -> Option<(shoal_proto::id::TaskId, NodeId)> {
        let tasks: Vec<_> = self
            .fixture
            .state
            .tasks()
            .map(|task| (task.id, task.plan.node.unwrap()))
            .collect();
        (!tasks.is_empty()).then(|| tasks[self.below(tasks.len())])
    }

    fn change(&mut self) {
        let service = self.below(self.services.len());
        let service = self.services[service].0;
        match self.below(12) {
            0..=3 => self.task(),
            4 => self.end(TaskState::Failed),
            5 => self.end(TaskState::Running),
            6 => {
                if let Some((id, _)) = self.any_task() {
                    let since = self.fixture.now;
                    self.fixture.edit_task(id, |task| {
                        task.plan.leaving = match task.plan.leaving {
                            Some(_) => None,
                            None => Some(Leaving {
                                since,
                                quiet_since: None,
                                unheard: Vec::new(),
                            }),
                        }
                    });
                }
            }
            7 => {
                self.given += 1;
                let port = u16::try_from(8_000 + self.given).unwrap();
                self.fixture.edit_service(service, |service| {
                    service.settings.ingress_ports = match service.settings.ingress_ports.len() {
                        0 => vec![published(port)],
                        _ => Vec::new(),
                    };
                });
            }
            8 => self.status(|node| {
                node.status.state = match node.status.state {
                    NodeState::Ready => NodeState::Down,
                    _ => NodeState::Ready,
                }
            }),
            9 => self.status(|node| node.status.addr = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)))),
            10 => {
                let (network, node) = (self.below(3), self.below(self.nodes.len()));
                let (network, node) = (self.networks[network], self.nodes[node]);
                self.fixture.edit_network(network, |network| {
                    crate::allocator::block::give(network, node).unwrap();
                });
            }
            _ => self.revise(service),
        }
    }

    fn end(&mut self, state: TaskState) {
        let Some((id, node)) = self.any_task() else {
            return;
        };
        let epoch = self.fixture.state.node(node).unwrap().status.epoch;
        if self.fixture.read(id).status.state.is_terminal() {
            self.fixture.change(Change::Delete(ObjectKey::Task(id)));
        } else {
            self.fixture.report(id, node, state, epoch);
            self.fixture
                .edit_task(id, |task| task.plan.desired = DesiredState::Shutdown);
        }
    }

    /// The service goes to other networks.
    fn revise(&mut self, service: ServiceId) {
        let mut on = self.networks.clone();
        on.retain(|_| self.below(2) == 0);
        let networks = on.into_iter().map(|id| NetworkUse {
            network: NetworkTarget::Cluster(id),
            aliases: vec![format!("alias{}", self.given)],
        });
        let template = TaskTemplate {
            networks: networks.collect(),
            ..TaskTemplate::default()
        };
        let number = self.fixture.state.service(service).unwrap().last_revision_number + 1;
        let revision = self.fixture.revision(service, number, template);
        self.fixture.edit_service(service, |service| {
            service.revision = revision;
            service.last_revision_number = number;
        });
    }
}

fn published(port: u16) -> IngressPort {
    IngressPort {
        name: String::new(),
        protocol: Protocol::Tcp,
        container_port: 80,
        published_port: port,
        host_ip: None,
        prefer: None,
    }
}

#[test]
fn a_view_that_follows_is_the_view_computed_anew() {
    let (mut followed, mut anew) = (0, 0);
    for seed in 0..40 {
        let mut chaos = Chaos::new(seed);
        let mut views: Vec<View> = Vec::new();
        for node in &chaos.nodes {
            views.push(view_for(&chaos.fixture.state, *node));
        }
        for step in 0..60 {
            let from = chaos.fixture.state.index();
            chaos.change();
            let several = chaos.fixture.state.index() != from + 1;
            for view in &mut views {
                let expected = view_for(&chaos.fixture.state, view.node);
                let before = view.clone();
                // Of several entries the fixture tells the last alone.
                let change = if several {
                    None
                } else {
                    follow(view, &chaos.fixture.state, chaos.fixture.last_events())
                };
                let Some(change) = change else {
                    anew += 1;
                    *view = expected;
                    continue;
                };
                followed += 1;
                assert_eq!(*view, expected, "seed {seed}, step {step}");
                assert_eq!(change, before.change_to(&expected), "seed {seed}, step {step}");
            }
        }
    }
    assert!(followed > anew, "{followed} followed, {anew} anew");
}
