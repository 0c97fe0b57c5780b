//! What counts as progress while waiting: a state that was not there before. A service that tries the same thing again and
//! again changes all the time and gets nowhere; a wait must end for it. Pure: states in, a verdict out.

use std::collections::HashSet;

use crate::progress::{Progress, Verdict};

/// States remembered; beyond them nothing is new any more, so that a wait ends in any case.
const STATES_MAX: usize = 20_000;

/// States seen since the waiting began.
#[derive(Debug, Default)]
pub(crate) struct Novelty {
    seen: HashSet<String>,
}

impl Novelty {
    /// Whether this state was not there before. Task ids and errors do not make it another one; what the agent says of
    /// its own work, such as how far a pull is, does.
    pub(crate) fn is_new(&mut self, found: &[Progress]) -> bool {
        self.seen.len() < STATES_MAX && self.seen.insert(state(found))
    }
}

fn state(found: &[Progress]) -> String {
    let mut out = String::new();
    for progress in found {
        let verdict = match progress.verdict {
            Verdict::Going => "going",
            Verdict::Converged => "converged",
            Verdict::RolledBack(_) => "rolled back",
            Verdict::Paused(_) => "paused",
            Verdict::GivenUp(_) => "given up",
        };
        out.push_str(&format!(
            "{} {}/{} {verdict};",
            progress.service, progress.done, progress.total
        ));
        for slot in &progress.slots {
            let said = if slot.is_heard { slot.note.as_str() } else { "" };
            out.push_str(&format!("{} {} {said};", slot.slot, slot.state));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use shoal_proto::task::TaskState;

    use super::*;
    use crate::progress::SlotLine;

    fn at(done: u64, state: TaskState, note: &str, task: u32) -> Vec<Progress> {
        let slot = SlotLine {
            slot: "web.1".to_owned(),
            state,
            note: note.to_owned(),
            is_heard: state == TaskState::Assigned,
            task: task.to_string(),
        };
        vec![Progress {
            id: "1".to_owned(),
            slots: vec![slot],
            service: "web".to_owned(),
            done,
            total: 1,
            word: "running",
            verdict: Verdict::Going,
        }]
    }

    #[test]
    fn a_task_that_fails_again_and_again_is_no_progress() {
        let mut novelty = Novelty::default();
        assert!(novelty.is_new(&at(0, TaskState::Assigned, "pulls", 1)));
        assert!(novelty.is_new(&at(0, TaskState::Rejected, "no such image, task 1", 1)));
        assert!(!novelty.is_new(&at(0, TaskState::Assigned, "pulls", 2)));
        assert!(!novelty.is_new(&at(0, TaskState::Rejected, "no such image, task 2", 2)));
    }

    #[test]
    fn a_pull_that_moves_and_a_slot_that_runs_are_progress() {
        let mut novelty = Novelty::default();
        assert!(novelty.is_new(&at(0, TaskState::Assigned, "pulls 10%", 1)));
        assert!(novelty.is_new(&at(0, TaskState::Assigned, "pulls 20%", 1)));
        assert!(novelty.is_new(&at(1, TaskState::Running, "", 1)));
    }
}
