//! The loop of one membership: what comes from the managers and from the Engine goes in, one decision is made for all of
//! it, and what follows goes out. It holds the state and no socket.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shoal_proto::id::TaskId;
use tokio::sync::{Notify, mpsc, watch};

use crate::assignments::{Applied, Extent, SetIndex, Update};
use crate::clock;
use crate::engine::{Engine, Listed, NodeFacts};
use crate::executor::{ContentSource, Executor, News};
use crate::network::probe::Probes;
use crate::network::way_out::look_again;
use crate::network::{Kernel, NodeNetwork, Told, wireguard};
use crate::reconcile::{Local, files_wanted, outcome, reconcile, takes_connections};
use crate::reporter::{EngineWord, Reporter};
use crate::secrets::SecretFiles;
use crate::store::{Saved, Store};
use crate::sweeper::Sweeper;
use crate::task::World;
use crate::watcher::{self, Sight};

/// Longest sleep of the loop.
const TICK_MS: u64 = 2_000;
/// The same while everything is to go.
const LEAVING_TICK_MS: u64 = 100;
/// Things taken in before a decision is made for them.
const BATCH_MAX: usize = 256;

/// Something the managers said.
#[derive(Debug)]
pub enum Word {
    /// A set of assignments or a change.
    Update(Box<Update>),
    /// An unknown task is to go.
    Remove(TaskId),
    /// An unknown task stays.
    Keep(TaskId),
    /// A session began: its epoch.
    Session(u64),
    /// Everything of this cluster is to go from this node.
    RemoveAll,
}

/// What is shared with the session: reports going up, and how far this node is.
#[derive(Default)]
pub struct Outbox {
    reporter: Mutex<Reporter>,
    /// Rings when there is something new.
    pub bell: Notify,
}

impl Outbox {
    /// The reports.
    pub fn reporter(&self) -> MutexGuard<'_, Reporter> {
        self.reporter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far this node is, for heartbeats and for whoever waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Newest set that was obeyed.
    pub seen: SetIndex,
    /// Index of the newest set whose networks the kernel holds.
    pub applied: u64,
    /// Containers of this cluster on this node.
    pub containers: usize,
    /// Tasks that run.
    pub running: usize,
    /// Whether the Engine answers.
    pub engine_answers: bool,
    /// Nothing of the cluster is left on this host: no container, no network, no file.
    pub cleared: bool,
    /// What of the network is worth telling.
    pub network: Told,
}

/// The parts a loop is made of.
pub struct Parts {
    /// The Engine.
    pub engine: Arc<dyn Engine>,
    /// The kernel that holds the node's network.
    pub kernel: Arc<dyn Kernel>,
    /// Where secrets and configs come from.
    pub content: Arc<dyn ContentSource>,
    /// Where secrets and configs lie.
    pub files: SecretFiles,
    /// Where state is kept.
    pub store: Store,
    /// What the node is.
    pub facts: NodeFacts,
}

/// Speaks to a running loop. Cheap to clone.
#[derive(Clone)]
pub struct AgentHandle {
    words: mpsc::UnboundedSender<Word>,
    /// What goes up.
    pub outbox: Arc<Outbox>,
    /// How far the node is.
    pub progress: watch::Receiver<Progress>,
    /// How the other nodes are reached.
    pub probes: Probes,
    /// How far encryption is.
    pub sealed: watch::Receiver<wireguard::Told>,
}

impl AgentHandle {
    /// Passes on what a manager said.
    pub fn say(&self, word: Word) {
        // The loop outlives every session.
        self.words.send(word).ok();
    }
}

/// The loop itself.
pub struct Agent {
    parts: Parts,
    local: Local,
    epoch: u64,
    leaving: bool,
    instance: Option<String>,
    looked: Looked,
    network: NodeNetwork,
    executor: Executor,
    sweeper: Sweeper,
    outbox: Arc<Outbox>,
    progress: watch::Sender<Progress>,
    words: mpsc::UnboundedReceiver<Word>,
    news: mpsc::UnboundedReceiver<News>,
    saver: watch::Sender<Saved>,
}

