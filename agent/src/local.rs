//! The daemon's own socket: orders from this host, taken and handed to the daemon with a place for the answer; and the
//! other end, for the commands that give them.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use futures::{Stream, StreamExt as _};
use shoal_proto::identity::{JoinToken, LocalConn, dial_local, with_port};
use shoal_proto::wire;
use shoal_proto::wire::local_client::LocalClient;
use shoal_proto::wire::local_server::{Local, LocalServer};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

use crate::config::{JoinArgs, LeaveArgs};

/// Orders that wait while one is carried out.
const ORDERS_MAX: usize = 4;
/// The socket is for root and its group.
const SOCKET_MODE: u32 = 0o660;

/// What this daemon is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DaemonState {
    /// In one word.
    pub phase: Phase,
    /// Empty while waiting.
    pub cluster: String,
    /// Empty while waiting.
    pub node: String,
    /// host:port of the managers.
    pub managers: Vec<String>,
    /// What is awaited or wrong.
    pub message: String,
}

/// What this daemon is doing, in one word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// No identity: `join` is awaited.
    #[default]
    Waiting,
    /// A member; no manager has taken its session yet.
    Joining,
    /// A member with a session.
    Running,
    /// The membership has ended.
    Removed,
}

impl Phase {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Joining => "joining",
            Self::Running => "running",
            Self::Removed => "removed",
        }
    }
}

/// An order, with the place for its answer.
#[derive(Debug)]
pub enum Order {
    /// Join a cluster.
    Join(JoinOrder, Answer<Outcome>),
    /// Leave it.
    Leave(LeaveOrder, Answer<String>),
}

/// Where an order's answer goes; an error is words for the operator.
pub type Answer<T> = oneshot::Sender<Result<T, String>>;

/// Join a cluster.
#[derive(Debug, Clone)]
pub struct JoinOrder {
    /// host:port of a manager.
    pub address: String,
    /// The token.
    pub token: JoinToken,
    /// Labels of this node.
    pub labels: Vec<(String, String)>,
    /// Address the host is reached by; empty as the managers see it.
    pub advertise: String,
    /// What to do about another membership.
    pub former: Former,
}

/// What to do about another membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Former {
    /// It stands in the way.
    Keep,
    /// It goes: `--reset`.
    GiveUp,
}

/// Leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveOrder {
    /// Once everything of the cluster is gone from this host.
    Orderly,
    /// In any case.
    Forced,
}

/// Where a join led.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The cluster.
    pub cluster: String,
    /// The node.
    pub node: String,
    /// Whether it was so before.
    pub before: Before,
    /// For the operator.
    pub warnings: Vec<String>,
}

/// Whether an order changed anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Before {
    /// It is new.
    #[default]
    New,
    /// It was so already.
    Already,
}

#[derive(Debug, Clone)]
struct LocalService {
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<DaemonState>,
}

impl LocalService {
    async fn order<T>(&self, make: impl FnOnce(Answer<T>) -> Order) -> Result<T, Status> {
        let (answer, answered) = oneshot::channel();
        let gone = || Status::unavailable("the daemon is stopping");
        self.orders.send(make(answer)).await.map_err(|_| gone())?;
        answered
            .await
            .map_err(|_| gone())?
            .map_err(Status::failed_precondition)
    }
}

#[tonic::async_trait]
impl Local for LocalService {
    async fn init(
        &self,
        _request: Request<wire::InitRequest>,
    ) -> Result<Response<wire::InitResponse>, Status> {
        Err(Status::unimplemented(
            "an agent founds no cluster: `shoal-manager init` does",
        ))
    }

