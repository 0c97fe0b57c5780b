//! How `shoal` ends: the exit codes of the whole program, and errors that carry one.

use std::fmt;
use std::process::ExitCode;

/// What the exit code says. Scripts rely on the numbers; they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Refused, or failed before anything changed.
    Refused,
    /// Wrong usage or an invalid file.
    Usage,
    /// Changed, failed, and rolled back.
    RolledBack,
    /// Gave up waiting; it goes on in the cluster.
    TimedOut,
    /// Changed, failed, and paused.
    Failed,
    /// No manager answers, or they have no quorum.
    NoManager,
    /// Something differs, where that was asked.
    Differs,
    /// Interrupted; it goes on in the cluster.
    Interrupted,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::RolledBack => 3,
            Self::TimedOut => 4,
            Self::Failed => 5,
            Self::NoManager => 6,
            Self::Differs => 8,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error that decides the exit code. Others end with [`Exit::Refused`].
#[derive(Debug)]
pub struct Ends {
    /// With which code.
    pub exit: Exit,
    /// What to tell.
    pub message: String,
}

impl Ends {
    /// An error with its code.
    pub fn with(exit: Exit, message: impl Into<String>) -> anyhow::Error {
        Self {
            exit,
            message: message.into(),
        }
        .into()
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Ends {}

/// The exit code an error asks for.
#[must_use]
pub fn of(error: &anyhow::Error) -> Exit {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Ends>())
        .map_or(Exit::Refused, |ends| ends.exit)
}
