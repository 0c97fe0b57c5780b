//! The daemon's life: waits for an order where it has no identity, runs a membership where it has one, cleans up and says
//! so when that ends.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::sync::{Arc, Mutex};

use shoal_daemon::args::label_map;
use shoal_daemon::data_dir::{DataDirError, lock, make_dir};
use shoal_daemon::health::{self, HealthError};
use shoal_daemon::home::{Home, HomeError, Member};
use shoal_daemon::kind::Kind;
use shoal_daemon::local::{LocalService, Orders};
use shoal_daemon::order::{
    Answer, Before, DaemonState, JoinOrder, LeaveOrder, Order, Outcome, Phase, answer_with,
};
use shoal_daemon::program::{Exit, Fatal, notify_ready};
use shoal_daemon::socket::Socket;
use shoal_proto::identity::{LiveCredentials, Membership};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Server;

use crate::agent::{Agent, AgentHandle, Parts, Word};
use crate::config::RunArgs;
use crate::engine::docker::DockerEngine;
use crate::engine::{Engine, NodeFacts};
use crate::identity::{self, IdentityError, Joining};
use crate::leave::{self, Cleared, FORCED, ORDERLY, Patience};
use crate::network::ipv6::Ipv6;
use crate::network::kernel::KernelError;
use crate::network::kernel::linux::Linux;
use crate::secrets::{SecretFiles, SecretsError};
use crate::session::{self, Contents, Ended, Link, Shown};
use crate::store::{Store, StoreError};

/// Changes with every boot.
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// The daemon cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A file or folder.
    #[error(transparent)]
    Folder(#[from] DataDirError),
    /// The identity on disk cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The state on disk cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel's network is out of reach.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Secrets have no memory.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// Health and metrics.
    #[error(transparent)]
    Health(#[from] HealthError),
}

impl From<HomeError> for DaemonError {
    fn from(error: HomeError) -> Self {
        Self::Identity(error.into())
    }
}

impl Fatal for DaemonError {
    fn needs_a_person(&self) -> bool {
        matches!(
            self,
            Self::Identity(IdentityError::Home(HomeError::Folder(_))) | Self::Store(StoreError::Newer { .. })
        )
    }
}

struct Daemon {
    args: RunArgs,
    home: Home,
    files: SecretFiles,
    state: watch::Sender<DaemonState>,
    stop: CancellationToken,
    orders: Orders,
    // Held for as long as the daemon runs.
    _lock: File,
}

/// What a membership ended with.
enum End {
    Stopped,
    Removed(String),
    Left(LeaveOrder, Answer<Vec<String>>),
    /// It has left; what is left of the cluster.
    Gone(Option<Answer<Vec<String>>>, Vec<String>),
    Rejoin(JoinOrder, Answer<Outcome>),
    /// It goes on: an orderly leave could not remove everything.
    Stays(Option<Answer<Vec<String>>>, Vec<String>),
}

impl End {
    fn into_answer(self) -> Option<Answer<Vec<String>>> {
        match self {
            Self::Left(_, answer) => Some(answer),
            _ => None,
        }
    }
}

/// Runs until told to stop, removed, or unable to go on.
///
/// # Errors
/// When it cannot go on.
pub async fn run(args: RunArgs, stop: CancellationToken) -> Result<Exit, DaemonError> {
    make_dir(&args.host.data_dir)?;
    let data_dir = args.host.data_dir.join("agent");
    make_dir(&data_dir)?;
    let lock = lock(&args.host.data_dir, Kind::Agent)?;
    let files = SecretFiles::new(&args.secrets_dir, data_dir.join("configs"));
    files.prepare()?;
    let (state, watched) = watch::channel(waiting());
    let path = &args.socket.socket;
    let socket = Socket::bind(path).map_err(DataDirError::at(path))?;
    let orders = take_orders(&socket, watched.clone());
    health::serve(Kind::Agent, args.health, watched, stop.clone()).await?;
    let home = Home::new(Kind::Agent, &args.host);
    notify_ready();
    let mut daemon = Daemon {
        args,
        home,
        files,
        state,
        stop,
        orders,
        _lock: lock,
    };
    daemon.live().await
}

/// Takes orders through the socket until the program ends.
fn take_orders(socket: &Socket, state: watch::Receiver<DaemonState>) -> Orders {
    let (service, orders) = LocalService::new(Kind::Agent, state);
    let serving = Server::builder()
        .add_service(service.into_server())
        .serve_with_incoming(socket.incoming());
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "local socket is not served any more");
        }
    });
    orders
}

fn waiting() -> DaemonState {
    let message =
        "this host belongs to no cluster: `shoal-agent join ADDR --token T` makes it a node; on a manager, \
                   `shoal cluster join-token worker` prints the token"
            .to_owned();
    DaemonState {
        message,
        ..DaemonState::default()
    }
}

