//! Reads: linearizable by the leader, or from this manager's own state, marked with its age.

use std::sync::Arc;

use shoal_core::state::State;
use tonic::{Response, Status};

use super::{Api, fault};

/// In the metadata of every answer: the index of the state it was read from.
pub(crate) const INDEX: &str = "shoal-index";
/// In the metadata of a stale answer: for how many milliseconds this manager has known of no leader, or had no room for
/// new entries. Zero means: the state is at most an election time-out behind.
pub(crate) const AGE: &str = "shoal-age-ms";

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Holds everything that was acknowledged before the call.
    Linearizable,
    /// Whatever this manager has.
    Stale,
}

impl Freshness {
    pub(crate) const fn of(stale: bool) -> Self {
        if stale { Self::Stale } else { Self::Linearizable }
    }
}

/// One moment to answer from.
pub(crate) struct View {
    pub(crate) state: Arc<State>,
    /// None for a linearizable answer.
    pub(crate) age_ms: Option<u64>,
}

impl Api {
    /// One moment to answer from.
    pub(crate) async fn view(&self, freshness: Freshness) -> Result<View, Status> {
        if freshness == Freshness::Stale {
            let age_ms = Some(self.inner.forwarding.behind_ms());
            return Ok(View {
                state: self.inner.machine.state(),
                age_ms,
            });
        }
        self.inner
            .raft
            .read_barrier()
            .await
            .map_err(|error| fault::read(&error))?;
        Ok(View {
            state: self.inner.machine.state(),
            age_ms: None,
        })
    }
}

impl View {
    pub(crate) fn index(&self) -> u64 {
        self.state.index()
    }

    /// Marks an answer with its index and age.
    pub(crate) fn answer<T>(&self, message: T) -> Response<T> {
        let mut response = Response::new(message);
        response.metadata_mut().insert(INDEX, self.index().into());
        if let Some(age_ms) = self.age_ms {
            response.metadata_mut().insert(AGE, age_ms.into());
        }
        response
    }
}
