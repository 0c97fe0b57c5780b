//! The daemon's life: waits for an order where it has no identity, runs a membership where it has one, cleans up and says
//! so when that ends.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use shoal_proto::identity::LiveCredentials;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::agent::{Agent, AgentHandle, Parts, Word};
use crate::config::RunArgs;
use crate::engine::docker::DockerEngine;
use crate::engine::{Engine, NodeFacts};
use crate::health::{self, HealthError};
use crate::identity::{Home, IdentityError, Joining, Member};
use crate::local::{self, Answer, Before, DaemonState, JoinOrder, LeaveOrder, Order, Outcome, Phase};
use crate::secrets::{SecretFiles, SecretsError};
use crate::session::{self, Contents, Ended, Link, Shown};
use crate::store::{Store, StoreError};

/// Longest wait for containers, networks and files to go at the end of a membership; a stop has its own grace.
const CLEAN_UP_MAX_MS: u64 = 120_000;
/// The same when leaving was forced.
const FORCED_CLEAN_UP_MAX_MS: u64 = 10_000;
/// Changes with every boot.
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// How a daemon ends that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was told to stop.
    Stopped,
    /// Its node was removed from the cluster: starting it again changes nothing.
    Removed,
}

/// The daemon cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A file or folder.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another daemon runs on the same folder.
    #[error("{0} is in use: another shoal-agent runs on this data directory")]
    InUse(PathBuf),
    /// The identity on disk cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The state on disk cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Secrets have no memory.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// Health and metrics.
    #[error(transparent)]
    Health(#[from] HealthError),
}

impl DaemonError {
    /// True when what is on disk needs a person: starting again does not help.
    #[must_use]
    pub const fn needs_a_person(&self) -> bool {
        matches!(
            self,
            Self::Identity(IdentityError::Folder(_)) | Self::Store(StoreError::Newer { .. })
        )
    }
}

struct Daemon {
    args: RunArgs,
    home: Home,
    files: SecretFiles,
    state: watch::Sender<DaemonState>,
    stop: watch::Receiver<bool>,
    orders: mpsc::Receiver<Order>,
    // Held for as long as the daemon runs.
    _lock: File,
}

/// What a membership ended with.
enum End {
    Stopped,
    Removed(String),
    Left(LeaveOrder, Answer<String>),
    Rejoin(JoinOrder, Answer<Outcome>),
    /// It goes on: an orderly leave could not remove everything.
    Stays(Option<Answer<String>>),
}

impl End {
    fn into_answer(self) -> Option<Answer<String>> {
        match self {
            Self::Left(_, answer) => Some(answer),
            _ => None,
        }
    }
}

/// Whether anything of the cluster is left on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cleared {
    Yes,
    No,
}

/// Runs until told to stop, removed, or unable to go on.
///
/// # Errors
/// When it cannot go on.
pub async fn run(args: RunArgs, stop: watch::Receiver<bool>) -> Result<Exit, DaemonError> {
    make_dir(&args.data_dir)?;
    let data_dir = args.data_dir.join("agent");
    make_dir(&data_dir)?;
    let lock = lock(&args.data_dir.join("agent.lock"))?;
    let files = SecretFiles::new(&args.secrets_dir, data_dir.join("configs"));
    files.prepare()?;
    let (state, watched) = watch::channel(waiting());
    let socket = args.socket.socket.clone();
    let orders =
        local::serve(&socket, watched.clone()).map_err(|source| DaemonError::Io { path: socket, source })?;
    health::serve(args.health, watched).await?;
    let home = Home::new(
        &args.data_dir.join("identity"),
        &args.machine_id_file,
        args.hostname.clone(),
    );
    // A unit of another kind does not listen.
    sd_notify::notify(&[sd_notify::NotifyState::Ready]).ok();
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

fn make_dir(path: &Path) -> Result<(), DaemonError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| DaemonError::Io {
        path: path.to_owned(),
        source,
    })
}

