//! The daemon's own socket: takes the operator's orders for this daemon and hands them to whoever runs it.
//!
//! Carries nothing out itself: an order goes into a channel with a place for its answer.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use shoal_proto::identity::{JoinToken, LocalConn, Membership, with_port};
use shoal_proto::wire;
use shoal_proto::wire::local_server::{Local, LocalServer};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::{Request, Response, Status};

/// Orders that wait while one is carried out.
const ORDERS_MAX: usize = 4;
/// The socket is for root and its group.
const SOCKET_MODE: u32 = 0o660;

/// What this daemon is doing, for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonState {
    /// In one word.
    pub phase: Phase,
    /// Which cluster and node.
    pub membership: Option<Membership>,
    /// What is awaited or wrong.
    pub message: String,
}

/// What this daemon is doing, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No identity: `init` or `join` is awaited.
    Waiting,
    /// Founding, joining, or coming back.
    Starting,
    /// A member.
    Running,
}

impl Phase {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "joining",
            Self::Running => "running",
        }
    }
}

/// An order, with the place for its answer.
#[derive(Debug)]
pub enum Order {
    /// Found a cluster.
    Init(InitOrder, Answer<Outcome>),
    /// Join one.
    Join(JoinOrder, Answer<Outcome>),
    /// Leave it.
    Leave(LeaveOrder, Answer<()>),
}

/// Where an order's answer goes.
pub type Answer<T> = oneshot::Sender<Result<T, Status>>;

/// Found a cluster.
#[derive(Debug, Clone)]
pub struct InitOrder {
    /// Managers that must not answer.
    pub peers: Vec<String>,
    /// Labels of this node.
    pub labels: BTreeMap<String, String>,
    /// Address or interface.
    pub advertise: Option<String>,
    /// What to do about an ended membership.
    pub former: FormerMembership,
}

/// Join a cluster.
#[derive(Debug, Clone)]
pub struct JoinOrder {
    /// host:port of a manager.
    pub address: String,
    /// The token.
    pub token: JoinToken,
    /// Labels of this node.
    pub labels: BTreeMap<String, String>,
    /// Address or interface.
    pub advertise: Option<String>,
    /// What to do about another membership.
    pub former: FormerMembership,
}

/// What to do about a membership that is or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormerMembership {
    /// It stands in the way.
    Keep,
    /// It goes: `--reset`.
    GiveUp,
}

/// Leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveOrder {
    /// Only if the managers agree.
    Orderly,
    /// In any case.
    Forced,
}

/// Where an init or a join led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Cluster and node.
    pub membership: Membership,
    /// Whether it was so before.
    pub before: Before,
    /// For the operator.
    pub warnings: Vec<String>,
}

/// Whether an order changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It was so already.
    Already,
    /// It is new.
    New,
}

/// Serves `shoal.v1.Local`.
#[derive(Debug, Clone)]
pub struct LocalService {
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<DaemonState>,
}

/// The orders' other end.
pub type Orders = mpsc::Receiver<Order>;

impl LocalService {
    /// The service and the orders that it takes.
    #[must_use]
    pub fn new(state: watch::Receiver<DaemonState>) -> (Self, Orders) {
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        (Self { orders, state }, taken)
    }

    /// For tonic.
    #[must_use]
    pub fn into_server(self) -> LocalServer<Self> {
        LocalServer::new(self)
    }