/// Whether the Engine's containers are known: nothing is decided on half a picture.
#[derive(Debug, PartialEq, Eq)]
enum Looked {
    /// Not since the agent started or the Engine was silent.
    Not,
    /// The list came; these are still looked at.
    Partly(BTreeSet<String>),
    /// Yes.
    Yes,
}

/// What the loop woke up for.
enum Input {
    Word(Word),
    News(News),
    Sight(Sight),
    Time,
}

impl Agent {
    /// Makes the loop and its handle from what was kept.
    #[must_use]
    pub fn new(parts: Parts, saved: Saved) -> (Self, AgentHandle) {
        let (words_to, words) = mpsc::unbounded_channel();
        let (news_to, news) = mpsc::unbounded_channel();
        let network = NodeNetwork::start(
            Arc::clone(&parts.kernel),
            parts.store.beside(wireguard::KEYS),
            parts.facts.ipv6,
        );
        let (files, content) = (parts.files.clone(), Arc::clone(&parts.content));
        let engine = Arc::clone(&parts.engine);
        let executor = Executor::new(engine, network.keeper(), files, content, news_to);
        let outbox = Arc::new(Outbox::default());
        let (progress, progress_seen) = watch::channel(Progress::default());
        let handle = AgentHandle {
            words: words_to,
            outbox: Arc::clone(&outbox),
            progress: progress_seen,
            probes: network.probes(),
            sealed: network.sealed(),
        };
        let local = Local {
            assignments: saved.assignments.clone(),
            records: saved.records.clone(),
            ..Local::default()
        };
        let agent = Self {
            sweeper: Sweeper::new(
                Arc::clone(&parts.engine),
                parts.files.clone(),
                parts.facts.cluster,
            ),
            parts,
            local,
            epoch: saved.epoch,
            leaving: false,
            instance: None,
            looked: Looked::Not,
            network,
            executor,
            outbox,
            progress,
            words,
            news,
            saver: watch::Sender::new(saved),
        };
        (agent, handle)
    }

