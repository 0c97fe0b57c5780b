//! Drives the decisions while this manager leads: one step in flight, at once when idle, batched while busy.
//!
//! Decides nothing. Starts only after an entry of its own term was applied; its cluster time is moved by the monotonic
//! clock alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shoal_core::dispatcher::seen::Seen;
use shoal_core::ids::IdSource;
use shoal_core::state::{Group, Proposal, State};
use shoal_core::step::Step;
use shoal_proto::object::Cause;
use shoal_proto::time::Timestamp;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::ClusterClock;
use crate::machine::{Reply, StateMachine};
use crate::raft::{ProposeError, RaftHandle};

/// Changes of one proposal of a step: small enough that an operator's write never waits long behind one.
const CHUNK_CHANGES_MAX: usize = 250;
/// Bytes of one proposal of a step, encoded; larger ones are halved.
const CHUNK_GROUPS_MIN: usize = 1;
/// After a proposal that was not accepted.
const RETRY: Duration = Duration::from_millis(500);
/// Longest sleep: a step that was forgotten is made up for.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What decides. Made anew for every leadership.
pub type Decide = Box<dyn FnMut(&State, &Seen, Timestamp) -> Step + Send>;

/// The core's decisions, with a fresh source of ids.
#[must_use]
pub fn core_decisions() -> Decide {
    let mut leader = shoal_core::leader::Leader::new(IdSource::from_entropy(rand::random()));
    Box::new(move |state, seen, now| leader.step(state, seen, now))
}

/// What one leadership knows beyond the state.
#[derive(Debug)]
struct Term {
    number: u64,
    clock: ClusterClock,
    seen: Seen,
}

/// The leadership of this manager, for whoever feeds it or reads its time.
#[derive(Debug, Clone)]
pub struct LeaderHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    machine: Arc<StateMachine>,
    term: Mutex<Option<Term>>,
    leads: watch::Sender<Option<u64>>,
    dirty: Notify,
}

impl LeaderHandle {
    /// A manager that does not lead yet.
    #[must_use]
    pub fn new(machine: Arc<StateMachine>) -> Self {
        let leads = watch::Sender::new(None);
        Self(Arc::new(Shared {
            machine,
            term: Mutex::new(None),
            leads,
            dirty: Notify::new(),
        }))
    }

    /// Cluster time: this leadership's clock, or this host's where it does not lead.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self.lock().as_ref() {
            Some(term) => term.clock.now(),
            None => ClusterClock::start(self.0.machine.state().newest_time()).now(),
        }
    }

    /// The term in which this manager leads and may decide; none while it does not.
    #[must_use]
    pub fn leads(&self) -> watch::Receiver<Option<u64>> {
        self.0.leads.subscribe()
    }

    /// Feeds what was heard, at the leadership's time. None while this manager does not lead.
    pub fn hear<R>(&self, feed: impl FnOnce(&mut Seen, Timestamp) -> R) -> Option<R> {
        let mut term = self.lock();
        let term = term.as_mut()?;
        let now = term.clock.now();
        Some(feed(&mut term.seen, now))
    }

    /// Something was heard that may ask for a decision: look soon.
    pub fn nudge(&self) {
        self.0.dirty.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Term>> {
        self.0.term.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, number: u64) {
        let clock = ClusterClock::start(self.0.machine.state().newest_time());
        let seen = Seen::new(clock.now());
        *self.lock() = Some(Term { number, clock, seen });
        self.0.leads.send_replace(Some(number));
    }

    fn end(&self) {
        *self.lock() = None;
        self.0.leads.send_replace(None);
    }

    /// What was heard so far, and the time; progress of what is gone is forgotten on the way.
    fn look(&self, state: &State) -> Option<(Seen, Timestamp)> {
        let mut term = self.lock();
        let term = term.as_mut()?;
        term.seen.forget_gone(state);
        Some((term.seen.clone(), term.clock.now()))
    }

    fn is_term(&self, number: u64) -> bool {
        self.lock().as_ref().is_some_and(|term| term.number == number)
    }
}

