//! From what is assigned and what is seen to what is to be done: pure, level-triggered, the same for a first start,
//! a restart of the agent, and any later moment.
//!
//! It holds no socket and reads no clock. A container without a word about it is reported, never touched.

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::id::TaskId;
use shoal_proto::task::TaskState;
use shoal_proto::time::Timestamp;

use crate::assignments::Assignments;
use crate::engine::{ContainerState, Observed};
use crate::task::{Action, Job, Outcome, Predecessor, Record, Wanted, World};

/// How long an ended container that nobody names is left alone.
pub const LEFTOVER_GRACE_MS: u64 = 60_000;

/// All an agent knows about tasks.
#[derive(Debug, Clone, Default)]
pub struct Local {
    /// What the managers want.
    pub assignments: Assignments,
    /// A complete set came since this agent runs: only then is an ended container nobody names a leftover.
    pub confirmed: bool,
    /// What is remembered of each task.
    pub records: BTreeMap<TaskId, Record>,
    /// What the Engine has, by container id.
    pub containers: BTreeMap<String, Observed>,
    /// Tasks whose container is there and could not be read: left alone.
    pub unreadable: BTreeSet<TaskId>,
    /// Since when an ended container is a leftover.
    pub leftover_since: BTreeMap<String, Timestamp>,
}

/// What is to be done now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Things to do, in order.
    pub actions: Vec<Action>,
    /// Tasks whose containers are here and that no word covers: the managers are asked.
    pub unknown: Vec<Unknown>,
    /// When to look again even if nothing happens.
    pub wake_at: Option<Timestamp>,
}

/// A container with the cluster's label that is not in the set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unknown {
    /// The task it was made for.
    pub task: TaskId,
    /// The Engine's id.
    pub container: String,
    /// Name.
    pub name: String,
    /// Whether it still runs.
    pub state: UnknownState,
}

/// Whether an unknown container still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnknownState {
    /// It runs.
    Running,
    /// It does not.
    Ended,
}

/// Decides what is next on this node.
pub fn reconcile(local: &mut Local, world: &World) -> Plan {
    let mut plan = Plan::default();
    note_assigned(local, world);
    let by_task = by_task(&local.containers);
    for task in local.records.keys().copied().collect::<Vec<_>>() {
        step_task(local, &by_task, task, world, &mut plan);
    }
    if world.instance.is_some() {
        strangers(local, &by_task, world, &mut plan);
        forget(local, &by_task);
    }
    plan
}

/// Takes in what came of a job.
pub fn outcome(local: &mut Local, task: TaskId, outcome: Outcome, now: Timestamp) {
    if let Some(record) = local.records.get_mut(&task) {
        record.outcome(outcome, now);
    }
}

/// Tasks whose files must be there: those that have not ended.
#[must_use]
pub fn files_wanted(local: &Local) -> BTreeSet<TaskId> {
    let live = local
        .records
        .values()
        .filter(|record| !record.status.state.is_terminal() || record.job.is_some());
    let unknown = local
        .containers
        .values()
        .filter(|seen| seen.state != ContainerState::Exited);
    let unknown = unknown
        .map(|seen| seen.task)
        .filter(|task| !local.records.contains_key(task));
    live.map(|record| record.task).chain(unknown).collect()
}

/// Every assigned task has a record, and so has every task that is to go while something of it is left.
fn note_assigned(local: &mut Local, world: &World) {
    for (task, assigned) in &local.assignments.tasks {
        local
            .records
            .entry(*task)
            .or_insert_with(|| Record::resume(*task, &assigned.status, world));
    }
    let left = local.containers.values().map(|seen| seen.task);
    for task in left.filter(|task| local.assignments.removed.contains(task)) {
        local
            .records
            .entry(task)
            .or_insert_with(|| Record::new(task, world.now));
    }
}

/// Per task its container: the running one where there are several.
fn by_task(containers: &BTreeMap<String, Observed>) -> BTreeMap<TaskId, Vec<Observed>> {
    let mut out: BTreeMap<TaskId, Vec<Observed>> = BTreeMap::new();
    for seen in containers.values() {
        out.entry(seen.task).or_default().push(seen.clone());
    }
    for list in out.values_mut() {
        list.sort_by_key(|seen| (seen.state != ContainerState::Running, seen.id.clone()));
    }
    out
}

