//! A small cluster for tests: a state, a leader, and agents that do what they are told at once unless told
//! otherwise. Time moves only when a test says so. Every applied entry is checked against all invariants.
#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod agent;
pub(crate) mod net;
pub(crate) mod tell;

use std::collections::BTreeMap;

use shoal_core::dispatcher::seen::Seen;
use shoal_core::ids::IdSource;
use shoal_core::invariants::{self, Transition};
use shoal_core::leader::Leader;
use shoal_core::service::Planned;
use shoal_core::service::revise::Request;
use shoal_core::state::{Change, Group, Proposal, State};
use shoal_proto::cluster::{Cluster, RootCa};
use shoal_proto::id::{NodeId, ServiceId, TaskId};
use shoal_proto::node::{Node, NodeDescription, NodePlan, NodeState, NodeStatus};
use shoal_proto::object::{Actor, Cause, Meta};
use shoal_proto::resources::Resources;
use shoal_proto::service::Service;
use shoal_proto::task::Task;
use shoal_proto::time::Timestamp;

use agent::{Agent, Habit};

/// Steps without an end mean that two parts undo each other's work.
const STEPS_MAX: usize = 400;

/// Looks at a state.
pub(crate) type Watcher = Box<dyn FnMut(&State)>;

/// A cluster.
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) seen: Seen,
    pub(crate) leader: Leader,
    pub(crate) ids: IdSource,
    pub(crate) now: Timestamp,
    pub(crate) began: Timestamp,
    pub(crate) agents: BTreeMap<NodeId, Agent>,
    /// What containers of an image do.
    pub(crate) habits: BTreeMap<String, Habit>,
    /// Short names of tasks in the order of their making.
    pub(crate) names: BTreeMap<TaskId, String>,
    /// How many tasks each slot had.
    pub(crate) made: BTreeMap<String, usize>,
    /// Hostnames, also of nodes that are gone.
    pub(crate) nodes: BTreeMap<NodeId, String>,
    /// What was decided since the last look.
    pub(crate) told: Vec<String>,
    /// Looked at after every applied entry.
    pub(crate) watcher: Option<Watcher>,
    /// Every so manieth group of a step meets a conflict; zero for none.
    pub(crate) contention: usize,
    decided: usize,
    wake_at: Option<Timestamp>,
    leaders: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let now = Timestamp::from_ms(1_000_000_000);
        let mut world = Self {
            state: State::default(),
            seen: Seen::new(now),
            leader: Leader::new(IdSource::from_seed(seed)),
            ids: IdSource::from_seed(seed ^ 0xfeed),
            now,
            began: now,
            agents: BTreeMap::new(),
            habits: BTreeMap::new(),
            names: BTreeMap::new(),
            nodes: BTreeMap::new(),
            made: BTreeMap::new(),
            told: Vec::new(),
            watcher: None,
            contention: 0,
            decided: 0,
            wake_at: None,
            leaders: seed,
        };
        let cluster = Cluster::founded(world.ids.cluster(now), 1, RootCa::default());
        let mut group = Group::new();
        group.put(cluster);
        world.apply(vec![group]);
        world
    }

    /// Applies groups as one entry and checks every invariant.
    pub(crate) fn apply(&mut self, groups: Vec<Group>) {
        self.apply_for(Cause::default(), groups);
    }

    fn apply_for(&mut self, cause: Cause, groups: Vec<Group>) {
        if groups.is_empty() {
            return;
        }
        let before = self.state.clone();
        let proposal = Proposal::new(self.now, cause, groups);
        proposal.check_limits().expect("a proposal within the limits");
        let applied = self.state.apply(before.index() + 1, &proposal);
        let conflict = applied.results.iter().find_map(|result| result.as_ref().err());
        if let Some(conflict) = conflict.filter(|_| self.contention == 0) {
            panic!("conflict without another writer: {conflict}\n{}", self.story());
        }
        let transition = Transition {
            before: &before,
            after: &self.state,
            events: &applied.events,
        };
        let mut broken = invariants::check(&transition);
        broken.extend(invariants::check_guards(&before, &proposal, &applied));
        broken.extend(invariants::check_choice(&transition));
        tell::tell(self, &before);
        assert!(broken.is_empty(), "{}\n{}", join(&broken), self.story());
        if let Some(mut watcher) = self.watcher.take() {
            watcher(&self.state);
            self.watcher = Some(watcher);
        }
    }

    /// What was told so far.
    pub(crate) fn story(&self) -> String {
        self.told.join("\n")
    }

    /// One look of the leader; whether it changed anything.
    pub(crate) fn step(&mut self) -> bool {
        self.heartbeats();
        let step = self.leader.step(&self.state, &self.seen, self.now);
        self.wake_at = step.wake_at;
        let any = !step.groups.is_empty();
        let groups = self.contended(step.groups);
        self.apply(groups);
        any
    }

    /// Without those groups that are to meet a conflict: nothing of them is applied, and whatever stood on them meets
    /// one, too.
    fn contended(&mut self, mut groups: Vec<Group>) -> Vec<Group> {
        if self.contention > 0 {
            groups.retain(|_| {
                self.decided += 1;
                !self.decided.is_multiple_of(self.contention)
            });
        }
        groups
    }

    /// Lets leader and agents work until nothing happens at this moment.
    pub(crate) fn settle(&mut self) {
        for _ in 0..STEPS_MAX {
            let decided = self.step();
            let worked = self.work();
            if !decided && !worked && self.wake_at.is_none_or(|at| at > self.now) {
                return;
            }
        }
        panic!("no end after {STEPS_MAX} steps:\n{}", self.story());
    }

    /// Moves time, stopping wherever the leader asked to look.
    pub(crate) fn advance(&mut self, ms: u64) {
        let end = self.now + ms;
        self.settle();
        while self.now < end {
            self.pass_time(end);
            self.settle();
        }
    }

    /// Moves time to where something could happen next, at most to `end`.
    pub(crate) fn pass_time(&mut self, end: Timestamp) {
        let agents = self
            .agents
            .values()
            .filter_map(|agent| agent.wakes_at(self.now))
            .min();
        let next = [self.wake_at, agents].into_iter().flatten().min().unwrap_or(end);
        // Heartbeats come every two seconds.
        self.now = next.min(self.now + 2_000).min(end).max(self.now + 1);
    }

    /// Another manager leads: it knows nothing but the state.
    pub(crate) fn change_leader(&mut self) {
        self.leaders += 1;
        self.leader = Leader::new(IdSource::from_seed(self.leaders << 32));
        self.seen = Seen::new(self.now);
        for agent in self.agents.values().filter(|agent| agent.alive) {
            self.seen
                .session_opened(agent.id, agent.session, agent.epoch, self.now);
        }
    }

    pub(crate) fn add_node(&mut self, name: &str, resources: Resources) -> NodeId {
        // Ids of one moment have no order; a story reads better with one.
        self.now = self.now + 1;
        let id = self.ids.node(self.now);
        let description = NodeDescription {
            hostname: name.to_owned(),
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
            resources,
            ..NodeDescription::default()
        };
        let status = NodeStatus {
            state: NodeState::Ready,
            since: self.now,
            epoch: 1,
            description: Some(description),
            ..NodeStatus::default()
        };
        let node = Node {
            id,
            meta: Meta::default(),
            plan: NodePlan::default(),
            status,
        };
        let session = self.ids.session(self.now);
        self.nodes.insert(id, name.to_owned());
        self.agents.insert(id, Agent::new(id, session));
        self.seen.session_opened(id, session, 1, self.now);
        let mut group = Group::new();
        group.put(node);
        self.apply(vec![group]);
        id
    }

    pub(crate) fn node_named(&self, name: &str) -> Node {
        let found = self.state.nodes().find(|node| node.name() == name);
        Node::clone(found.unwrap_or_else(|| panic!("no node {name}")))
    }

    pub(crate) fn change_node(&mut self, name: &str, change: impl FnOnce(&mut Node)) {
        let mut node = self.node_named(name);
        change(&mut node);
        let mut group = Group::new();
        group.put(node);
        self.apply(vec![group]);
    }

    pub(crate) fn change_description(&mut self, name: &str, change: impl FnOnce(&mut NodeDescription)) {
        self.change_node_status(name, |status| {
            change(status.description.as_mut().expect("an agent that spoke"));
        });
    }

    pub(crate) fn change_node_status(&mut self, name: &str, change: impl FnOnce(&mut NodeStatus)) {
        let node = self.node_named(name);
        let mut status = node.status;
        change(&mut status);
        let mut group = Group::new();
        group.change(Change::NodeStatus {
            node: node.id,
            status: Box::new(status),
        });
        self.apply(vec![group]);
    }

    pub(crate) fn service_named(&self, name: &str) -> Service {
        Service::clone(
            self.state
                .service_named(name)
                .unwrap_or_else(|| panic!("no service {name}")),
        )
    }

    /// Does what an operator asks for and says what is refused.
    pub(crate) fn operator<E: std::fmt::Display>(
        &mut self,
        ask: impl FnOnce(&mut Request<'_>) -> Result<Planned, E>,
    ) -> Option<ServiceId> {
        let state = self.state.clone();
        let mut request = Request {
            state: &state,
            ids: &mut self.ids,
            now: self.now,
            writer: "ann",
        };
        match ask(&mut request) {
            Ok(planned) => {
                if !planned.group.is_empty() {
                    let actor = Actor::Operator("ann".to_owned());
                    self.apply_for(
                        Cause {
                            actor,
                            action: String::new(),
                        },
                        vec![planned.group],
                    );
                }
                Some(planned.service.id)
            }
            Err(error) => {
                tell::say(self, format!("refused: {error}"));
                None
            }
        }
    }

    /// Tasks of a service that run, by node.
    pub(crate) fn running(&self, service: ServiceId) -> Vec<Task> {
        let tasks = self.state.tasks_of_service(service);
        let running = tasks.filter(|task| task.status.state == shoal_proto::task::TaskState::Running);
        running.map(|task| Task::clone(task)).collect()
    }
}

fn join<T: std::fmt::Display>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
