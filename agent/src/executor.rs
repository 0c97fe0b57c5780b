//! Carries out what was decided: one job per task at a time, each job a task of its own. It decides nothing; what came of
//! a job goes back to the loop, after a fresh look at the container.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use shoal_proto::container::{FileTarget, PullPolicy};
use shoal_proto::digest::Digest;
use shoal_proto::id::{TaskId, VersionId};
use shoal_proto::service::HostPort;
use shoal_proto::view::Secrecy;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::assignments::Assigned;
use crate::engine::{
    ContainerPlan, ContainerState, Engine, EngineError, Networks, NodeFacts, Observed, plan,
};
use crate::network::desired::sealed_mtu;
use crate::network::dns::{RESOLV_CONF, container_resolvers};
use crate::network::{Keeper, holder};
use crate::secrets::{FileKind, NewFile, SecretFiles, number_of};
use crate::task::{Action, Outcome};

/// Jobs that talk to the Engine at once; stops are not counted, their grace is the tasks' own.
const JOBS_MAX: usize = 24;
/// Docker's own, where a service names none.
const GRACE_DEFAULT_MS: u64 = 10_000;

/// Where the bytes of secrets and configs come from.
#[async_trait]
pub trait ContentSource: Send + Sync + 'static {
    /// The bytes of one version; words when no manager can be asked now.
    async fn fetch(&self, version: VersionId) -> Result<Vec<u8>, String>;
}

/// Something the loop hears.
#[derive(Debug)]
pub enum News {
    /// What a container is now; none when it is gone.
    Seen {
        /// The Engine's id.
        container: String,
        /// The task it was made for.
        task: TaskId,
        /// What it is.
        seen: Option<Box<Observed>>,
        /// Life of the Engine, asked after the look; where it matters.
        instance: Option<String>,
    },
    /// What came of a job.
    Outcome(TaskId, Outcome),
    /// The Engine answers, and not about this container: nothing is decided about its task until it does.
    Unreadable {
        /// The Engine's id.
        container: String,
        /// The task it was made for.
        task: TaskId,
    },
    /// The Engine did not answer.
    Silent(String),
}

/// Carries out actions. Cheap to clone.
#[derive(Clone)]
pub struct Executor {
    engine: Arc<dyn Engine>,
    keeper: Keeper,
    files: SecretFiles,
    content: Arc<dyn ContentSource>,
    news: mpsc::UnboundedSender<News>,
    places: Arc<Semaphore>,
    running: Arc<Mutex<BTreeMap<TaskId, JoinHandle<()>>>>,
}

/// All a preparation needs, as it was when it was decided.
struct Preparation {
    assigned: Assigned,
    plan: ContainerPlan,
}

