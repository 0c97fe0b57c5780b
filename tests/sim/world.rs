//! Time, chance, and what is about to happen: a queue of events in the order of their time.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use shoal_core::ids::IdSource;
use shoal_core::state::State;
use shoal_proto::id::NodeId;
use shoal_proto::time::Timestamp;

use crate::agents::{Agent, AgentEvent};
use crate::lead::Lead;
use crate::link::{Down, Up};
use crate::managers::{Entry, Log, Manager};
use crate::oracle::Oracle;
use crate::tally::Tally;
use crate::trace::Trace;

/// When every run begins.
pub(crate) const EPOCH_MS: u64 = 1_700_000_000_000;

/// Something about to happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A proposal of this term is accepted by the log.
    Commit(u64, Box<Entry>),
    /// A manager is told of the log up to an index.
    Deliver(usize, u64),
    /// The leader of this term looks at the state.
    Step(u64),
    /// The leader of this term is lost.
    LeaderLost(u64),
    /// The managers choose a leader.
    Elect,
    /// A manager comes back.
    ManagerUp(usize),
    /// Something reaches the leader of a term from an agent.
    Up(u64, usize, Box<Up>),
    /// Something reaches an agent in the life it was sent to.
    Down(usize, u64, Box<Down>),
    /// Something on a node, in a life of its agent.
    Agent(usize, u64, AgentEvent),
    /// Something breaks.
    Fault,
    /// An operator does something.
    Operator,
    /// An operator takes a drain back.
    DrainTakenBack(NodeId),
    /// An agent's link is mended.
    Mend(usize),
    /// A host comes back.
    PowerOn(usize),
    /// An Engine speaks again.
    EngineSpeaks(usize),
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) rng: StdRng,
    pub(crate) ids: IdSource,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    pub(crate) trace: Trace,
    pub(crate) log: Log,
    pub(crate) managers: Vec<Manager>,
    pub(crate) lead: Option<Lead>,
    pub(crate) term: u64,
    pub(crate) agents: Vec<Agent>,
    pub(crate) oracle: Oracle,
    pub(crate) tally: Tally,
    pub(crate) faults: Faults,
    /// Whether the leader is lost with its next proposal on the way.
    pub(crate) leader_doomed: bool,
}

/// Whether anything still breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Faults {
    /// Chance breaks what it can.
    On,
    /// Everything works.
    Off,
}

impl World {
    /// An empty world with so many managers.
    pub(crate) fn new(seed: u64, managers: usize) -> Self {
        Self {
            now: EPOCH_MS,
            rng: StdRng::seed_from_u64(seed),
            ids: IdSource::from_seed(seed ^ 0x5eed),
            queue: BTreeMap::new(),
            sequence: 0,
            trace: Trace::default(),
            log: Log::default(),
            managers: (0..managers).map(|_| Manager::default()).collect(),
            lead: None,
            term: 0,
            agents: Vec::new(),
            oracle: Oracle::default(),
            tally: Tally::default(),
            faults: Faults::On,
            leader_doomed: false,
        }
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.rng.random_range(low..=high)
    }

    /// Happens so many times in a hundred, while things break at all.
    pub(crate) fn mishap(&mut self, percent: u64) -> bool {
        self.faults == Faults::On && self.between(1, 100) <= percent
    }

    /// Happens so many times in a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.between(1, 100) <= percent
    }

    /// Any of these.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() {
            return None;
        }
        let at = self.between(0, from.len() as u64 - 1);
        from.get(usize::try_from(at).expect("an index fits")).copied()
    }

    /// Lets something happen in so many milliseconds.
    pub(crate) fn after(&mut self, delay_ms: u64, event: Event) {
        self.at(self.now + delay_ms, event);
    }

    /// Lets something happen at a time, not before now.
    pub(crate) fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((time.max(self.now), self.sequence), event);
    }

    /// The present, as hosts read it.
    pub(crate) fn clock(&self) -> Timestamp {
        Timestamp::from_ms(self.now)
    }

    /// Writes down what happened.
    pub(crate) fn tell(&mut self, what: &str) {
        self.trace.line(self.now, what);
    }

    /// What the log says so far: the state of whoever is furthest.
    pub(crate) fn front(&self) -> &State {
        &self.log.front
    }

    /// Takes events of a kind out of the queue, in the order of their time.
    pub(crate) fn take_commits(&mut self, term: u64) -> Vec<Entry> {
        let keys: Vec<(u64, u64)> = self
            .queue
            .iter()
            .filter(|(_, event)| matches!(event, Event::Commit(of, _) if *of == term))
            .map(|(key, _)| *key)
            .collect();
        let taken = keys.into_iter().filter_map(|key| self.queue.remove(&key));
        taken
            .filter_map(|event| match event {
                Event::Commit(_, entry) => Some(*entry),
                _ => None,
            })
            .collect()
    }

    /// Lets everything happen that is due within so many milliseconds.
    pub(crate) fn run_for(&mut self, duration_ms: u64) {
        let until = self.now + duration_ms;
        while let Some(first) = self.queue.first_entry() {
            if first.key().0 > until {
                break;
            }
            let ((time, _), event) = first.remove_entry();
            self.now = time;
            self.happen(event);
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Commit(term, entry) => self.commit(term, *entry),
            Event::Deliver(manager, upto) => self.deliver(manager, upto),
            Event::Step(term) => self.step(term),
            Event::LeaderLost(term) => {
                if self.lead.as_ref().is_some_and(|lead| lead.term == term) {
                    self.lose_leader();
                }
            }
            Event::Elect => self.elect(),
            Event::ManagerUp(manager) => self.manager_up(manager),
            Event::Up(term, agent, up) => self.hear(term, agent, *up),
            Event::Down(agent, life, down) => self.agent_hears(agent, life, *down),
            Event::Agent(agent, life, event) => self.agent_event(agent, life, event),
            Event::Fault => self.fault(),
            Event::Operator => self.operator(),
            Event::DrainTakenBack(node) => self.take_back_drain(node),
            Event::Mend(agent) => self.mend(agent),
            Event::PowerOn(agent) => self.power_on(agent),
            Event::EngineSpeaks(agent) => self.engine_speaks(agent),
        }
    }

    /// Stops the run with what is wrong and what led there.
    pub(crate) fn fail(&self, what: &str) -> ! {
        panic!("{what}\nat {}, after\n{}", self.now, self.trace.tail());
    }
}
