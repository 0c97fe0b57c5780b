//! Which of our daemons this is: the only thing that the rest of this crate asks about the program it is part of.

use shoal_proto::identity::Role;

/// A daemon of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `shoal-agent`.
    Agent,
    /// `shoal-manager`.
    Manager,
}

impl Kind {
    /// In one word, as `status` shows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Manager => "manager",
        }
    }

    /// What the program is called.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Agent => "shoal-agent",
            Self::Manager => "shoal-manager",
        }
    }

    /// The role of its certificate, and of the join token that gets it one.
    #[must_use]
    pub const fn role(self) -> Role {
        match self {
            Self::Agent => Role::Worker,
            Self::Manager => Role::Manager,
        }
    }

    /// The other daemon of a host.
    #[must_use]
    pub const fn sibling(self) -> Self {
        match self {
            Self::Agent => Self::Manager,
            Self::Manager => Self::Agent,
        }
    }
}
