//! What goes up: the newest status of each task, what is unknown here, whether the Engine answers. Newest wins; a whole
//! account opens every session, so that nothing of an old one needs to be repeated.

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::id::TaskId;
use shoal_proto::task::TaskStatus;

/// Reports one message carries.
pub const BATCH_MAX: usize = 500;

/// Whether the Engine answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineWord {
    /// It does.
    Answers,
    /// It does not: its words.
    Silent(String),
}

/// One message to the managers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Newest statuses.
    Tasks(Vec<(TaskId, TaskStatus)>),
    /// Containers of the cluster that are in no assignment; the whole list.
    Unknown(Vec<TaskId>),
    /// Whether the Engine answers.
    Engine(EngineWord),
}

/// What has not gone up yet.
#[derive(Debug, Clone, Default)]
pub struct Reporter {
    newest: BTreeMap<TaskId, TaskStatus>,
    changed: BTreeSet<TaskId>,
    unknown: Vec<TaskId>,
    unknown_changed: bool,
    engine: Option<EngineWord>,
    engine_changed: bool,
}

impl Reporter {
    /// Takes in the present status of a task.
    pub fn note(&mut self, task: TaskId, status: &TaskStatus) {
        if self.newest.get(&task) != Some(status) {
            self.newest.insert(task, status.clone());
            self.changed.insert(task);
        }
    }

    /// Forgets the tasks that are not among these.
    pub fn retain(&mut self, known: impl Fn(&TaskId) -> bool) {
        self.newest.retain(|task, _| known(task));
        self.changed.retain(|task| known(task));
    }

    /// Takes in which tasks are unknown here.
    pub fn note_unknown(&mut self, mut unknown: Vec<TaskId>) {
        unknown.sort_unstable();
        unknown.dedup();
        self.unknown_changed |= unknown != self.unknown;
        self.unknown = unknown;
    }

    /// Takes in whether the Engine answers.
    pub fn note_engine(&mut self, word: EngineWord) {
        self.engine_changed |= self.engine.as_ref() != Some(&word);
        self.engine = Some(word);
    }

    /// The whole account that opens a session; from here on only changes go up.
    pub fn open(&mut self) -> Vec<(TaskId, TaskStatus)> {
        self.changed.clear();
        self.unknown_changed = !self.unknown.is_empty();
        self.engine_changed = self.engine.is_some();
        self.newest
            .iter()
            .map(|(task, status)| (*task, status.clone()))
            .collect()
    }

    /// The next thing that has not gone up yet.
    pub fn take_next(&mut self) -> Option<Report> {
        if let Some(word) = self.engine.clone().filter(|_| self.engine_changed) {
            self.engine_changed = false;
            return Some(Report::Engine(word));
        }
        let batch: Vec<_> = self.changed.iter().take(BATCH_MAX).copied().collect();
        if !batch.is_empty() {
            self.changed.retain(|task| !batch.contains(task));
            let full = batch
                .into_iter()
                .filter_map(|task| Some((task, self.newest.get(&task)?.clone())));
            return Some(Report::Tasks(full.collect()));
        }
        self.unknown_changed.then(|| {
            self.unknown_changed = false;
            Report::Unknown(self.unknown.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::task::{TaskState, TaskStatus};

    use super::{EngineWord, Report, Reporter};
    use crate::testing::task_id;

    fn status(state: TaskState) -> TaskStatus {
        TaskStatus {
            state,
            ..TaskStatus::default()
        }
    }

    #[test]
    fn only_the_newest_status_goes_up_and_only_once() {
        let mut reporter = Reporter::default();
        reporter.note(task_id(1), &status(TaskState::Preparing));
        reporter.note(task_id(1), &status(TaskState::Running));
        let Some(Report::Tasks(batch)) = reporter.take_next() else {
            panic!("nothing")
        };
        assert_eq!(batch, vec![(task_id(1), status(TaskState::Running))]);
        reporter.note(task_id(1), &status(TaskState::Running));
        assert_eq!(reporter.take_next(), None);
    }

    #[test]
    fn a_session_opens_with_the_whole_account() {
        let mut reporter = Reporter::default();
        reporter.note(task_id(1), &status(TaskState::Running));
        reporter.note_unknown(vec![task_id(5)]);
        reporter.note_engine(EngineWord::Answers);
        while reporter.take_next().is_some() {}
        assert_eq!(reporter.open().len(), 1);
        assert_eq!(reporter.take_next(), Some(Report::Engine(EngineWord::Answers)));
        assert_eq!(reporter.take_next(), Some(Report::Unknown(vec![task_id(5)])));
        assert_eq!(reporter.take_next(), None);
    }

    #[test]
    fn the_last_unknown_task_is_taken_back() {
        let mut reporter = Reporter::default();
        reporter.note_unknown(vec![task_id(5)]);
        reporter.take_next();
        reporter.note_unknown(vec![]);
        assert_eq!(reporter.take_next(), Some(Report::Unknown(vec![])));
    }
}
