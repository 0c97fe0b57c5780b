//! What a decision is: groups of changes, when to look again, and why. A value that others carry out.

use shoal_proto::reason::Reason;
use shoal_proto::time::Timestamp;

use crate::state::{Group, ObjectKey};

/// The outcome of one look at a state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// What must change; each group is applied whole or not at all.
    pub groups: Vec<Group>,
    /// When to look again even if nothing changes; none when only a change can matter.
    pub wake_at: Option<Timestamp>,
    /// Why, for people; what must be kept is stored on the objects.
    pub notes: Vec<Note>,
}

/// Something worth saying about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// About what.
    pub about: ObjectKey,
    /// What.
    pub reason: Reason,
}

impl Step {
    /// Adds a group unless it changes nothing.
    pub fn push(&mut self, group: Group) {
        if !group.is_empty() {
            self.groups.push(group);
        }
    }

    /// Asks for a look no later than `at`.
    pub fn wake_by(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Says why.
    pub fn note(&mut self, about: ObjectKey, reason: Reason) {
        self.notes.push(Note { about, reason });
    }

    /// Takes over what another look found.
    pub fn merge(&mut self, other: Self) {
        self.groups.extend(other.groups);
        self.notes.extend(other.notes);
        if let Some(at) = other.wake_at {
            self.wake_by(at);
        }
    }
}
