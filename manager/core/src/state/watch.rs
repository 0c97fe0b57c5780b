//! The newest events in a bounded ring, for those who watch and come back: all of them in order and without a
//! gap from a given index, or an explicit word that they must look at everything anew.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use shoal_proto::id::{NodeId, ServiceId, StackId};
use shoal_proto::object::Kind;

use super::event::Event;
use super::object::Object;

/// The newest events of one manager.
#[derive(Debug, Clone)]
pub struct Ring {
    events_max: usize,
    events: usize,
    /// Everything up to here is gone from the ring.
    forgotten: u64,
    newest: u64,
    entries: VecDeque<(u64, Arc<[Event]>)>,
}

/// What happened since an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// All of interest, in order, each with its index; nothing is missing up to `upto`.
    Events {
        /// Ask again from here.
        upto: u64,
        /// In order.
        events: Vec<(u64, Event)>,
    },
    /// The ring does not reach back that far, or the index lies ahead: read the state at or after `newest`.
    Resync {
        /// The newest index of the ring.
        newest: u64,
    },
}

/// What a watcher wants to hear of. Every field that is set must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interest {
    /// Of these kinds; empty means all.
    pub kinds: BTreeSet<Kind>,
    /// Of this service.
    pub service: Option<ServiceId>,
    /// On this node.
    pub node: Option<NodeId>,
    /// Of this stack, as far as the object itself names it.
    pub stack: Option<StackId>,
}

impl Ring {
    /// A ring of at most `events_max` events that knows nothing up to `index`.
    #[must_use]
    pub fn new(index: u64, events_max: usize) -> Self {
        Self {
            events_max,
            events: 0,
            forgotten: index,
            newest: index,
            entries: VecDeque::new(),
        }
    }

    /// Takes the events of one applied entry, oldest out first. An entry without events only moves the index.
    pub fn push(&mut self, index: u64, events: Vec<Event>) {
        self.newest = index;
        if !events.is_empty() {
            self.events += events.len();
            self.entries.push_back((index, events.into()));
        }
        while self.events > self.events_max {
            let Some((index, events)) = self.entries.pop_front() else {
                return;
            };
            self.forgotten = index;
            self.events -= events.len();
        }
    }

    /// The newest index.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// What happened after `index`.
    #[must_use]
    pub fn since(&self, index: u64, interest: &Interest) -> Since {
        if index < self.forgotten || index > self.newest {
            return Since::Resync { newest: self.newest };
        }
        let first = self.entries.partition_point(|(at, _)| *at <= index);
        let mut events = Vec::new();
        for (at, batch) in self.entries.range(first..) {
            let wanted = batch.iter().filter(|event| interest.covers(event));
            events.extend(wanted.map(|event| (*at, event.clone())));
        }
        Since::Events {
            upto: self.newest,
            events,
        }
    }
}

impl Interest {
    /// Whether the event concerns the watcher: as the object is, or as it was, so that one that moves out of
    /// sight is still told.
    #[must_use]
    pub fn covers(&self, event: &Event) -> bool {
        let sides = [event.before(), event.after()];
        sides
            .into_iter()
            .flatten()
            .any(|object| self.covers_object(object))
    }

    /// Whether an object concerns the watcher.
    #[must_use]
    pub fn covers_object(&self, object: &Object) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&object.key().kind()))
            && self
                .service
                .is_none_or(|service| object.service() == Some(service))
            && self.node.is_none_or(|node| object.node() == Some(node))
            && self.stack.is_none_or(|stack| object.stack() == Some(stack))
    }
}

#[cfg(test)]
#[path = "watch_test.rs"]
mod tests;
