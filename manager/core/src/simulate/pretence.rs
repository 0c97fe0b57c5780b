//! A cluster that is pretended: the real leader, a state of its own, and agents that need no time and never fail.
//! Time moves only to where the leader asked to look.

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::id::{NodeId, SessionId, TaskId};
use shoal_proto::node::{Availability, Node, NodeState, NodeStatus};
use shoal_proto::object::Cause;
use shoal_proto::task::{DesiredState, Fault, Task, TaskState, TaskStatus};
use shoal_proto::time::Timestamp;

use super::{HORIZON_MS, STEPS_MAX};
use crate::dispatcher::seen::Seen;
use crate::ids::IdSource;
use crate::leader::Leader;
use crate::state::{Change, Group, Proposal, State};

/// What is pretended.
pub(super) struct Pretence {
    pub(super) state: State,
    pub(super) now: Timestamp,
    /// When something last changed.
    pub(super) settled_at: Timestamp,
    seen: Seen,
    leader: Leader,
    sessions: BTreeMap<NodeId, SessionId>,
    /// What the agents looked at last.
    reported: State,
    wake_at: Option<Timestamp>,
    steps: usize,
}

/// Whether anything happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Something,
    Nothing,
}

impl Pretence {
    /// The cluster as it is, with every node in touch that is ready.
    pub(super) fn begin(state: &State, now: Timestamp, mut ids: IdSource) -> Self {
        let now = now.max(state.newest_time());
        let ready = state.nodes().filter(|node| node.status.state == NodeState::Ready);
        let sessions = ready.map(|node| (node.id, ids.session(now))).collect();
        let mut pretence = Self {
            state: state.clone(),
            now,
            settled_at: now,
            seen: Seen::new(now),
            leader: Leader::new(ids),
            sessions,
            reported: State::default(),
            wake_at: None,
            steps: 0,
        };
        pretence.listen();
        pretence
    }

    /// Hears of the nodes that have a session, and of no others.
    fn listen(&mut self) {
        self.seen = Seen::new(self.now);
        for (id, session) in &self.sessions {
            let epoch = self.state.node(*id).map_or(0, |node| node.status.epoch);
            self.seen.session_opened(*id, *session, epoch, self.now);
        }
    }

    /// A node is gone: nobody speaks for it, and the leader has seen that.
    pub(super) fn kill(&mut self, id: NodeId) {
        self.sessions.remove(&id);
        // What was heard of it would make it ready again.
        self.listen();
        let Some(node) = self.state.node(id) else {
            return;
        };
        let status = NodeStatus {
            state: NodeState::Down,
            since: self.now,
            ..node.status.clone()
        };
        let mut group = Group::new();
        group.change(Change::NodeStatus {
            node: id,
            status: Box::new(status),
        });
        self.apply(vec![group]);
    }

    pub(super) fn drain(&mut self, id: NodeId) {
        let Some(node) = self.state.node(id) else {
            return;
        };
        let mut node = Node::clone(node);
        node.plan.availability = Availability::Drain;
        let mut group = Group::new();
        group.put(node);
        self.apply(vec![group]);
    }

    /// Lets leader and agents work until nothing happens at this moment.
    pub(super) fn settle(&mut self) {
        while self.steps < STEPS_MAX && self.turn() == Turn::Something {}
    }

    /// Lets time go on, too; whether it came to its end.
    pub(super) fn run(&mut self) -> bool {
        let end = self.now + HORIZON_MS;
        loop {
            self.settle();
            let Some(at) = self.wake_at else {
                return true;
            };
            if at > end || self.steps >= STEPS_MAX {
                return false;
            }
            self.now = at.max(self.now + 1);
        }
    }

    fn turn(&mut self) -> Turn {
        self.steps += 1;
        let index = self.state.index();
        for (node, session) in &self.sessions {
            // A session that the leader does not know any more is one of a node that is gone.
            let _ = self.seen.heartbeat(*node, *session, index, self.now);
        }
        let step = self.leader.step(&self.state, &self.seen, self.now);
        // Nobody is missed here, so the deadlines of heartbeats are no reason to look again.
        let at_once = step.wake_at.filter(|at| *at <= self.now);
        self.wake_at = at_once.or_else(|| self.leader.next_look(self.now));
        let decided = self.apply(step.groups);
        let reported = self.report();
        let again = self.wake_at.is_some_and(|at| at <= self.now);
        if decided == Turn::Something || reported == Turn::Something || again {
            Turn::Something
        } else {
            Turn::Nothing
        }
    }

    fn apply(&mut self, groups: Vec<Group>) -> Turn {
        if groups.is_empty() {
            return Turn::Nothing;
        }
        let proposal = Proposal::new(self.now, Cause::default(), groups);
        self.state.apply(self.state.index() + 1, &proposal);
        self.settled_at = self.now;
        Turn::Something
    }

    /// Agents look at what changed, and at what waits for what changed.
    fn report(&mut self) -> Turn {
        let mut tasks: BTreeSet<TaskId> = BTreeSet::new();
        for (was, is) in self.state.tasks_since(&self.reported) {
            let Some(task) = is.or(was) else {
                continue;
            };
            let slot = self.state.tasks_of_slot(task.plan.service, task.plan.slot);
            tasks.extend(slot.map(|task| task.id));
        }
        self.reported = self.state.clone();
        let reports = tasks.into_iter().filter_map(|id| self.reported.task(id));
        let reports: Vec<Group> = reports.filter_map(|task| self.report_of(task)).collect();
        self.apply(reports)
    }

    fn report_of(&self, task: &Task) -> Option<Group> {
        let node = task.plan.node.filter(|node| self.sessions.contains_key(node))?;
        let status = TaskStatus {
            state: self.next_state(task)?,
            since: self.now,
            epoch: self.state.node(node)?.status.epoch,
            fault: Fault::None,
            container: task.status.container.clone(),
            ..TaskStatus::default()
        };
        let mut group = Group::new();
        group.change(Change::TaskStatus {
            task: task.id,
            node,
            status: Box::new(status),
        });
        Some(group)
    }

    /// What an agent would say next; none when it has said it.
    fn next_state(&self, task: &Task) -> Option<TaskState> {
        let state = task.status.state;
        if state.is_terminal() {
            return None;
        }
        if !task.plan.desired.wants_to_run() {
            return Some(TaskState::Shutdown);
        }
        let before = task.plan.inherits.and_then(|old| self.state.task(old));
        let waits = before.is_some_and(|old| !old.status.state.is_terminal());
        let next = if task.plan.desired == DesiredState::Ready || waits {
            TaskState::Ready
        } else {
            TaskState::Running
        };
        (state < next).then_some(next)
    }
}
