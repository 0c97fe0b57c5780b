//! Where a question is read, looked up and answered, or handed on to the host's resolvers; where it is counted, and where
//! the log hears of trouble. No sockets of its own.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use super::forward::{Forwarder, Unanswered};
use super::limits::{Place, Quiet};
use super::message::{Asked, Read, Way, read};
use super::names::{Answer, Names};

/// Between two lines in the log about the same trouble.
const SAID_EVERY_S: u64 = 60;

/// Questions that came, by what they were about: `cluster`, `outside`, `refused`, `wrong`.
const QUERIES: &str = "shoal_agent_dns_queries";
/// Questions that stayed without an answer, by why: `busy`, `list`, `nobody`, `silent`, `connections`.
const FAILURES: &str = "shoal_agent_dns_failures";

/// Answers.
#[derive(Debug)]
pub(super) struct Desk {
    known: RwLock<Known>,
    forwarder: Forwarder,
    said: Quiet,
}

/// What is known at the moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) names: Arc<Names>,
    /// Our own addresses: questions are not handed on to them.
    pub(super) gateways: Arc<BTreeSet<Ipv4Addr>>,
}

/// What becomes of a message.
pub(super) enum Reply {
    /// This is sent back.
    Now(Vec<u8>),
    /// To be asked of the host's resolvers.
    Later(Box<Later>),
    /// Nothing is.
    Never,
}

/// A question about an outside name.
pub(super) struct Later {
    asked: Box<Asked>,
    message: Vec<u8>,
    way: Way,
    gateways: Arc<BTreeSet<Ipv4Addr>>,
    _place: Place,
}

impl Desk {
    pub(super) fn new(forwarder: Forwarder) -> Self {
        Self {
            known: RwLock::default(),
            forwarder,
            said: Quiet::new(SAID_EVERY_S),
        }
    }

    /// From now on answers by these names.
    pub(super) fn know(&self, known: Known) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// Looks at a message from a container with this address.
    pub(super) fn take(&self, message: &[u8], asker: Ipv4Addr, way: Way) -> Reply {
        let asked = match read(message, way) {
            Read::Asked(asked) => asked,
            Read::Wrong(reply) => {
                count(QUERIES, "about", "wrong");
                return Reply::Now(reply);
            }
            Read::Ignored => return Reply::Never,
        };
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = known.names.answer(asker, &asked.question);
        count(QUERIES, "about", about(&answer));
        if answer != Answer::Outside {
            return Reply::Now(asked.reply(answer));
        }
        match self.forwarder.place(asker) {
            Ok(place) => Reply::Later(Box::new(Later {
                asked,
                message: message.to_vec(),
                way,
                gateways: known.gateways,
                _place: place,
            })),
            Err(error) => {
                self.unanswered(&asked, &error);
                Reply::Now(asked.failed())
            }
        }
    }

    /// Asks the host's resolvers.
    pub(super) async fn ask(&self, later: Box<Later>) -> Vec<u8> {
        let asked = &later.asked;
        let answer = self.forwarder.ask(&later.message, later.way, &later.gateways);
        match answer.await {
            Ok(reply) if reply.len() <= asked.relayed_max => reply,
            Ok(_) => asked.shortened(),
            Err(error) => {
                self.unanswered(asked, &error);
                asked.failed()
            }
        }
    }

    /// A connection was closed at once: there are too many.
    pub(super) fn turned_away(&self) {
        count(FAILURES, "why", "connections");
        if let Some(unsaid) = self.said.is_time(Instant::now()) {
            tracing::warn!(unsaid, "too many connections ask for names: one was closed");
        }
    }

    fn unanswered(&self, asked: &Asked, error: &Unanswered) {
        let why = match error {
            Unanswered::Busy => "busy",
            Unanswered::List(_) => "list",
            Unanswered::Nobody => "nobody",
            Unanswered::Silent(_) => "silent",
        };
        count(FAILURES, "why", why);
        if let Some(unsaid) = self.said.is_time(Instant::now()) {
            let name = &asked.question.name;
            tracing::warn!(%name, unsaid, "an outside name was not answered: {error}");
        }
    }
}

fn about(answer: &Answer) -> &'static str {
    match answer {
        Answer::Addresses(_) | Answer::Pointer(_) | Answer::Unknown => "cluster",
        Answer::Outside => "outside",
        Answer::Refused => "refused",
    }
}

fn count(what: &'static str, label: &'static str, value: &'static str) {
    metrics::counter!(what, label => value).increment(1);
}
