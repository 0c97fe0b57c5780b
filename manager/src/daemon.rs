//! The daemon's life: waits for an order where it has no identity, takes part where it has one, and waits again when its
//! membership ends.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt as _;
use shoal_daemon::data_dir::{DataDirError, lock, make_dir, wipe_dir};
use shoal_daemon::health::{self, HealthError};
use shoal_daemon::home::{Home, HomeError, Member};
use shoal_daemon::kind::Kind;
use shoal_daemon::local::{LocalService, Orders};
use shoal_daemon::order::{
    Answer, Before, DaemonState, FormerMembership, InitOrder, JoinOrder, Order, Outcome, Phase, answer_with,
};
use shoal_daemon::program::{Exit, Fatal, notify_ready};
use shoal_daemon::socket::Socket;
use shoal_proto::identity::{
    CallTableLayer, Credentials, Identity, Members, Membership, Standing, with_port,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Server;

use crate::addresses::{AddressError, advertised};
use crate::config::RunArgs;
use crate::identity::{Founded, IdentityError};
use crate::manager::{Manager, ManagerConfig, StartError};
use crate::member::{self, Ended};

/// The daemon cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A file or folder.
    #[error(transparent)]
    Folder(#[from] DataDirError),
    /// The identity on disk cannot be used.
    #[error(transparent)]
    Identity(#[from] HomeError),
    /// The membership does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Health and metrics.
    #[error(transparent)]
    Health(#[from] HealthError),
    /// The log stopped while running.
    #[error("the log cannot go on: {0}")]
    Failed(String),
}

impl Fatal for DaemonError {
    fn needs_a_person(&self) -> bool {
        matches!(
            self,
            Self::Identity(HomeError::Folder(_)) | Self::Start(StartError::Log(_))
        )
    }
}

/// What the daemon stands on, whatever it is.
pub(crate) struct Daemon {
    pub(crate) args: RunArgs,
    pub(crate) home: Home,
    pub(crate) socket: Socket,
    pub(crate) state: watch::Sender<DaemonState>,
    pub(crate) stop: CancellationToken,
    pub(crate) service: LocalService,
    // Held for as long as the daemon runs.
    _lock: fs::File,
}

/// An order that was taken while waiting, carried out as far as an identity.
pub(crate) enum Begin {
    /// A new cluster that is not in any log yet.
    Found {
        founded: Box<Founded>,
        advertise: SocketAddr,
        answer: Answer<Outcome>,
    },
    /// A member that is not in the Raft group yet.
    Join {
        member: Box<Member>,
        advertise: SocketAddr,
        pending: Pending,
    },
    /// A member that was here before.
    Resume(Box<Member>),
}

/// A join whose answer waits.
pub(crate) struct Pending {
    pub(crate) answer: Answer<Outcome>,
    pub(crate) warnings: Vec<String>,
}

/// Runs until told to stop, removed, or unable to go on.
///
/// # Errors
/// When it cannot go on.
pub async fn run(args: RunArgs, stop: CancellationToken) -> Result<Exit, DaemonError> {
    let state_dir = args.state_dir();
    make_dir(&args.host.data_dir)?;
    make_dir(&state_dir)?;
    let lock = lock(&args.host.data_dir, Kind::Manager)?;
    let home = Home::new(Kind::Manager, &args.host);
    let path = &args.socket.socket;
    let socket = Socket::bind(path).map_err(DataDirError::at(path))?;
    let (state, watched) = watch::channel(waiting());
    let health = health::serve(Kind::Manager, args.health, watched.clone(), stop.clone()).await?;
    let (service, mut orders) = LocalService::new(Kind::Manager, watched);
    let daemon = Daemon {
        args,
        home,
        socket,
        state,
        stop,
        service,
        _lock: lock,
    };
    notify_ready();
    let ended = daemon.live(&mut orders).await;
    daemon.socket.remove();
    daemon.stop.cancel();
    if health.await.is_err() {
        tracing::warn!("the health page ended badly");
    }
    ended
}

impl Daemon {
    async fn live(&self, orders: &mut Orders) -> Result<Exit, DaemonError> {
        let mut next = self.resume()?;
        loop {
            let begin = match next.take() {
                Some(begin) => begin,
                None => match self.wait(orders).await {
                    Some(begin) => begin,
                    None => return Ok(Exit::Stopped),
                },
            };
            match member::run(self, begin, orders).await? {
                Ended::Stopped => return Ok(Exit::Stopped),
                Ended::Removed => {
                    self.wipe()?;
                    return Ok(Exit::Removed);
                }
                Ended::Left(answer) => {
                    self.wipe()?;
                    answer_with(answer, Ok(Vec::new()));
                }
                Ended::Rejoin(order, answer) => {
                    self.wipe()?;
                    next = self.joined(order, answer).await;
                }
                Ended::NotFounded => wipe_dir(&self.args.state_dir())?,
                Ended::NotJoined => self.wipe()?,
            }
        }
    }

    fn resume(&self) -> Result<Option<Begin>, DaemonError> {
        let found = self.home.load()?;
        Ok(found.map(|member| Begin::Resume(Box::new(member))))
    }

    /// Serves the local socket until an order is carried out as far as an identity. None: told to stop.
    async fn wait(&self, orders: &mut Orders) -> Option<Begin> {
        self.state.send_replace(waiting());
        tracing::info!(
            "no identity here: waiting for `shoal-manager init` or `shoal-manager join ADDR --token T`"
        );
        let closing = CancellationToken::new();
        let incoming = self
            .socket
            .incoming()
            .take_until(closing.clone().cancelled_owned());
        let members: std::sync::Arc<dyn Members> = std::sync::Arc::new(Nobody);
        // Ends when its last call is answered, which may be long after it stops taking new ones.
        tokio::spawn(
            Server::builder()
                .layer(CallTableLayer::new(members))
                .add_service(self.service.clone().into_server())
                .serve_with_incoming_shutdown(incoming, closing.clone().cancelled_owned()),
        );
        let begin = loop {
            let order = tokio::select! {
                order = orders.recv() => order.expect("the service that takes orders lives as long as the daemon"),
                () = self.stop.cancelled() => break None,
            };
            let begin = match order {
                Order::Init(order, answer) => self.founded(order, answer).await,
                Order::Join(order, answer) => self.joined(order, answer).await,
                Order::Leave(_, answer) => {
                    answer_with(
                        answer,
                        Err(Status::failed_precondition("this manager belongs to no cluster")),
                    );
                    None
                }
            };
            if begin.is_some() {
                break begin;
            }
        };
        closing.cancel();
        begin
    }

    async fn founded(&self, order: InitOrder, answer: Answer<Outcome>) -> Option<Begin> {
        match self.found(&order).await {
            Ok((founded, advertise)) => Some(Begin::Found {
                founded: Box::new(founded),
                advertise,
                answer,
            }),
            Err(status) => {
                answer_with(answer, Err(status));
                None
            }
        }
    }

    async fn found(&self, order: &InitOrder) -> Result<(Founded, SocketAddr), Status> {
        self.check_never_belonged(order.former)?;
        for peer in &order.peers {
            check_silent(&with_port(peer)).await?;
        }
        let advertise = self
            .advertise(order.advertise.as_deref())
            .map_err(|error| invalid(&error))?;
        // What is here without an identity is left of a founding that was cut off.
        wipe_dir(&self.args.state_dir()).map_err(|error| internal(&error))?;
        let founded = Founded::new(&self.home, order).map_err(|error| match error {
            IdentityError::Network(error) => invalid(&error),
            error => internal(&error),
        })?;
        Ok((founded, advertise))
    }

    fn check_never_belonged(&self, former: FormerMembership) -> Result<(), Status> {
        if let Some(here) = self
            .home
            .folder
            .membership(self.home.machine)
            .map_err(|error| internal(&error))?
        {
            return Err(Status::failed_precondition(format!(
                "this host is {} of cluster {} already: join that cluster with a manager token instead of founding one",
                here.node
                    .map_or_else(|| "a member".to_owned(), |node| format!("node {node}")),
                here.cluster
            )));
        }
        let former_here = self.home.folder.former().map_err(|error| internal(&error))?;
        match former_here {
            Some(was) if former == FormerMembership::Keep => Err(Status::failed_precondition(format!(
                "this host belonged to cluster {} once; if that one is gone for good, found a new one with --reset",
                was.cluster
            ))),
            _ => Ok(()),
        }
    }

    async fn joined(&self, order: JoinOrder, answer: Answer<Outcome>) -> Option<Begin> {
        match self.join(&order).await {
            Ok((member, advertise, warnings)) => Some(Begin::Join {
                member: Box::new(member),
                advertise,
                pending: Pending { answer, warnings },
            }),
            Err(status) => {
                answer_with(answer, Err(status));
                None
            }
        }
    }

    async fn join(&self, order: &JoinOrder) -> Result<(Member, SocketAddr, Vec<String>), Status> {
        let advertise = self
            .advertise(order.advertise.as_deref())
            .map_err(|error| invalid(&error))?;
        self.check_same_cluster(order)?;
        wipe_dir(&self.args.state_dir()).map_err(|error| internal(&error))?;
        let joined = self.home.join(order, advertise.to_string()).await;
        let (member, warnings) = joined.map_err(|error| invalid(&error))?;
        Ok((member, advertise, warnings))
    }

    /// The host's agent may be a member already: then of the same cluster, or it stands in the way.
    fn check_same_cluster(&self, order: &JoinOrder) -> Result<(), Status> {
        let folder = &self.home.folder;
        let Some(here) = folder
            .membership(self.home.machine)
            .map_err(|error| internal(&error))?
        else {
            return Ok(());
        };
        let root = folder.root().map_err(|error| internal(&error))?;
        if root.is_some_and(|root| root.digest() == order.token.root()) {
            return Ok(());
        }
        // Also with --reset: the agent runs tasks of that cluster, and only it can end them.
        Err(Status::failed_precondition(format!(
            "this host's agent is a member of cluster {}; the token is of the cluster with the authority {}: leave \
             the one first with `shoal-agent leave`",
            here.cluster,
            order.token.root()
        )))
    }

    fn advertise(&self, given: Option<&str>) -> Result<SocketAddr, AddressError> {
        advertised(given.or(self.args.advertise.as_deref()), self.args.listen)
    }

    /// Ends the membership on disk: identity, log, state.
    fn wipe(&self) -> Result<(), DaemonError> {
        self.home.forget()?;
        Ok(wipe_dir(&self.args.state_dir())?)
    }

    pub(crate) fn manager_config(&self) -> ManagerConfig {
        ManagerConfig {
            listen: self.args.listen,
            state_dir: self.args.state_dir(),
            home: self.home.clone(),
            socket: self.socket.clone(),
        }
    }

    pub(crate) async fn start(&self, credentials: Credentials) -> Result<Manager, StartError> {
        Manager::start(self.manager_config(), credentials, self.service.clone()).await
    }

    pub(crate) fn show(&self, phase: Phase, membership: Membership, message: &str) {
        let message = message.to_owned();
        self.state.send_replace(DaemonState {
            phase,
            membership: Some(membership),
            message,
            problems: Vec::new(),
        });
    }
}

pub(crate) const fn outcome(membership: Membership, before: Before, warnings: Vec<String>) -> Outcome {
    Outcome {
        membership,
        before,
        warnings,
    }
}

fn waiting() -> DaemonState {
    DaemonState {
        phase: Phase::Waiting,
        membership: None,
        problems: Vec::new(),
        message: "run `shoal-manager init`, or `shoal-manager join ADDR --token T`".to_owned(),
    }
}

/// Before there is a state, nobody has a standing.
struct Nobody;

impl Members for Nobody {
    fn standing(&self, _identity: &Identity, _key: &shoal_proto::digest::Digest) -> Standing {
        Standing::Unknown
    }
}

/// How long a peer may take to answer `init`.
const PEER_TIMEOUT: Duration = Duration::from_secs(3);

async fn check_silent(peer: &str) -> Result<(), Status> {
    match tokio::time::timeout(PEER_TIMEOUT, tokio::net::TcpStream::connect(peer)).await {
        Ok(Ok(_)) => Err(Status::failed_precondition(format!(
            "{peer} answers: there may be a cluster already, join it with `shoal-manager join {peer} --token T`"
        ))),
        _ => Ok(()),
    }
}

fn invalid(error: &dyn std::error::Error) -> Status {
    Status::failed_precondition(error.to_string())
}

fn internal(error: &dyn std::error::Error) -> Status {
    Status::internal(error.to_string())
}

#[cfg(test)]
#[path = "daemon_test.rs"]
mod tests;
