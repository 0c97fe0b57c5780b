//! The scripts that make a shell ask `shoal __complete`. They know no command and no option, so they never grow old.

use clap::ValueEnum;

/// A shell that completes words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash, 4 or newer.
    Bash,
    /// Z shell.
    Zsh,
    /// fish, 3 or newer.
    Fish,
}

impl Shell {
    /// What the shell is to read.
    #[must_use]
    pub const fn script(self) -> &'static str {
        match self {
            Self::Bash => include_str!("shoal.bash"),
            Self::Zsh => include_str!("shoal.zsh"),
            Self::Fish => include_str!("shoal.fish"),
        }
    }
}
