//! What only the whole can show: what agents do is what the log said, one container per task, nothing left over,
//! and no more tasks than the faults account for.

use std::collections::{BTreeMap, BTreeSet};

use shoal_agent::task::{Action, Ending};
use shoal_core::invariants::{self, Transition};
use shoal_core::state::{Applied, Event as Changed, Group, GroupResult, Object, Proposal, State};
use shoal_proto::id::{RequestId, TaskId};
use shoal_proto::object::Cause;
use shoal_proto::task::TaskState;
use shoal_proto::time::Timestamp;

use crate::agents::Agent;
use crate::truth::Truth;
use crate::world::World;

/// What was counted over a run.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// Tasks that were ever made.
    pub(crate) made: BTreeSet<TaskId>,
    /// What really became of the containers.
    pub(crate) truth: Truth,
    /// What each call was answered first.
    answers: BTreeMap<RequestId, Vec<GroupResult>>,
}

impl World {
    /// 7. A call that comes again gets its first answer and changes nothing.
    pub(crate) fn check_answer(&mut self, request: RequestId, applied: &Applied) {
        let first = self.oracle.answers.get(&request).cloned();
        match first {
            Some(first) if first.iter().any(Result::is_ok) => {
                self.tally.count("answer: call answered from memory");
                if applied.results != first || !applied.events.is_empty() {
                    self.fail(&format!("call {request} came again and was carried out again"));
                }
            }
            _ => drop(self.oracle.answers.insert(request, applied.results.clone())),
        }
    }

    /// What the leader chose is judged on what it saw, however much happens until that is written.
    pub(crate) fn check_choice(&mut self, saw: &State, groups: &[Group], now: Timestamp) {
        if groups.is_empty() {
            return;
        }
        let mut after = saw.clone();
        let proposal = Proposal::new(now, Cause::default(), groups.to_vec());
        let applied = after.apply(saw.index() + 1, &proposal);
        let transition = Transition {
            before: saw,
            after: &after,
            events: &applied.events,
        };
        if let Some(violation) = invariants::check_choice(&transition).first() {
            self.fail(&format!("{violation}\n{}", self.picture()));
        }
        self.check_traffic(saw, &after, now);
    }

    /// Counts what an entry made.
    pub(crate) fn count_changes(&mut self, applied: &Applied) {
        for event in &applied.events {
            if let Changed::Put {
                before: None,
                after: Object::Task(task),
            } = event
            {
                self.oracle.made.insert(task.id);
            }
        }
    }

    /// Invariant 12: A container is started only for a task that the log gave to this node, and stopped only on its word, for
    /// its own failing health, or when nothing runs in it.
    pub(crate) fn check_action(&self, agent: usize, action: &Action) {
        let task = self.front().task(action.task());
        let node = self.agents[agent].node;
        match action {
            Action::Start(id, _) => {
                if task.is_some_and(|task| task.plan.node != Some(node)) {
                    self.fail(&format!("agent {agent} starts task {id}, which is not its own"));
                }
                if !self.oracle.made.contains(id) {
                    self.fail(&format!("agent {agent} starts task {id}, which nobody made"));
                }
            }
            Action::Stop(id, container) | Action::Remove(id, container) => {
                let running = self.agents[agent].running();
                let runs = running.get(id).is_some_and(|list| list.contains(container));
                let wanted = task
                    .is_some_and(|task| task.plan.desired.wants_to_run() && !task.status.state.is_terminal());
                let record = self.agents[agent].local.records.get(id);
                let unhealthy =
                    record.is_some_and(|record| matches!(record.ending, Some(Ending::Unhealthy(_))));
                if runs && wanted && !unhealthy {
                    self.fail(&format!("agent {agent} stops task {id} without a word"));
                }
            }
            Action::Prepare(_) | Action::CancelPrepare(_) => {}
        }
    }

    /// Invariant 13: One container per task runs on a node, and none beside that of the task whose place it inherits.
    pub(crate) fn check_containers(&self, agent: usize) {
        let (node, running) = (self.agents[agent].node, self.agents[agent].running());
        if let Some(violation) = invariants::check_containers(self.front(), node, &running).first() {
            self.fail(&format!("{violation}"));
        }
    }

    /// 14 and the rest of what must be true of a cluster at rest.
    pub(crate) fn check_settled(&self) {
        let violations = invariants::check_settled(self.front());
        if let Some(first) = violations.first() {
            let all: Vec<_> = violations.iter().map(ToString::to_string).collect();
            self.fail(&format!("{first}\nof {all:?}\n{}", self.picture()));
        }
        let members = |agent: &&Agent| self.front().node(agent.node).is_some();
        for (at, agent) in self.agents.iter().enumerate().filter(|(_, agent)| members(agent)) {
            let running: BTreeSet<TaskId> = agent.running().into_keys().collect();
            let tasks = self.front().tasks_on_node(agent.node);
            let should = tasks
                .filter(|task| task.status.state == TaskState::Running)
                .map(|task| task.id);
            let should: BTreeSet<TaskId> = should.collect();
            if running != should {
                let what = format!("agent {at} runs {running:?}, the state says {should:?}");
                self.fail(&format!("{what}\n{}", self.picture()));
            }
        }
    }

    /// Containers that run anywhere, with their tasks.
    pub(crate) fn all_running(&self) -> BTreeMap<(usize, TaskId), Vec<String>> {
        let per_agent = self.agents.iter().enumerate();
        per_agent
            .flat_map(|(at, agent)| agent.running().into_iter().map(move |(task, c)| ((at, task), c)))
            .collect()
    }

    /// The state as an operator would see it, for a failing run.
    pub(crate) fn picture(&self) -> String {
        let state = self.front();
        let mut lines = Vec::new();
        for node in state.nodes() {
            let (s, a) = (node.status.state, node.plan.availability);
            lines.push(format!(
                "node {} {} {s} {a} epoch {}",
                node.id,
                node.name(),
                node.status.epoch
            ));
        }
        for service in state.services() {
            let rollout = service
                .rollout
                .as_ref()
                .map(|rollout| (rollout.state, rollout.reason.clone()));
            lines.push(format!(
                "service {} {:?} {rollout:?}",
                service.name, service.settings.mode
            ));
            for task in state.tasks_of_service(service.id) {
                let plan = &task.plan;
                let (state, message) = (task.status.state, &task.status.message);
                let node = plan.node.map_or("-", |node| state_name(self, node));
                lines.push(format!(
                    "  {} slot {} on {node}: {} wanted, is {state} ({message}) pending {:?} stop {:?} replaces {:?} \
                     inherits {:?} after {:?} since {}",
                    task.id, plan.slot, plan.desired, plan.pending, plan.stop_reason, plan.replaces, plan.inherits,
                    plan.start_after, task.status.since.as_ms()
                ));
            }
        }
        lines.join("\n")
    }
}

fn state_name(world: &World, node: shoal_proto::id::NodeId) -> &str {
    let agent = world.agents.iter().find(|agent| agent.node == node);
    agent.map_or("?", |agent| agent.hostname.as_str())
}
