//! The open sessions of this manager: at most one live one per node, and the way to each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shoal_proto::digest::Digest;
use shoal_proto::id::{NodeId, SessionId};
use shoal_proto::wire;
use tokio::sync::mpsc;
use tonic::Status;

/// Words waiting for a session that is busy; more are refused to whoever asks.
pub(crate) const ORDERS_MAX: usize = 64;

/// The open sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<BTreeMap<NodeId, Live>>);

/// Where and on which boot of which machine an agent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) machine: Digest,
    pub(crate) boot_id: String,
}

/// One open session.
#[derive(Debug)]
struct Live {
    session: SessionId,
    place: Place,
    heard_at: Instant,
    orders: mpsc::Sender<wire::session_down::Message>,
    warnings: Vec<String>,
    /// Index of the newest set that was sent.
    sent: u64,
    /// Index up to which that set says all there is to say.
    current: u64,
    /// What the agent has carried out of what was sent.
    carried_out: u64,
    /// Since when there has been something that it has not carried out.
    behind_since: Option<Instant>,
}

impl Sessions {
    /// Takes the node's place, unless another live session has it.
    ///
    /// The same boot of the same machine at the same address is the same agent coming back: it is let in at once.
    pub(super) fn enter(
        &self,
        node: NodeId,
        session: SessionId,
        place: Place,
        silence_max: Duration,
    ) -> Result<mpsc::Receiver<wire::session_down::Message>, Status> {
        let mut all = self.lock();
        if let Some(live) = all.get(&node) {
            let same = live.place.machine == place.machine
                && live.place.boot_id == place.boot_id
                && live.place.address.map(|a| a.ip()) == place.address.map(|a| a.ip());
            if !same && live.heard_at.elapsed() < silence_max && !live.orders.is_closed() {
                return Err(Status::already_exists(format!(
                    "node {node} has a live session from {}; this one comes from {}: two hosts use one identity, \
                     join one of them anew with --reset",
                    show(live.place.address),
                    show(place.address)
                )));
            }
        }
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let heard_at = Instant::now();
        let warnings = Vec::new();
        all.insert(
            node,
            Live {
                session,
                place,
                heard_at,
                orders,
                warnings,
                sent: 0,
                current: 0,
                carried_out: 0,
                behind_since: None,
            },
        );
        Ok(taken)
    }

    /// Gives the node's place back, if it is still this session's.
    pub(super) fn leave(&self, node: NodeId, session: SessionId) {
        let mut all = self.lock();
        if all.get(&node).is_some_and(|live| live.session == session) {
            all.remove(&node);
        }
    }

    /// Whether the node's place is still this session's.
    #[cfg(test)]
    pub(super) fn holds(&self, node: NodeId, session: SessionId) -> bool {
        self.lock().get(&node).is_some_and(|live| live.session == session)
    }

    /// Keeps what an operator should know about a node.
    pub(super) fn warn(&self, node: NodeId, session: SessionId, warnings: Vec<String>) {
        if let Some(live) = self.lock().get_mut(&node).filter(|live| live.session == session) {
            live.warnings = warnings;
        }
    }

    /// A set of this index was sent, or stands unchanged until then. Answers the index up to which the agent has carried
    /// out all there is.
    pub(super) fn told(&self, node: NodeId, session: SessionId, told: Told) -> u64 {
        let mut all = self.lock();
        let Some(live) = all.get_mut(&node).filter(|live| live.session == session) else {
            return 0;
        };
        match told {
            Told::Sent(index) => {
                (live.sent, live.current) = (index, index);
                live.behind_since.get_or_insert_with(Instant::now);
            }
            Told::Unchanged(index) => live.current = live.current.max(index),
        }
        live.acknowledged()
    }

    /// The agent has carried out the set of this index. Answers the index up to which it is up to date; none when the
    /// session is not the node's newest here.
    pub(super) fn carried_out(&self, node: NodeId, session: SessionId, index: u64) -> Option<u64> {
        let mut all = self.lock();
        let live = all.get_mut(&node).filter(|live| live.session == session)?;
        live.heard_at = Instant::now();
        let before = live.carried_out;
        live.carried_out = before.max(index.min(live.sent));
        if live.carried_out == live.sent {
            live.behind_since = None;
        } else if live.carried_out > before {
            live.behind_since = Some(Instant::now());
        }
        Some(live.acknowledged())
    }

