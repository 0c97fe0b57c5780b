//! The path of a key, built while walking a tree and written out only when something is to be said about it.

use std::fmt;

/// Where a walk stands: `services.web.ports[0]`.
#[derive(Debug, Clone, Copy)]
pub enum Path<'a> {
    /// The file itself.
    Root,
    /// A key of a mapping.
    Key(&'a Path<'a>, &'a str),
    /// An item of a list, from 0.
    Item(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    /// The path of a key below this one.
    #[must_use]
    pub fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    /// The path of an item below this one.
    #[must_use]
    pub fn item(&'a self, index: usize) -> Self {
        Self::Item(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => f.write_str(key),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
