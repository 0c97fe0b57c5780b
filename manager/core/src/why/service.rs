//! Why a service is as it is: how many of its tasks run, where its rollout stands, and each slot that is not as wanted.

use std::sync::Arc;

use shoal_proto::id::ServiceId;
use shoal_proto::service::{Mode, Service, SlotKey};
use shoal_proto::task::{Task, TaskState};
use shoal_proto::update::RolloutState;

use super::{Explanation, LISTED_MAX, Look, Matter, cause, task, words};
use crate::orchestrator::restart;
use crate::orchestrator::scope::Scope;
use crate::orchestrator::slot::{self, Facts};
use crate::scheduler::{filter, needs_node};

impl<'a> Look<'a> {
    /// What is to be said of a service; none when there is no such service.
    #[must_use]
    pub fn why_service(&self, id: ServiceId) -> Option<Explanation> {
        let service: &'a Arc<Service> = self.state.service(id)?;
        let mut said = Explanation {
            name: service.name.clone(),
            summary: summary(self, service),
            causes: cause::of_service(self, service),
            ..Explanation::default()
        };
        said.facts.extend(rollout(self, service));
        if service.removed_at.is_some() {
            return Some(said);
        }
        if let Some(scope) = Scope::of(self.state, service) {
            said.matters = matters(self, &scope);
        }
        let left = said.matters.len().saturating_sub(LISTED_MAX);
        if left > 0 {
            said.facts.push(format!("{left} more slots are not as wanted"));
            said.matters.truncate(LISTED_MAX);
        }
        let waiting = self.state.tasks_of_service(id).find(|task| needs_node(task));
        if let Some(waiting) = waiting {
            let name = self.task_name(waiting);
            said.facts.push(format!(
                "the verdicts and fixes are for {name}, the first that waits"
            ));
            let summary = said.summary.clone();
            said.judge(self, waiting);
            let first = std::mem::replace(&mut said.summary, summary);
            said.facts.push(format!("{name} {first}"));
        }
        Some(said)
    }
}

fn summary(look: &Look<'_>, service: &Service) -> String {
    let wanted: Vec<&Arc<Task>> = look
        .state
        .tasks_of_service(service.id)
        .filter(|task| task.plan.desired.wants_to_run())
        .collect();
    let running = wanted
        .iter()
        .filter(|task| task.status.state == TaskState::Running)
        .count();
    if service.removed_at.is_some() {
        let open = look
            .state
            .tasks_of_service(service.id)
            .filter(|task| slot::is_open(task))
            .count();
        return format!("was removed; {open} of its tasks have not ended");
    }
    let number = look
        .state
        .revision(service.revision)
        .map_or(0, |revision| revision.number);
    let of = match service.settings.mode {
        Mode::Replicated { replicas } => replicas,
        _ => wanted
            .iter()
            .filter(|task| task.plan.replaces.is_none() || !has_live_old(look, task))
            .count() as u64,
    };
    let waiting = wanted.iter().filter(|task| needs_node(task)).count();
    let waits = match waiting {
        0 => String::new(),
        1 => ", 1 waits for a place".to_owned(),
        many => format!(", {many} wait for a place"),
    };
    format!("{running} of {of} tasks run{waits}; revision {number} is wanted")
}

/// Whether the task it is to replace still fills the slot.
fn has_live_old(look: &Look<'_>, task: &Task) -> bool {
    let old = task.plan.replaces.as_ref().and_then(|(old, _)| look.task(*old));
    old.is_some_and(|old| old.plan.desired.wants_to_run())
}

fn rollout(look: &Look<'_>, service: &Service) -> Option<String> {
    let rollout = service.rollout.as_ref()?;
    let number = |id| look.state.revision(id).map_or(0, |revision| revision.number);
    let (from, to) = (number(rollout.from), number(rollout.to));
    let state = match rollout.state {
        RolloutState::Running => "goes on",
        RolloutState::Paused => "is paused",
        RolloutState::Completed => "is complete",
    };
    let why = rollout
        .reason
        .as_ref()
        .map(|why| format!(": {}", words::reason(look.state, why)));
    let why = why.unwrap_or_default();
    let failed = match rollout.failed_slots {
        0 => String::new(),
        failed => format!(", {failed} slots failed"),
    };
    let which = cause::direction(rollout.direction);
    Some(format!(
        "the {which} from revision {from} to {to} {state}{failed}{why}"
    ))
}

