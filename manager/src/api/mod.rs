//! The doors: what operators, agents and other managers ask over gRPC, turned into reads and proposals.
//!
//! Generated types stop here. Who may call at all was decided by the call table before; nothing here decides what the
//! cluster should do.

mod blob;
pub mod ca;
mod control;
mod dispatcher;
mod fault;
mod filters;
mod forward;
mod logs;
mod read;
mod refs;
mod watch;
mod write;

#[cfg(test)]
mod api_test;
#[cfg(test)]
mod content_test;
#[cfg(test)]
mod failover_test;
#[cfg(test)]
mod nodes_test;
#[cfg(test)]
mod own_test;
#[cfg(test)]
mod simulate_test;
#[cfg(test)]
mod why_test;

use std::sync::{Arc, Mutex};

use shoal_core::ids::IdSource;
use shoal_proto::id::{ClusterId, NodeId};
use shoal_proto::limits::{CALL_BYTES_MAX, SESSION_BYTES_MAX};
use shoal_proto::wire::control_server::ControlServer;
use shoal_proto::wire::dispatcher_server::DispatcherServer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::leader::LeaderHandle;
use crate::machine::StateMachine;
use crate::raft::{Dial, RaftHandle};

pub use forward::{ForwardLayer, Forwarding};

/// What the doors stand on.
#[derive(Clone)]
pub struct ApiConfig {
    /// The cluster of this manager.
    pub cluster: ClusterId,
    /// The node of this manager.
    pub node: NodeId,
    /// The state.
    pub machine: Arc<StateMachine>,
    /// The log.
    pub raft: RaftHandle,
    /// This manager's leadership.
    pub leader: LeaderHandle,
    /// Reaches the other managers.
    pub dial: Arc<dyn Dial>,
    /// Ends open sessions and watches.
    pub stop: CancellationToken,
}

/// The doors. Clones are the same.
#[derive(Clone)]
pub struct Api {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    pub(crate) machine: Arc<StateMachine>,
    pub(crate) raft: RaftHandle,
    pub(crate) leader: LeaderHandle,
    pub(crate) ids: Mutex<IdSource>,
    pub(crate) sessions: dispatcher::Sessions,
    pub(crate) reports: dispatcher::ReportQueue,
    pub(crate) bulk: dispatcher::Bulk,
    /// Streams to operators that may be open at once.
    pub(crate) watchers: Arc<Semaphore>,
    pub(crate) readers: Arc<Semaphore>,
    pub(crate) simulations: Arc<Semaphore>,
    pub(crate) stop: CancellationToken,
    forwarding: Forwarding,
}

impl Api {
    /// Opens the doors. Must be called within a runtime: the queue of reports runs beside.
    #[must_use]
    pub fn new(config: ApiConfig) -> Self {
        let forwarding = Forwarding::new(config.raft.clone(), config.dial);
        let reports =
            dispatcher::ReportQueue::start(config.raft.clone(), config.leader.clone(), config.stop.clone());
        let inner = Inner {
            cluster: config.cluster,
            node: config.node,
            machine: config.machine,
            raft: config.raft,
            leader: config.leader,
            ids: Mutex::new(IdSource::from_entropy(rand::random())),
            sessions: dispatcher::Sessions::default(),
            reports,
            bulk: dispatcher::Bulk::default(),
            watchers: Arc::new(Semaphore::new(watch::WATCHERS_MAX)),
            readers: Arc::new(Semaphore::new(logs::READERS_MAX)),
            simulations: Arc::new(Semaphore::new(control::SIMULATIONS_MAX)),
            stop: config.stop,
            forwarding,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// `shoal.v1.Control`.
    #[must_use]
    pub fn control(&self) -> ControlServer<control::ControlService> {
        ControlServer::new(control::ControlService(self.clone()))
            .max_decoding_message_size(CALL_BYTES_MAX)
            .max_encoding_message_size(ANSWER_BYTES_MAX)
    }

    /// `shoal.v1.Dispatcher`.
    #[must_use]
    pub fn dispatcher(&self) -> DispatcherServer<dispatcher::DispatcherService> {
        DispatcherServer::new(dispatcher::DispatcherService(self.clone()))
            .max_decoding_message_size(SESSION_BYTES_MAX)
            .max_encoding_message_size(SESSION_BYTES_MAX)
    }

    /// Goes around all services, inside the call table: what only the leader can answer goes to the leader.
    #[must_use]
    pub fn forward_layer(&self) -> ForwardLayer {
        ForwardLayer::new(self.inner.forwarding.clone())
    }
}

/// One of a limited number of open streams; given back when it goes.
fn one_of(places: &Arc<Semaphore>, what: &str, limit: usize) -> Result<OwnedSemaphorePermit, Status> {
    let taken = places.clone().try_acquire_owned();
    taken.map_err(|_| {
        Status::resource_exhausted(format!(
            "{limit} {what} are open at this manager, which is the limit: try another"
        ))
    })
}

/// A list of everything may be larger than what may be asked.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
