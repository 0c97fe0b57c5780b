//! Who leads, as a value to watch.

use super::types::{Manager, Types, term_of};

/// Who leads right now, as this manager knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader; `None` while there is none, or none is known.
    pub leader: Option<Manager>,
    /// The term this manager is in.
    pub term: u64,
    /// What this manager itself is.
    pub mine: Mine,
}

/// What this manager is in the group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mine {
    /// Not the leader.
    #[default]
    Follower,
    /// Elected, and still behind: nothing may be decided from its state yet.
    Elected,
    /// Leader, and an entry of its own term is applied: its state holds everything that was ever acknowledged.
    Leading,
}

impl Leadership {
    /// True when this manager may decide.
    pub fn may_decide(&self) -> bool {
        self.mine == Mine::Leading
    }

    /// True when this manager was elected, whether it may decide yet or not.
    pub fn am_leader(&self) -> bool {
        self.mine != Mine::Follower
    }

    pub(crate) fn read(metrics: &openraft::RaftMetrics<Types>, me: u64) -> Self {
        let members = metrics.membership_config.membership();
        let leader = metrics
            .current_leader
            .and_then(|id| members.get_node(&id).cloned());
        let applied_term = metrics.last_applied.as_ref().map(term_of);
        let mine = match metrics.current_leader {
            Some(id) if id != me => Mine::Follower,
            None => Mine::Follower,
            Some(_) if applied_term == Some(metrics.current_term) => Mine::Leading,
            Some(_) => Mine::Elected,
        };
        Leadership {
            leader,
            term: metrics.current_term,
            mine,
        }
    }
}
