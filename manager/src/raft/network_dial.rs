//! Connections to the other managers, and what was last heard of them.
//!
//! How a connection is made (addresses, TLS, whom the other end must be) is the business of whoever implements `Dial`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use shoal_proto::wire::RaftEnvelope;
use shoal_proto::wire::raft_client::RaftClient;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::transport::Channel;

use super::network_wire::{FORMAT, MAX_MESSAGE_BYTES};
use super::types::Manager;

/// Makes connections to managers.
#[async_trait::async_trait]
pub trait Dial: Send + Sync + 'static {
    /// A new channel to `manager`, which may connect only when it is used. Its other end must prove to be that Node.
    async fn channel(&self, manager: &Manager) -> Result<Channel, DialError>;
}

/// Why no connection can even be tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot dial manager {manager}: {reason}")]
pub struct DialError {
    /// Whom.
    pub manager: Manager,
    /// Why not.
    pub reason: String,
}

/// Heartbeats and votes must never wait behind entries, nor entries behind a snapshot: each has its own connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    Beat,
    Log,
    Bulk,
}

/// A connection that answered before and then nothing for so long is made anew: after a cable is back, a new one is there
/// at once while the old one waits for its next retransmission.
const DEAD_AFTER: Duration = Duration::from_millis(1000);

/// A connection that never answered yet may still be in its handshake, on a busy machine or a long line.
const STILLBORN_AFTER: Duration = Duration::from_secs(3);

struct Link {
    channel: Channel,
    address: String,
    made: Instant,
    answered: Option<Instant>,
}

impl Link {
    fn is_dead(&self) -> bool {
        match self.answered {
            Some(at) => at.elapsed() > DEAD_AFTER,
            None => self.made.elapsed() > STILLBORN_AFTER,
        }
    }
}

/// What a manager said of itself with its last answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) at: Instant,
    pub(crate) level: u32,
    pub(crate) disk_full: bool,
}

/// All connections of this manager.
pub(crate) struct Links {
    pub(crate) me: u64,
    pub(crate) level: u32,
    dial: Arc<dyn Dial>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    links: HashMap<(u64, Lane), Link>,
    heard: HashMap<u64, Heard>,
    // Those whose heartbeat connection was given up, until they answer over a new one.
    lost: HashSet<u64>,
    // How often each came back.
    returns: HashMap<u64, watch::Sender<u64>>,
}

impl Links {
    pub(crate) fn new(me: u64, level: u32, dial: Arc<dyn Dial>) -> Self {
        Links {
            me,
            level,
            dial,
            known: Mutex::default(),
        }
    }

    pub(crate) async fn client(&self, to: &Manager, lane: Lane) -> Result<RaftClient<Channel>, DialError> {
        let key = (to.raft_id, lane);
        if let Some(channel) = self.kept(&key, to) {
            return Ok(client(channel));
        }
        let channel = self.dial.channel(to).await?;
        let link = Link {
            channel: channel.clone(),
            address: to.address.clone(),
            made: Instant::now(),
            answered: None,
        };
        self.lock().links.insert(key, link);
        Ok(client(channel))
    }

    fn kept(&self, key: &(u64, Lane), to: &Manager) -> Option<Channel> {
        let known = self.lock();
        known
            .links
            .get(key)
            .filter(|l| l.address == to.address)
            .map(|l| l.channel.clone())
    }

    pub(crate) fn answered(&self, to: u64, lane: Lane) {
        let mut known = self.lock();
        if let Some(link) = known.links.get_mut(&(to, lane)) {
            link.answered = Some(Instant::now());
        }
        if lane == Lane::Beat && known.lost.remove(&to) {
            // It is back. What was open before is as good as dead, however long its retransmissions would take to show.
            known.links.remove(&(to, Lane::Log));
            known.links.remove(&(to, Lane::Bulk));
            known
                .returns
                .entry(to)
                .or_default()
                .send_modify(|times| *times += 1);
        }
    }

    pub(crate) fn silent(&self, to: u64, lane: Lane) {
        let dead = self.lock().links.get(&(to, lane)).is_some_and(Link::is_dead);
        if dead {
            self.broken(to, lane);
        }
    }

    pub(crate) fn broken(&self, to: u64, lane: Lane) {
        let mut known = self.lock();
        known.links.remove(&(to, lane));
        if lane == Lane::Beat {
            known.lost.insert(to);
        }
    }

    /// Changes when a manager that was lost is back.
    pub(crate) fn returns_of(&self, to: u64) -> watch::Receiver<u64> {
        self.lock().returns.entry(to).or_default().subscribe()
    }

    pub(crate) fn heard(&self, from: u64, level: u32, disk_full: bool) {
        let heard = Heard {
            at: Instant::now(),
            level,
            disk_full,
        };
        self.lock().heard.insert(from, heard);
    }

    pub(crate) fn last_heard(&self, from: u64) -> Option<Heard> {
        self.lock().heard.get(&from).copied()
    }

    pub(crate) fn envelope(&self, to: u64) -> RaftEnvelope {
        RaftEnvelope {
            format: FORMAT,
            from: self.me,
            to,
            level: self.level,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder of this lock panics")
    }
}

fn client(channel: Channel) -> RaftClient<Channel> {
    RaftClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}
