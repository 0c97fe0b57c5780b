//! What operators do meanwhile: services come, grow, change, go back and go; nodes are drained and taken in again.
//! Now and then a call is sent twice, as after a lost answer.

use std::collections::BTreeSet;

use shoal_core::service::Planned;
use shoal_core::service::revise::{self, Request, RollbackScope};
use shoal_core::state::{Applied, Group, Object, Proposal};
use shoal_proto::container::{ContainerSpec, HealthCheck, Mount, MountKind};
use shoal_proto::id::ServiceId;
use shoal_proto::node::{Availability, Node};
use shoal_proto::object::{Actor, Cause};
use shoal_proto::reason::Reason;
use shoal_proto::resources::{ResourceSpec, Resources};
use shoal_proto::service::{
    HostPort, IngressPort, Mode, Placement, Protocol, RestartCondition, RestartPolicy, Service,
    ServiceSettings, ServiceSpec, TaskTemplate,
};
use shoal_proto::update::{FailureAction, RolloutState, UpdateOrder, UpdatePolicy};

use crate::managers::Origin;
use crate::world::{Event, Faults, World};

/// An image whose process fails soon after its start.
pub(crate) const BAD_IMAGE: &str = "bad:1";
/// What every node has.
pub(crate) const IMAGES: [&str; 3] = ["web:1", "web:2", BAD_IMAGE];
/// Services at once.
const SERVICES_MAX: usize = 5;
/// Nodes that are left at least.
const NODES_MIN: usize = 2;

impl World {
    /// An operator does something, and will again.
    pub(crate) fn operator(&mut self) {
        if self.faults == Faults::Off {
            return;
        }
        match self.between(0, 12) {
            0..=2 => self.create_service(),
            3 | 4 => self.with_service(|world, id| world.scale(id)),
            5 | 6 => self.with_service(|world, id| world.update(id)),
            7 => self.with_service(|world, id| {
                world.call("rollback", |request| {
                    revise::rollback(request, id, None, RollbackScope::Content)
                });
            }),
            8 => self.change_node(),
            9 | 10 => self.change_content(),
            11 => self.remove_node(),
            _ if self.chance(40) => self.with_service(|world, id| {
                world.call("rm", |request| revise::remove(request, id));
            }),
            _ => self.change_node(),
        }
        let next = self.between(500, 8_000);
        self.after(next, Event::Operator);
    }

    fn with_service(&mut self, act: impl FnOnce(&mut Self, ServiceId)) {
        let live = self
            .front()
            .services()
            .filter(|service| service.removed_at.is_none());
        let live: Vec<ServiceId> = live.map(|service| service.id).collect();
        if let Some(id) = self.pick(&live) {
            act(self, id);
        }
    }

