//! Agents that carry out at once what they are told, and fail where a test wants them to.

use std::collections::{BTreeMap, BTreeSet};

use shoal_core::state::{Change, Group};
use shoal_proto::id::{NodeId, SessionId, TaskId};
use shoal_proto::node::NodeState;
use shoal_proto::reason::Reason;
use shoal_proto::task::{DesiredState, Fault, Task, TaskState, TaskStatus};
use shoal_proto::time::Timestamp;

use super::World;

/// What containers of an image do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// The image cannot be pulled.
    NoPull,
    /// It ends as soon as it starts.
    Crash,
    /// It runs so long, then fails.
    FailAfter(u64),
    /// It runs so long, then ends well.
    CompleteAfter(u64),
    /// It is never prepared.
    SlowPull,
    /// It does not stop.
    NeverStops,
}

/// One node's agent.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) id: NodeId,
    pub(crate) session: SessionId,
    pub(crate) epoch: u64,
    /// Whether managers hear it.
    pub(crate) alive: bool,
    /// Carries out nothing new from this index on; none while it keeps up.
    pub(crate) lags_since: Option<u64>,
    /// Containers that run.
    pub(crate) containers: BTreeSet<TaskId>,
    /// When containers of some habits end.
    ends: BTreeMap<TaskId, Timestamp>,
}

impl Agent {
    pub(crate) fn new(id: NodeId, session: SessionId) -> Self {
        Self {
            id,
            session,
            epoch: 1,
            alive: true,
            lags_since: None,
            containers: BTreeSet::new(),
            ends: BTreeMap::new(),
        }
    }

    pub(crate) fn wakes_at(&self, now: Timestamp) -> Option<Timestamp> {
        let next = self
            .ends
            .iter()
            .filter(|(task, _)| self.containers.contains(task))
            .map(|(_, at)| *at);
        next.filter(|at| *at > now).min().filter(|_| self.alive)
    }
}

impl World {
    pub(crate) fn heartbeats(&mut self) {
        for agent in self.agents.values().filter(|agent| agent.alive) {
            let index = agent.lags_since.unwrap_or(self.state.index());
            let _ = self.seen.heartbeat(agent.id, agent.session, index, self.now);
        }
    }

    /// Every agent takes one step with each of its tasks; whether anything happened.
    pub(crate) fn work(&mut self) -> bool {
        let mut reports = Vec::new();
        let ids: Vec<NodeId> = self.agents.keys().copied().collect();
        for id in ids {
            if self.agents[&id].alive {
                self.work_on(id, &mut reports);
            }
        }
        let any = !reports.is_empty();
        self.apply(reports);
        any
    }

    fn work_on(&mut self, id: NodeId, reports: &mut Vec<Group>) {
        let tasks: Vec<Task> = self
            .state
            .tasks_on_node(id)
            .map(|task| Task::clone(task))
            .collect();
        for task in tasks {
            let Some(status) = self.next_status(id, &task) else {
                continue;
            };
            let agent = self.agents.get_mut(&id).expect("an agent");
            if status.state == TaskState::Running {
                agent.containers.insert(task.id);
            } else if status.state.is_terminal() {
                agent.containers.remove(&task.id);
            }
            reports.push(report(id, agent.epoch, task.id, status));
        }
    }

    fn next_status(&mut self, id: NodeId, task: &Task) -> Option<TaskStatus> {
        if task.status.state.is_terminal() {
            return None;
        }
        let habit = self.habit_of(task);
        let runs = self.agents[&id].containers.contains(&task.id);
        if task.plan.desired > DesiredState::Complete {
            let refuses = runs && habit == Some(Habit::NeverStops);
            return (!refuses).then(|| self.ended(TaskState::Shutdown, Fault::None, None, ""));
        }
        if runs {
            return self.next_of_running(id, task, habit);
        }
        if task.status.state < TaskState::Ready {
            return match habit {
                Some(Habit::SlowPull) => None,
                Some(Habit::NoPull) => {
                    Some(self.ended(TaskState::Rejected, Fault::Own, None, "no such image"))
                }
                _ => Some(self.status(TaskState::Ready)),
            };
        }
        let before = task
            .plan
            .inherits
            .filter(|old| self.agents[&id].containers.contains(old));
        if task.plan.desired == DesiredState::Ready || before.is_some() {
            return None;
        }
        if habit == Some(Habit::Crash) {
            return Some(self.ended(TaskState::Failed, Fault::Own, Some(1), ""));
        }
        Some(self.status(TaskState::Running))
    }

