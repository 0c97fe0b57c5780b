//! Small clusters for the tests of this crate: objects with the defaults an operator would get.

use std::sync::Arc;

use shoal_proto::cluster::{Cluster, RootCa};
use shoal_proto::container::{Mount, MountKind};
use shoal_proto::digest::Digest;
use shoal_proto::id::{NetworkId, NodeId, RevisionId, ServiceId, TaskId};
use shoal_proto::network::{Network, NetworkSpec};
use shoal_proto::node::{Node, NodeDescription, NodePlan, NodeState, NodeStatus};
use shoal_proto::object::{Cause, Meta};
use shoal_proto::resources::Resources;
use shoal_proto::service::{
    Mode, NetworkTarget, NetworkUse, Revision, Service, ServiceSettings, SlotKey, TaskTemplate,
};
use shoal_proto::task::{DesiredState, Task, TaskPlan, TaskState, TaskStatus};
use shoal_proto::time::Timestamp;
use shoal_proto::update::{Direction, Rollout, RolloutState};

use crate::allocator::subnet;
use crate::ids::IdSource;
use crate::invariants::{self, Transition};
use crate::service::revise::Request;
use crate::service::{Effect, Planned};
use crate::state::{Applied, Change, Event, Group, Object, Proposal, State};

/// A local volume of that name, mounted at `/data`.
pub(crate) fn data(name: &str) -> Mount {
    Mount {
        destination: "/data".to_owned(),
        read_only: false,
        kind: MountKind::Volume {
            name: name.to_owned(),
            driver: String::new(),
            driver_options: Default::default(),
            labels: Default::default(),
            no_copy: false,
            subpath: String::new(),
        },
    }
}

/// A state that grows by proposals, with ids and a time of its own.
pub(crate) struct Fixture {
    pub(crate) state: State,
    pub(crate) ids: IdSource,
    pub(crate) now: Timestamp,
    /// The state before the last entry, and what that changed.
    last: (State, Vec<Event>),
}

impl Fixture {
    /// With a cluster and nothing else.
    pub(crate) fn new() -> Self {
        let mut fixture = Self {
            state: State::default(),
            ids: IdSource::from_seed(1),
            now: Timestamp::from_ms(1_000_000),
            last: Default::default(),
        };
        let cluster = Cluster::founded(fixture.ids.cluster(fixture.now), 1, RootCa::default());
        fixture.put(cluster);
        fixture
    }

    /// A stored task, as it is now.
    pub(crate) fn read(&self, id: TaskId) -> Task {
        Task::clone(self.state.task(id).unwrap())
    }

    /// Applies one proposal at the next index.
    pub(crate) fn apply(&mut self, proposal: &Proposal) -> Applied {
        let before = self.state.clone();
        let applied = self.state.apply(self.state.index() + 1, proposal);
        self.last = (before, applied.events.clone());
        applied
    }

    /// What the last entry changed.
    pub(crate) fn last_events(&self) -> &[Event] {
        &self.last.1
    }