fn matters<'a>(look: &Look<'a>, scope: &Scope<'a>) -> Vec<Matter> {
    let service = scope.service;
    let slots = slot::slots_of(look.state, scope, service.id);
    let mut all: Vec<Matter> = slots
        .values()
        .filter_map(|facts| matter(look, scope, facts))
        .collect();
    match service.settings.mode {
        Mode::Replicated { replicas } => {
            let missing = usize::try_from(replicas)
                .unwrap_or(usize::MAX)
                .saturating_sub(slots.len());
            if missing > 0 {
                all.push(Matter {
                    name: service.name.clone(),
                    task: None,
                    node: None,
                    stands: "not made".to_owned(),
                    reason: format!(
                        "{missing} more tasks are wanted: the leader makes them when it looks next"
                    ),
                });
            }
        }
        Mode::Global | Mode::GlobalJob => {
            let without = look
                .state
                .nodes()
                .filter(|node| !slots.contains_key(&SlotKey::Node(node.id)));
            all.extend(without.filter_map(|node| passed_by(look, scope, node)));
        }
        Mode::ReplicatedJob { .. } => {}
    }
    all
}

/// A node that has no task of a global service.
fn passed_by(look: &Look<'_>, scope: &Scope<'_>, node: &shoal_proto::node::Node) -> Option<Matter> {
    let request = scope.request(scope.wanted.id)?;
    let obstacle = request.suitability(node).or_else(|| filter::availability(node))?;
    Some(Matter {
        name: look.slot_name(&scope.service.name, SlotKey::Node(node.id)),
        task: None,
        node: Some(node.id),
        stands: "none".to_owned(),
        reason: format!("the node has no task of it: {obstacle}"),
    })
}

fn matter(look: &Look<'_>, scope: &Scope<'_>, facts: &Facts<'_>) -> Option<Matter> {
    let name = look.slot_name(&scope.service.name, facts.key);
    let Some(main) = facts.main else {
        return empty(look, scope, facts, name);
    };
    let of = |task: &Task, reason: String| Matter {
        name,
        task: Some(task.id),
        node: task.plan.node,
        stands: task.status.state.to_string(),
        reason,
    };
    if let Some(next) = facts.next {
        let old = words::short(main.id.as_str());
        let line = task::line(look, next);
        return Some(of(next, format!("is to replace {old}: {line}")));
    }
    if main.status.state != TaskState::Running || main.plan.pending.is_some() {
        return Some(of(main, task::line(look, main)));
    }
    if !scope.is_current(main) {
        let number = look
            .state
            .revision(main.plan.revision)
            .map_or(0, |revision| revision.number);
        let turn = if scope.is_paused() {
            "the rollout is paused"
        } else {
            "its turn comes"
        };
        return Some(of(main, format!("runs revision {number} still: {turn}")));
    }
    (!scope.standing(main).is_fine()).then(|| of(main, task::line(look, main)))
}

/// A slot that nobody fills; none when its tasks merely stop, and nothing is wanted of it.
fn empty(look: &Look<'_>, scope: &Scope<'_>, facts: &Facts<'_>, name: String) -> Option<Matter> {
    let slot = look.state.slot(scope.service.id, facts.key)?;
    let spent = restart::is_spent(&scope.service.settings.restart, slot);
    let reason = slot.spent.as_ref().filter(|_| spent)?;
    let last = facts.all.last();
    let ended = last.map(|last| format!("; its last task {}", task::line(look, last)));
    Some(Matter {
        name,
        task: last.map(|last| last.id),
        node: last.and_then(|last| last.plan.node),
        stands: "empty".to_owned(),
        reason: format!(
            "{}{}",
            words::reason(look.state, reason),
            ended.unwrap_or_default()
        ),
    })
}
