//! The whole loop of an agent over a real Engine, without managers: tests say what a manager would.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use shoal_agent::agent::{Agent, AgentHandle, Parts, Word};
use shoal_agent::assignments::{Assigned, SetIndex, Update};
use shoal_agent::executor::ContentSource;
use shoal_agent::network::kernel::fake::FakeKernel;
use shoal_agent::secrets::SecretFiles;
use shoal_agent::store::Store;
use shoal_proto::id::{TaskId, VersionId};
use shoal_proto::network::Network;
use shoal_proto::task::{DesiredState, TaskState, TaskStatus};
use shoal_proto::time::Timestamp;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::bed::{Bed, PATIENCE, facts};

struct Contents(BTreeMap<VersionId, Vec<u8>>);

#[async_trait]
impl ContentSource for Contents {
    async fn fetch(&self, version: VersionId) -> Result<Vec<u8>, String> {
        self.0
            .get(&version)
            .cloned()
            .ok_or_else(|| "unknown version".to_owned())
    }
}

/// Version 1 is the content `s3cret`, 2 is `conf=1`.
pub(crate) fn version(n: u128) -> VersionId {
    VersionId::new(Timestamp::from_ms(1), n)
}

/// A running agent over an Engine. Each has a cluster of its own, so that tests do not see each other's containers.
pub(crate) struct Node<'a> {
    pub(crate) bed: &'a Bed,
    pub(crate) runtime: Option<Runtime>,
    pub(crate) dir: tempfile::TempDir,
    facts: shoal_agent::engine::NodeFacts,
    handle: Option<AgentHandle>,
    stop: watch::Sender<bool>,
    index: u64,
    /// The cluster's networks that assignments name.
    pub(crate) networks: Vec<Network>,
}

impl<'a> Node<'a> {
    pub(crate) fn new(bed: &'a Bed, n: u128) -> Self {
        let mut facts = facts();
        facts.cluster = shoal_proto::id::ClusterId::new(Timestamp::from_ms(9), n);
        let dir = tempfile::Builder::new()
            .prefix("agent")
            .tempdir_in(&bed.dir)
            .expect("directory");
        let mut node = Self {
            bed,
            runtime: None,
            dir,
            facts,
            handle: None,
            stop: watch::Sender::new(false),
            index: 0,
            networks: Vec::new(),
        };
        node.start();
        node
    }

    pub(crate) fn start(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.expect("runtime");
        let contents = [
            (version(1), b"s3cret".to_vec()),
            (version(2), b"conf=1\n".to_vec()),
        ];
        let parts = Parts {
            kernel: Arc::new(FakeKernel::default()),
            engine: self.bed.engine.clone(),
            content: Arc::new(Contents(contents.into())),
            files: SecretFiles::new(self.dir.path().join("secrets"), self.dir.path().join("configs")),
            store: Store::new(self.dir.path()),
            facts: self.facts.clone(),
        };
        let saved = parts.store.load().expect("state");
        let (stop, stopped) = watch::channel(false);
        let guard = runtime.enter();
        let (agent, handle) = Agent::new(parts, saved);
        runtime.spawn(agent.run(stopped));
        drop(guard);
        (self.runtime, self.handle, self.stop) = (Some(runtime), Some(handle), stop);
    }

    /// The process ends at once and another one begins.
    pub(crate) fn crash(&mut self) {
        self.end();
        self.start();
    }

    /// Ends the agent and leaves its containers.
    pub(crate) fn end(&mut self) {
        drop(self.handle.take());
        let runtime = self.runtime.take().expect("running");
        runtime.shutdown_timeout(Duration::from_secs(5));
    }

    /// Has the task run; answers its container.
    pub(crate) fn run(&mut self, task: &Assigned) -> String {
        self.assign(&[task]);
        let running = self.until(task.task, TaskState::Running);
        running.container.expect("a container")
    }

    pub(crate) fn handle(&self) -> &AgentHandle {
        self.handle.as_ref().expect("running")
    }

    pub(crate) fn assign(&mut self, tasks: &[&Assigned]) {
        self.index += 1;
        let mut update = Update {
            cluster: Some(self.facts.cluster),
            ..Update::default()
        };
        update.index = SetIndex {
            incarnation: 1,
            index: self.index,
        };
        update.carried = self.networks.clone();
        update.tasks = tasks.iter().map(|task| (*task).clone()).collect();
        self.handle().say(Word::Update(Box::new(update)));
    }

    pub(crate) fn status(&self, task: TaskId) -> Option<TaskStatus> {
        let all = self.handle().outbox.reporter().open();
        all.into_iter()
            .find(|(id, _)| *id == task)
            .map(|(_, status)| status)
    }

    pub(crate) fn until(&self, task: TaskId, state: TaskState) -> TaskStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.status(task);
            if let Some(status) = status.clone().filter(|status| status.state == state) {
                return status;
            }
            assert!(Instant::now() < until, "never {state}: {status:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn ended(&self, task: TaskId) -> TaskStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.status(task);
            if let Some(status) = status.clone().filter(|status| status.state.is_terminal()) {
                return status;
            }
            assert!(Instant::now() < until, "never ended: {status:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < until, "never: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn pid(&self, container: &str) -> String {
        self.bed
            .docker(&["inspect", "-f", "{{.State.Pid}} {{.State.StartedAt}}", container])
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

/// The same task, wanted otherwise.
pub(crate) fn with_desired(task: &Assigned, desired: DesiredState) -> Assigned {
    let mut task = task.clone();
    task.desired = desired;
    task
}
