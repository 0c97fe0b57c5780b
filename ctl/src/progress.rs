//! How far services have come, as a value: looked up from what the cluster says, decided without asking anybody.

use std::collections::BTreeMap;

use shoal_proto::reason::Reason;
use shoal_proto::service::SlotKey;
use shoal_proto::task::{DesiredState, TaskState};
use shoal_proto::update::{Direction, RolloutState};

use crate::client::{ServiceRow, TaskRow};

/// One service on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The service's id.
    pub id: String,
    /// The service's name.
    pub service: String,
    /// Slots that run what is wanted.
    pub done: u64,
    /// Slots that should.
    pub total: u64,
    /// What `done` slots are: running, updated, rolled back or stopped.
    pub word: &'static str,
    /// Slots in order, each with what it is at.
    pub slots: Vec<SlotLine>,
    /// Where it stands as a whole.
    pub verdict: Verdict,
}

/// What one slot is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotLine {
    /// `web.1`, or the node's name for a global service.
    pub slot: String,
    /// The newest task's state.
    pub state: TaskState,
    /// What the agent is at, the reason of a wait, the error of an end; may be empty.
    pub note: String,
    /// The note is the agent's own and begins with a newer state than the stored one.
    pub is_heard: bool,
    /// Id of the newest task, for its log lines.
    pub task: String,
}

/// Where a service stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// On its way.
    Going,
    /// Runs what is wanted, and nothing else.
    Converged,
    /// Failed, and runs what ran before.
    RolledBack(String),
    /// Failed, and waits for the operator.
    Paused(String),
    /// No further attempt will be made.
    GivenUp(String),
}

/// Looks at one service and all its tasks.
#[must_use]
pub fn look(row: &ServiceRow, tasks: &[TaskRow]) -> Progress {
    let newest = newest_per_slot(tasks);
    let fits = |t: &&&TaskRow| t.up_to_date && t.task.plan.desired.wants_to_run() && settled(t);
    let done = newest.values().filter(fits).count() as u64;
    let verdict = verdict(row, tasks, &newest, done);
    let slots = newest.values().map(|t| slot_line(t)).collect();
    Progress {
        id: row.service.id.to_string(),
        service: row.service.name.clone(),
        done,
        total: row.desired,
        word: word(row),
        slots,
        verdict,
    }
}

/// Looks at what is left of a service that is removed; none when nothing of it is known any more.
#[must_use]
pub fn look_removed(id: &str, tasks: &[TaskRow]) -> Option<Progress> {
    let last = per_slot(tasks.iter(), |row| (alive(row), row.task.id));
    let left = last.values().filter(|row| alive(row)).count() as u64;
    let total = last.len() as u64;
    Some(Progress {
        id: id.to_owned(),
        service: tasks.first()?.service.clone(),
        done: total - left,
        total,
        word: "stopped",
        slots: last.values().map(|row| slot_line(row)).collect(),
        verdict: if left == 0 {
            Verdict::Converged
        } else {
            Verdict::Going
        },
    })
}

/// Looks at the tasks that are still on a node that drains. `all` holds every task of their services: what a task waits
/// for is told by its successor.
#[must_use]
pub fn look_drained(id: &str, node: &str, all: &[TaskRow]) -> Progress {
    let here = |row: &&TaskRow| row.task.plan.node.is_some_and(|node| node.as_str() == id);
    let left: Vec<&TaskRow> = all.iter().filter(here).filter(|row| alive(row)).collect();
    let slots = left.iter().map(|row| {
        let successor = all.iter().find(|other| {
            let same = (other.task.plan.service, other.task.plan.slot)
                == (row.task.plan.service, row.task.plan.slot);
            same && other.task.id > row.task.id && other.task.plan.desired.wants_to_run()
        });
        let mut line = slot_line(row);
        if let Some(next) = successor.map(slot_line) {
            (line.note, line.is_heard) = (format!("its successor is {}", next.what()), false);
        }
        line
    });
    Progress {
        id: id.to_owned(),
        service: format!("{NODE}{node}"),
        done: 0,
        total: left.len() as u64,
        word: MOVED,
        slots: slots.collect(),
        verdict: if left.is_empty() {
            Verdict::Converged
        } else {
            Verdict::Going
        },
    }
}

/// What a node's tasks are once they run elsewhere.
const MOVED: &str = "moved away";
/// Before a node's name, where it stands in a service's place.
const NODE: &str = "node ";

fn word(row: &ServiceRow) -> &'static str {
    match &row.service.rollout {
        Some(rollout) if rollout.state == RolloutState::Completed => "running",
        Some(rollout) if rollout.direction == Direction::Rollback => "rolled back",
        Some(_) => "updated",
        None => "running",
    }
}

/// Runs, or ended as it was meant to.
fn settled(row: &TaskRow) -> bool {
    let complete = row.task.status.state == TaskState::Complete;
    row.task.status.state == TaskState::Running || (complete && gave_up(row).is_some())
}

/// Per slot the task that was made last, of those that are to run if there are any: where an update with `start-first`
/// failed, the old task runs on beside its dead successor.
fn newest_per_slot(tasks: &[TaskRow]) -> BTreeMap<SlotKey, &TaskRow> {
    let wanted = tasks
        .iter()
        .filter(|t| t.task.plan.desired != DesiredState::Remove);
    per_slot(wanted, |row| (row.task.plan.desired.wants_to_run(), row.task.id))
}

