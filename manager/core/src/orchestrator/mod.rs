//! The orchestrator: from services to tasks. Create, scale, failure, drain, update and becoming leader are one
//! level-triggered look at a service. It gives tasks no node; that is the scheduler's.

pub mod act;
pub mod content;
pub mod draft;
mod draft_groups;
pub mod evict;
mod global;
pub mod reaper;
mod replicated;
pub mod restart;
pub mod scope;
pub mod slot;
pub mod traffic;
pub mod update;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shoal_proto::id::{ServiceId, TaskId};
use shoal_proto::reason::Reason;
use shoal_proto::service::{Mode, Service, SlotKey};
use shoal_proto::task::{DesiredState, Task};
use shoal_proto::update::{RolloutState, UpdateOrder};

use act::Actor;
use draft::Draft;
use scope::Scope;
use slot::Facts;

use crate::state::State;

/// Slots of one service that one step fills at most.
pub const CREATE_MAX: usize = 500;

/// Which slots a service should have.
#[derive(Debug, Default)]
struct Roster {
    /// Slots with tasks that stay.
    kept: BTreeSet<SlotKey>,
    /// Slots to fill.
    create: Vec<SlotKey>,
    /// Slots that go.
    surplus: Vec<(SlotKey, Surplus)>,
    /// Whether there is more to fill in the next step.
    more: bool,
}

/// Why a slot goes.
#[derive(Debug)]
enum Surplus {
    /// Fewer were asked for: its tasks are forgotten.
    ScaledDown,
    /// Its node should not have one: its tasks stay in the history.
    Stopped(Reason),
    /// Its node is gone: nobody will speak for its tasks.
    Gone(Reason),
}

/// Looks at one service and decides what its tasks should be.
pub fn reconcile(draft: &mut Draft<'_>, id: ServiceId) {
    let state = draft.state;
    let kept = match state.service(id) {
        Some(service) if service.removed_at.is_none() => reconcile_live(draft, state, service),
        _ => {
            remove_all(draft, id);
            BTreeSet::new()
        }
    };
    reaper::reap(draft, id, &kept);
}

fn reconcile_live(draft: &mut Draft<'_>, state: &State, service: &Arc<Service>) -> BTreeSet<SlotKey> {
    let Some(scope) = Scope::of(state, service) else {
        return state.slots_of(service.id).map(|slot| slot.key).collect();
    };
    let mut slots = slot::slots_of(state, &scope, service.id);
    let roster = match &service.settings.mode {
        Mode::Replicated { replicas } => replicated::roster(draft, &scope, &slots, *replicas),
        Mode::Global => global::roster(draft, &scope, &slots),
        // Refused at the door until jobs exist.
        Mode::ReplicatedJob { .. } | Mode::GlobalJob => Roster::default(),
    };
    let wanted: BTreeSet<SlotKey> = roster.kept.iter().chain(&roster.create).copied().collect();
    for (key, surplus) in &roster.surplus {
        let filled_anew = wanted.contains(key);
        if let Some(facts) = slots.get(key).filter(|_| !filled_anew) {
            dismiss(draft, facts, surplus);
        }
    }
    slots.retain(|key, _| wanted.contains(key));
    for key in &wanted {
        slots.entry(*key).or_insert_with(|| Facts::empty(*key));
    }
    decide(draft, &scope, &slots, &roster);
    wanted
}

fn decide<'a>(
    draft: &mut Draft<'_>,
    scope: &Scope<'a>,
    slots: &BTreeMap<SlotKey, Facts<'a>>,
    roster: &Roster,
) {
    let plan = update::plan(draft, scope, slots);
    if plan.turned {
        return;
    }
    let mut actor = Actor::new(draft, scope, &plan);
    let full = !slots.values().all(|facts| actor.act_within_limit(facts));
    if full || roster.more {
        draft.wake_by(draft.now);
    }
}

/// Lets tasks that got their node in this step run, where nothing holds them back.
pub fn promote_placed(draft: &mut Draft<'_>) {
    let placed: Vec<TaskId> = draft.placed.keys().copied().collect();
    for id in placed {
        if may_run(draft, id) {
            draft.promote(id);
        }
    }
}

fn may_run(draft: &Draft<'_>, id: TaskId) -> bool {
    let Some(task) = draft
        .task(id)
        .filter(|task| task.plan.desired == DesiredState::Ready)
    else {
        return false;
    };
    let Some((old, why)) = &task.plan.replaces else {
        return false;
    };
    let Some(old) = draft
        .task(*old)
        .filter(|_| restart::held_until(task, draft.now).is_none())
    else {
        return false;
    };
    if !old.plan.desired.wants_to_run() {
        return task.plan.inherits == Some(old.id) || !slot::is_open(old);
    }
    let Some(service) = draft.state.service(task.plan.service) else {
        return false;
    };
    let surges = *why != Reason::Updated || update::order_of(service) == UpdateOrder::StartFirst;
    let paused = service
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.state == RolloutState::Paused);
    surges && task.plan.inherits.is_none() && !paused && slot::is_open(old)
}

fn dismiss(draft: &mut Draft<'_>, facts: &Facts<'_>, surplus: &Surplus) {
    let (desired, reason) = match surplus {
        Surplus::ScaledDown => (DesiredState::Remove, Reason::ScaledDown),
        Surplus::Stopped(reason) => (DesiredState::Shutdown, reason.clone()),
        Surplus::Gone(reason) => (DesiredState::Remove, reason.clone()),
    };
    for task in &facts.all {
        if draft.is_full() {
            return draft.wake_by(draft.now);
        }
        if matches!(surplus, Surplus::Gone(_)) {
            draft.orphan(task.id, reason.clone());
        }
        draft.stop(task.id, desired, reason.clone());
    }
}

fn remove_all(draft: &mut Draft<'_>, service: ServiceId) {
    let tasks: Vec<&Arc<Task>> = draft.state.tasks_of_service(service).collect();
    for task in tasks {
        if draft.is_full() {
            return draft.wake_by(draft.now);
        }
        draft.stop_at_once(task.id, DesiredState::Remove, Reason::ServiceRemoved);
    }
}