impl Executor {
    /// An executor that tells `news` what came of everything.
    #[must_use]
    pub fn new(
        engine: Arc<dyn Engine>,
        keeper: Keeper,
        files: SecretFiles,
        content: Arc<dyn ContentSource>,
        news: mpsc::UnboundedSender<News>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(JOBS_MAX));
        Self {
            engine,
            keeper,
            files,
            content,
            news,
            places,
            running: Arc::default(),
        }
    }

    /// Starts to carry out an action.
    pub fn carry_out(
        &self,
        action: Action,
        assigned: Option<&Assigned>,
        networks: &Networks,
        facts: &NodeFacts,
    ) {
        let task = action.task();
        match action {
            Action::Prepare(_) => {
                let Some(assigned) = assigned else {
                    return self.tell(News::Outcome(task, Outcome::Done));
                };
                match plan(assigned, networks, facts) {
                    Ok(plan) => self.prepare(Preparation {
                        assigned: assigned.clone(),
                        plan,
                    }),
                    Err(error) => {
                        let error = EngineError::Refused(error.to_string());
                        self.tell(News::Outcome(task, Outcome::Failed(error)));
                    }
                }
            }
            Action::CancelPrepare(_) => self.cancel(task),
            Action::Start(_, container) => {
                let ports = assigned.map(|assigned| assigned.template.host_ports.clone());
                self.start(task, container, ports.unwrap_or_default());
            }
            Action::Stop(_, container) => {
                let grace_ms = assigned.and_then(|assigned| assigned.template.container.stop_grace_ms);
                self.stop(task, container, grace_ms.unwrap_or(GRACE_DEFAULT_MS));
            }
            Action::Remove(_, container) => self.remove(task, container),
        }
    }

    /// Looks at a container and tells what it is.
    pub fn look(&self, container: String, task: TaskId) {
        let this = self.clone();
        tokio::spawn(async move {
            let _place = this.places.acquire().await;
            this.look_now(container, task).await;
        });
    }

    async fn look_now(&self, container: String, task: TaskId) {
        let looked = async {
            let seen = self.engine.inspect(&container).await?;
            let ended = seen
                .as_ref()
                .is_none_or(|seen| seen.state == ContainerState::Exited);
            // Asked after the look: an Engine that is going down ends containers and does not answer this.
            let instance = if ended {
                Some(self.engine.instance().await?)
            } else {
                None
            };
            Ok::<_, EngineError>((seen, instance))
        };
        match looked.await {
            Ok((seen, instance)) => self.tell(News::Seen {
                container,
                task,
                seen: seen.map(Box::new),
                instance,
            }),
            Err(EngineError::Silent(words)) => self.tell(News::Silent(words)),
            Err(error) => {
                tracing::error!(container, %task, %error, "container could not be inspected");
                self.tell(News::Unreadable { container, task });
            }
        }
    }

    fn tell(&self, news: News) {
        // The loop ends before its executor only when the agent does.
        self.news.send(news).ok();
    }

    fn spawn(&self, task: TaskId, job: impl Future<Output = ()> + Send + 'static) {
        let handle = tokio::spawn(job);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, handle| !handle.is_finished());
        running.insert(task, handle);
    }

    fn cancel(&self, task: TaskId) {
        let job = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&task);
        if let Some(job) = job.filter(|job| !job.is_finished()) {
            job.abort();
            let this = self.clone();
            tokio::spawn(async move {
                // Aborted or ended: either way nothing of it goes on.
                job.await.ok();
                this.tell(News::Outcome(task, Outcome::Done));
            });
        }
    }

    fn prepare(&self, preparation: Preparation) {
        let this = self.clone();
        let task = preparation.assigned.task;
        self.spawn(task, async move {
            let outcome = match this.prepared(&preparation).await {
                Ok(container) => {
                    this.look_now(container.clone(), task).await;
                    Outcome::Prepared(container)
                }
                Err(outcome) => outcome,
            };
            this.tell(News::Outcome(task, outcome));
        });
    }

    async fn prepared(&self, preparation: &Preparation) -> Result<String, Outcome> {
        let Preparation { assigned, plan } = preparation;
        if let Some(words) = self.keeper.port_problem(assigned.service).await {
            return Err(Outcome::Failed(EngineError::Refused(words)));
        }
        self.image(assigned, plan).await?;
        let mut networks = plan.networks.iter();
        if networks.any(|network| network.secrecy == Secrecy::Encrypted) && !self.keeper.seals().await {
            return Err(Outcome::Later(
                "waits until this node seals encrypted networks".to_owned(),
            ));
        }
        let _place = self.places.acquire().await;
        let mut plan = plan.clone();
        self.networks(&mut plan).await.map_err(Outcome::Failed)?;
        for volume in &plan.volumes {
            self.engine.ensure_volume(volume).await.map_err(Outcome::Failed)?;
        }
        self.write_files(assigned, &mut plan).await?;
        let container = self.engine.create(&plan).await.map_err(Outcome::Failed)?;
        self.own_by_name(assigned, &plan, &container)
            .await
            .map_err(Outcome::Failed)?;
        Ok(container)
    }

    /// Makes the networks, and says to the container where it asks for names.
    async fn networks(&self, plan: &mut ContainerPlan) -> Result<(), EngineError> {
        if plan.networks.is_empty() {
            return Ok(());
        }
        let most = self.keeper.mtu().await;
        for network in &mut plan.networks {
            let most = match network.secrecy {
                Secrecy::Open => most,
                Secrecy::Encrypted => most.map(sealed_mtu),
            };
            if let (Some(wanted), Some(most)) = (network.mtu, most)
                && wanted > most
            {
                return Err(EngineError::Refused(format!(
                    "network {} has an MTU of {wanted}: at most {most} fit through the tunnel between nodes",
                    network.name
                )));
            }
            network.mtu = network.mtu.or(most);
        }
        plan.leave_small_networks_without_ipv6();
        for network in &plan.networks {
            self.engine.ensure_network(network).await?;
        }
        let bridges = plan.networks.iter().map(|network| network.bridge.clone());
        self.keeper.carries(&bridges.collect()).await;
        if let (Some(gateway), true) = (plan.gateway, plan.spec.dns.nameservers.is_empty()) {
            let resolvers = container_resolvers(gateway, RESOLV_CONF.as_ref());
            plan.spec.dns.nameservers = resolvers.iter().map(ToString::to_string).collect();
        }
        Ok(())
    }

    async fn image(&self, assigned: &Assigned, plan: &ContainerPlan) -> Result<(), Outcome> {
        let policy = plan.spec.pull;
        if policy != PullPolicy::Always
            && self
                .engine
                .image_present(&plan.image)
                .await
                .map_err(Outcome::Failed)?
        {
            return Ok(());
        }
        if policy == PullPolicy::Never {
            let words = format!(
                "image {} is not on this node and its pull policy is never",
                plan.image
            );
            return Err(Outcome::Failed(EngineError::Refused(words)));
        }
        let (news, task) = (self.news.clone(), assigned.task);
        let progress = move |words: String| drop(news.send(News::Outcome(task, Outcome::Progress(words))));
        let pulled = self
            .engine
            .pull(&plan.image, assigned.credential.as_ref(), &progress)
            .await;
        pulled.map_err(Outcome::Failed)
    }

    async fn write_files(&self, assigned: &Assigned, plan: &mut ContainerPlan) -> Result<(), Outcome> {
        let mut contents = Vec::new();
        for (version, name, kind, target) in files_of(assigned) {
            let bytes = self.content(assigned, version, name).await?;
            contents.push((kind, target, bytes));
        }
        let new = contents.iter().map(|(kind, target, bytes)| NewFile {
            kind: *kind,
            target,
            bytes,
        });
        let paths = self.files.write(assigned.task, &new.collect::<Vec<_>>());
        let paths = paths.map_err(|error| Outcome::Failed(EngineError::Refused(error.to_string())))?;
        for (file, path) in plan.files.iter_mut().zip(paths) {
            file.source = path.to_string_lossy().into_owned();
        }
        Ok(())
    }

    async fn content(
        &self,
        assigned: &Assigned,
        version: Option<VersionId>,
        name: &str,
    ) -> Result<Vec<u8>, Outcome> {
        let refused = |words: String| Outcome::Failed(EngineError::Refused(words));
        let Some(version) = version else {
            return Err(refused(format!("assignment names no version of {name}")));
        };
        let Some(digest) = assigned.contents.get(&version) else {
            return Err(refused(format!("assignment names no digest for {name}")));
        };
        let fetched = self.content.fetch(version).await;
        let bytes =
            fetched.map_err(|words| Outcome::Later(format!("waits for the content of {name}: {words}")))?;
        if Digest::of(&bytes) != *digest {
            return Err(Outcome::Later(format!("content of {name} arrived damaged")));
        }
        Ok(bytes)
    }

    /// Owners given by name are those of the container's own lists, which only it has.
    async fn own_by_name(
        &self,
        assigned: &Assigned,
        plan: &ContainerPlan,
        container: &str,
    ) -> Result<(), EngineError> {
        for ((_, name, _, target), file) in files_of(assigned).zip(&plan.files) {
            if is_number(&target.uid) && is_number(&target.gid) {
                continue;
            }
            let uid = self.number(container, "/etc/passwd", &target.uid, name).await?;
            let gid = self.number(container, "/etc/group", &target.gid, name).await?;
            let owned = SecretFiles::own(file.source.as_ref(), uid, gid);
            owned.map_err(|error| EngineError::Refused(error.to_string()))?;
        }
        Ok(())
    }

    async fn number(&self, container: &str, list: &str, wanted: &str, of: &str) -> Result<u32, EngineError> {
        if is_number(wanted) {
            return Ok(wanted.parse().unwrap_or(0));
        }
        let names = self.engine.read_file(container, list).await?.unwrap_or_default();
        number_of(&String::from_utf8_lossy(&names), wanted).ok_or_else(|| {
            EngineError::Refused(format!("owner {wanted:?} of {of} is not in {list} of the image"))
        })
    }

    fn start(&self, task: TaskId, container: String, ports: Vec<HostPort>) {
        let this = self.clone();
        self.spawn(task, async move {
            let place = this.places.acquire().await;
            let started = this.engine.start(&container).await;
            drop(place);
            let started = match started {
                Err(EngineError::Refused(words)) => Err(this.explain_start(words, &ports).await),
                other => other,
            };
            this.conclude(task, container, started).await;
        });
    }

    /// The Engine says that a port is taken, and not by what.
    async fn explain_start(&self, words: String, ports: &[HostPort]) -> EngineError {
        if !words.contains("already in use") && !words.contains("already allocated") {
            return EngineError::Refused(words);
        }
        let numbers = words.split(|c: char| !c.is_ascii_digit());
        let numbers: Vec<u16> = numbers.filter_map(|number| number.parse().ok()).collect();
        let taken = ports.iter().filter(|port| port.published_port != 0);
        let Some(port) = taken
            .into_iter()
            .find(|port| numbers.contains(&port.published_port))
        else {
            return EngineError::Refused(words);
        };
        let (protocol, number) = (port.protocol, port.published_port);
        let holder = match self.engine.publisher(protocol, number).await {
            Ok(Some(name)) => format!("container {name}"),
            _ => holder(protocol, number),
        };
        EngineError::Refused(format!(
            "port {number}/{protocol} of this node is taken by {holder}"
        ))
    }

    fn stop(&self, task: TaskId, container: String, grace_ms: u64) {
        let this = self.clone();
        self.spawn(task, async move {
            this.keeper.is_aside(task).await;
            let stopped = this.engine.stop(&container, grace_ms).await;
            this.conclude(task, container, stopped).await;
        });
    }

    fn remove(&self, task: TaskId, container: String) {
        let this = self.clone();
        self.spawn(task, async move {
            let place = this.places.acquire().await;
            let removed = this.engine.remove(&container).await;
            drop(place);
            this.conclude(task, container, removed).await;
        });
    }

    /// First what the container is now, then that the job is done: a decision in between would stand on an old look.
    async fn conclude(&self, task: TaskId, container: String, result: Result<(), EngineError>) {
        self.look_now(container, task).await;
        let outcome = result.map_or_else(Outcome::Failed, |()| Outcome::Done);
        self.tell(News::Outcome(task, outcome));
    }
}

fn is_number(text: &str) -> bool {
    text.is_empty() || text.parse::<u32>().is_ok()
}

/// Secrets, then configs: the order of a plan's files.
fn files_of(assigned: &Assigned) -> impl Iterator<Item = (Option<VersionId>, &str, FileKind, &FileTarget)> {
    let container = &assigned.template.container;
    let secrets = container
        .secrets
        .iter()
        .map(|used| (used.version, used.name.as_str(), FileKind::Secret, &used.file));
    let configs = container
        .configs
        .iter()
        .map(|used| (used.version, used.name.as_str(), FileKind::Config, &used.file));
    secrets.chain(configs)
}
