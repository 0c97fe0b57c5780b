//! What agents really know of who gets connections: no task is told to stop while one of them would send to it, unless
//! that one was waited for long enough.

use shoal_core::dispatcher::view::{sends_to, takes_connections};
use shoal_core::state::State;
use shoal_proto::node::NodeState;
use shoal_proto::reason::Reason;
use shoal_proto::task::Task;
use shoal_proto::time::Timestamp;

use crate::agents::Agent;
use crate::world::World;

impl World {
    /// 35. Judged on what the leader saw and decided, and on what the agents know at that moment.
    pub(crate) fn check_traffic(&mut self, saw: &State, decided: &State, now: Timestamp) {
        for after in decided.tasks() {
            let Some(before) = saw
                .task(after.id)
                .filter(|before| !std::sync::Arc::ptr_eq(before, after))
            else {
                continue;
            };
            let told = before.plan.desired.wants_to_run() && !after.plan.desired.wants_to_run();
            let removed = after.plan.stop_reason == Some(Reason::ServiceRemoved);
            let ended = before.status.state.is_terminal();
            if told && !removed && !ended && is_served_by_others(decided, after) {
                self.check_senders(saw, before, now);
            }
        }
    }

    fn check_senders(&mut self, saw: &State, task: &Task, now: Timestamp) {
        let node = task.plan.node.and_then(|node| saw.node(node));
        if node.is_none_or(|node| node.status.state != NodeState::Ready) {
            return;
        }
        let leaving = task.plan.leaving.as_ref();
        let sends = |agent: &&Agent| {
            let view = agent.local.assignments.view.as_ref();
            view.is_some_and(|view| sends_to(view, task.id))
        };
        let is_waited_for = |agent: &&Agent| {
            let ready = saw.node(agent.node).map(|node| node.status.state) == Some(NodeState::Ready);
            let long_ago = |since: Timestamp| since + saw.cluster_spec().ack_timeout_ms <= now;
            let given_up = leaving
                .is_some_and(|leaving| leaving.unheard.contains(&agent.node) || long_ago(leaving.since));
            ready && !given_up
        };
        let mut up = self.agents.iter().filter(|agent| agent.up);
        if let Some(agent) = up.find(|agent| sends(agent) && is_waited_for(agent)) {
            let (id, host) = (task.id, &agent.hostname);
            self.fail(&format!(
                "task {id} is told to stop while {host} sends to it: {leaving:?}\n{}",
                self.picture()
            ));
        }
        if let Some(leaving) = leaving {
            self.tally.count("task: stopped out of traffic");
            if !leaving.unheard.is_empty() {
                self.tally.count("task: stopped with somebody unheard");
            }
        }
    }
}

/// Whether a task that is told to stop had an address, and others of its service go on.
fn is_served_by_others(state: &State, task: &Task) -> bool {
    let answers = |other: &Task| {
        let node = other.plan.node.and_then(|node| state.node(node));
        node.is_some_and(|node| node.status.state == NodeState::Ready)
    };
    let mut others = state.tasks_of_service(task.plan.service);
    !task.plan.addresses.is_empty()
        && others.any(|other| other.id != task.id && takes_connections(other) && answers(other))
}
