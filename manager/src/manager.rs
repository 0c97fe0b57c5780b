//! One membership of this manager, from its start to its end: identity first, then log, Raft, API, local socket; stopped in
//! the reverse order.
//!
//! Wires components together and watches for the end of the membership; decides nothing of the cluster's.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use shoal_core::state::Proposal;
use shoal_daemon::home::{Home, HomeError};
use shoal_daemon::local::LocalService;
use shoal_daemon::socket::Socket;
use shoal_proto::identity::{
    AcceptLimits, CallTableLayer, Credentials, Identity, LiveCredentials, Members, Standing, accept,
};
use shoal_proto::object::Cause;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::api::ca::CaService;
use crate::api::{Api, ApiConfig, ForwardLayer};
use crate::ca::{StateMembers, standing};
use crate::identity::{Founded, keep_fresh};
use crate::keeper;
use crate::leader::{self, LeaderHandle};
use crate::machine::{Reply, StateMachine};
use crate::observe;
use crate::peers::Peers;
use crate::raft::{self, OpenError, ProposeError, RaftConfig, RaftHandle};
use crate::watchman::watchman;

/// How long open calls may take to end when the manager stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Streams one connection may carry at once.
const STREAMS_MAX: u32 = 1_024;
/// Bytes of one call's headers.
const HEADERS_MAX_BYTES: u32 = 16 * 1_024;
/// A silent connection is probed this often, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What a membership needs of the host.
#[derive(Debug, Clone)]
pub struct ManagerConfig {
    /// Where others connect.
    pub listen: SocketAddr,
    /// The log's directory.
    pub state_dir: PathBuf,
    /// The identity folder.
    pub home: Home,
    /// The daemon's own socket.
    pub socket: Socket,
}