fn lock(path: &Path) -> Result<File, DaemonError> {
    let file = File::create(path).map_err(|source| DaemonError::Io {
        path: path.to_owned(),
        source,
    })?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| DaemonError::InUse(path.to_owned()))?;
    Ok(file)
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
                End::Left(_, answer) => {
                    // Whoever asked may have gone; the order was carried out all the same.
                    answer.send(Ok("left".to_owned())).ok();
                }
                End::Rejoin(order, answer) => member = self.join(order, answer).await,
                End::Stays(answer) => {
                    let words = "not everything of the cluster could be removed from this host, so it stays a member: \
                                 see that the Engine answers, or leave with --force";
                    if let Some(answer) = answer {
                        answer.send(Err(words.to_owned())).ok();
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
                _ = self.stop.wait_for(|stop| *stop) => return None,
            };
            match order {
                Order::Leave(_, answer) => {
                    answer
                        .send(Err("this host belongs to no cluster".to_owned()))
                        .ok();
                }
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
            order.labels.clone_from(&self.args.labels);
        }
        if order.advertise.is_empty() {
            order.advertise = self.advertise();
        }
        let joined = match self.home.join(&order).await {
            Ok(Joining::GiveUpFirst) => match self.home.forget() {
                // Only the manager's part is left of another cluster: it is not the agent's to give up.
                Ok(()) => self.home.join(&order).await,
                Err(error) => Err(error),
            },
            other => other,
        };
        match joined {
            Ok(Joining::New(member, warnings)) => {
                let (cluster, node) = (member.cluster.to_string(), member.node.to_string());
                answer
                    .send(Ok(Outcome {
                        cluster,
                        node,
                        before: Before::New,
                        warnings,
                    }))
                    .ok();
                Some(*member)
            }
            Ok(Joining::Already | Joining::GiveUpFirst) => {
                let words =
                    "the manager on this host belongs to another cluster: `shoal-manager leave` first";
                answer.send(Err(words.to_owned())).ok();
                None
            }
            Err(error) => {
                answer.send(Err(error.to_string())).ok();
                None
            }
        }
    }

    fn advertise(&self) -> String {
        self.args
            .advertise
            .map(|address| address.to_string())
            .unwrap_or_default()
    }

    /// Runs one membership to its end, and cleans up after one that does not come back.
    async fn belong(&mut self, member: Member) -> Result<End, DaemonError> {
        let running = self.start(member)?;
        let end = self.follow(&running).await;
        match &end {
            End::Stopped => running.stop().await,
            End::Left(LeaveOrder::Forced, _) => {
                running.clean_up(FORCED_CLEAN_UP_MAX_MS).await;
                self.forget(running).await?;
            }
            End::Left(LeaveOrder::Orderly, _) if running.clean_up(CLEAN_UP_MAX_MS).await == Cleared::No => {
                running.stop().await;
                return Ok(End::Stays(end.into_answer()));
            }
            End::Left(..) => self.forget(running).await?,
            End::Removed(words) => {
                let words = words.clone();
                self.state
                    .send_modify(|state| (state.phase, state.message) = (Phase::Removed, words));
                running.clean_up(CLEAN_UP_MAX_MS).await;
                self.forget(running).await?;
            }
            End::Rejoin(..) => {
                running.clean_up(CLEAN_UP_MAX_MS).await;
                self.forget(running).await?;
            }
            End::Stays(_) => {}
        }
        Ok(end)
    }

    async fn forget(&self, running: Running) -> Result<(), DaemonError> {
        let store = running.store.clone();
        running.stop().await;
        store.forget()?;
        self.home.forget()?;
        Ok(())
    }

    fn start(&self, member: Member) -> Result<Running, DaemonError> {
        let store = Store::new(&self.args.data_dir.join("agent"));
        let saved = store.load()?;
        let boot = fs::read_to_string(BOOT_ID_FILE).map(|text| text.trim().to_owned());
        let facts = NodeFacts {
            cluster: member.cluster,
            node: member.node,
            epoch: saved.epoch,
            boot: boot.map_err(|source| DaemonError::Io {
                path: BOOT_ID_FILE.into(),
                source,
            })?,
            hostname: self.home.hostname.clone(),
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
        };
        let engine: Arc<dyn Engine> = Arc::new(DockerEngine::new(&self.args.engine));
        let contents = Contents::default();
        let parts = Parts {
            engine: Arc::clone(&engine),
            content: Arc::new(contents.clone()),
            files: self.files.clone(),
            store: store.clone(),
            facts: facts.clone(),
        };
        let (agent, handle) = Agent::new(parts, saved);
        let (stop, stopped) = watch::channel(false);
        let agent = tokio::spawn(agent.run(stopped.clone()));
        let (shown, shown_seen) = watch::channel(Shown::default());
        let managers = Arc::new(Mutex::new(member.managers.clone()));
        let link = Link {
            live: LiveCredentials::new(member.credentials),
            folder: self.home.folder.clone(),
            machine: self.home.machine,
            facts: facts.clone(),
            engine,
            agent: handle.clone(),
            advertise: self.advertise(),
            managers,
            contents,
            manager_socket: self.args.manager_socket.clone(),
            shown,
        };
        let session = tokio::spawn(session::run(link, stopped));
        Ok(Running {
            facts,
            managers: member.managers,
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
        let mut shown = running.shown.clone();
        loop {
            self.show(running);
            tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => return End::Stopped,
                changed = shown.changed() => {
                    if changed.is_err() {
                        // The session's task has ended: only a removal ends it by itself.
                        return End::Removed(running.last_words());
                    }
                }
                Some(order) = self.orders.recv() => match order {
                    Order::Leave(how, answer) => return End::Left(how, answer),
                    Order::Join(order, answer) => match self.home.join(&order).await {
                        Ok(Joining::GiveUpFirst) => return End::Rejoin(order, answer),
                        Ok(Joining::Already | Joining::New(..)) => {
                            let (cluster, node) = (running.facts.cluster.to_string(), running.facts.node.to_string());
                            let outcome = Outcome { cluster, node, before: Before::Already, warnings: Vec::new() };
                            answer.send(Ok(outcome)).ok();
                        }
                        Err(error) => drop(answer.send(Err(error.to_string()))),
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
            cluster: running.facts.cluster.to_string(),
            node: running.facts.node.to_string(),
            managers: running.managers.clone(),
            message: shown.message,
        });
    }
}

/// A membership under way.
struct Running {
    facts: NodeFacts,
    managers: Vec<String>,
    store: Store,
    handle: AgentHandle,
    stop: watch::Sender<bool>,
    agent: JoinHandle<()>,
    session: JoinHandle<Ended>,
    shown: watch::Receiver<Shown>,
}

impl Running {
    fn last_words(&self) -> String {
        let words = self.shown.borrow().message.clone();
        if words.is_empty() {
            "node was removed from the cluster".to_owned()
        } else {
            words
        }
    }

    /// Removes everything of the cluster from this host, and waits for that.
    async fn clean_up(&self, wait_ms: u64) -> Cleared {
        self.session.abort();
        self.handle.say(Word::RemoveAll);
        let mut progress = self.handle.progress.clone();
        let gone = progress.wait_for(|progress| progress.engine_answers && progress.cleared);
        if tokio::time::timeout(Duration::from_millis(wait_ms), gone)
            .await
            .is_err()
        {
            tracing::error!("not everything of the cluster could be removed from this host");
            return Cleared::No;
        }
        Cleared::Yes
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        // An end by abortion is an end, too.
        self.session.await.ok();
        self.agent.await.ok();
    }
}
