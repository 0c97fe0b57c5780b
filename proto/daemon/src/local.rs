//! The daemon's end of its own socket: takes the operator's orders and hands them to whoever runs the daemon.
//!
//! Carries nothing out itself: an order goes into a channel with a place for its answer.

use shoal_proto::cluster::ClusterSpec;
use shoal_proto::identity::{JoinToken, Membership, with_port};
use shoal_proto::wire;
use shoal_proto::wire::local_server::{Local, LocalServer};
use tokio::sync::{mpsc, oneshot, watch};
use tonic::{Request, Response, Status};

use crate::kind::Kind;
use crate::order::{
    Answer, Before, DaemonState, FormerMembership, InitOrder, JoinOrder, LeaveOrder, Order, Outcome,
};

/// Orders that wait while one is carried out.
const ORDERS_MAX: usize = 4;

/// Serves `shoal.v1.Local`.
#[derive(Debug, Clone)]
pub struct LocalService {
    kind: Kind,
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<DaemonState>,
}

/// The orders' other end.
pub type Orders = mpsc::Receiver<Order>;

impl LocalService {
    /// The service and the orders that it takes.
    #[must_use]
    pub fn new(kind: Kind, state: watch::Receiver<DaemonState>) -> (Self, Orders) {
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        (Self { kind, orders, state }, taken)
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
        let spec = request.spec.map(ClusterSpec::try_from).transpose();
        let spec = spec.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let order = InitOrder {
            spec: spec.unwrap_or_default(),
            peers: request.peers,
            labels: request.labels.into_iter().collect(),
            advertise: given(request.advertise),
            former: former(request.reset),
        };
        let outcome = self.order(|answer| Order::Init(order, answer)).await?;
        Ok(Response::new(wire::InitResponse {
            cluster_id: outcome.membership.cluster.to_string(),
            node_id: node_of(&outcome.membership),
            already: outcome.before == Before::Already,
            warnings: outcome.warnings,
        }))
    }

    async fn join(
        &self,
        request: Request<wire::JoinRequest>,
    ) -> Result<Response<wire::JoinResponse>, Status> {
        let order = join_order(request.into_inner())?;
        let outcome: Outcome = self.order(|answer| Order::Join(order, answer)).await?;
        Ok(Response::new(wire::JoinResponse {
            cluster_id: outcome.membership.cluster.to_string(),
            node_id: node_of(&outcome.membership),
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
        let left = self.order(|answer| Order::Leave(order, answer)).await?;
        Ok(Response::new(wire::LeaveResponse { left }))
    }

    async fn status(
        &self,
        _request: Request<wire::LocalStatusRequest>,
    ) -> Result<Response<wire::LocalStatusResponse>, Status> {
        let state = self.state.borrow().clone();
        let membership = state.membership.as_ref();
        Ok(Response::new(wire::LocalStatusResponse {
            daemon: self.kind.name().to_owned(),
            state: state.phase.as_str().to_owned(),
            cluster_id: membership
                .map(|found| found.cluster.to_string())
                .unwrap_or_default(),
            node_id: membership.map(node_of).unwrap_or_default(),
            managers: membership.map(|found| found.managers.clone()).unwrap_or_default(),
            message: state.message,
            problems: state.problems,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }
}

fn join_order(request: wire::JoinRequest) -> Result<JoinOrder, Status> {
    let token: JoinToken = request
        .token
        .parse()
        .map_err(|error| Status::invalid_argument(format!("{error}")))?;
    Ok(JoinOrder {
        address: with_port(&request.address),
        token,
        labels: request.labels.into_iter().collect(),
        advertise: given(request.advertise),
        former: former(request.reset),
    })
}

fn node_of(membership: &Membership) -> String {
    membership.node.map(|node| node.to_string()).unwrap_or_default()
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