    fn next_of_running(&mut self, id: NodeId, task: &Task, habit: Option<Habit>) -> Option<TaskStatus> {
        if task.status.state < TaskState::Running {
            return Some(self.status(TaskState::Running));
        }
        let (after_ms, state, code) = match habit? {
            Habit::FailAfter(ms) => (ms, TaskState::Failed, 1),
            Habit::CompleteAfter(ms) => (ms, TaskState::Complete, 0),
            _ => return None,
        };
        let since = task.status.running_since.unwrap_or(task.status.since);
        let end = since + after_ms;
        self.agents
            .get_mut(&id)
            .expect("an agent")
            .ends
            .insert(task.id, end);
        (end <= self.now).then(|| self.ended(state, Fault::Own, Some(code), ""))
    }

    fn habit_of(&self, task: &Task) -> Option<Habit> {
        let template = self.state.template_of(task)?;
        self.habits.get(&template.container.image).copied()
    }

    fn status(&self, state: TaskState) -> TaskStatus {
        TaskStatus {
            state,
            since: self.now,
            ..TaskStatus::default()
        }
    }

    fn ended(&self, state: TaskState, fault: Fault, exit_code: Option<i64>, message: &str) -> TaskStatus {
        TaskStatus {
            fault,
            exit_code,
            message: message.to_owned(),
            ..self.status(state)
        }
    }

    /// Ends a task that runs, as its agent would report it.
    pub(crate) fn end_task(&mut self, task: &Task, state: TaskState, fault: Fault, reason: Option<Reason>) {
        let node = task.plan.node.expect("a task with a node");
        let agent = self.agents.get_mut(&node).expect("an agent");
        agent.containers.remove(&task.id);
        let epoch = agent.epoch;
        let code = match state {
            TaskState::Complete => Some(0),
            TaskState::Failed if reason.is_none() => Some(1),
            _ => None,
        };
        let status = TaskStatus {
            reason,
            ..self.ended(state, fault, code, "")
        };
        self.apply(vec![report(node, epoch, task.id, status)]);
    }

    /// Nobody hears the node any more; its containers go on.
    pub(crate) fn lose(&mut self, name: &str) {
        let id = self.node_named(name).id;
        self.agents.get_mut(&id).expect("an agent").alive = false;
    }

    /// The node speaks again, with what still runs there.
    pub(crate) fn bring_back(&mut self, name: &str, rebooted: Rebooted) {
        let node = self.node_named(name);
        let epoch = node.status.epoch + 1;
        let session = self.ids.session(self.now);
        let agent = self.agents.get_mut(&node.id).expect("an agent");
        (agent.alive, agent.epoch, agent.session) = (true, epoch, session);
        let lost = match rebooted {
            Rebooted::Yes => std::mem::take(&mut agent.containers),
            Rebooted::No => BTreeSet::new(),
        };
        self.seen.session_opened(node.id, session, epoch, self.now);
        let mut status = node.status.clone();
        (status.state, status.epoch, status.since) = (NodeState::Ready, epoch, self.now);
        let mut group = Group::new();
        group.change(Change::NodeStatus {
            node: node.id,
            status: Box::new(status),
        });
        self.apply(vec![group]);
        for task in lost {
            if let Some(task) = self.state.task(task).map(|task| Task::clone(task)) {
                self.end_task(&task, TaskState::Failed, Fault::None, Some(Reason::HostRebooted));
            }
        }
    }
}

/// Whether a host comes back with its containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rebooted {
    Yes,
    No,
}

fn report(node: NodeId, epoch: u64, task: TaskId, mut status: TaskStatus) -> Group {
    status.epoch = epoch;
    let mut group = Group::new();
    group.change(Change::TaskStatus {
        task,
        node,
        status: Box::new(status),
    });
    group
}
