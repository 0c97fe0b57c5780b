//! Domain ↔ wire. One error for everything that comes in wrong, naming the field's path and what would be right.

mod addresses;
mod basic;
mod checks;
mod cluster;
mod container;
mod content;
mod meta;
mod mount;
mod node;
mod reach;
mod reason;
mod rollout;
mod service;
mod settings;
mod stack;
mod task;
mod template;
mod view;

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod arbitrary_spec;
#[cfg(test)]
mod arbitrary_view;
#[cfg(test)]
mod refusal_test;
#[cfg(test)]
mod round_trip_test;

use crate::digest::InvalidDigest;
use crate::id::InvalidId;

/// A value that came in and cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", prefix(path))]
pub struct Invalid {
    /// Where, such as `template.container.mounts[2].destination`; empty for the message itself.
    pub path: String,
    /// What is wrong and what would be right.
    pub why: String,
}

fn prefix(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!("{path}: ")
    }
}

impl Invalid {
    /// Something wrong with the value at `path`.
    #[must_use]
    pub fn new(path: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            why: why.into(),
        }
    }

    /// The same, seen from the message that holds it in `field`.
    #[must_use]
    pub fn within(mut self, field: &str) -> Self {
        self.path = match self.path.as_str() {
            "" => field.to_owned(),
            inner if inner.starts_with('[') => format!("{field}{inner}"),
            inner => format!("{field}.{inner}"),
        };
        self
    }
}

impl From<InvalidId> for Invalid {
    fn from(error: InvalidId) -> Self {
        Self::new("", error.to_string())
    }
}

impl From<InvalidDigest> for Invalid {
    fn from(error: InvalidDigest) -> Self {
        Self::new("", error.to_string())
    }
}

impl From<Invalid> for tonic::Status {
    fn from(error: Invalid) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// Names the field in which an error happened.
trait At<T> {
    fn at(self, field: &str) -> Result<T, Invalid>;
}

impl<T, E: Into<Invalid>> At<T> for Result<T, E> {
    fn at(self, field: &str) -> Result<T, Invalid> {
        self.map_err(|error| error.into().within(field))
    }
}

/// Enums with the same variants on both sides.
macro_rules! enums {
    ($($wire:ident = $domain:path { $($variant:ident),+ $(,)? })+) => {$(
        impl From<$domain> for crate::wire::$wire {
            fn from(value: $domain) -> Self {
                use $domain as Domain;
                match value { $(Domain::$variant => Self::$variant),+ }
            }
        }

        impl From<crate::wire::$wire> for $domain {
            fn from(value: crate::wire::$wire) -> Self {
                use crate::wire::$wire as Wire;
                match value { $(Wire::$variant => Self::$variant),+ }
            }
        }
    )+};
}
use enums;
