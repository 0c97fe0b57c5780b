use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use shoal_proto::container::{FileTarget, SecretUse};
use shoal_proto::digest::Digest;
use shoal_proto::id::VersionId;
use shoal_proto::task::{DesiredState, TaskState};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Agent, AgentHandle, Parts, Word};
use crate::assignments::{Assigned, Extent};
use crate::engine::fake::{FakeCore, FakeEngine};
use crate::executor::ContentSource;
use crate::network::kernel::fake::FakeKernel;
use crate::reporter::{EngineWord, Report};
use crate::secrets::SecretFiles;
use crate::store::Store;
use crate::testing::{IMAGE, assigned, at, facts, task_id, update};

struct Contents(BTreeMap<VersionId, Vec<u8>>);

#[async_trait]
impl ContentSource for Contents {
    async fn fetch(&self, version: VersionId) -> Result<Vec<u8>, String> {
        self.0
            .get(&version)
            .cloned()
            .ok_or_else(|| "no manager".to_owned())
    }
}

struct Node {
    dir: tempfile::TempDir,
    engine: FakeEngine,
    handle: AgentHandle,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    states: BTreeMap<u64, TaskState>,
    index: u64,
}

fn secret() -> (VersionId, Vec<u8>) {
    (VersionId::new(at(5), 5), b"s3cret".to_vec())
}

fn start(dir: &tempfile::TempDir, engine: &FakeEngine) -> (AgentHandle, watch::Sender<bool>, JoinHandle<()>) {
    let parts = Parts {
        engine: Arc::new(engine.clone()),
        kernel: Arc::new(FakeKernel::default()),
        content: Arc::new(Contents(BTreeMap::from([secret()]))),
        files: SecretFiles::new(dir.path().join("secrets"), dir.path().join("configs")),
        store: Store::new(dir.path()),
        facts: facts(),
    };
    let saved = parts.store.load().expect("state");
    let (agent, handle) = Agent::new(parts, saved);
    let (stop, stopped) = watch::channel(false);
    (handle, stop, tokio::spawn(agent.run(stopped)))
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let engine = FakeEngine::new(FakeCore::new(&[IMAGE]));
        let (handle, stop, task) = start(&dir, &engine);
        Self {
            dir,
            engine,
            handle,
            stop,
            task,
            states: BTreeMap::new(),
            index: 0,
        }
    }

    fn assign(&mut self, tasks: Vec<Assigned>) {
        self.index += 1;
        self.handle.say(Word::Update(Box::new(update(self.index, tasks))));
    }

    fn take_reports(&mut self) {
        while let Some(report) = self.handle.outbox.reporter().take_next() {
            let Report::Tasks(batch) = report else { continue };
            let numbered = batch.into_iter().map(|(task, status)| {
                (
                    (1..10).find(|n| task_id(*n) == task).expect("a task of the test"),
                    status.state,
                )
            });
            self.states.extend(numbered);
        }
    }

    /// Waits until a condition on the reports holds.
    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                self.take_reports();
                if holds(self) {
                    return;
                }
                tokio::time::timeout(Duration::from_millis(50), self.handle.outbox.bell.notified())
                    .await
                    .ok();
            }
        });
        assert!(waited.await.is_ok(), "never: {what}; {:?}", self.states);
    }

    async fn until_state(&mut self, n: u64, state: TaskState) {
        self.until(&format!("task {n} {state}"), |node| {
            node.states.get(&n) == Some(&state)
        })
        .await;
    }

    /// The agent's process ends and another one begins; containers stay.
    async fn restart(&mut self) {
        self.stop.send_replace(true);
        (&mut self.task).await.expect("ended");
        self.states.clear();
        (self.handle, self.stop, self.task) = start(&self.dir, &self.engine);
    }

    fn count(&self, call: &str) -> usize {
        self.engine
            .with(|core| core.calls.iter().filter(|made| made.starts_with(call)).count())
    }
}

#[tokio::test]
async fn a_task_runs_is_adopted_by_the_next_agent_and_stops_on_a_word() {
    let mut node = Node::new();
    node.assign(vec![assigned(1, DesiredState::Running)]);
    node.until_state(1, TaskState::Running).await;
    node.restart().await;
    node.until_state(1, TaskState::Running).await;
    assert_eq!(
        (node.count("create"), node.count("start"), node.count("stop")),
        (1, 1, 0)
    );
    node.assign(vec![assigned(1, DesiredState::Shutdown)]);
    node.until_state(1, TaskState::Shutdown).await;
    assert_eq!(node.count("stop"), 1);
}

