//! The state that the log drives: one consistent moment for every reader, and the newest events for those who watch.
//!
//! Decides nothing: what an entry does is `State::apply`.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use shoal_core::state::limit::WATCH_EVENTS_MAX;
use shoal_core::state::watch::{Interest, Ring, Since};
use shoal_core::state::{GroupResult, LEVEL, Proposal, State};
use tokio::sync::watch;

use crate::raft::{Frozen, Machine, MachineError};

/// What became of a proposal, for whoever proposed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The entry's index in the log.
    pub index: u64,
    /// Per group, in the order of the proposal.
    pub results: Vec<GroupResult>,
    /// Whether this is the first answer of an earlier call with the same request id.
    pub repeated: bool,
}

/// The state of this manager.
pub struct StateMachine {
    state: ArcSwap<State>,
    ring: Mutex<Ring>,
    applied: watch::Sender<u64>,
}

impl std::fmt::Debug for StateMachine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StateMachine at {}", self.state.load().index())
    }
}

impl Default for StateMachine {
    fn default() -> Self {
        Self::new()
    }
}

impl StateMachine {
    /// An empty state at index 0.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: ArcSwap::from_pointee(State::default()),
            ring: Mutex::new(Ring::new(0, WATCH_EVENTS_MAX)),
            applied: watch::Sender::new(0),
        }
    }

    /// The state as it is now.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// The index of the newest applied entry; changes with every entry.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// What happened after `index`, as far as it is of interest.
    #[must_use]
    pub fn since(&self, index: u64, interest: &Interest) -> Since {
        self.ring().since(index, interest)
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Machine for StateMachine {
    fn apply(&self, index: u64, entry: &[u8]) -> Result<Vec<u8>, MachineError> {
        let proposal = Proposal::from_bytes(entry).map_err(|error| MachineError(with_causes(&error)))?;
        let mut next = State::clone(&self.state.load());
        let applied = next.apply(index, &proposal);
        self.state.store(Arc::new(next));
        self.ring().push(index, applied.events);
        self.applied.send_replace(index);
        let reply = Reply {
            index,
            results: applied.results,
            repeated: applied.repeated,
        };
        rmp_serde::to_vec(&reply)
            .map_err(|error| MachineError(format!("the answer cannot be encoded: {error}")))
    }

    fn snapshot(&self) -> Frozen {
        let state = self.state();
        Box::new(move || {
            state
                .to_snapshot()
                .expect("a state that was applied can be encoded")
        })
    }

    fn restore(&self, bytes: &[u8]) -> Result<(), MachineError> {
        let state = State::from_snapshot(bytes).map_err(|error| MachineError(with_causes(&error)))?;
        let index = state.index();
        *self.ring() = Ring::new(index, WATCH_EVENTS_MAX);
        self.state.store(Arc::new(state));
        self.applied.send_replace(index);
        Ok(())
    }

    fn level(&self) -> u32 {
        LEVEL
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shoal_core::state::watch::{Interest, Since};
    use shoal_core::state::{Group, Proposal};
    use shoal_proto::id::NetworkId;
    use shoal_proto::network::{Network, NetworkSpec};
    use shoal_proto::object::Cause;
    use shoal_proto::time::Timestamp;

    use super::{Reply, StateMachine};
    use crate::raft::Machine as _;

    fn network(name: &str) -> Vec<u8> {
        let spec = NetworkSpec {
            name: name.to_owned(),
            labels: BTreeMap::new(),
            ..NetworkSpec::default()
        };
        let id = NetworkId::new(Timestamp::from_ms(1), name.len() as u128);
        let mut group = Group::new();
        group.put(Network::new(id, None, spec));
        Proposal::new(Timestamp::from_ms(1), Cause::default(), vec![group])
            .to_bytes()
            .unwrap()
    }

    #[test]
    fn an_entry_is_seen_by_readers_and_by_those_who_watch() {
        let machine = StateMachine::new();
        let reply: Reply = rmp_serde::from_slice(&machine.apply(5, &network("one")).unwrap()).unwrap();
        assert_eq!(reply.index, 5);
        assert!(machine.state().network_named("ONE").is_some());
        assert_eq!(*machine.applied().borrow(), 5);
        assert!(
            matches!(machine.since(0, &Interest::default()), Since::Events { upto: 5, events } if events.len() == 1)
        );
    }

    #[test]
    fn a_restored_machine_is_the_same_and_asks_watchers_to_look_anew() {
        let (first, second) = (StateMachine::new(), StateMachine::new());
        first.apply(5, &network("one")).unwrap();
        second.restore(&first.snapshot()()).unwrap();
        assert_eq!(first.state(), second.state());
        assert_eq!(second.since(3, &Interest::default()), Since::Resync { newest: 5 });
    }

    #[test]
    fn an_entry_of_an_unknown_format_stops_the_machine_with_its_number() {
        let mut entry = network("one");
        entry[1] = 99;
        let error = StateMachine::new().apply(1, &entry).unwrap_err();
        assert!(error.to_string().contains("99"), "{error}");
    }
}
