//! A whole state as bytes and back. Built from a clone, off the hot path; indexes are not written but rebuilt.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shoal_proto::digest::Digest;
use shoal_proto::id::RequestId;
use shoal_proto::time::Timestamp;

use super::State;
use super::answer::Answer;
use super::answer::GroupResult;
use super::blob::Blob;
use super::encode::{DecodeError, EncodeError, decode, encode};
use super::event::Event;
use super::object::Object;

/// What is written of a state. A new field goes to the end and takes a default.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    index: u64,
    newest_time: Timestamp,
    trail: Digest,
    objects: Vec<Object>,
    blobs: Vec<(Digest, Arc<Blob>)>,
    answers: Vec<(RequestId, Answer)>,
}

impl State {
    /// The whole state as bytes, equal on every manager that has applied the same entries.
    ///
    /// # Errors
    /// When the encoder refuses, which only a defect can cause.
    pub fn to_snapshot(&self) -> Result<Vec<u8>, EncodeError> {
        let snapshot = Snapshot {
            index: self.index,
            newest_time: self.newest_time,
            trail: self.trail,
            objects: self.objects().collect(),
            blobs: self
                .blobs
                .entries()
                .map(|(digest, blob)| (*digest, blob.clone()))
                .collect(),
            answers: self
                .answers
                .iter()
                .map(|(request, answer)| (request, answer.clone()))
                .collect(),
        };
        encode("snapshot", self.level(), &snapshot)
    }

    /// Reads a whole state.
    ///
    /// # Errors
    /// When it was written by a newer build, or holds anything this one does not know.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (_, snapshot): (u32, Snapshot) = decode("snapshot", bytes)?;
        let mut state = Self {
            index: snapshot.index,
            newest_time: snapshot.newest_time,
            trail: snapshot.trail,
            ..Self::default()
        };
        for object in snapshot.objects {
            state.insert_row(object);
        }
        for (digest, blob) in snapshot.blobs {
            state.blobs.put(digest, blob);
        }
        for (request, answer) in snapshot.answers {
            state.answers.keep(request, answer);
        }
        Ok(state)
    }

    /// Equal on two managers exactly when all they wrote up to this index is equal: a hash over every entry's
    /// results and writes. Costs nothing to ask.
    #[must_use]
    pub fn trail(&self) -> Digest {
        self.trail
    }

    /// Every object: the cluster first, then kind by kind in the order of their keys.
    pub fn objects(&self) -> impl Iterator<Item = Object> + '_ {
        let first = self.cluster.iter().cloned().map(Object::Cluster);
        first
            .chain(self.nodes.iter().cloned().map(Object::Node))
            .chain(self.services.iter().cloned().map(Object::Service))
            .chain(self.revisions.iter().cloned().map(Object::Revision))
            .chain(self.slots.iter().cloned().map(Object::Slot))
            .chain(self.tasks.iter().cloned().map(Object::Task))
            .chain(self.networks.iter().cloned().map(Object::Network))
            .chain(self.secrets.iter().cloned().map(Object::Secret))
            .chain(self.configs.iter().cloned().map(Object::Config))
            .chain(self.volumes.iter().cloned().map(Object::Volume))
            .chain(self.stacks.iter().cloned().map(Object::Stack))
            .chain(self.registries.iter().cloned().map(Object::Registry))
    }

    pub(super) fn follow_trail(&mut self, index: u64, results: &[GroupResult], events: &[Event]) {
        let written: Vec<_> = events.iter().map(|event| (event.key(), event.after())).collect();
        let step = (self.trail, index, results, written);
        let bytes = rmp_serde::to_vec(&step).expect("results and objects can always be encoded");
        self.trail = Digest::of(&bytes);
    }
}

#[cfg(test)]
#[path = "snapshot_test.rs"]
mod tests;