#[tokio::test]
async fn an_exit_is_seen_through_the_event_stream() {
    let mut node = Node::new();
    node.assign(vec![assigned(1, DesiredState::Running)]);
    node.until_state(1, TaskState::Running).await;
    node.engine.with(|core| core.exit("c0001", 1));
    node.until_state(1, TaskState::Failed).await;
}

#[tokio::test]
async fn a_silent_engine_is_reported_and_ends_nothing() {
    let mut node = Node::new();
    node.assign(vec![assigned(1, DesiredState::Running)]);
    node.until_state(1, TaskState::Running).await;
    node.engine.with(|core| core.set_silent(true));
    node.assign(vec![
        assigned(1, DesiredState::Running),
        assigned(2, DesiredState::Running),
    ]);
    node.until("task 2 heard of", |node| node.states.contains_key(&2))
        .await;
    assert!(node.states[&2] < TaskState::Ready);
    node.engine.with(|core| core.set_silent(false));
    node.until_state(2, TaskState::Running).await;
    assert_eq!(node.states[&1], TaskState::Running);
    assert_eq!(node.handle.outbox.reporter().open().len(), 2);
    assert_eq!(
        node.handle.outbox.reporter().take_next(),
        Some(Report::Engine(EngineWord::Answers))
    );
}

#[tokio::test]
async fn a_secret_is_there_while_its_task_is_and_gone_after() {
    let mut node = Node::new();
    let (version, bytes) = secret();
    let mut task = assigned(1, DesiredState::Running);
    let file = FileTarget {
        path: String::new(),
        uid: String::new(),
        gid: String::new(),
        mode: 0o400,
    };
    let used = SecretUse {
        name: "key".to_owned(),
        secret: None,
        version: Some(version),
        file,
    };
    Arc::make_mut(&mut task.template).container.secrets = vec![used];
    task.contents.insert(version, Digest::of(&bytes));
    node.assign(vec![task.clone()]);
    node.until_state(1, TaskState::Running).await;
    let path = node
        .engine
        .with(|core| core.plan_of("c0001").expect("made").files[0].source.clone());
    assert_eq!(std::fs::read(&path).expect("secret"), bytes);
    task.desired = DesiredState::Shutdown;
    node.assign(vec![task]);
    node.until("secret gone", |_| !std::path::Path::new(&path).exists())
        .await;
}

#[tokio::test]
async fn content_that_cannot_be_had_is_waited_for() {
    let mut node = Node::new();
    let mut task = assigned(1, DesiredState::Running);
    let file = FileTarget {
        path: String::new(),
        uid: String::new(),
        gid: String::new(),
        mode: 0o400,
    };
    let version = VersionId::new(at(6), 6);
    let used = SecretUse {
        name: "key".to_owned(),
        secret: None,
        version: Some(version),
        file,
    };
    Arc::make_mut(&mut task.template).container.secrets = vec![used];
    task.contents.insert(version, Digest::of(b""));
    node.assign(vec![task]);
    node.until_state(1, TaskState::Preparing).await;
    assert_eq!(node.count("create"), 0);
}

#[tokio::test]
async fn everything_goes_when_the_node_is_removed() {
    let mut node = Node::new();
    node.assign(vec![
        assigned(1, DesiredState::Running),
        assigned(2, DesiredState::Running),
    ]);
    node.until_state(1, TaskState::Running).await;
    node.until_state(2, TaskState::Running).await;
    node.handle.say(Word::RemoveAll);
    node.until("no container", |node| {
        node.engine.with(|core| core.containers().is_empty())
    })
    .await;
}

#[tokio::test]
async fn an_increment_removes_by_name() {
    let mut node = Node::new();
    node.assign(vec![
        assigned(1, DesiredState::Running),
        assigned(2, DesiredState::Running),
    ]);
    node.until_state(1, TaskState::Running).await;
    node.until_state(2, TaskState::Running).await;
    let mut step = update(2, vec![]);
    step.extent = Extent::Increment;
    step.removed = vec![task_id(1)];
    node.handle.say(Word::Update(Box::new(step)));
    node.until("one container", |node| {
        node.engine.with(|core| core.containers().len()) == 1
    })
    .await;
    assert_eq!(node.count("stop"), 1);
}
