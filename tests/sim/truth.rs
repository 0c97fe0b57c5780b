//! What really became of the containers, which the cluster only hears of. A task may be said to run only when its
//! container was started and, where it has a check, is healthy; and its end may be called its own fault only when
//! its process ended by itself or something it asked for was refused.

use std::collections::BTreeSet;

use shoal_agent::task::{Action, Outcome};
use shoal_core::state::{Applied, Object};
use shoal_proto::id::TaskId;
use shoal_proto::task::{Fault, Task, TaskState};

use crate::world::World;

/// What happened, task by task.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    started: BTreeSet<TaskId>,
    healthy: BTreeSet<TaskId>,
    at_fault: BTreeSet<TaskId>,
}

impl Truth {
    /// A job was carried out by an Engine.
    pub(crate) fn performed(&mut self, action: &Action, outcome: &Outcome) {
        match (action, outcome) {
            (Action::Start(task, _), Outcome::Done) => drop(self.started.insert(*task)),
            (Action::Prepare(task) | Action::Start(task, _), Outcome::Failed(error))
                if !error.is_silence() =>
            {
                self.at_fault.insert(*task);
            }
            _ => {}
        }
    }

    /// A container passed its check.
    pub(crate) fn passed(&mut self, task: TaskId) {
        self.healthy.insert(task);
    }

    /// A container's process ended by itself.
    pub(crate) fn exited(&mut self, task: TaskId) {
        self.at_fault.insert(task);
    }
}

impl World {
    /// What an entry says of tasks is true of their containers.
    pub(crate) fn check_truth(&self, applied: &Applied) {
        for event in &applied.events {
            if let (Some(Object::Task(before)), Some(Object::Task(after))) = (event.before(), event.after()) {
                self.check_word(before, after);
            }
        }
    }

    fn check_word(&self, before: &Task, after: &Task) {
        let (truth, id) = (&self.oracle.truth, after.id);
        if before.status.state < TaskState::Running && after.status.state == TaskState::Running {
            let template = self.front().template_of(after);
            let checked = template.is_some_and(|template| template.container.health.is_some());
            if !truth.started.contains(&id) {
                self.fail(&format!("task {id} is said to run and was never started"));
            }
            if checked && !truth.healthy.contains(&id) {
                self.fail(&format!("task {id} is said to run and never was healthy"));
            }
        }
        let ended = !before.status.state.is_terminal() && after.status.state.is_terminal();
        if ended && after.status.fault == Fault::Own && !truth.at_fault.contains(&id) {
            let reason = &after.status.reason;
            self.fail(&format!(
                "task {id} is blamed for an end that was not its own: {reason:?}"
            ));
        }
    }
}
