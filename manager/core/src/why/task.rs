//! Why a task is where it is: it waits for a place, for a delay, for another task, for its agent; or it ended.

use std::sync::Arc;

use shoal_proto::id::TaskId;
use shoal_proto::reason::Reason;
use shoal_proto::task::{DesiredState, Task, TaskState};

use super::verdict::{Asked, VERDICTS_MAX};
use super::{Explanation, Look, cause, fix, words};
use crate::orchestrator::restart;
use crate::orchestrator::slot::is_open;
use crate::scheduler::needs_node;

impl<'a> Look<'a> {
    /// What is to be said of a task; none when there is no such task.
    #[must_use]
    pub fn why_task(&self, id: TaskId) -> Option<Explanation> {
        let task: &'a Arc<Task> = self.state.task(id)?;
        let mut said = Explanation {
            name: self.task_name(task),
            summary: line(self, task),
            facts: facts(self, task),
            causes: cause::of_task(self, task),
            ..Explanation::default()
        };
        if needs_node(task) {
            said.judge(self, task);
        }
        Some(said)
    }
}

impl Explanation {
    /// Adds what the nodes say to a task that waits, and what would help.
    pub(super) fn judge<'a>(&mut self, look: &Look<'a>, task: &'a Task) {
        let Some(asked) = Asked::of(look, task) else {
            return self.facts.push("its revision is not there any more".to_owned());
        };
        let placed = asked.placed(look);
        if let Some(node) = placed.as_ref().and_then(|task| task.plan.node) {
            let name = look.node_name(node);
            self.summary =
                format!("can be placed now, on node {name}: the leader does so when it looks next");
        } else if let Some(reason) = placed.and_then(|task| task.plan.pending) {
            self.summary = format!("waits for a place: {}", words::reason(look.state, &reason));
            if !matches!(reason, Reason::NetworkFull { .. }) {
                self.fixes = fix::fixes(look, &asked);
            }
        }
        self.verdicts = asked.verdicts(look);
        self.verdicts_left_out = self.verdicts.len().saturating_sub(VERDICTS_MAX);
        self.verdicts.truncate(VERDICTS_MAX);
    }
}

/// Where a task stands, in a line, as far as it is stored.
pub(super) fn line(look: &Look<'_>, task: &Task) -> String {
    let place = task
        .plan
        .node
        .map(|node| format!(" on node {}", look.node_name(node)));
    let place = place.unwrap_or_default();
    let (state, since) = (task.status.state, words::since(look.now, task.status.since));
    if state.is_terminal() {
        return ended(look, task, &place);
    }
    if !task.plan.desired.wants_to_run() {
        let why = task
            .plan
            .stop_reason
            .as_ref()
            .map(|why| words::reason(look.state, why));
        return format!(
            "stops{place}: {}",
            why.unwrap_or_else(|| "it was told to".to_owned())
        );
    }
    if let Some(reason) = &task.plan.pending {
        let reason = words::reason(look.state, reason);
        return match task.plan.node {
            None => format!("waits for a place: {reason}"),
            Some(_) => format!("stays{place} although it should leave: {reason}"),
        };
    }
    if let Some(held) = held(look, task) {
        return held;
    }
    let said = match task.status.message.as_str() {
        "" => String::new(),
        message => format!(": {message}"),
    };
    match state {
        TaskState::New | TaskState::Pending => "waits for the leader to look at it".to_owned(),
        TaskState::Running => format!("runs{place} for {since}"),
        TaskState::Ready => format!("prepared{place} for {since}"),
        state => format!("{state}{place} for {since}{said}"),
    }
}

/// What holds back a task that has all it needs.
fn held(look: &Look<'_>, task: &Task) -> Option<String> {
    if task.plan.desired != DesiredState::Ready {
        return None;
    }
    if let Some(until) = restart::held_until(task, look.now) {
        let left = words::span(until.ms_since(look.now));
        return Some(format!("waits {left} more: the restart delay"));
    }
    let (before, _) = task.plan.replaces.as_ref()?;
    let before = look.task(*before).filter(|before| is_open(before))?;
    let id = words::short(before.id.as_str());
    task.plan.node?;
    Some(format!(
        "{} and waits for the task it replaces, {id}, which is {}",
        task.status.state, before.status.state
    ))
}

fn ended(look: &Look<'_>, task: &Task, place: &str) -> String {
    let state = task.status.state;
    let why = match (&task.plan.stop_reason, state) {
        (Some(stop), TaskState::Shutdown) => words::reason(look.state, stop),
        _ => words::reason(look.state, &restart::end_reason(task)),
    };
    let refused = task
        .plan
        .stop_reason
        .as_ref()
        .filter(|stop| matches!(stop, Reason::AttemptsExhausted { .. } | Reason::ConditionMet));
    let refused = refused.map(|stop| format!("; {stop}")).unwrap_or_default();
    format!("ended{place}, {state}: {why}{refused}")
}

fn facts(look: &Look<'_>, task: &Task) -> Vec<String> {
    let mut facts = Vec::new();
    let heir = look
        .state
        .tasks_of_slot(task.plan.service, task.plan.slot)
        .find(|other| {
            other
                .plan
                .replaces
                .as_ref()
                .is_some_and(|(old, _)| *old == task.id)
        });
    if let Some(heir) = heir {
        let id = words::short(heir.id.as_str());
        facts.push(format!("task {id} takes its place: {}", line(look, heir)));
    }
    if task.status.healthy == Some(false) && is_open(task) {
        facts.push("its health check does not hold".to_owned());
    }
    if let Some(slot) = look.state.slot(task.plan.service, task.plan.slot) {
        if slot.attempts_total > 0 {
            let (total, revision) = (slot.attempts_total, look.state.revision(slot.revision));
            let number = revision.map_or(0, |revision| revision.number);
            facts.push(format!(
                "{total} tasks of revision {number} ended in this slot by their own fault"
            ));
        }
        if let Some(home) = slot.home {
            facts.push(format!("its data is on node {}", look.node_name(home)));
        }
    }
    facts
}
