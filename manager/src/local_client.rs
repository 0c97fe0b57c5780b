//! The other end of the daemon's own socket: what `shoal-manager init`, `join`, `leave` and `status` say to the daemon that
//! runs.

use std::collections::BTreeMap;
use std::path::Path;

use shoal_proto::identity::{DialError, dial_local};
use shoal_proto::wire;
use shoal_proto::wire::local_client::LocalClient;
use tonic::Status;
use tonic::transport::Channel;

/// A daemon on this host.
#[derive(Debug, Clone)]
pub struct DaemonClient(LocalClient<Channel>);

/// Where an init or a join led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The cluster's id.
    pub cluster: String,
    /// The node's id.
    pub node: String,
    /// Whether it was so before.
    pub already: bool,
    /// To show.
    pub warnings: Vec<String>,
}

/// What a join needs.
#[derive(Debug, Clone, Default)]
pub struct JoinWish {
    /// Of a manager; the port may be left out.
    pub address: String,
    /// The token, whole.
    pub token: String,
    /// Of this node.
    pub labels: BTreeMap<String, String>,
    /// Address or interface; empty: found out.
    pub advertise: String,
    /// Give up another membership.
    pub reset: bool,
}

/// What an init needs.
#[derive(Debug, Clone, Default)]
pub struct InitWish {
    /// Managers that must not answer.
    pub peers: Vec<String>,
    /// Of this node.
    pub labels: BTreeMap<String, String>,
    /// Address or interface; empty: found out.
    pub advertise: String,
    /// Found a cluster although this host belonged to one once.
    pub reset: bool,
}

/// What the daemon is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonStatus {
    /// waiting, joining or running.
    pub state: String,
    /// Empty while waiting.
    pub cluster: String,
    /// Empty while waiting.
    pub node: String,
    /// host:port of the managers it knows.
    pub managers: Vec<String>,
    /// What is awaited or wrong.
    pub message: String,
}

impl DaemonClient {
    /// Connects.
    ///
    /// # Errors
    /// When no daemon listens there.
    pub async fn connect(socket: &Path) -> Result<Self, DialError> {
        Ok(Self(LocalClient::new(dial_local(socket).await?)))
    }

    /// Founds a cluster.
    ///
    /// # Errors
    /// The daemon's refusal, in words for operators.
    pub async fn init(&mut self, wish: InitWish) -> Result<Done, Status> {
        let InitWish {
            peers,
            labels,
            advertise,
            reset,
        } = wish;
        let labels = labels.into_iter().collect();
        let answer = self
            .0
            .init(wire::InitRequest {
                peers,
                labels,
                advertise,
                reset,
            })
            .await?
            .into_inner();
        Ok(Done {
            cluster: answer.cluster_id,
            node: answer.node_id,
            already: answer.already,
            warnings: answer.warnings,
        })
    }

    /// Joins a cluster.
    ///
    /// # Errors
    /// The daemon's refusal, in words for operators.
    pub async fn join(&mut self, wish: JoinWish) -> Result<Done, Status> {
        let JoinWish {
            address,
            token,
            labels,
            advertise,
            reset,
        } = wish;
        let labels = labels.into_iter().collect();
        let request = wire::JoinRequest {
            address,
            token,
            labels,
            reset,
            advertise,
        };
        let answer = self.0.join(request).await?.into_inner();
        Ok(Done {
            cluster: answer.cluster_id,
            node: answer.node_id,
            already: answer.already,
            warnings: answer.warnings,
        })
    }

    /// Leaves in order.
    ///
    /// # Errors
    /// The daemon's refusal, in words for operators.
    pub async fn leave(&mut self) -> Result<(), Status> {
        self.0.leave(wire::LeaveRequest { force: false }).await.map(drop)
    }

    /// Leaves even though the other managers cannot be told.
    ///
    /// # Errors
    /// The daemon's refusal, in words for operators.
    pub async fn leave_by_force(&mut self) -> Result<(), Status> {
        self.0.leave(wire::LeaveRequest { force: true }).await.map(drop)
    }

    /// Asks what it is.
    ///
    /// # Errors
    /// When it stops meanwhile.
    pub async fn status(&mut self) -> Result<DaemonStatus, Status> {
        let answer = self.0.status(wire::LocalStatusRequest {}).await?.into_inner();
        Ok(DaemonStatus {
            state: answer.state,
            cluster: answer.cluster_id,
            node: answer.node_id,
            managers: answer.managers,
            message: answer.message,
        })
    }
}
