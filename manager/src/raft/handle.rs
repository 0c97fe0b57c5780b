//! What the rest of the manager sees of Raft: propose, read, follow, stop.
//!
//! Nothing of openraft passes through here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::errors::{
    ClientWriteError, ForwardToLeader, InitializeError, LinearizableReadError, RaftError,
};
use openraft::rt::WatchReceiver;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::MAX_ENTRY_BYTES;
use super::disk::{Disk, Full};
use super::error::{ProposeError, ReadError};
use super::leadership::Leadership;
use super::log::Log;
use super::network::Factory;
use super::network_dial::{Lane, Links};
use super::network_serve::Service;
use super::store::Applied;
use super::types::{Command, Manager, Raft, Types};

/// A proposal may take so long to be committed and applied.
const PROPOSE_DEADLINE: Duration = Duration::from_secs(10);

/// How long a proposal or a read waits for a leader to appear. Longer than an election takes.
const LEADER_WAIT: Duration = Duration::from_secs(4);

/// Between two looks for a leader.
const LEADER_POLL: Duration = Duration::from_millis(20);

/// Between two looks at whether there still is a quorum while a proposal is under way.
const QUORUM_POLL: Duration = Duration::from_millis(200);

/// A manager heard of within this time is reachable.
pub(crate) const REACHABLE_WITHIN: Duration = Duration::from_millis(1500);

/// Proposals that may be under way at once.
const MAX_PROPOSALS: usize = 1024;

/// Raft, for the rest of the manager. Clones are the same.
#[derive(Clone)]
pub struct RaftHandle {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) me: u64,
    pub(crate) raft: Raft,
    pub(crate) log: Log,
    pub(crate) disk: Arc<Disk>,
    pub(crate) links: Arc<Links>,
    pub(crate) factory: Factory,
    pub(crate) service: Service,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) applied: watch::Receiver<Applied>,
    pub(crate) proposals: Semaphore,
    // One change of the group at a time.
    pub(crate) changing: Mutex<()>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

pub(crate) fn proposals() -> Semaphore {
    Semaphore::new(MAX_PROPOSALS)
}

/// Numbers of the moment, for `/metrics` and `cluster status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RaftMetrics {
    /// The term.
    pub term: u64,
    /// The last entry in the log.
    pub last_index: Option<u64>,
    /// The last entry known to be committed.
    pub committed_index: Option<u64>,
    /// The last entry applied.
    pub applied_index: Option<u64>,
    /// The last entry in a snapshot.
    pub snapshot_index: Option<u64>,
    /// The last entry no longer in the log.
    pub purged_index: Option<u64>,
    /// Per member that this leader sends to: how far it has the log, when it was last heard of, its level.
    pub peers: BTreeMap<u64, PeerMetrics>,
}

/// What the leader knows of another manager.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerMetrics {
    /// The last entry known to be in its log.
    pub matched_index: Option<u64>,
    /// Since it last answered, milliseconds; `None` when it never did.
    pub silent_ms: Option<u64>,
    /// The highest level it understands; `None` when it never said.
    pub level: Option<u32>,
    /// Whether its disk is full, as it last said.
    pub disk_full: Option<bool>,
}

impl RaftHandle {
    /// This manager's number in the group.
    pub fn id(&self) -> u64 {
        self.inner.me
    }

    /// The gRPC service for the other managers.
    pub fn service(&self) -> Service {
        self.inner.service.clone()
    }