    /// Sends a word to a node's agent.
    pub(crate) fn order(&self, node: NodeId, word: wire::session_down::Message) -> Result<(), Status> {
        let orders = self.lock().get(&node).map(|live| live.orders.clone());
        let orders =
            orders.ok_or_else(|| Status::failed_precondition(format!("node {node} has no session here")))?;
        orders.try_send(word).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Status::resource_exhausted(format!(
                "node {node}: {ORDERS_MAX} words wait for its agent already"
            )),
            mpsc::error::TrySendError::Closed(_) => {
                Status::failed_precondition(format!("the session of node {node} has just ended"))
            }
        })
    }

    /// Nodes that have carried out nothing of what they were told for longer than this, and how long.
    pub(crate) fn lagging(&self, limit: Duration) -> Vec<(NodeId, Duration)> {
        let all = self.lock();
        let behind = all
            .iter()
            .filter_map(|(node, live)| Some((*node, live.behind_since?.elapsed())));
        behind.filter(|(_, since)| *since > limit).collect()
    }

    /// What the operator should know about the nodes, and how many sessions are open.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.lock()
            .values()
            .flat_map(|live| live.warnings.clone())
            .collect()
    }

    /// Whether a node has a session here.
    pub(crate) fn is_open(&self, node: NodeId) -> bool {
        self.lock()
            .get(&node)
            .is_some_and(|live| !live.orders.is_closed())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Live>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was said to an agent about its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// The set of this index.
    Sent(u64),
    /// Nothing: up to this index the last set says it all.
    Unchanged(u64),
}

impl Live {
    /// An agent that has carried out the newest set is up to date for as long as that set says it all.
    fn acknowledged(&self) -> u64 {
        if self.carried_out == self.sent && self.sent > 0 {
            self.current
        } else {
            self.carried_out
        }
    }
}

fn show(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "an unknown address".to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shoal_proto::digest::Digest;
    use shoal_proto::id::{NodeId, SessionId};
    use shoal_proto::time::Timestamp;

    use super::{Place, Sessions, Told};

    const LONG: Duration = Duration::from_secs(60);

    fn ids() -> (NodeId, SessionId, SessionId) {
        let now = Timestamp::from_ms(1);
        (
            NodeId::new(now, 1),
            SessionId::new(now, 2),
            SessionId::new(now, 3),
        )
    }

    fn place(address: &str, boot_id: &str) -> Place {
        Place {
            address: Some(address.parse().unwrap()),
            machine: Digest::of(b"m"),
            boot_id: boot_id.to_owned(),
        }
    }

    #[test]
    fn a_second_live_session_of_one_node_is_refused_naming_both_addresses() {
        let (node, first, second) = ids();
        let sessions = Sessions::default();
        let _orders = sessions
            .enter(node, first, place("10.0.0.1:1", "b"), LONG)
            .unwrap();
        let error = sessions
            .enter(node, second, place("10.0.0.2:2", "b"), LONG)
            .unwrap_err();
        assert!(error.message().contains("10.0.0.1:1") && error.message().contains("10.0.0.2:2"));
        assert!(sessions.holds(node, first));
    }

    #[test]
    fn an_agent_that_comes_back_takes_its_own_place_and_a_silent_one_gives_it_up() {
        let (node, first, second) = ids();
        let sessions = Sessions::default();
        let _one = sessions
            .enter(node, first, place("10.0.0.1:1", "b"), LONG)
            .unwrap();
        let _two = sessions
            .enter(node, second, place("10.0.0.1:9", "b"), LONG)
            .unwrap();
        assert!(sessions.holds(node, second) && !sessions.holds(node, first));
        let _three = sessions
            .enter(node, first, place("10.0.0.7:1", "c"), Duration::ZERO)
            .unwrap();
        assert!(sessions.holds(node, first));
    }

    #[test]
    fn a_session_that_ended_frees_its_place_at_once() {
        let (node, first, second) = ids();
        let sessions = Sessions::default();
        drop(
            sessions
                .enter(node, first, place("10.0.0.1:1", "b"), LONG)
                .unwrap(),
        );
        assert!(
            sessions
                .enter(node, second, place("10.0.0.2:2", "b"), LONG)
                .is_ok()
        );
    }

    #[test]
    fn an_agent_that_has_carried_out_the_newest_set_is_up_to_date_while_that_says_it_all() {
        let (node, session, _) = ids();
        let sessions = Sessions::default();
        let _orders = sessions
            .enter(node, session, place("10.0.0.1:1", "b"), LONG)
            .unwrap();
        assert_eq!(sessions.told(node, session, Told::Sent(7)), 0);
        assert_eq!(sessions.told(node, session, Told::Unchanged(9)), 0);
        assert_eq!(sessions.carried_out(node, session, 7), Some(9));
        assert_eq!(sessions.told(node, session, Told::Unchanged(12)), 12);
        assert_eq!(sessions.told(node, session, Told::Sent(13)), 7);
        assert_eq!(sessions.lagging(Duration::ZERO).len(), 1);
        assert!(sessions.lagging(LONG).is_empty());
        assert_eq!(sessions.carried_out(node, session, 99), Some(13));
        assert!(sessions.lagging(Duration::ZERO).is_empty());
    }
}
