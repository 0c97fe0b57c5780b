//! The cluster as the commands see it: domain types in and out, the wire kept inside.
//!
//! A call that finds no leader, or whose manager went away, is asked again of another manager for as long as an election
//! may take. Writing calls carry a request id, so that asking again never does a thing twice.

mod connect;
mod content;
pub(crate) mod diagnosis;
#[cfg(test)]
pub(crate) mod house_test;
mod names;
mod node;
mod race;
mod rows;
mod service;
pub(crate) mod simulate;
mod stack;
mod stack_rows;
mod watch;
pub(crate) mod why;

use std::time::Duration;

pub use connect::{LOCAL_SOCKET, Target};
pub use names::{Name, Named};
pub use node::{NodeUpdate, TokenKind};
pub use rows::{
    ClusterStatus, ContentKind, ContentRow, Created, JoinToken, ManagerRow, NetworkRow, NodeRow, RegistryRow,
    ServiceDetail, ServiceRow, StackRow, TaskRow,
};
pub use service::{LogLine, LogOptions, Rollback};
use shoal_proto::wire::{self, control_client::ControlClient};
pub use stack::{DeployOrder, Extent};
pub use stack_rows::{SpecNames, StackChange, StackDeployed, StackRevisionDetail};
use tokio::time::{Instant, sleep};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Status};
pub use watch::Changes;

use crate::exit::{Ends, Exit};

/// How long a call is asked again while no manager leads: longer than any election.
const PATIENCE: Duration = Duration::from_secs(15);
/// Pause before asking again.
const PAUSE: Duration = Duration::from_millis(200);

/// In the metadata of a stale answer: for how long its manager has known of no leader or had no room, milliseconds.
const AGE: &str = "shoal-age-ms";

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Freshness {
    /// Holds everything that was acknowledged before the question.
    #[default]
    Newest,
    /// Whatever the manager that is asked has, even while nobody leads.
    Stale,
    /// As stale, from whoever answers first: asked once, with nothing told and nothing kept.
    Glimpse,
}

impl Freshness {
    const fn is_stale(self) -> bool {
        matches!(self, Self::Stale | Self::Glimpse)
    }
}

/// A cluster that answered.
#[derive(Clone)]
pub struct Cluster {
    target: Target,
    /// Where the manager is that answered; none for the local socket.
    address: Option<String>,
    /// All managers, as last told.
    managers: String,
    control: ControlClient<Channel>,
    freshness: Freshness,
}

/// In the metadata of every answer: host:port of all managers, with commas between.
const MANAGERS: &str = "shoal-managers";

/// Credentials for a registry, to be used once or kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// `registry.example:5000`.
    pub host: String,
    /// Who.
    pub username: String,
    /// Password or token.
    pub password: String,
}

impl From<Credential> for wire::RegistryCredential {
    fn from(credential: Credential) -> Self {
        Self {
            host: credential.host,
            username: credential.username,
            password: credential.password,
        }
    }
}

impl Cluster {
    /// Connects to a manager of the cluster that is meant.
    ///
    /// # Errors
    /// When none answers.
    pub async fn connect(target: Target, freshness: Freshness) -> anyhow::Result<Self> {
        let reached = match freshness {
            Freshness::Glimpse => target.glimpse().await?,
            Freshness::Newest | Freshness::Stale => target.connect(None).await?,
        };
        Ok(Self {
            target,
            address: reached.address,
            managers: String::new(),
            control: client(reached.channel),
            freshness,
        })
    }

    /// Calls a method, again through another manager while nobody leads.
    async fn call<Q, A, F>(&mut self, request: Q, method: F) -> anyhow::Result<A>
    where
        Q: Clone,
        F: AsyncFn(&mut ControlClient<Channel>, Q) -> Result<tonic::Response<A>, Status>,
    {
        if self.freshness == Freshness::Glimpse {
            let answer = method(&mut self.control, request).await;
            return answer
                .map(tonic::Response::into_inner)
                .map_err(|status| explain(&status));
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = match method(&mut self.control, request.clone()).await {
                Ok(answer) => {
                    self.hear_of_managers(answer.metadata());
                    tell_age(answer.metadata());
                    return Ok(answer.into_inner());
                }
                Err(status) => status,
            };
            if !may_ask_again(&status) || Instant::now() >= deadline {
                return Err(explain(&status));
            }
            sleep(PAUSE).await;
            if let Ok(reached) = self.target.connect(self.address.as_deref()).await {
                self.control = client(reached.channel);
                self.address = reached.address;
            }
        }
    }

    fn hear_of_managers(&mut self, metadata: &MetadataMap) {
        let told = metadata.get(MANAGERS).and_then(|told| told.to_str().ok());
        if let Some(told) = told.filter(|told| *told != self.managers) {
            self.target.keep_managers(told, self.address.as_deref());
            self.managers = told.to_owned();
        }
    }
}

/// Only a stale answer has an age; none is worth telling while its manager hears a leader.
fn tell_age(metadata: &MetadataMap) {
    let age = metadata.get(AGE).and_then(|age| age.to_str().ok());
    let age_ms: u64 = age.and_then(|age| age.parse().ok()).unwrap_or_default();
    if age_ms > 0 {
        let age_s = age_ms as f64 / 1e3;
        anstream::eprintln!("stale: the manager that answers may have missed the last {age_s:.1} s");
    }
}

fn client(channel: Channel) -> ControlClient<Channel> {
    /// Largest answer: a list of a hundred thousand tasks.
    const ANSWER_BYTES_MAX: usize = 64 << 20;
    ControlClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// A manager that went away shows as a broken transport, which tonic calls `Unknown` or `Cancelled`.
fn may_ask_again(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        Code::Unknown | Code::Cancelled | Code::Internal => std::error::Error::source(status).is_some(),
        _ => false,
    }
}

const NO_SUCH_CALL: &str = "the manager that answers does not serve this: it belongs to no cluster yet (`shoal-manager \
                            status` says so; `shoal-manager init` founds one, `shoal-manager join ADDR --token T` joins \
                            one), or it is of another version than this program (`shoal --version`)";

/// What to tell of a call that failed, with the exit code it deserves.
fn explain(status: &Status) -> anyhow::Error {
    let message = status.message().to_owned();
    match status.code() {
        Code::Unavailable => Ends::with(Exit::NoManager, message),
        // Whoever waits for an order serves nothing else, and says so in no words.
        Code::Unimplemented if message.is_empty() => Ends::with(Exit::NoManager, NO_SUCH_CALL),
        Code::DeadlineExceeded => Ends::with(Exit::TimedOut, message),
        _ if may_ask_again(status) => {
            Ends::with(Exit::NoManager, format!("the manager went away: {message}"))
        }
        _ => Ends::with(Exit::Refused, message),
    }
}
