//! What an applied entry changed, for those who watch and for those who look for what became dirty.

use super::object::{Object, ObjectKey};

/// One object was written or removed. Before and after are both whole, so that nobody needs to ask back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Made or changed.
    Put {
        /// As it was; none when it was made.
        before: Option<Object>,
        /// As it is.
        after: Object,
    },
    /// Removed.
    Delete {
        /// As it was.
        before: Object,
    },
}

impl Event {
    /// Which object.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        self.object().key()
    }

    /// The newest the event knows: after a write, or before a removal.
    #[must_use]
    pub fn object(&self) -> &Object {
        match self {
            Self::Put { after, .. } => after,
            Self::Delete { before } => before,
        }
    }

    /// As it was; none when the event made it.
    #[must_use]
    pub fn before(&self) -> Option<&Object> {
        match self {
            Self::Put { before, .. } => before.as_ref(),
            Self::Delete { before } => Some(before),
        }
    }

    /// As it is; none when the event removed it.
    #[must_use]
    pub fn after(&self) -> Option<&Object> {
        match self {
            Self::Put { after, .. } => Some(after),
            Self::Delete { .. } => None,
        }
    }
}
