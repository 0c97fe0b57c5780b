//! The one ordered log, and managers that follow it: each applies every entry, falls behind, crashes to its last
//! snapshot and comes back. All must hold the same state at the same index.

use shoal_core::invariants::{self, Transition};
use shoal_core::state::{Applied, Group, Proposal, State};
use shoal_proto::cluster::Cluster;
use shoal_proto::digest::Digest;
use shoal_proto::id::SessionId;
use shoal_proto::object::Cause;

use crate::link::Greeting;
use crate::world::{Event, World};

/// Entries between two snapshots of a manager.
const SNAPSHOT_ENTRIES: u64 = 50;

/// A proposal on its way, and whose it is.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) proposal: Proposal,
    pub(crate) origin: Origin,
}

/// Who waits for a proposal.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// The leader's step.
    Step,
    /// A session that begins.
    Arrival {
        agent: usize,
        session: SessionId,
        epoch: u64,
        greeting: Greeting,
    },
    /// Reports of an agent.
    Reports,
    /// An operator.
    Operator,
}

/// What was accepted, in order, and the state it leads to.
#[derive(Default)]
pub(crate) struct Log {
    entries: Vec<Proposal>,
    trails: Vec<Digest>,
    /// The state after the last entry.
    pub(crate) front: State,
}

/// One manager.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) state: State,
    pub(crate) up: bool,
    snapshot: Vec<u8>,
}

impl Default for Manager {
    fn default() -> Self {
        let state = State::default();
        let snapshot = state.to_snapshot().expect("an empty state can be written");
        Self {
            state,
            up: true,
            snapshot,
        }
    }
}

impl Log {
    /// Index of the last entry.
    pub(crate) fn last(&self) -> u64 {
        self.entries.len() as u64
    }
}

impl World {
    /// A proposal of a term is accepted, if that term still leads.
    pub(crate) fn commit(&mut self, term: u64, entry: Entry) {
        if self.lead.as_ref().is_some_and(|lead| lead.term == term) {
            let (applied, origin) = self.append(entry);
            self.leader_applied(applied, origin);
        }
    }

    /// Writes an entry down as every manager will read it, and checks what it did.
    pub(crate) fn append(&mut self, entry: Entry) -> (Applied, Origin) {
        let bytes = entry
            .proposal
            .to_bytes()
            .unwrap_or_else(|error| self.fail(&format!("{error}")));
        let proposal = Proposal::from_bytes(&bytes).unwrap_or_else(|error| self.fail(&format!("{error}")));
        let before = self.log.front.clone();
        let index = self.log.last() + 1;
        let applied = self.log.front.apply(index, &proposal);
        self.log.entries.push(proposal);
        self.log.trails.push(self.log.front.trail());
        let outcome: Vec<_> = applied
            .results
            .iter()
            .map(|result| if result.is_ok() { '+' } else { '-' })
            .collect();
        let outcome: String = outcome.into_iter().collect();
        self.tell(&format!("entry {index} {outcome} {}", self.log.front.trail()));
        let transition = Transition {
            before: &before,
            after: &self.log.front,
            events: &applied.events,
        };
        let mut violations = invariants::check(&transition);
        violations.extend(invariants::check_guards(&before, &entry.proposal, &applied));
        if let Some(violation) = violations.first() {
            let changed: Vec<_> = applied
                .events
                .iter()
                .map(|event| event.key().to_string())
                .collect();
            let picture = self.picture();
            self.fail(&format!(
                "{violation}
after entry {index}, which changed {changed:?}
{picture}"
            ));
        }
        self.count_changes(&applied);
        self.check_truth(&applied);
        self.regret_drains(&applied);
        self.tally.entry(&applied);
        if matches!(entry.origin, Origin::Reports) && applied.events.is_empty() {
            self.tally.count("answer: report that changed nothing");
        }
        if let Some(request) = entry.proposal.request {
            self.check_answer(request, &applied);
        }
        for manager in 0..self.managers.len() {
            if self.lead.as_ref().is_some_and(|lead| lead.manager == manager) {
                self.deliver(manager, index);
            } else {
                let delay = self.between(1, 40);
                self.after(delay, Event::Deliver(manager, index));
            }
        }
        (applied, entry.origin)
    }

    /// A manager reads the log up to an index.
    pub(crate) fn deliver(&mut self, manager: usize, upto: u64) {
        let follower = &mut self.managers[manager];
        if !follower.up {
            return;
        }
        while follower.state.index() < upto {
            let at = usize::try_from(follower.state.index()).expect("an index fits");
            follower.state.apply(at as u64 + 1, &self.log.entries[at]);
            if follower.state.trail() != self.log.trails[at] {
                let index = at + 1;
                self.fail(&format!(
                    "manager {manager} holds another state than the others at index {index}"
                ));
            }
            if follower.state.index().is_multiple_of(SNAPSHOT_ENTRIES) {
                follower.snapshot = follower.state.to_snapshot().expect("a state can be written");
            }
        }
    }

    /// A manager loses all but its last snapshot.
    pub(crate) fn manager_down(&mut self, manager: usize) {
        self.tally.count("fault: manager crashed");
        self.tell(&format!("manager {manager} crashes"));
        self.managers[manager].up = false;
        if self.lead.as_ref().is_some_and(|lead| lead.manager == manager) {
            self.lose_leader();
        }
        let delay = self.between(500, 20_000);
        self.after(delay, Event::ManagerUp(manager));
    }

    /// All managers go back to a state from before, as from a backup, in a new incarnation of the cluster.
    pub(crate) fn restore(&mut self, saved: State) {
        self.lose_leader();
        let length = usize::try_from(saved.index()).expect("an index fits");
        self.log.entries.truncate(length);
        self.log.trails.truncate(length);
        let snapshot = saved.to_snapshot().expect("a state can be written");
        for manager in &mut self.managers {
            manager.state = saved.clone();
            manager.snapshot.clone_from(&snapshot);
        }
        let mut cluster = Cluster::clone(saved.cluster().expect("a cluster"));
        self.log.front = saved;
        cluster.incarnation += 1;
        let mut group = Group::new();
        group.put(cluster);
        let proposal = Proposal::new(self.clock(), Cause::default(), vec![group]);
        self.append(Entry {
            proposal,
            origin: Origin::Operator,
        });
    }

    /// A manager comes back from its snapshot and reads what it missed.
    pub(crate) fn manager_up(&mut self, manager: usize) {
        if self.managers[manager].up {
            return;
        }
        self.tally.count("fault: manager read its snapshot");
        self.tell(&format!("manager {manager} comes back"));
        let read = State::from_snapshot(&self.managers[manager].snapshot);
        let follower = &mut self.managers[manager];
        follower.state = read.expect("a snapshot can be read");
        follower.up = true;
        self.deliver(manager, self.log.last());
        if self.lead.is_none() {
            self.after(300, Event::Elect);
        }
    }
}
