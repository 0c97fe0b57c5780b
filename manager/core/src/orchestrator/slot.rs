//! The tasks of one slot sorted by their part in it: the one that fills it, the one about to, and the rest.
//! Reads only; what to do about them is decided in `act`.

use std::collections::BTreeMap;
use std::sync::Arc;

use shoal_proto::id::ServiceId;
use shoal_proto::service::SlotKey;
use shoal_proto::task::{Task, TaskState};

use super::scope::Scope;
use crate::state::State;

/// How long a replacement waits for its predecessor to stop, beyond the time that one may take. Swarm's number.
pub const STOP_WAIT_MS: u64 = 60_000;

/// Swarm's grace where the service names none.
pub const STOP_GRACE_MS: u64 = 10_000;

/// One slot and its tasks.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Which slot.
    pub key: SlotKey,
    /// The task that fills it.
    pub main: Option<&'a Arc<Task>>,
    /// The task that is to take its place, while both are wanted.
    pub next: Option<&'a Arc<Task>>,
    /// Wanted tasks that are one too many.
    pub extra: Vec<&'a Arc<Task>>,
    /// All tasks of the slot, oldest first.
    pub all: Vec<&'a Arc<Task>>,
}

/// All slots of a service that have tasks, or that remember why they get none.
#[must_use]
pub fn slots_of<'a>(state: &'a State, scope: &Scope<'a>, service: ServiceId) -> BTreeMap<SlotKey, Facts<'a>> {
    let mut tasks: BTreeMap<SlotKey, Vec<&'a Arc<Task>>> = BTreeMap::new();
    for task in state.tasks_of_service(service) {
        tasks.entry(task.plan.slot).or_default().push(task);
    }
    let mut slots: BTreeMap<SlotKey, Facts<'a>> = tasks
        .into_iter()
        .map(|(key, tasks)| (key, Facts::of(scope, key, tasks)))
        .collect();
    for spent in state.slots_of(service).filter(|slot| slot.spent.is_some()) {
        slots.entry(spent.key).or_insert_with(|| Facts::empty(spent.key));
    }
    slots
}

impl<'a> Facts<'a> {
    fn of(scope: &Scope<'a>, key: SlotKey, all: Vec<&'a Arc<Task>>) -> Self {
        let live: Vec<&'a Arc<Task>> = all
            .iter()
            .copied()
            .filter(|task| task.plan.desired.wants_to_run())
            .collect();
        let replaces_live = |task: &Task| {
            let old = task.plan.replaces.as_ref().map(|(old, _)| *old);
            old.is_some_and(|old| live.iter().any(|other| other.id == old))
        };
        let (nexts, mains): (Vec<&'a Arc<Task>>, Vec<&'a Arc<Task>>) =
            live.iter().copied().partition(|task| replaces_live(task));
        let main = mains.iter().copied().max_by_key(|task| {
            (
                scope.standing(task).is_fine(),
                is_open(task),
                task.status.state,
                task.id,
            )
        });
        let next = nexts
            .iter()
            .copied()
            .max_by_key(|task| (scope.is_current(task), task.id));
        let kept = [main.map(|task| task.id), next.map(|task| task.id)];
        let extra = live
            .iter()
            .copied()
            .filter(|task| !kept.contains(&Some(task.id)))
            .collect();
        Self {
            key,
            main,
            next,
            extra,
            all,
        }
    }

    /// A slot without tasks.
    #[must_use]
    pub fn empty(key: SlotKey) -> Self {
        Self {
            key,
            main: None,
            next: None,
            extra: Vec::new(),
            all: Vec::new(),
        }
    }

    /// Whether a task works in it.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.main
            .is_some_and(|task| task.status.state == TaskState::Running)
    }

    /// The newest task that was told to stop and has not yet.
    #[must_use]
    pub fn leaving(&self) -> Option<&'a Arc<Task>> {
        let stopping = |task: &&&Arc<Task>| !task.plan.desired.wants_to_run() && is_open(task);
        self.all.iter().rev().find(stopping).copied()
    }
}

/// Whether a task has not ended.
#[must_use]
pub fn is_open(task: &Task) -> bool {
    !task.status.state.is_terminal()
}

/// How long the end of a task is waited for before its replacement starts without it.
#[must_use]
pub fn stop_limit_ms(state: &State, task: &Task) -> u64 {
    let grace = state
        .template_of(task)
        .and_then(|template| template.container.stop_grace_ms);
    STOP_WAIT_MS.saturating_add(grace.unwrap_or(STOP_GRACE_MS))
}