    /// Names of the properties that the last entry broke.
    pub(crate) fn violated(&self) -> Vec<&'static str> {
        let (before, events) = (&self.last.0, self.last.1.as_slice());
        let found = invariants::check(&Transition {
            before,
            after: &self.state,
            events,
        });
        found.into_iter().map(|violation| violation.property).collect()
    }

    /// Names of what a leader would have chosen badly whose step is the last entry.
    pub(crate) fn chosen_badly(&self) -> Vec<&'static str> {
        let (before, events) = (&self.last.0, self.last.1.as_slice());
        let found = invariants::check_choice(&Transition {
            before,
            after: &self.state,
            events,
        });
        found.into_iter().map(|violation| violation.property).collect()
    }

    /// Applies groups.
    pub(crate) fn groups(&mut self, groups: Vec<Group>) -> Applied {
        self.apply(&Proposal::new(self.now, Cause::default(), groups))
    }

    /// What this operator asks of a service, carried out if it is not refused; the service as it is stored then.
    pub(crate) fn asked<E>(
        &mut self,
        writer: &str,
        ask: impl FnOnce(&mut Request<'_>) -> Result<Planned, E>,
    ) -> Result<(Service, Effect), E> {
        let state = self.state.clone();
        let mut request = Request {
            state: &state,
            ids: &mut self.ids,
            now: self.now,
            writer,
        };
        let planned = ask(&mut request)?;
        if !planned.group.is_empty() {
            self.groups(vec![planned.group]);
        }
        let stored = self.state.service(planned.service.id).expect("stored");
        Ok((Service::clone(stored), planned.effect))
    }

    /// Applies one group and returns what became of it.
    pub(crate) fn group(&mut self, build: impl FnOnce(&mut Group)) -> crate::state::GroupResult {
        let mut group = Group::new();
        build(&mut group);
        self.groups(vec![group]).results.remove(0)
    }

    /// Puts an object under its usual guards.
    pub(crate) fn put(&mut self, object: impl Into<Object>) {
        let object = object.into();
        self.group(|group| {
            group.put(object);
        })
        .unwrap();
    }

    /// Applies one change without a guard.
    pub(crate) fn change(&mut self, change: Change) {
        self.group(|group| {
            group.change(change);
        })
        .unwrap();
    }

    /// A ready node with four cores and eight gigabytes.
    pub(crate) fn node(&mut self) -> NodeId {
        let id = self.ids.node(self.now);
        let description = NodeDescription {
            hostname: format!("n{}", self.state.nodes().count() + 1),
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
            resources: Resources {
                nano_cpus: 4_000_000_000,
                memory_bytes: 8 << 30,
                pids: 0,
            },
            ..NodeDescription::default()
        };
        let status = NodeStatus {
            state: NodeState::Ready,
            epoch: 1,
            description: Some(description),
            ..NodeStatus::default()
        };
        self.put(Node {
            id,
            meta: Meta::default(),
            plan: NodePlan::default(),
            status,
        });
        id
    }

    /// A network with this subnet, or the next free one where that is empty.
    pub(crate) fn network(&mut self, name: &str, subnet: &str) -> NetworkId {
        self.network_with(name, subnet, |_| {})
    }

    /// The same, edited before it is made.
    pub(crate) fn network_with(
        &mut self,
        name: &str,
        subnet: &str,
        edit: impl FnOnce(&mut NetworkSpec),
    ) -> NetworkId {
        let id = self.ids.network(self.now);
        let mut spec = NetworkSpec {
            name: name.to_owned(),
            subnet: subnet.to_owned(),
            ..NetworkSpec::default()
        };
        edit(&mut spec);
        let subnet = subnet::choose(&self.state, &spec).unwrap();
        self.put(Network {
            subnet: Some(subnet),
            ..Network::new(id, None, spec)
        });
        id
    }

    /// A replicated service on networks, with its first revision.
    pub(crate) fn service_on(
        &mut self,
        name: &str,
        replicas: u64,
        networks: &[NetworkId],
    ) -> (ServiceId, RevisionId) {
        let on = |id: &NetworkId| NetworkUse {
            network: NetworkTarget::Cluster(*id),
            aliases: vec![],
        };
        let template = TaskTemplate {
            networks: networks.iter().map(on).collect(),
            ..TaskTemplate::default()
        };
        self.service_with(name, Mode::Replicated { replicas }, template)
    }

    /// A replicated service with its first revision.
    pub(crate) fn service(&mut self, name: &str, replicas: u64) -> (ServiceId, RevisionId) {
        self.service_with(name, Mode::Replicated { replicas }, TaskTemplate::default())
    }

    /// A service with its first revision.
    pub(crate) fn service_with(
        &mut self,
        name: &str,
        mode: Mode,
        template: TaskTemplate,
    ) -> (ServiceId, RevisionId) {
        let id = self.ids.service(self.now);
        let revision = self.revision(id, 1, template);
        let settings = ServiceSettings {
            mode,
            ..ServiceSettings::default()
        };
        self.put(Service {
            id,
            meta: Meta::default(),
            name: name.to_owned(),
            stack: None,
            settings,
            setting_writers: Default::default(),
            revision,
            previous_revision: None,
            good_revision: None,
            last_revision_number: 1,
            previous_settings: None,
            rollout: None,
            removed_at: None,
            addresses: Vec::new(),
        });
        (id, revision)
    }

    /// One more revision of a service.
    pub(crate) fn revision(&mut self, service: ServiceId, number: u64, template: TaskTemplate) -> RevisionId {
        let id = self.ids.revision(self.now);
        let digest = Digest::of(&number.to_be_bytes());
        self.put(Revision {
            id,
            meta: Meta::default(),
            service,
            number,
            digest,
            template: Arc::new(template),
        });
        id
    }

    /// A task of a replicated service's slot on a node.
    pub(crate) fn task(
        &mut self,
        service: (ServiceId, RevisionId),
        slot: u64,
        node: Option<NodeId>,
        state: TaskState,
    ) -> TaskId {
        self.task_with(service, slot, node, |task| task.status.state = state)
    }

    /// An assigned task of a replicated service's slot on a node, edited before it is put.
    pub(crate) fn task_with(
        &mut self,
        service: (ServiceId, RevisionId),
        slot: u64,
        node: Option<NodeId>,
        edit: impl FnOnce(&mut Task),
    ) -> TaskId {
        let id = self.ids.task(self.now);
        let plan = TaskPlan {
            node,
            ..TaskPlan::new(service.0, SlotKey::Number(slot), service.1, DesiredState::Running)
        };
        let state = TaskState::Assigned;
        let status = TaskStatus {
            state,
            since: self.now,
            epoch: 1,
            ..TaskStatus::default()
        };
        let mut task = Task {
            id,
            meta: Meta::default(),
            plan,
            status,
        };
        edit(&mut task);
        self.put(task);
        id
    }

    /// An update of a service to a revision, begun now.
    pub(crate) fn begin_rollout(&mut self, service: ServiceId, to: RevisionId) {
        let started_at = self.now;
        self.edit_service(service, |service| {
            let from = std::mem::replace(&mut service.revision, to);
            service.previous_revision = Some(from);
            service.rollout = Some(Rollout {
                direction: Direction::Update,
                state: RolloutState::Running,
                from,
                to,
                started_at,
                ended_at: None,
                batch_done_at: None,
                failed_slots: 0,
                reason: None,
                reason_before_pause: None,
            });
        });
    }

    /// Changes a copy of an object and puts it.
    pub(crate) fn edit_task(&mut self, id: TaskId, edit: impl FnOnce(&mut Task)) {
        let mut task = Task::clone(self.state.task(id).unwrap());
        edit(&mut task);
        self.put(task);
    }

    /// Changes a copy of an object and puts it.
    pub(crate) fn edit_service(&mut self, id: ServiceId, edit: impl FnOnce(&mut Service)) {
        let mut service = Service::clone(self.state.service(id).unwrap());
        edit(&mut service);
        self.put(service);
    }

    /// Changes a copy of an object and puts it.
    pub(crate) fn edit_node(&mut self, id: NodeId, edit: impl FnOnce(&mut Node)) {
        let mut node = Node::clone(self.state.node(id).unwrap());
        edit(&mut node);
        self.put(node);
    }

    /// Changes a copy of an object and puts it.
    pub(crate) fn edit_network(&mut self, id: NetworkId, edit: impl FnOnce(&mut Network)) {
        let mut network = Network::clone(self.state.network(id).unwrap());
        edit(&mut network);
        self.put(network);
    }

    /// An agent's report, carried out.
    pub(crate) fn report(&mut self, task: TaskId, node: NodeId, state: TaskState, epoch: u64) {
        let status = TaskStatus {
            state,
            since: self.now,
            epoch,
            ..TaskStatus::default()
        };
        self.change(Change::TaskStatus {
            task,
            node,
            status: Box::new(status),
        });
    }
}

/// Ends a chain of calls on a group.
pub(crate) fn discard(_: &mut Group) {}
