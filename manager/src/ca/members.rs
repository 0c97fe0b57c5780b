//! What the state says of a certificate's holder, asked at every call.

use std::fmt;
use std::sync::Arc;

use shoal_core::state::State;
use shoal_proto::digest::Digest;
use shoal_proto::identity::{Identity, Members, Standing, Subject};

/// The standing of `identity`, who showed the key with this digest.
///
/// Operators are believed by their certificate: the state holds no operators.
#[must_use]
pub fn standing(state: &State, identity: &Identity, key: &Digest) -> Standing {
    let Some(cluster) = state.cluster() else {
        return Standing::Unknown;
    };
    if cluster.id != identity.cluster {
        return Standing::Removed;
    }
    let Some(id) = identity.node() else {
        return Standing::Current;
    };
    let Some(node) = state.node(id) else {
        let removed = cluster.removed_nodes.iter().any(|(gone, _)| *gone == id);
        return if removed {
            Standing::Removed
        } else {
            Standing::Unknown
        };
    };
    let recorded = match identity.subject {
        Subject::Manager(_) => &node.plan.keys.manager,
        _ => &node.plan.keys.agent,
    };
    if recorded.as_ref() == Some(key) {
        Standing::Current
    } else {
        Standing::Superseded
    }
}

/// [`standing`] of whatever state is current.
pub struct StateMembers<F>(pub F);

impl<F> fmt::Debug for StateMembers<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateMembers")
    }
}

impl<F: Fn() -> Arc<State> + Send + Sync + 'static> Members for StateMembers<F> {
    fn standing(&self, identity: &Identity, key: &Digest) -> Standing {
        standing(&(self.0)(), identity, key)
    }
}