/// Runs until `stop`: waits for leadership, decides while it lasts.
pub async fn run(
    handle: LeaderHandle,
    raft: RaftHandle,
    make: impl Fn() -> Decide + Send + Sync,
    stop: CancellationToken,
) {
    let mut leadership = raft.leadership();
    loop {
        let waited = tokio::select! {
            waited = leadership.wait_for(|now| now.may_decide()) => waited.map(|now| now.term),
            () = stop.cancelled() => break,
        };
        let Ok(number) = waited else { break };
        tracing::info!(term = number, "leads");
        handle.begin(number);
        let lost = async {
            // Another term is another leadership, even of the same manager.
            let lost = leadership
                .wait_for(|now| !now.may_decide() || now.term != number)
                .await;
            drop(lost);
        };
        tokio::select! {
            () = lead(&handle, &raft, number, &make) => {}
            () = lost => {}
            () = stop.cancelled() => {}
        }
        handle.end();
        tracing::info!(term = number, "leads no more");
    }
    handle.end();
}

async fn lead(handle: &LeaderHandle, raft: &RaftHandle, number: u64, make: &(impl Fn() -> Decide + Sync)) {
    let mut decide = make();
    let machine = handle.0.machine.clone();
    let mut applied = machine.applied();
    while handle.is_term(number) {
        // Seen before the state is read: what is applied from here on wakes the next look.
        applied.mark_unchanged();
        let state = machine.state();
        let Some((seen, now)) = handle.look(&state) else {
            return;
        };
        let step = decide(&state, &seen, now);
        log_notes(&step);
        if step.groups.is_empty() {
            wait(handle, &mut applied, step.wake_at).await;
            continue;
        }
        if let Err(error) = carry_out(handle, raft, step.groups).await {
            tracing::warn!(%error, "a step was not carried out; all is looked at anew");
            decide = make();
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Until something changed, somebody nudged, or the time has come.
async fn wait(handle: &LeaderHandle, applied: &mut watch::Receiver<u64>, wake_at: Option<Timestamp>) {
    let pause = match wake_at {
        Some(at) => Duration::from_millis(at.ms_since(handle.now())).min(LOOK_AGAIN),
        None => LOOK_AGAIN,
    };
    tokio::select! {
        changed = applied.changed() => changed.expect("the machine outlives its leader"),
        () = handle.0.dirty.notified() => {}
        () = tokio::time::sleep(pause) => {}
    }
}

/// Writes the groups in proposals of bounded size, in their order.
async fn carry_out(handle: &LeaderHandle, raft: &RaftHandle, groups: Vec<Group>) -> Result<(), ProposeError> {
    let cause = Cause::default();
    for chunk in chunks(groups) {
        let mut waiting = vec![chunk];
        while let Some(chunk) = waiting.pop() {
            let proposal = Proposal::new(handle.now(), cause.clone(), chunk);
            let Ok(entry) = proposal.to_bytes() else {
                halve(proposal.groups, &mut waiting);
                continue;
            };
            let (_, answer) = raft.propose(entry).await?;
            log_conflicts(&answer);
        }
    }
    Ok(())
}

/// Splits a chunk that is too large for an entry. A single group that is too large cannot be written at all.
fn halve(mut groups: Vec<Group>, waiting: &mut Vec<Vec<Group>>) {
    if groups.len() <= CHUNK_GROUPS_MIN {
        tracing::error!("a decision is larger than an entry may be and is not carried out: {groups:?}");
        return;
    }
    let second = groups.split_off(groups.len() / 2);
    waiting.push(second);
    waiting.push(groups);
}

fn chunks(groups: Vec<Group>) -> Vec<Vec<Group>> {
    let mut chunks: Vec<Vec<Group>> = Vec::new();
    let mut changes = usize::MAX;
    for group in groups {
        if changes.saturating_add(group.changes.len()) > CHUNK_CHANGES_MAX {
            chunks.push(Vec::new());
            changes = 0;
        }
        changes += group.changes.len();
        chunks
            .last_mut()
            .expect("the first group opens a chunk")
            .push(group);
    }
    chunks
}

/// A conflict is no error: the object changed meanwhile, and the next step looks at it as it is now.
fn log_conflicts(answer: &[u8]) {
    match rmp_serde::from_slice::<Reply>(answer) {
        Ok(reply) => {
            for conflict in reply.results.iter().filter_map(|result| result.as_ref().err()) {
                tracing::debug!(%conflict, "a group of the step met a conflict");
            }
        }
        Err(error) => tracing::error!(%error, "the machine's answer cannot be read"),
    }
}

fn log_notes(step: &Step) {
    for note in &step.notes {
        tracing::debug!(about = %note.about, reason = %note.reason, "decided");
    }
}

#[cfg(test)]
#[path = "leader_test.rs"]
mod tests;