    /// Founds a group of this manager alone, and returns once it leads. Does nothing when the group is there already.
    pub async fn initialize(&self, node: &str, address: &str) -> Result<(), ProposeError> {
        let me = Manager {
            raft_id: self.inner.me,
            node: node.to_owned(),
            address: address.to_owned(),
        };
        match self
            .inner
            .raft
            .initialize(BTreeMap::from([(me.raft_id, me)]))
            .await
        {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(e) => {
                return Err(ProposeError::Stopped {
                    reason: e.to_string(),
                });
            }
        }
        let mut leadership = self.leadership();
        match timeout(LEADER_WAIT, leadership.wait_for(|l| l.leader.is_some())).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(self.no_quorum()),
        }
    }

    /// True once this manager belongs to a group: founded it, or was reached by one.
    pub fn has_group(&self) -> bool {
        !self.inner.log.is_pristine()
    }

    /// Writes an entry. Returns its index and the machine's answer once it is applied here.
    pub async fn propose(&self, entry: Vec<u8>) -> Result<(u64, Vec<u8>), ProposeError> {
        if entry.len() > MAX_ENTRY_BYTES {
            return Err(ProposeError::TooLarge {
                size: entry.len(),
                limit: MAX_ENTRY_BYTES,
            });
        }
        let _slot = self.inner.proposals.acquire().await.map_err(|_| self.stopped())?;
        let command = Command(Arc::from(entry));
        let leader_until = Instant::now() + LEADER_WAIT;
        let until = Instant::now() + PROPOSE_DEADLINE;
        loop {
            if let Some(full) = self.no_room() {
                return Err(full);
            }
            let write = self.inner.raft.client_write(command.clone());
            let written = tokio::select! {
                written = timeout_at(until, write) => written,
                reason = self.lost_quorum() => return Err(ProposeError::OutcomeUnknown { reason }),
            };
            let Ok(written) = written else {
                let reason = format!("not committed within {PROPOSE_DEADLINE:?}, {}", self.no_quorum());
                return Err(ProposeError::OutcomeUnknown { reason });
            };
            let forward = match written {
                Ok(done) => return Ok((done.log_id.index, done.data.0)),
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => forward,
                Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => {
                    return Err(ProposeError::OutcomeUnknown {
                        reason: "the leader changed".into(),
                    });
                }
                Err(other) => {
                    return Err(ProposeError::Stopped {
                        reason: other.to_string(),
                    });
                }
            };
            if let Some(leader) = self.elsewhere(&forward) {
                return Err(ProposeError::NotLeader { leader: Some(leader) });
            }
            // Nobody is known to lead, or this leader waits for its first answers: nothing was written, ask again.
            if Instant::now() >= leader_until {
                return Err(self.no_quorum());
            }
            tokio::time::sleep(LEADER_POLL).await;
        }
    }

    /// Returns once this manager's state holds everything that was acknowledged before the call, with the index up to
    /// which it was confirmed. Only the leader can say so.
    pub async fn read_barrier(&self) -> Result<u64, ReadError> {
        let until = Instant::now() + LEADER_WAIT;
        loop {
            let asked = timeout_at(until, self.inner.raft.get_read_linearizer(ReadPolicy::ReadIndex)).await;
            let forward = match asked {
                Ok(Ok(linearizer)) => {
                    let ready = linearizer
                        .try_await_ready(&self.inner.raft, Some(LEADER_WAIT))
                        .await;
                    return match ready {
                        Ok(Ok(state)) => Ok(state.read_log_id().index()),
                        Ok(Err(_)) => Err(self.no_quorum_read()),
                        Err(e) => Err(ReadError::Stopped {
                            reason: e.to_string(),
                        }),
                    };
                }
                Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
                    Some(forward)
                }
                Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) => None,
                Ok(Err(RaftError::Fatal(e))) => {
                    return Err(ReadError::Stopped {
                        reason: e.to_string(),
                    });
                }
                Err(_) => return Err(self.no_quorum_read()),
            };
            if let Some(leader) = forward.and_then(|f| self.elsewhere(&f)) {
                return Err(ReadError::NotLeader { leader: Some(leader) });
            }
            if Instant::now() >= until {
                return Err(self.no_quorum_read());
            }
            tokio::time::sleep(LEADER_POLL).await;
        }
    }

    /// Who leads, to be watched.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }

    /// The last index applied here, now.
    pub fn applied_index(&self) -> Option<u64> {
        self.inner.applied.borrow().last.map(|l| l.index)
    }

    /// Whether the disk is full, to be watched.
    pub fn disk(&self) -> watch::Receiver<Option<Full>> {
        self.inner.disk.watch()
    }

    /// Numbers of the moment.
    pub fn metrics(&self) -> RaftMetrics {
        let metrics = self.inner.raft.metrics().borrow_watched().clone();
        let peers = metrics
            .replication
            .iter()
            .flatten()
            .filter(|(id, _)| **id != self.inner.me);
        let peers = peers.map(|(id, matched)| {
            let heard = self.inner.links.last_heard(*id);
            let peer = PeerMetrics {
                matched_index: matched.map(|m| m.index),
                silent_ms: heard.map(|h| h.at.elapsed().as_millis() as u64),
                level: heard.map(|h| h.level),
                disk_full: heard.map(|h| h.disk_full),
            };
            (*id, peer)
        });
        RaftMetrics {
            term: metrics.current_term,
            last_index: metrics.last_log_index,
            committed_index: metrics.local_committed.map(|l| l.index),
            applied_index: metrics.last_applied.map(|l| l.index),
            snapshot_index: metrics.snapshot.map(|l| l.index),
            purged_index: metrics.purged.map(|l| l.index),
            peers: peers.collect(),
        }
    }

    /// The level that every member understands; `None` while one has not been heard of. Nothing newer may be written.
    pub fn common_level(&self) -> Option<u32> {
        let members = self.members();
        let others = members
            .voters
            .iter()
            .chain(&members.learners)
            .filter(|m| m.raft_id != self.inner.me);
        let mut levels = others.map(|m| self.inner.links.last_heard(m.raft_id).map(|h| h.level));
        levels.try_fold(self.inner.links.level, |lowest, level| Some(lowest.min(level?)))
    }

    /// Returns when the log cannot go on, with the reason: a failed disk, or an entry this program does not understand.
    /// Never returns while all is well or after [`Self::shutdown`].
    pub async fn failed(&self) -> String {
        let mut metrics = self.inner.raft.metrics();
        loop {
            let state = metrics.borrow_watched().running_state.clone();
            match state {
                Err(openraft::errors::Fatal::Stopped) => std::future::pending().await,
                Err(fatal) => return fatal.to_string(),
                Ok(()) => {}
            }
            if metrics.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Stops taking part, writes what waits, and closes the log. The leadership should be handed over before.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.proposals.close();
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(%error, "raft did not end cleanly");
        }
        self.inner.log.close().await;
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    pub(crate) fn leadership_now(&self) -> Leadership {
        self.inner.leadership.borrow().clone()
    }

    /// Says to another manager that this one is there. True when it answered.
    pub(crate) async fn greet(&self, manager: &Manager) -> bool {
        let disk_full = self.inner.disk.full().is_some();
        self.inner
            .factory
            .network(manager, Lane::Beat)
            .greet(disk_full)
            .await
    }

    /// Voters in touch with this manager, itself included, and voters in all.
    pub(crate) fn reach(&self) -> (usize, usize) {
        let metrics = self.inner.raft.metrics().borrow_watched().clone();
        let voters: Vec<u64> = metrics.membership_config.membership().voter_ids().collect();
        let reachable = voters.iter().filter(|id| self.is_reachable(**id)).count();
        (reachable, voters.len())
    }

    pub(crate) fn is_reachable(&self, id: u64) -> bool {
        id == self.inner.me
            || self
                .inner
                .links
                .last_heard(id)
                .is_some_and(|h| h.at.elapsed() < REACHABLE_WITHIN)
    }

    // A leader whose own disk is full, or that knows too few managers with room, refuses before anything is written.
    fn no_room(&self) -> Option<ProposeError> {
        if !self.leadership_now().am_leader() {
            return None;
        }
        let members = self.members();
        if let Some(Full { path, missing_bytes }) = self.inner.disk.full() {
            let mut voters = members.voters.into_iter();
            return Some(ProposeError::DiskFull {
                leader: voters.find(|m| m.raft_id == self.inner.me)?,
                path,
                missing_bytes,
            });
        }
        let is_full = |m: &&Manager| {
            let heard = self.inner.links.last_heard(m.raft_id);
            m.raft_id != self.inner.me && heard.is_some_and(|h| h.disk_full)
        };
        let full: Vec<Manager> = members.voters.iter().filter(is_full).cloned().collect();
        let (voters, needed) = (members.voters.len(), members.voters.len() / 2 + 1);
        (voters - full.len() < needed).then_some(ProposeError::DisksFull { full, voters, needed })
    }

    /// The index up to which this leader's log is committed, where entries wait behind it though a quorum with room is in
    /// touch.
    pub(crate) fn stands_still_at(&self) -> Option<u64> {
        let metrics = self.metrics();
        let (reachable, voters) = self.reach();
        let can_commit =
            self.leadership_now().am_leader() && reachable > voters / 2 && self.no_room().is_none();
        (can_commit && metrics.last_index > metrics.committed_index)
            .then(|| metrics.committed_index.unwrap_or(0))
    }

    // Returns once this leader lost its quorum, or the room for what it wrote: whoever waits for it should ask another
    // manager instead, or hear why not.
    async fn lost_quorum(&self) -> String {
        let mut missed = 0;
        loop {
            tokio::time::sleep(QUORUM_POLL).await;
            let (reachable, voters) = self.reach();
            let short = reachable < voters / 2 + 1;
            let lost = match self.no_room() {
                Some(full) => Some(full),
                None => (self.leadership_now().am_leader() && short).then(|| self.no_quorum()),
            };
            missed = if lost.is_some() { missed + 1 } else { 0 };
            // Twice, because a leader just elected has not heard from everybody yet.
            if let (Some(lost), 2..) = (lost, missed) {
                return lost.to_string();
            }
        }
    }

    fn elsewhere(&self, forward: &ForwardToLeader<Types>) -> Option<Manager> {
        forward.leader_node.clone().filter(|m| m.raft_id != self.inner.me)
    }

    pub(crate) fn no_quorum(&self) -> ProposeError {
        let (reachable, voters) = self.reach();
        ProposeError::NoQuorum {
            reachable,
            voters,
            needed: voters / 2 + 1,
        }
    }

    fn no_quorum_read(&self) -> ReadError {
        if let Some(full) = self.no_room() {
            let reason = full.to_string();
            return ReadError::NoRoom { reason };
        }
        let (reachable, voters) = self.reach();
        ReadError::NoQuorum {
            reachable,
            voters,
            needed: voters / 2 + 1,
        }
    }

    fn stopped(&self) -> ProposeError {
        ProposeError::Stopped {
            reason: "this manager shuts down".into(),
        }
    }
}