/// The task of each slot that ranks highest.
fn per_slot<'a, R: Ord>(
    tasks: impl Iterator<Item = &'a TaskRow>,
    rank: impl Fn(&TaskRow) -> R,
) -> BTreeMap<SlotKey, &'a TaskRow> {
    let mut first: BTreeMap<SlotKey, &TaskRow> = BTreeMap::new();
    for row in tasks {
        let entry = first.entry(row.task.plan.slot).or_insert(row);
        if rank(row) > rank(entry) {
            *entry = row;
        }
    }
    first
}

fn verdict(row: &ServiceRow, tasks: &[TaskRow], newest: &BTreeMap<SlotKey, &TaskRow>, done: u64) -> Verdict {
    let service = &row.service;
    let mut rolled_back = None;
    if let Some(rollout) = &service.rollout {
        let why = rollout
            .reason
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        match (rollout.state, rollout.direction) {
            (RolloutState::Running, _) => return Verdict::Going,
            (RolloutState::Paused, _) => return Verdict::Paused(why),
            (RolloutState::Completed, Direction::Rollback) => rolled_back = Some(why),
            (RolloutState::Completed, Direction::Update) => {}
        }
    }
    let leaving = |t: &TaskRow| !t.task.plan.desired.wants_to_run() || !t.up_to_date;
    if done >= row.desired && !tasks.iter().any(|t| leaving(t) && alive(t)) {
        return rolled_back.map_or(Verdict::Converged, Verdict::RolledBack);
    }
    let ended: Vec<&&TaskRow> = newest
        .values()
        .filter(|t| gave_up(t).is_some() && !settled(t))
        .collect();
    match ended.first() {
        Some(first) if done + ended.len() as u64 >= row.desired => {
            let why = gave_up(first).map(ToString::to_string).unwrap_or_default();
            let line = slot_line(first);
            Verdict::GivenUp(format!("{} {}; {why}", line.slot, line.what()))
        }
        _ => Verdict::Going,
    }
}

/// Its container may still be there.
fn alive(row: &TaskRow) -> bool {
    row.task.plan.node.is_some() && !row.task.status.state.is_terminal()
}

/// Why an ended task gets no successor, if it gets none.
fn gave_up(row: &TaskRow) -> Option<&Reason> {
    let reason = row
        .task
        .plan
        .stop_reason
        .as_ref()
        .or(row.task.plan.pending.as_ref())?;
    let last = matches!(reason, Reason::AttemptsExhausted { .. } | Reason::ConditionMet);
    (row.task.status.state.is_terminal() && last).then_some(reason)
}

fn slot_line(row: &TaskRow) -> SlotLine {
    let task = &row.task;
    let slot = match task.plan.slot {
        SlotKey::Number(number) => format!("{}.{number}", row.service),
        SlotKey::Node(_) => format!("{} on {}", row.service, row.node),
    };
    let note = note(row);
    SlotLine {
        slot,
        state: task.status.state,
        is_heard: !note.is_empty() && note == row.progress,
        note,
        task: task.id.to_string(),
    }
}

/// The one thing worth telling about a task: why it waits, what it is at, or how it ended.
#[must_use]
pub fn note(row: &TaskRow) -> String {
    let task = &row.task;
    let ended = task.status.state.is_terminal();
    let reason = if ended {
        task.status.reason.as_ref()
    } else {
        task.plan.pending.as_ref()
    };
    if let Some(reason) = reason {
        return reason.to_string();
    }
    if ended && matches!(task.status.state, TaskState::Shutdown | TaskState::Complete) {
        return String::new();
    }
    if row.progress.is_empty() {
        task.status.message.clone()
    } else {
        row.progress.clone()
    }
}

impl SlotLine {
    /// The state and what is worth telling about it, in one line.
    #[must_use]
    pub fn what(&self) -> String {
        let note = self.note.replace('\n', " ");
        match (note.is_empty(), self.is_heard) {
            (true, _) => self.state.to_string(),
            (false, true) => note,
            (false, false) => format!("{}: {note}", self.state),
        }
    }
}

impl Progress {
    /// What it is, in words: `service web`, `node h3`.
    #[must_use]
    pub fn what(&self) -> String {
        if self.service.starts_with(NODE) {
            self.service.clone()
        } else {
            format!("service {}", self.service)
        }
    }

    /// The command that shows its tasks.
    #[must_use]
    pub fn command(&self) -> String {
        match self.service.strip_prefix(NODE) {
            Some(node) => format!("shoal node ps {node}"),
            None => format!("shoal service ps {}", self.service),
        }
    }

    /// How many slots are done.
    #[must_use]
    pub fn count(&self) -> String {
        format!("{}/{} {}", self.done, self.total, self.word)
    }

    /// Slots that are not there yet.
    pub fn unsettled(&self) -> impl Iterator<Item = &SlotLine> {
        let done = |slot: &SlotLine| match self.word {
            "stopped" => slot.state.is_terminal(),
            MOVED => false,
            _ => slot.state == TaskState::Running,
        };
        self.slots.iter().filter(move |slot| !done(slot))
    }

    /// One line: how many are done, and what the others are at.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut line = format!("{}: {}", self.service, self.count());
        for slot in self.unsettled().take(3) {
            line.push_str(&format!("; {} {}", slot.slot, slot.what()));
        }
        line
    }
}

#[cfg(test)]
#[path = "progress_test.rs"]
mod progress_test;