    /// Plans a change on the leader and proposes it; what is refused is refused.
    pub(crate) fn call<E: std::fmt::Display>(
        &mut self,
        what: &str,
        plan: impl FnOnce(&mut Request<'_>) -> Result<Planned, E>,
    ) {
        let Some(lead) = &self.lead else {
            return;
        };
        let (state, now) = (self.managers[lead.manager].state.clone(), lead.now(self.now));
        let mut request = Request {
            state: &state,
            ids: &mut self.ids,
            now,
            writer: "op",
        };
        match plan(&mut request) {
            Ok(planned) => self.propose_call(what, planned.group),
            Err(error) => self.tell(&format!("operator: {what} refused: {error}")),
        }
    }

    /// Proposes a group as an operator's call, sometimes twice.
    pub(crate) fn propose_call(&mut self, what: &str, group: Group) {
        let Some(now) = self.lead.as_ref().map(|lead| lead.now(self.now)) else {
            return;
        };
        self.tell(&format!("operator: {what}"));
        let cause = Cause {
            actor: Actor::Operator("op".to_owned()),
            action: what.to_owned(),
        };
        let proposal = Proposal::new(now, cause, vec![group]).with_request(self.ids.request(now));
        if self.mishap(20) {
            self.tally.count("fault: call repeated");
            self.propose(proposal.clone(), Origin::Operator);
        }
        self.propose(proposal, Origin::Operator);
    }

    fn create_service(&mut self) {
        if self.front().services().count() >= SERVICES_MAX {
            return;
        }
        let spec = self.any_spec();
        self.call("create", |request| revise::create(request, spec, None));
    }

    /// A service as people write them, with what is special chosen by chance.
    pub(crate) fn any_spec(&mut self) -> ServiceSpec {
        let name = format!("s{}", self.between(1, 8));
        let replicas = self.between(1, 6);
        let mode = if self.chance(20) {
            Mode::Global
        } else {
            Mode::Replicated { replicas }
        };
        let global = mode == Mode::Global;
        let policy = self.any_policy();
        let rollback = UpdatePolicy {
            failure_action: FailureAction::Pause,
            ..self.any_policy()
        };
        let restart = self.any_restart();
        let port = IngressPort {
            name: String::new(),
            protocol: Protocol::Tcp,
            container_port: 80,
            published_port: 0,
            host_ip: None,
            prefer: None,
        };
        let ingress_ports = if self.chance(30) { vec![port] } else { Vec::new() };
        let settings = ServiceSettings {
            mode,
            update: policy,
            rollback,
            restart,
            ingress_ports,
            ..ServiceSettings::default()
        };
        let mut template = self.any_template(global);
        self.use_content(&mut template);
        ServiceSpec {
            name,
            settings,
            template,
        }
    }

    fn any_restart(&mut self) -> RestartPolicy {
        let conditions = [
            RestartCondition::Any,
            RestartCondition::Any,
            RestartCondition::OnFailure,
            RestartCondition::None,
        ];
        RestartPolicy {
            delay_ms: self.between(0, 3) * 1_000,
            condition: self.pick(&conditions).unwrap_or_default(),
            max_attempts: self.pick(&[0, 0, 0, 1, 3]).unwrap_or_default(),
            window_ms: self.pick(&[0, 10_000]).unwrap_or_default(),
        }
    }

    fn any_policy(&mut self) -> UpdatePolicy {
        let actions = [
            FailureAction::Pause,
            FailureAction::Continue,
            FailureAction::Rollback,
        ];
        UpdatePolicy {
            parallelism: self.between(0, 3),
            delay_ms: self.between(0, 2) * 500,
            failure_action: self.pick(&actions).unwrap_or_default(),
            monitor_ms: self.between(0, 3) * 1_000,
            max_failure_ratio_ppm: 0,
            order: if self.chance(40) {
                UpdateOrder::StartFirst
            } else {
                UpdateOrder::StopFirst
            },
        }
    }

    fn any_template(&mut self, global: bool) -> TaskTemplate {
        let health = HealthCheck {
            test: vec!["CMD".to_owned(), "true".to_owned()],
            ..HealthCheck::default()
        };
        let data = Mount {
            destination: "/data".to_owned(),
            read_only: false,
            kind: MountKind::Volume {
                name: format!("data{}", self.between(1, 2)),
                driver: String::new(),
                driver_options: Default::default(),
                labels: Default::default(),
                no_copy: false,
                subpath: String::new(),
            },
        };
        let container = ContainerSpec {
            image: "web:1".to_owned(),
            health: self.chance(40).then_some(health),
            mounts: if self.chance(15) && !global {
                vec![data]
            } else {
                Vec::new()
            },
            ..ContainerSpec::default()
        };
        let reservations = Resources {
            memory_bytes: self.between(0, 4) << 28,
            ..Resources::default()
        };
        let max_replicas_per_node = if self.chance(20) { self.between(1, 3) } else { 0 };
        let placement = Placement {
            max_replicas_per_node,
            constraints: if self.chance(40) {
                vec!["node.labels.zone!=b".to_owned()]
            } else {
                Vec::new()
            },
            spread: if self.chance(25) {
                vec!["node.labels.zone".to_owned()]
            } else {
                Vec::new()
            },
            ..Placement::default()
        };
        let host_port = HostPort {
            protocol: Protocol::Tcp,
            container_port: 80,
            published_port: 8_080,
            host_ip: None,
        };
        let resources = ResourceSpec {
            reservations,
            ..ResourceSpec::default()
        };
        TaskTemplate {
            container,
            resources,
            placement,
            host_ports: if self.chance(10) {
                vec![host_port]
            } else {
                Vec::new()
            },
            ..TaskTemplate::default()
        }
    }

    fn scale(&mut self, id: ServiceId) {
        let replicas = self.between(0, 8);
        self.call("scale", |request| revise::scale(request, id, replicas));
    }

    fn update(&mut self, id: ServiceId) {
        let image = self.pick(&IMAGES).unwrap_or("web:1");
        let policy = self.any_policy();
        if !self.chance(35) {
            return self.update_to(id, image, Some(policy));
        }
        // The new tasks may not fit where the old ones are.
        let memory_bytes = self.between(0, 4) << 28;
        let other_zone = self.pick(&["a", "b", "c"]).unwrap_or("a");
        let elsewhere = self.chance(60).then(|| format!("node.labels.zone!={other_zone}"));
        let Some(mut spec) = self.leader_state().and_then(|state| spec_of(state, id)) else {
            return;
        };
        image.clone_into(&mut spec.template.container.image);
        spec.template.resources.reservations.memory_bytes = memory_bytes;
        spec.template.placement.constraints = elsewhere.into_iter().collect();
        spec.settings.update = policy;
        self.call("update of what it asks for", |request| {
            revise::update(request, id, spec)
        });
    }

    /// Another image under a new revision.
    pub(crate) fn update_to(&mut self, id: ServiceId, image: &str, policy: Option<UpdatePolicy>) {
        let Some(mut spec) = self.leader_state().and_then(|state| spec_of(state, id)) else {
            return;
        };
        image.clone_into(&mut spec.template.container.image);
        spec.template.force_update += 1;
        spec.settings.update = policy.unwrap_or(spec.settings.update);
        self.call(&format!("update to {image}"), |request| {
            revise::update(request, id, spec)
        });
    }

    /// Takes a node out of the cluster by force: its tasks are nobody's any more.
    fn remove_node(&mut self) {
        let nodes: Vec<_> = self.front().nodes().map(|node| node.id).collect();
        if nodes.len() <= NODES_MIN || !self.chance(30) {
            return;
        }
        let node = self
            .pick(&nodes)
            .and_then(|node| self.leader_state()?.node(node).cloned());
        if let Some(node) = node {
            self.tally.count("fault: node removed by force");
            let mut group = Group::new();
            group.delete(node);
            self.propose_call("node rm --force", group);
        }
    }

    /// Gives a node another zone: services with a constraint may have to leave it.
    fn label_node(&mut self) {
        let nodes: Vec<_> = self.front().nodes().map(|node| node.id).collect();
        let zone = self.pick(&["a", "b", "c"]).unwrap_or("a");
        let found = self
            .pick(&nodes)
            .and_then(|node| self.leader_state()?.node(node).cloned());
        let Some(found) = found else {
            return;
        };
        let mut changed = Node::clone(&found);
        changed.plan.labels.insert("zone".to_owned(), zone.to_owned());
        let mut group = Group::new();
        group.put(changed);
        self.propose_call(&format!("node zone {zone}"), group);
    }

    fn change_node(&mut self) {
        if self.chance(50) {
            return self.label_node();
        }
        let nodes: Vec<_> = self.front().nodes().map(|node| node.id).collect();
        let choices = [
            Availability::Active,
            Availability::Active,
            Availability::Pause,
            Availability::Drain,
        ];
        if let (Some(node), Some(availability)) = (self.pick(&nodes), self.pick(&choices)) {
            self.set_availability(node, availability);
        }
    }

    /// A drain may turn out to be a mistake while a replacement is on its way.
    pub(crate) fn regret_drains(&mut self, applied: &Applied) {
        let made = applied.events.iter().filter(|event| event.before().is_none());
        let drained = made.filter_map(|event| match event.after() {
            Some(Object::Task(task)) => match task.plan.replaces {
                Some((_, Reason::NodeDrained(node))) => Some(node),
                _ => None,
            },
            _ => None,
        });
        for node in drained.collect::<BTreeSet<_>>() {
            if self.mishap(30) {
                let soon = self.between(1, 2_000);
                self.after(soon, Event::DrainTakenBack(node));
            }
        }
    }

    /// A drain was a mistake.
    pub(crate) fn take_back_drain(&mut self, node: shoal_proto::id::NodeId) {
        self.tally.count("operator: drain taken back");
        self.set_availability(node, Availability::Active);
    }

    /// Allows or forbids tasks on a node.
    pub(crate) fn set_availability(&mut self, node: shoal_proto::id::NodeId, availability: Availability) {
        let Some(found) = self.leader_state().and_then(|state| state.node(node)) else {
            return;
        };
        if found.plan.availability == availability {
            return;
        }
        let mut changed = Node::clone(found);
        changed.plan.availability = availability;
        let mut group = Group::new();
        group.put(changed);
        self.propose_call(&format!("node {availability}"), group);
    }

    /// What is left for operators once everything works: images that never will, rollouts that paused, nodes.
    pub(crate) fn tidy_up(&mut self) {
        let nodes: Vec<_> = self.front().nodes().map(|node| node.id).collect();
        for (at, node) in nodes.into_iter().enumerate() {
            let stays_out = at == 0 && self.chance(30);
            let availability = if stays_out {
                Availability::Drain
            } else {
                Availability::Active
            };
            self.set_availability(node, availability);
        }
        let state = self.front().clone();
        for service in state.services().filter(|service| service.removed_at.is_none()) {
            let revision = state.revision(service.revision);
            let bad = revision.is_none_or(|revision| revision.template.container.image == BAD_IMAGE);
            let paused = service
                .rollout
                .as_ref()
                .is_some_and(|rollout| rollout.state == RolloutState::Paused);
            if bad || paused {
                self.update_to(service.id, "web:2", None);
            }
        }
    }
}

fn spec_of(state: &shoal_core::state::State, id: ServiceId) -> Option<ServiceSpec> {
    let service: &Service = state.service(id)?;
    let template = TaskTemplate::clone(&state.revision(service.revision)?.template);
    Some(ServiceSpec {
        name: service.name.clone(),
        settings: service.settings.clone(),
        template,
    })
}