    /// Runs until the handle is gone or `stop` says so; containers are left as they are.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let (sight_to, mut sights) = mpsc::unbounded_channel();
        let watcher = tokio::spawn(watcher::watch(
            Arc::clone(&self.parts.engine),
            self.parts.facts.cluster,
            sight_to,
        ));
        let saver = tokio::spawn(save(self.parts.store.clone(), self.saver.subscribe()));
        let mut wake = Duration::ZERO;
        loop {
            let input = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(word) = self.words.recv() => Input::Word(word),
                Some(news) = self.news.recv() => Input::News(news),
                Some(sight) = sights.recv() => Input::Sight(sight),
                () = self.network.changed() => Input::Time,
                () = tokio::time::sleep(wake) => Input::Time,
                else => break,
            };
            self.take(input);
            for _ in 0..BATCH_MAX {
                let more = self.words.try_recv().map(Input::Word);
                let more = more.or_else(|_| self.news.try_recv().map(Input::News));
                let Ok(more) = more.or_else(|_| sights.try_recv().map(Input::Sight)) else {
                    break;
                };
                self.take(more);
            }
            wake = self.decide();
        }
        watcher.abort();
        drop(self.saver);
        // The last state is written before the loop counts as ended.
        saver.await.ok();
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Word(word) => self.take_word(word),
            Input::News(news) => self.take_news(news),
            Input::Sight(sight) => self.take_sight(sight),
            Input::Time => {}
        }
    }

    fn take_word(&mut self, word: Word) {
        let assignments = &mut self.local.assignments;
        match word {
            Word::Update(update) => {
                let (extent, index) = (update.extent, update.index);
                match assignments.apply(*update) {
                    Applied::Yes => self.local.confirmed |= extent == Extent::Complete,
                    refused => tracing::warn!(?refused, ?index, ours = ?assignments.index, "set not obeyed"),
                }
            }
            Word::Remove(task) => assignments.word_remove(task),
            Word::Keep(task) => assignments.word_keep(task),
            Word::Session(epoch) => {
                self.epoch = epoch;
                self.parts.facts.epoch = epoch;
            }
            Word::RemoveAll => {
                let all = assignments.tasks.keys().copied().collect::<BTreeSet<_>>();
                let seen = self.local.containers.values().map(|seen| seen.task);
                for task in seen.chain(all).collect::<BTreeSet<_>>() {
                    assignments.word_remove(task);
                }
                assignments.carried.clear();
                assignments.view = None;
                self.leaving = true;
                self.sweeper.hurry();
            }
        }
    }

    fn take_news(&mut self, news: News) {
        match news {
            News::Seen {
                container,
                task,
                seen,
                instance,
            } => {
                self.local.unreadable.remove(&task);
                if instance
                    .is_some_and(|instance| self.instance.as_ref().is_some_and(|ours| *ours != instance))
                {
                    // The Engine has restarted: what the other containers are is not known until the next list,
                    // which the end of the event stream brings about.
                    self.instance = None;
                    self.looked = Looked::Not;
                }
                match seen {
                    Some(seen) => drop(self.local.containers.insert(container.clone(), *seen)),
                    None => drop(self.local.containers.remove(&container)),
                }
                self.looked_at(&container);
            }
            News::Unreadable { container, task } => {
                self.local.unreadable.insert(task);
                self.looked_at(&container);
            }
            News::Outcome(task, result) => outcome(&mut self.local, task, result, clock::now()),
            News::Silent(words) => self.silent(words),
        }
    }

    fn looked_at(&mut self, container: &str) {
        if let Looked::Partly(left) = &mut self.looked {
            left.remove(container);
            if left.is_empty() {
                self.looked = Looked::Yes;
            }
        }
    }

    fn take_sight(&mut self, sight: Sight) {
        match sight {
            Sight::Event(event) => {
                let record = self.local.records.get(&event.task);
                let ours = record.is_some_and(|record| record.job.is_some());
                // A job looks when it is done; of its own doing it needs no news.
                if !(ours && matches!(event.what.as_str(), "create" | "start")) {
                    self.executor.look(event.container, event.task);
                }
            }
            Sight::Silent(words) => self.silent(words),
            Sight::List(list, instance) => self.take_list(&list, instance),
        }
    }

    /// What the list says differently from the last looks is looked at again.
    fn take_list(&mut self, list: &[Listed], instance: String) {
        if self.instance.as_ref() != Some(&instance) {
            tracing::info!(instance, "engine answers");
            self.looked = Looked::Not;
            self.instance = Some(instance);
        }
        self.outbox.reporter().note_engine(EngineWord::Answers);
        look_again(self.local.containers.values_mut());
        let listed: BTreeSet<&str> = list.iter().map(|one| one.id.as_str()).collect();
        let known = self
            .local
            .containers
            .values()
            .filter(|seen| !listed.contains(seen.id.as_str()));
        let mut doubtful: BTreeMap<String, TaskId> = known.map(|seen| (seen.id.clone(), seen.task)).collect();
        let differs = list
            .iter()
            .filter(|one| one.differs(self.local.containers.get(&one.id)));
        doubtful.extend(differs.map(|one| (one.id.clone(), one.task)));
        for (container, task) in &doubtful {
            self.executor.look(container.clone(), *task);
        }
        if self.looked != Looked::Yes {
            let left: BTreeSet<String> = doubtful.into_keys().collect();
            self.looked = if left.is_empty() {
                Looked::Yes
            } else {
                Looked::Partly(left)
            };
        }
    }

    fn silent(&mut self, words: String) {
        if self.instance.take().is_some() {
            tracing::warn!(words, "engine is silent");
        }
        self.looked = Looked::Not;
        self.outbox.reporter().note_engine(EngineWord::Silent(words));
    }

    /// One decision for everything that was taken in. Answers how long nothing is due.
    fn decide(&mut self) -> Duration {
        let now = clock::now();
        let instance = self.instance.clone().filter(|_| self.looked == Looked::Yes);
        let world = World {
            now,
            boot: self.parts.facts.boot.clone(),
            instance,
        };
        self.network.warn(&mut self.local);
        let plan = reconcile(&mut self.local, &world);
        // Connections are led elsewhere first, the container is stopped after.
        self.network.show(&self.local);
        if self.leaving && self.local.containers.is_empty() {
            self.network.clear();
        }
        for action in plan.actions {
            let assigned = self.local.assignments.tasks.get(&action.task());
            self.executor.carry_out(
                action,
                assigned,
                &self.local.assignments.carried,
                &self.parts.facts,
            );
        }
        let unknown = plan.unknown.iter().map(|unknown| unknown.task).collect();
        self.report(unknown, world.instance.is_some());
        if world.instance.is_some() {
            self.sweeper
                .sweep(&files_wanted(&self.local), &self.local.assignments.carried, now);
        }
        self.account(world.instance.is_some());
        self.save();
        let tick = Duration::from_millis(if self.leaving { LEAVING_TICK_MS } else { TICK_MS });
        plan.wake_at
            .map_or(tick, |due| Duration::from_millis(due.ms_since(now)).min(tick))
    }

    fn report(&self, unknown: Vec<TaskId>, engine_answers: bool) {
        let mut reporter = self.outbox.reporter();
        for (task, record) in &self.local.records {
            if self.local.assignments.tasks.contains_key(task) {
                reporter.note(*task, &record.status);
            }
        }
        reporter.retain(|task| self.local.assignments.tasks.contains_key(task));
        if engine_answers {
            reporter.note_unknown(unknown);
        }
        drop(reporter);
        self.outbox.bell.notify_one();
    }

    fn account(&self, engine_answers: bool) {
        let running = self
            .local
            .records
            .values()
            .filter(|record| takes_connections(record))
            .count();
        metrics::gauge!("shoal_agent_tasks_running").set(running as f64);
        metrics::gauge!("shoal_agent_engine_answers").set(if engine_answers { 1.0 } else { 0.0 });
        let seen = self.local.assignments.index;
        self.progress.send_if_modified(|progress| {
            // What an acknowledgement is waited for is the kernel, not a pull or a stop.
            let applied = self.network.applied(seen.index);
            let network = self.network.told();
            let containers = self.local.containers.len();
            let cleared =
                self.leaving && containers == 0 && self.local.records.is_empty() && self.sweeper.is_done();
            let cleared = cleared && self.network.is_cleared();
            let next = Progress {
                seen,
                applied,
                containers,
                running,
                engine_answers,
                cleared,
                network,
            };
            let changed = *progress != next;
            *progress = next;
            changed
        });
    }

    fn save(&self) {
        self.saver.send_if_modified(|saved| {
            let same = saved.epoch == self.epoch
                && saved.assignments == self.local.assignments
                && saved.records == self.local.records;
            if !same {
                *saved = Saved {
                    assignments: self.local.assignments.clone(),
                    records: self.local.records.clone(),
                    epoch: self.epoch,
                };
            }
            !same
        });
    }
}

/// Writes the newest state whenever it changed, off the loop; a write in between is skipped.
async fn save(store: Store, mut states: watch::Receiver<Saved>) {
    loop {
        let ended = states.changed().await.is_err();
        let saved = states.borrow_and_update().clone();
        let store = store.clone();
        let written = tokio::task::spawn_blocking(move || store.save(&saved)).await;
        if let Ok(Err(error)) = written {
            tracing::error!(%error, "state could not be written");
        }
        if ended {
            return;
        }
    }
}

#[cfg(test)]
#[path = "agent_test.rs"]
mod tests;