    async fn order<T>(&self, make: impl FnOnce(Answer<T>) -> Order) -> Result<T, Status> {
        let (answer, answered) = oneshot::channel();
        let gone = || Status::unavailable("the daemon is stopping");
        self.orders.send(make(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

#[tonic::async_trait]
impl Local for LocalService {
    async fn init(
        &self,
        request: Request<wire::InitRequest>,
    ) -> Result<Response<wire::InitResponse>, Status> {
        let request = request.into_inner();
        let order = InitOrder {
            peers: request.peers,
            labels: request.labels.into_iter().collect(),
            advertise: given(request.advertise),
            former: former(request.reset),
        };
        let outcome = self.order(|answer| Order::Init(order, answer)).await?;
        Ok(Response::new(wire::InitResponse {
            cluster_id: outcome.membership.cluster.to_string(),
            node_id: outcome
                .membership
                .node
                .map(|node| node.to_string())
                .unwrap_or_default(),
            already: outcome.before == Before::Already,
            warnings: outcome.warnings,
        }))
    }

    async fn join(
        &self,
        request: Request<wire::JoinRequest>,
    ) -> Result<Response<wire::JoinResponse>, Status> {
        let request = request.into_inner();
        let token: JoinToken = request
            .token
            .parse()
            .map_err(|error| Status::invalid_argument(format!("{error}")))?;
        let order = JoinOrder {
            address: with_port(&request.address),
            token,
            labels: request.labels.into_iter().collect(),
            advertise: given(request.advertise),
            former: former(request.reset),
        };
        let outcome = self.order(|answer| Order::Join(order, answer)).await?;
        Ok(Response::new(wire::JoinResponse {
            cluster_id: outcome.membership.cluster.to_string(),
            node_id: outcome
                .membership
                .node
                .map(|node| node.to_string())
                .unwrap_or_default(),
            already: outcome.before == Before::Already,
            warnings: outcome.warnings,
        }))
    }

    async fn leave(
        &self,
        request: Request<wire::LeaveRequest>,
    ) -> Result<Response<wire::LeaveResponse>, Status> {
        let order = if request.into_inner().force {
            LeaveOrder::Forced
        } else {
            LeaveOrder::Orderly
        };
        self.order(|answer| Order::Leave(order, answer)).await?;
        Ok(Response::new(wire::LeaveResponse {}))
    }

    async fn status(
        &self,
        _request: Request<wire::LocalStatusRequest>,
    ) -> Result<Response<wire::LocalStatusResponse>, Status> {
        let state = self.state.borrow().clone();
        let membership = state.membership.as_ref();
        Ok(Response::new(wire::LocalStatusResponse {
            daemon: "manager".to_owned(),
            state: state.phase.as_str().to_owned(),
            cluster_id: membership
                .map(|found| found.cluster.to_string())
                .unwrap_or_default(),
            node_id: membership
                .and_then(|found| found.node)
                .map(|node| node.to_string())
                .unwrap_or_default(),
            managers: membership.map(|found| found.managers.clone()).unwrap_or_default(),
            message: state.message,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }
}

fn given(text: String) -> Option<String> {
    if text.is_empty() { None } else { Some(text) }
}

const fn former(reset: bool) -> FormerMembership {
    if reset {
        FormerMembership::GiveUp
    } else {
        FormerMembership::Keep
    }
}

/// The socket on disk. Several services take connections from it, one after the other.
#[derive(Debug, Clone)]
pub struct Socket {
    listener: Arc<UnixListener>,
    path: PathBuf,
}

impl Socket {
    /// Makes it, in place of one that a daemon left behind. The caller has made sure that no other daemon runs.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
        Ok(Self {
            listener: Arc::new(listener),
            path: path.to_owned(),
        })
    }

    /// Connections, for tonic.
    #[must_use]
    pub fn incoming(&self) -> LocalIncoming {
        LocalIncoming(self.listener.clone())
    }

    /// Takes the file away at the end.
    pub fn remove(&self) {
        // Whoever comes next removes what is left.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Connections through the socket.
#[derive(Debug)]
pub struct LocalIncoming(Arc<UnixListener>);

impl Stream for LocalIncoming {
    type Item = io::Result<LocalConn>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<LocalConn>>> {
        self.0
            .poll_accept(cx)
            .map(|accepted| Some(accepted.map(|(stream, _)| LocalConn::new(stream))))
    }
}