    async fn join(
        &self,
        request: Request<wire::JoinRequest>,
    ) -> Result<Response<wire::JoinResponse>, Status> {
        let request = request.into_inner();
        let token = request
            .token
            .parse()
            .map_err(|error| Status::invalid_argument(format!("{error}")))?;
        let order = JoinOrder {
            address: with_port(&request.address),
            token,
            labels: request.labels.into_iter().collect(),
            advertise: request.advertise,
            former: if request.reset {
                Former::GiveUp
            } else {
                Former::Keep
            },
        };
        let outcome = self.order(|answer| Order::Join(order, answer)).await?;
        Ok(Response::new(wire::JoinResponse {
            cluster_id: outcome.cluster,
            node_id: outcome.node,
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
        Ok(Response::new(wire::LocalStatusResponse {
            daemon: "agent".to_owned(),
            state: state.phase.as_str().to_owned(),
            cluster_id: state.cluster,
            node_id: state.node,
            managers: state.managers,
            message: state.message,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }
}

/// Opens the socket and takes orders until the agent ends. The caller has made sure that no other daemon runs.
///
/// # Errors
/// When the socket cannot be made.
pub fn serve(path: &Path, state: watch::Receiver<DaemonState>) -> io::Result<mpsc::Receiver<Order>> {
    let incoming = bind(path)?;
    let (orders, taken) = mpsc::channel(ORDERS_MAX);
    let service = LocalServer::new(LocalService { orders, state });
    tokio::spawn(async move {
        if let Err(error) = Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming)
            .await
        {
            tracing::error!(%error, "local socket is not served any more");
        }
    });
    Ok(taken)
}

fn bind(path: &Path) -> io::Result<impl Stream<Item = io::Result<LocalConn>> + use<>> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(UnixListenerStream::new(listener).map(|accepted| accepted.map(LocalConn::new)))
}

/// What a daemon on this host said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// `agent` or `manager`.
    pub daemon: String,
    /// `waiting`, `joining`, `running` or `removed`.
    pub state: String,
    /// Cluster, node, note and managers, each with its name.
    pub facts: Vec<(&'static str, String)>,
}

/// No daemon took the order, or it said no.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens.
    #[error(
        "no shoal-agent runs here ({path} does not answer): start it with `systemctl start shoal-agent`, or \
         `shoal-agent run`"
    )]
    Absent {
        /// The socket.
        path: PathBuf,
        /// What the dialler said.
        source: shoal_proto::identity::DialError,
    },
    /// The daemon's own words.
    #[error("{}", .0.message())]
    Refused(Box<Status>),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

async fn connect(path: &Path) -> Result<LocalClient<Channel>, CallError> {
    let dialled = dial_local(path).await;
    let channel = dialled.map_err(|source| CallError::Absent {
        path: path.to_owned(),
        source,
    })?;
    Ok(LocalClient::new(channel))
}

/// Gives the order to join.
///
/// # Errors
/// When no daemon runs, or it says no.
pub async fn join(args: &JoinArgs, token: String) -> Result<Outcome, CallError> {
    let request = wire::JoinRequest {
        address: args.address.clone(),
        token,
        labels: args.labels.iter().cloned().collect(),
        reset: args.reset,
        advertise: args
            .advertise
            .map(|address| address.to_string())
            .unwrap_or_default(),
    };
    let answer = connect(&args.socket.socket)
        .await?
        .join(request)
        .await?
        .into_inner();
    Ok(Outcome {
        cluster: answer.cluster_id,
        node: answer.node_id,
        before: if answer.already {
            Before::Already
        } else {
            Before::New
        },
        warnings: answer.warnings,
    })
}

/// Gives the order to leave.
///
/// # Errors
/// When no daemon runs, or it says no.
pub async fn leave(args: &LeaveArgs) -> Result<(), CallError> {
    connect(&args.socket.socket)
        .await?
        .leave(wire::LeaveRequest { force: args.force })
        .await?;
    Ok(())
}

/// Asks how a daemon is.
///
/// # Errors
/// When no daemon runs.
pub async fn status(path: &Path) -> Result<Said, CallError> {
    let answer = connect(path)
        .await?
        .status(wire::LocalStatusRequest {})
        .await?
        .into_inner();
    let mut facts = vec![
        ("cluster", answer.cluster_id),
        ("node", answer.node_id),
        ("note", answer.message),
    ];
    facts.extend(answer.managers.into_iter().map(|manager| ("manager", manager)));
    facts.retain(|(_, value)| !value.is_empty());
    Ok(Said {
        daemon: answer.daemon,
        state: answer.state,
        facts,
    })
}

/// Whether a manager without state waits on this host, so that the node can be promoted.
pub async fn manager_waits(path: &Path) -> bool {
    if !path.exists() {
        return false;
    }
    matches!(status(path).await, Ok(said) if said.daemon == "manager" && said.state == "waiting")
}