impl Daemon {
    async fn live(&mut self) -> Result<Exit, DaemonError> {
        let mut member = self.home.load()?;
        loop {
            let current = match member.take() {
                Some(current) => current,
                None => match self.wait().await {
                    Some(current) => current,
                    None => return Ok(Exit::Stopped),
                },
            };
            match self.belong(current).await? {
                End::Stopped => return Ok(Exit::Stopped),
                End::Removed(words) => {
                    tracing::error!(
                        words,
                        "this node was removed from its cluster; what it ran is gone"
                    );
                    return Ok(Exit::Removed);
                }
                End::Gone(answer, left) => {
                    if let Some(answer) = answer {
                        answer_with(answer, Ok(left));
                    }
                }
                End::Left(_, answer) => answer_with(answer, Ok(Vec::new())),
                End::Rejoin(order, answer) => member = self.join(order, answer).await,
                End::Stays(answer, left) => {
                    let words = format!(
                        "this host stays a member, because not all of the cluster could be removed from it: {}; leave \
                         all the same with --force",
                        left.join("; ")
                    );
                    if let Some(answer) = answer {
                        refuse(answer, &words);
                    }
                    member = self.home.load()?;
                }
            }
        }
    }

    /// Waits for an order that gives an identity. None: told to stop.
    async fn wait(&mut self) -> Option<Member> {
        self.state.send_replace(waiting());
        tracing::info!("{}", waiting().message);
        loop {
            let order = tokio::select! {
                order = self.orders.recv() => order?,
                () = self.stop.cancelled() => return None,
            };
            match order {
                Order::Init(_, answer) => refuse_to_found(answer),
                Order::Leave(_, answer) => refuse(answer, "this host belongs to no cluster"),
                Order::Join(order, answer) => {
                    if let Some(member) = self.join(order, answer).await {
                        return Some(member);
                    }
                }
            }
        }
    }

    async fn join(&self, order: JoinOrder, answer: Answer<Outcome>) -> Option<Member> {
        let mut order = order;
        if order.labels.is_empty() {
            order.labels = label_map(&self.args.labels);
        }
        if order.advertise.is_none() {
            order.advertise = self.advertise();
        }
        let joined = match identity::join(&self.home, &order).await {
            Ok(Joining::GiveUpFirst) => match self.home.forget() {
                // Only the manager's part is left of another cluster: it is not the agent's to give up.
                Ok(()) => identity::join(&self.home, &order).await,
                Err(error) => Err(error.into()),
            },
            other => other,
        };
        match joined {
            Ok(Joining::New(member, warnings)) => {
                let outcome = Outcome {
                    membership: member.membership.clone(),
                    before: Before::New,
                    warnings,
                };
                answer_with(answer, Ok(outcome));
                Some(*member)
            }
            Ok(Joining::Already | Joining::GiveUpFirst) => {
                let words =
                    "the manager on this host belongs to another cluster: `shoal-manager leave` first";
                refuse(answer, words);
                None
            }
            Err(error) => {
                refuse(answer, &error.to_string());
                None
            }
        }
    }

    fn advertise(&self) -> Option<String> {
        self.args.advertise.map(|address| address.to_string())
    }

    /// Runs one membership to its end, and cleans up after one that does not come back.
    async fn belong(&mut self, member: Member) -> Result<End, DaemonError> {
        let running = self.start(member)?;
        let end = self.follow(&running).await;
        match &end {
            End::Stopped => running.stop().await,
            End::Left(how, _) => {
                let patience = if *how == LeaveOrder::Forced {
                    FORCED
                } else {
                    ORDERLY
                };
                let cleared = running.clean_up(patience).await;
                let left = running.left(cleared);
                if *how == LeaveOrder::Orderly && cleared == Cleared::No {
                    running.stop().await;
                    return Ok(End::Stays(end.into_answer(), left));
                }
                self.forget(running).await?;
                return Ok(End::Gone(end.into_answer(), left));
            }
            End::Removed(words) => {
                let words = words.clone();
                self.state
                    .send_modify(|state| (state.phase, state.message) = (Phase::Removed, words));
                running.clean_up(ORDERLY).await;
                self.forget(running).await?;
            }
            End::Rejoin(..) => {
                running.clean_up(ORDERLY).await;
                self.forget(running).await?;
            }
            End::Gone(..) | End::Stays(..) => {}
        }
        Ok(end)
    }

    async fn forget(&self, running: Running) -> Result<(), DaemonError> {
        let store = running.store.clone();
        running.stop().await;
        // Also where a container is left: it is no task of a cluster any more.
        if let Err(error) = self.files.sweep(&BTreeSet::new()) {
            tracing::error!(%error, "files of tasks could not be removed");
        }
        store.forget()?;
        self.home.forget()?;
        Ok(())
    }

