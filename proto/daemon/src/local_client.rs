//! The other end of a daemon's own socket: what the commands `init`, `join`, `leave` and `status` say to the daemon that
//! runs on this host.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use shoal_proto::cluster::ClusterSpec;
use shoal_proto::identity::{DialError, dial_local};
use shoal_proto::wire;
use shoal_proto::wire::local_client::LocalClient;
use tonic::Status;
use tonic::transport::Channel;

use crate::kind::Kind;
use crate::order::LeaveOrder;

/// A daemon on this host.
#[derive(Debug, Clone)]
pub struct DaemonClient(LocalClient<Channel>);

/// No daemon took the order, or it said no.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens.
    #[error(
        "no {program} runs here ({} does not answer): start it with `systemctl start {program}`, or `{program} run`",
        .path.display(), program = .kind.program()
    )]
    Absent {
        /// Which daemon.
        kind: Kind,
        /// The socket.
        path: PathBuf,
        /// What the dialler said.
        source: DialError,
    },
    /// The daemon's own words, which are made for operators.
    #[error("{}", .0.message())]
    Refused(Box<Status>),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

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
    /// Rules of the cluster.
    pub spec: ClusterSpec,
}

/// What a daemon said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DaemonStatus {
    /// `agent` or `manager`.
    pub daemon: String,
    /// `waiting`, `joining`, `running` or `removed`.
    pub state: String,
    /// Empty while waiting.
    pub cluster: String,
    /// Empty while waiting.
    pub node: String,
    /// What is awaited or wrong.
    pub message: String,
    /// host:port of the managers it knows.
    pub managers: Vec<String>,
    /// What is not as it should be on its host.
    pub problems: Vec<String>,
}

impl fmt::Display for DaemonStatus {
    /// A line for each thing that is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.daemon, self.state)?;
        let facts = [
            ("cluster", &self.cluster),
            ("node", &self.node),
            ("note", &self.message),
        ];
        let managers = self.managers.iter().map(|manager| ("manager", manager));
        let problems = self.problems.iter().map(|problem| ("problem", problem));
        for (name, value) in facts.into_iter().chain(managers).chain(problems) {
            if !value.is_empty() {
                write!(f, "\n{name}: {value}")?;
            }
        }
        Ok(())
    }
}

impl DaemonClient {
    /// Connects.
    ///
    /// # Errors
    /// When no daemon listens there.
    pub async fn connect(kind: Kind, socket: &Path) -> Result<Self, CallError> {
        let channel = dial_local(socket).await.map_err(|source| CallError::Absent {
            kind,
            path: socket.to_owned(),
            source,
        })?;
        Ok(Self(LocalClient::new(channel)))
    }

    /// Founds a cluster.
    ///
    /// # Errors
    /// The daemon's refusal, in words for operators.
    pub async fn init(&mut self, wish: InitWish) -> Result<Done, CallError> {
        let request = wire::InitRequest {
            peers: wish.peers,
            labels: wish.labels.into_iter().collect(),
            advertise: wish.advertise,
            reset: wish.reset,
            spec: Some((&wish.spec).into()),
        };
        let answer = self.0.init(request).await?.into_inner();
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
    pub async fn join(&mut self, wish: JoinWish) -> Result<Done, CallError> {
        let request = wire::JoinRequest {
            address: wish.address,
            token: wish.token,
            labels: wish.labels.into_iter().collect(),
            reset: wish.reset,
            advertise: wish.advertise,
        };
        let answer = self.0.join(request).await?.into_inner();
        Ok(Done {
            cluster: answer.cluster_id,
            node: answer.node_id,
            already: answer.already,
            warnings: answer.warnings,
        })
    }

    /// Leaves. Answers what of the cluster is left on this host.
    ///
    /// # Errors
    /// The daemon's refusal, in words for operators.
    pub async fn leave(&mut self, how: LeaveOrder) -> Result<Vec<String>, CallError> {
        let force = how == LeaveOrder::Forced;
        let answer = self.0.leave(wire::LeaveRequest { force }).await?;
        Ok(answer.into_inner().left)
    }

    /// Asks what it is.
    ///
    /// # Errors
    /// When it stops meanwhile.
    pub async fn status(&mut self) -> Result<DaemonStatus, CallError> {
        let answer = self.0.status(wire::LocalStatusRequest {}).await?.into_inner();
        Ok(DaemonStatus {
            daemon: answer.daemon,
            state: answer.state,
            cluster: answer.cluster_id,
            node: answer.node_id,
            message: answer.message,
            managers: answer.managers,
            problems: answer.problems,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{CallError, DaemonClient, DaemonStatus};
    use crate::kind::Kind;

    #[test]
    fn a_status_shows_only_what_is_known() {
        let mut status = DaemonStatus {
            daemon: "agent".to_owned(),
            state: "waiting".to_owned(),
            message: "join".to_owned(),
            ..DaemonStatus::default()
        };
        assert_eq!(status.to_string(), "agent waiting\nnote: join");
        status.cluster = "c".to_owned();
        status.managers = vec!["a:1".to_owned(), "b:2".to_owned()];
        status.problems = vec!["port 80 is taken".to_owned()];
        assert_eq!(
            status.to_string(),
            "agent waiting\ncluster: c\nnote: join\nmanager: a:1\nmanager: b:2\nproblem: port 80 is taken"
        );
    }

    #[tokio::test]
    async fn where_no_daemon_runs_the_command_that_starts_it_is_named() {
        let place = tempfile::tempdir().unwrap();
        let absent = DaemonClient::connect(Kind::Agent, &place.path().join("none.sock")).await;
        let error = absent.unwrap_err();
        assert!(matches!(error, CallError::Absent { .. }));
        assert!(
            error.to_string().contains("`systemctl start shoal-agent`"),
            "{error}"
        );
    }
}