/// A manager cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The port.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The first entry.
    #[error("the cluster could not be founded: {0}")]
    Found(#[from] ProposeError),
    /// The first entry, refused.
    #[error("the cluster could not be founded: {0}")]
    FirstEntry(String),
    /// Making the identity.
    #[error(transparent)]
    Identity(#[from] crate::identity::IdentityError),
    /// Writing it.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// A manager that takes part.
pub struct Manager {
    /// Who it is.
    pub identity: Identity,
    /// Its credentials.
    pub live: LiveCredentials,
    /// Its log.
    pub raft: RaftHandle,
    /// Its state.
    pub machine: Arc<StateMachine>,
    /// Its certificate authority, while it leads.
    pub ca: CaService,
    config: ManagerConfig,
    tasks: Tasks,
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Manager({})", self.identity)
    }
}

#[derive(Default)]
struct Tasks {
    stop: CancellationToken,
    running: Vec<JoinHandle<()>>,
}

impl Manager {
    /// Opens the log and the doors, and takes part in what is in the log.
    ///
    /// # Errors
    /// When the log cannot be opened or the port is taken.
    pub async fn start(
        config: ManagerConfig,
        credentials: Credentials,
        local: LocalService,
    ) -> Result<Self, StartError> {
        let address = config.listen;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| StartError::Listen { address, source })?;
        let identity = credentials.identity();
        let live = LiveCredentials::new(credentials);
        let machine = Arc::new(StateMachine::new());
        let peers = Peers::new(live.clone(), machine.clone());
        let raft = raft::start(
            RaftConfig::new(&config.state_dir),
            machine.clone(),
            Arc::new(peers.clone()),
        )
        .await?;
        let ca = CaService::new(raft.clone(), machine.clone(), peers.clone());
        let mut manager = Self {
            identity,
            live,
            raft,
            machine,
            ca,
            config,
            tasks: Tasks::default(),
        };
        manager.open_doors(listener, local, peers);
        Ok(manager)
    }

    fn open_doors(&mut self, listener: TcpListener, local: LocalService, peers: Peers) {
        let stop = self.tasks.stop.clone();
        let machine = self.machine.clone();
        let members: Arc<dyn Members> = Arc::new(StateMembers(move || machine.state()));
        let api = self.open_api(peers);
        let forward = api.forward_layer();
        let routes = Routes::new(self.ca.clone().into_server()).add_service(api.control());

        let limits = AcceptLimits::default();
        let closed = stop.clone().cancelled_owned();
        let incoming = accept(listener, &self.live, limits, watchman(), closed);
        let among_hosts = routes
            .clone()
            .add_service(api.dispatcher())
            .add_service(self.raft.service().into_server());
        let remote = door(&members, limits, forward.clone()).add_routes(among_hosts);
        self.spawn(async move { log_end("tls", remote.serve_with_incoming(incoming).await) });

        let incoming = self
            .config
            .socket
            .incoming()
            .take_until(stop.clone().cancelled_owned());
        let host = door(&members, limits, forward).add_routes(routes.add_service(local.into_server()));
        self.spawn(async move { log_end("local", host.serve_with_incoming(incoming).await) });

        let home = self.config.home.clone();
        self.spawn(observe::run(
            self.raft.clone(),
            self.machine.clone(),
            self.live.clone(),
            stop.clone(),
        ));
        self.spawn(keep_fresh(
            home,
            self.live.clone(),
            Arc::new(self.ca.clone()),
            stop,
        ));
    }

    /// The doors for operators and agents, and what works behind them while this manager leads.
    fn open_api(&mut self, peers: Peers) -> Api {
        let stop = self.tasks.stop.clone();
        let (raft, machine) = (self.raft.clone(), self.machine.clone());
        let leader = LeaderHandle::new(machine.clone());
        let config = ApiConfig {
            cluster: self.identity.cluster,
            node: self
                .identity
                .node()
                .expect("a manager's certificate names its node"),
            machine: machine.clone(),
            raft: raft.clone(),
            leader: leader.clone(),
            dial: Arc::new(peers),
            stop: stop.clone(),
        };
        self.spawn(leader::run(
            leader.clone(),
            raft.clone(),
            leader::core_decisions,
            stop.clone(),
        ));
        self.spawn(keeper::run(leader, raft, machine, stop));
        Api::new(config)
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.running.push(tokio::spawn(task));
    }

    /// Makes this manager the first of a new cluster, which exists once the first entry is written.
    ///
    /// # Errors
    /// When the log does not take it.
    pub async fn found(&self, founded: &Founded, advertise: &str) -> Result<(), StartError> {
        let node = self.identity.subject.id();
        self.raft.initialize(node, advertise).await?;
        let now = crate::clock::system_now();
        let cause = Cause {
            action: "init".to_owned(),
            ..Cause::default()
        };
        let group = founded.first_group(self.raft.id(), advertise);
        let bytes = Proposal::new(now, cause, vec![group])
            .to_bytes()
            .map_err(|error| StartError::FirstEntry(error.to_string()))?;
        let (_, reply) = self.raft.propose(bytes).await?;
        let reply: Reply =
            rmp_serde::from_slice(&reply).map_err(|error| StartError::FirstEntry(error.to_string()))?;
        for result in reply.results {
            result.map_err(|conflict| StartError::FirstEntry(conflict.to_string()))?;
        }
        Ok(())
    }

    /// What this manager's own state says of it.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let key = self.live.load().certificate().key();
        standing(&self.machine.state(), &self.identity, &key)
    }

    /// host:port of every manager the state knows.
    #[must_use]
    pub fn managers(&self) -> Vec<String> {
        let state = self.machine.state();
        state
            .nodes()
            .filter_map(|node| node.plan.manager.as_ref())
            .map(|manager| manager.addr.clone())
            .collect()
    }

    /// host:port by which the others reach this manager, as the state knows it.
    #[must_use]
    pub fn own_address(&self) -> Option<String> {
        let state = self.machine.state();
        let node = state.node(self.identity.node()?)?;
        node.plan.manager.as_ref().map(|manager| manager.addr.clone())
    }

    /// Stops: hands over the leadership, closes the doors, ends what runs, closes the log.
    pub async fn stop(self) {
        if self.raft.leadership().borrow().am_leader()
            && let Some(next) = self.raft.hand_over().await
        {
            tracing::info!(%next, "handed over the leadership");
        }
        self.tasks.stop.cancel();
        for task in self.tasks.running {
            let abort = task.abort_handle();
            if tokio::time::timeout(DRAIN, task).await.is_err() {
                abort.abort();
            }
        }
        self.raft.shutdown().await;
    }
}

type Guarded = tower::layer::util::Stack<CallTableLayer, tower::layer::util::Identity>;
type Layered = Server<tower::layer::util::Stack<ForwardLayer, Guarded>>;

/// Who may call first, then where it is answered.
fn door(members: &Arc<dyn Members>, limits: AcceptLimits, forward: ForwardLayer) -> Layered {
    Server::builder()
        .max_connection_age(limits.max_age)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADERS_MAX_BYTES)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .layer(CallTableLayer::new(members.clone()))
        .layer(forward)
}

fn log_end(door: &str, ended: Result<(), tonic::transport::Error>) {
    if let Err(error) = ended {
        tracing::error!(door, %error, "a door closed");
    }
}

#[cfg(test)]
#[path = "manager_test.rs"]
mod tests;

#[cfg(test)]
#[path = "calls_test.rs"]
mod calls;