    fn start(&self, member: Member) -> Result<Running, DaemonError> {
        let membership = member.membership;
        let node = membership.node.ok_or(IdentityError::NoNode)?;
        let store = Store::new(&self.args.host.data_dir.join("agent"));
        let saved = store.load()?;
        let boot = fs::read_to_string(BOOT_ID_FILE).map(|text| text.trim().to_owned());
        let facts = NodeFacts {
            cluster: membership.cluster,
            node,
            epoch: saved.epoch,
            boot: boot.map_err(DataDirError::at(BOOT_ID_FILE.as_ref()))?,
            hostname: self.home.hostname.clone(),
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            ipv6: Ipv6::of_host(),
        };
        let engine: Arc<dyn Engine> = Arc::new(DockerEngine::new(&self.args.engine));
        let contents = Contents::default();
        let parts = Parts {
            engine: Arc::clone(&engine),
            kernel: Arc::new(Linux::open()?),
            content: Arc::new(contents.clone()),
            files: self.files.clone(),
            store: store.clone(),
            facts: facts.clone(),
        };
        let (agent, handle) = Agent::new(parts, saved);
        let (stop, stopped) = watch::channel(false);
        let agent = tokio::spawn(agent.run(stopped.clone()));
        let (shown, shown_seen) = watch::channel(Shown::default());
        let managers = Arc::new(Mutex::new(membership.managers.clone()));
        let link = Link {
            live: LiveCredentials::new(member.credentials),
            folder: self.home.folder.clone(),
            machine: self.home.machine,
            facts,
            engine,
            agent: handle.clone(),
            advertise: self.advertise().unwrap_or_default(),
            managers,
            contents,
            manager_socket: self.args.manager_socket.clone(),
            shown,
        };
        let session = tokio::spawn(session::run(link, stopped));
        Ok(Running {
            membership,
            store,
            handle,
            stop,
            agent,
            session,
            shown: shown_seen,
        })
    }

    /// Waits for the end of a membership, and answers orders meanwhile.
    async fn follow(&mut self, running: &Running) -> End {
        let (mut shown, mut progress) = (running.shown.clone(), running.handle.progress.clone());
        loop {
            self.show(running);
            tokio::select! {
                () = self.stop.cancelled() => return End::Stopped,
                Ok(()) = progress.changed() => {}
                changed = shown.changed() => {
                    if changed.is_err() {
                        // The session's task has ended: only a removal ends it by itself.
                        return End::Removed(running.last_words());
                    }
                }
                Some(order) = self.orders.recv() => match order {
                    Order::Init(_, answer) => refuse_to_found(answer),
                    Order::Leave(how, answer) => return End::Left(how, answer),
                    Order::Join(order, answer) => match identity::join(&self.home, &order).await {
                        Ok(Joining::GiveUpFirst) => return End::Rejoin(order, answer),
                        Ok(Joining::Already | Joining::New(..)) => {
                            answer_with(answer, Ok(running.outcome()));
                        }
                        Err(error) => refuse(answer, &error.to_string()),
                    },
                },
            }
        }
    }

    fn show(&self, running: &Running) {
        let shown = running.shown.borrow().clone();
        self.state.send_replace(DaemonState {
            phase: if shown.manager.is_empty() {
                Phase::Joining
            } else {
                Phase::Running
            },
            membership: Some(running.membership.clone()),
            message: Some(shown.message)
                .filter(|said| !said.is_empty())
                .unwrap_or_else(|| running.handle.progress.borrow().network.note().to_owned()),
            problems: running.problems(),
        });
    }
}

/// A membership under way.
struct Running {
    membership: Membership,
    store: Store,
    handle: AgentHandle,
    stop: watch::Sender<bool>,
    agent: JoinHandle<()>,
    session: JoinHandle<Ended>,
    shown: watch::Receiver<Shown>,
}

impl Running {
    /// The answer to an order for what is there already.
    fn outcome(&self) -> Outcome {
        Outcome {
            membership: self.membership.clone(),
            before: Before::Already,
            warnings: Vec::new(),
        }
    }

    fn problems(&self) -> Vec<String> {
        let progress = self.handle.progress.borrow();
        let silent = (!progress.engine_answers).then(|| "the Docker Engine does not answer".to_owned());
        silent
            .into_iter()
            .chain(progress.network.problems.iter().cloned())
            .collect()
    }

    fn last_words(&self) -> String {
        let words = self.shown.borrow().message.clone();
        if words.is_empty() {
            "node was removed from the cluster".to_owned()
        } else {
            words
        }
    }

    /// Removes everything of the cluster from this host, and waits for that.
    async fn clean_up(&self, patience: Patience) -> Cleared {
        self.session.abort();
        self.handle.say(Word::RemoveAll);
        let cleared = patience.wait(self.handle.progress.clone()).await;
        for left in self.left(cleared) {
            tracing::error!("{left}");
        }
        cleared
    }

    fn left(&self, cleared: Cleared) -> Vec<String> {
        match cleared {
            Cleared::Yes => Vec::new(),
            Cleared::No => vec![leave::left(
                &self.handle.progress.borrow(),
                self.membership.cluster,
            )],
        }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        // An end by abortion is an end, too.
        self.session.await.ok();
        self.agent.await.ok();
    }
}

fn refuse<T>(answer: Answer<T>, words: &str) {
    answer_with(answer, Err(Status::failed_precondition(words)));
}

fn refuse_to_found(answer: Answer<Outcome>) {
    let words = "an agent founds no cluster: `shoal-manager init` does";
    answer_with(answer, Err(Status::unimplemented(words)));
}
