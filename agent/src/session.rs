//! The way to the managers, and the only door to the wire: finds the leader, keeps one session with it, passes words down
//! and reports up. It decides nothing about tasks.

mod backoff;
mod bulk;
mod content;
mod convert;
mod describe;
mod heartbeat;
mod pump;
mod renewal;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::seq::SliceRandom as _;
use shoal_proto::digest::Digest;
use shoal_proto::identity::{Expect, Folder, LiveCredentials, MANAGERS_MAX, dial, is_expired, is_removed};
use tokio::sync::watch;
use tonic::Status;
use tonic::transport::Channel;

use crate::agent::AgentHandle;
use crate::clock;
use crate::engine::{Engine, NodeFacts};

use backoff::{Backoff, Said};
pub use content::Contents;

/// Hints at a leader followed in a row before the wait.
const REDIRECTS_MAX: usize = 4;
/// Wait after a manager answers that nobody leads: an election takes about so long.
const NO_LEADER_MS: u64 = 150;

/// What a session is made of.
#[derive(Clone)]
pub struct Link {
    /// Who we are.
    pub live: LiveCredentials,
    /// Where that is kept.
    pub folder: Folder,
    /// Digest of this host's machine-id.
    pub machine: Option<Digest>,
    /// What the node is.
    pub facts: NodeFacts,
    /// The Engine, for what it says about itself, for logs and registries.
    pub engine: Arc<dyn Engine>,
    /// The loop.
    pub agent: AgentHandle,
    /// Where the host is reached; empty as the manager sees it.
    pub advertise: String,
    /// The managers, newest list.
    pub managers: Arc<Mutex<Vec<String>>>,
    /// Fetches contents while there is a session.
    pub contents: Contents,
    /// Socket of the host's manager, where one may wait for a promotion.
    pub manager_socket: std::path::PathBuf,
    /// What to show of the session.
    pub shown: watch::Sender<Shown>,
}

/// What to show of the session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// Address of the manager that holds the session; empty while there is none.
    pub manager: String,
    /// What is wrong or worth knowing.
    pub message: String,
    /// The node's epoch.
    pub epoch: u64,
}

/// How a membership ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The node was removed from the cluster: the manager's words.
    Removed(String),
    /// The agent is to stop.
    Stopped,
}

/// Why one session ended.
#[derive(Debug)]
enum Over {
    /// Another manager leads; empty when nobody does.
    Redirect(String),
    /// It is lost: why.
    Lost(String),
    /// The call was refused.
    Refused(Box<Status>),
    /// The node was removed.
    Removed(String),
}

impl Link {
    /// The managers in random order.
    fn candidates(&self) -> Vec<String> {
        let mut list = self
            .managers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        list.shuffle(&mut rand::rng());
        list
    }

    fn keep_managers(&self, mut managers: Vec<String>) {
        managers.truncate(MANAGERS_MAX);
        if managers.is_empty() {
            return;
        }
        let mut known = self.managers.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == managers {
            return;
        }
        known.clone_from(&managers);
        drop(known);
        let written = self.folder.membership(self.machine).and_then(|membership| {
            membership.map_or(Ok(()), |mut membership| {
                membership.managers = managers;
                self.folder.write_membership(&membership)
            })
        });
        if let Err(error) = written {
            tracing::error!(%error, "list of managers could not be kept");
        }
    }

    fn expect(&self) -> Expect {
        Expect::manager(self.facts.cluster)
    }

    async fn dial(&self, address: &str) -> Result<Channel, String> {
        dial(address, self.expect(), &self.live)
            .await
            .map_err(|error| error.to_string())
    }

    fn show(&self, change: impl FnOnce(&mut Shown)) {
        self.shown.send_modify(change);
    }
}

/// Keeps a session with the leader until the membership ends or `stop` says so.
pub async fn run(link: Link, mut stop: watch::Receiver<bool>) -> Ended {
    let renewal = tokio::spawn(renewal::run(link.clone()));
    let (described_to, described) = watch::channel(None);
    let describer = tokio::spawn(describe::run(link.clone(), described_to));
    let beats = heartbeat::start(link.live.clone(), link.expect(), link.agent.progress.clone());
    let ended = tokio::select! {
        _ = stop.wait_for(|stop| *stop) => Ended::Stopped,
        words = sessions(&link, &beats, &described) => Ended::Removed(words),
    };
    renewal.abort();
    describer.abort();
    if let Ended::Removed(words) = &ended {
        link.show(|shown| shown.message.clone_from(words));
    }
    ended
}

/// One session after the other. Ends with the words of the removal.
async fn sessions(link: &Link, beats: &heartbeat::Beats, described: &describe::Described) -> String {
    let (mut backoff, mut said) = (Backoff::new(), Said::default());
    let mut hint: Option<String> = None;
    let mut redirects = 0;
    loop {
        let mut tried = Vec::new();
        let order: Vec<String> = hint.take().into_iter().chain(link.candidates()).collect();
        for address in order {
            if tried.contains(&address) {
                continue;
            }
            let (over, welcomed) = session(link, beats, described, &address).await;
            if welcomed {
                (backoff, redirects) = (Backoff::new(), 0);
                said.forget();
                tried.clear();
            }
            tried.push(address.clone());
            match after(link, &mut said, &address, over).await {
                After::Removed(words) => return words,
                After::Ask(leader) if redirects < REDIRECTS_MAX => {
                    redirects += 1;
                    hint = Some(leader);
                    break;
                }
                After::Ask(_) | After::Next => {}
            }
        }
        if hint.is_none() {
            redirects = 0;
            let wait_ms = rand::random_range(backoff.next_ms());
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }
}

/// What follows from the end of a session.
enum After {
    Removed(String),
    Ask(String),
    Next,
}

async fn after(link: &Link, said: &mut Said, address: &str, over: Over) -> After {
    match over {
        Over::Removed(words) => After::Removed(words),
        Over::Redirect(leader) if leader.is_empty() => {
            link.show(|shown| shown.message = "no manager leads at this moment".to_owned());
            tokio::time::sleep(Duration::from_millis(NO_LEADER_MS)).await;
            After::Next
        }
        Over::Redirect(leader) => After::Ask(leader),
        Over::Lost(words) => {
            if let Some(unsaid) = said.is_due(address, &words, clock::now()) {
                tracing::warn!(address, words, unsaid, "no session");
            }
            link.show(|shown| shown.message = words);
            After::Next
        }
        Over::Refused(status) if is_removed(&status) => After::Removed(status.message().to_owned()),
        Over::Refused(status) => {
            if let Some(unsaid) = said.is_due(address, status.message(), clock::now()) {
                tracing::warn!(address, code = ?status.code(), message = status.message(), unsaid, "session refused");
            }
            link.show(|shown| shown.message = status.message().to_owned());
            if is_expired(&status) {
                renewal::now(link, address).await;
            }
            After::Next
        }
    }
}

/// One session, and whether it was welcomed.
async fn session(
    link: &Link,
    beats: &heartbeat::Beats,
    described: &describe::Described,
    address: &str,
) -> (Over, bool) {
    let channel = match link.dial(address).await {
        Ok(channel) => channel,
        Err(words) => return (Over::Lost(words), false),
    };
    let mut pump = pump::Pump::new(link, beats, address, channel, described.clone());
    let over = pump.run().await;
    beats.rest();
    link.contents.set(None);
    link.show(|shown| shown.manager.clear());
    (over, pump.welcomed())
}
