//! The answers to writing calls, kept with the state by request id: a repeat gets the first answer.

use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use shoal_proto::id::RequestId;
use shoal_proto::time::Timestamp;

use super::conflict::Conflict;
use super::limit::{ANSWERS_KEPT_MS, ANSWERS_MAX};
use super::object::ObjectKey;

/// What became of one group: what it wrote, or why it was not applied.
pub type GroupResult = Result<Vec<Written>, Conflict>;

/// One object of an applied group. Bytes have no row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Which.
    pub key: ObjectKey,
    /// The version it has now (of the half that was meant); zero once it is removed or where it is not there.
    pub version: u64,
    /// Whether it changed.
    pub effect: Effect,
}

/// Whether a change of an applied group changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// It did.
    Written,
    /// A status that is older, goes backwards, says nothing new or is about nobody: the stored one stays.
    Ignored,
}

/// What a writing call was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Where it was applied.
    pub index: u64,
    /// When, in cluster time.
    pub at: Timestamp,
    /// Per group, in the order of the proposal.
    pub results: Vec<GroupResult>,
}

/// The newest answers, at most [`ANSWERS_MAX`] and no older than [`ANSWERS_KEPT_MS`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    by_request: OrdMap<RequestId, Answer>,
    by_index: OrdMap<u64, RequestId>,
}

impl Answers {
    pub(crate) fn get(&self, request: RequestId) -> Option<&Answer> {
        self.by_request.get(&request)
    }

    pub(crate) fn keep(&mut self, request: RequestId, answer: Answer) {
        self.by_index.insert(answer.index, request);
        if let Some(old) = self.by_request.insert(request, answer) {
            self.by_index.remove(&old.index);
        }
    }

    /// Forgets what is too old or too many at `now`.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        while let Some(&(index, request)) = self.by_index.get_min() {
            let old = self
                .get(request)
                .is_none_or(|answer| now.ms_since(answer.at) > ANSWERS_KEPT_MS);
            if !old && self.by_index.len() <= ANSWERS_MAX {
                return;
            }
            self.by_index.remove(&index);
            self.by_request.remove(&request);
        }
    }

    /// In the order they were given.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RequestId, &Answer)> {
        self.by_index
            .values()
            .filter_map(|request| Some((*request, self.get(*request)?)))
    }
}