fn step_task(
    local: &mut Local,
    by_task: &BTreeMap<TaskId, Vec<Observed>>,
    task: TaskId,
    world: &World,
    plan: &mut Plan,
) {
    let assigned = local.assignments.tasks.get(&task);
    let wanted = match assigned {
        Some(assigned) => Wanted::Assigned(assigned, predecessor(local, by_task, assigned.inherits)),
        None if local.assignments.removed.contains(&task) => Wanted::Gone,
        // No word about it: it stays as it is, and the managers are asked.
        None => return,
    };
    if local.unreadable.contains(&task) {
        return;
    }
    let container = by_task.get(&task).and_then(|list| list.first());
    let Some(record) = local.records.get_mut(&task) else {
        return;
    };
    let action = record.step(wanted, container, world);
    if let Some(then) = record.not_before.filter(|then| *then > world.now) {
        plan.wake_at = Some(plan.wake_at.map_or(then, |other| other.min(then)));
    }
    plan.actions.extend(action);
}

fn predecessor(
    local: &Local,
    by_task: &BTreeMap<TaskId, Vec<Observed>>,
    inherits: Option<TaskId>,
) -> Predecessor {
    let Some(task) = inherits else {
        return Predecessor::Gone;
    };
    let there = by_task.get(&task).is_some_and(|list| {
        list.iter()
            .any(|seen| matches!(seen.state, ContainerState::Running | ContainerState::Removing))
    });
    let record = local.records.get(&task);
    let busy = record.is_some_and(|record| matches!(record.job, Some(Job::Start | Job::Stop | Job::Prepare)));
    let may_run = local
        .assignments
        .tasks
        .get(&task)
        .is_some_and(|assigned| assigned.desired.wants_to_run())
        && !record.is_some_and(|record| record.status.state.is_terminal());
    if there || busy || may_run {
        Predecessor::Present(task)
    } else {
        Predecessor::Gone
    }
}

/// Containers of the cluster that no assignment names.
fn strangers(local: &mut Local, by_task: &BTreeMap<TaskId, Vec<Observed>>, world: &World, plan: &mut Plan) {
    let mut leftovers = BTreeMap::new();
    for (task, list) in by_task {
        let known = local.assignments.tasks.contains_key(task);
        if known || local.assignments.removed.contains(task) {
            continue;
        }
        for seen in list {
            let running = matches!(seen.state, ContainerState::Running | ContainerState::Removing);
            if !local.assignments.kept.contains(task) {
                let state = if running {
                    UnknownState::Running
                } else {
                    UnknownState::Ended
                };
                let (container, name) = (seen.id.clone(), seen.name.clone());
                plan.unknown.push(Unknown {
                    task: *task,
                    container,
                    name,
                    state,
                });
            }
            if !running && local.confirmed && !local.assignments.kept.contains(task) {
                let since = local.leftover_since.get(&seen.id).copied().unwrap_or(world.now);
                leftovers.insert(seen.id.clone(), since);
            }
        }
    }
    local.leftover_since = leftovers;
    sweep_leftovers(local, world, plan);
}

fn sweep_leftovers(local: &mut Local, world: &World, plan: &mut Plan) {
    for (container, since) in &local.leftover_since {
        let due = *since + LEFTOVER_GRACE_MS;
        if due > world.now {
            plan.wake_at = Some(plan.wake_at.map_or(due, |other| other.min(due)));
            continue;
        }
        let Some(seen) = local.containers.get(container) else {
            continue;
        };
        let record = local
            .records
            .entry(seen.task)
            .or_insert_with(|| Record::new(seen.task, world.now));
        if record.job.is_none() && record.not_before.is_none_or(|then| then <= world.now) {
            record.job = Some(Job::Remove);
            plan.actions.push(Action::Remove(seen.task, container.clone()));
        }
    }
}

/// Records of tasks that no word and no container holds are dropped.
fn forget(local: &mut Local, by_task: &BTreeMap<TaskId, Vec<Observed>>) {
    let Local {
        assignments, records, ..
    } = local;
    records.retain(|task, record| {
        assignments.tasks.contains_key(task) || record.job.is_some() || by_task.contains_key(task)
    });
    let gone = |task: &&TaskId| !records.contains_key(task) && !by_task.contains_key(task);
    let ended: Vec<TaskId> = assignments
        .removed
        .iter()
        .chain(&assignments.kept)
        .filter(gone)
        .copied()
        .collect();
    for task in ended {
        assignments.is_gone(task);
    }
}

/// Whether a task's container may be sent connections.
#[must_use]
pub fn takes_connections(record: &Record) -> bool {
    record.status.state == TaskState::Running && record.ending.is_none() && record.job != Some(Job::Stop)
}

#[cfg(test)]
#[path = "reconcile_test.rs"]
mod tests;
