//! What is done for a task, and what comes of it: values, carried out elsewhere.

use shoal_proto::id::TaskId;

use crate::engine::EngineError;

/// Something under way for a task; at most one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Image, networks, volumes, files, container.
    Prepare,
    /// Start the container.
    Start,
    /// Lead connections elsewhere, stop it.
    Stop,
    /// Remove the container.
    Remove,
}

/// What came of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Container is made.
    Prepared(String),
    /// It is done; what is seen next tells the rest.
    Done,
    /// It failed.
    Failed(EngineError),
    /// A word on how far it is.
    Progress(String),
    /// Something it needs is not there yet; it is tried again.
    Later(String),
}

/// One thing to do for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Bring it to where it could start.
    Prepare(TaskId),
    /// Give up preparing.
    CancelPrepare(TaskId),
    /// Start its container.
    Start(TaskId, String),
    /// Drain and stop its container.
    Stop(TaskId, String),
    /// Remove its container.
    Remove(TaskId, String),
}

impl Action {
    /// What is under way once it is being carried out; none for a cancellation.
    #[must_use]
    pub fn job(&self) -> Option<Job> {
        match self {
            Self::Prepare(_) => Some(Job::Prepare),
            Self::CancelPrepare(_) => None,
            Self::Start(..) => Some(Job::Start),
            Self::Stop(..) => Some(Job::Stop),
            Self::Remove(..) => Some(Job::Remove),
        }
    }

    /// Whose.
    #[must_use]
    pub fn task(&self) -> TaskId {
        match self {
            Self::Prepare(task) | Self::CancelPrepare(task) => *task,
            Self::Start(task, _) | Self::Stop(task, _) | Self::Remove(task, _) => *task,
        }
    }
}
