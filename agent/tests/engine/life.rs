//! What a node lives through, with the whole loop over a real Engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use shoal_agent::agent::{Agent, AgentHandle, Parts, Word};
use shoal_agent::assignments::{Assigned, SetIndex, Update};
use shoal_agent::executor::ContentSource;
use shoal_agent::secrets::SecretFiles;
use shoal_agent::store::Store;
use shoal_proto::container::{ConfigUse, FileTarget, SecretUse};
use shoal_proto::digest::Digest;
use shoal_proto::id::{TaskId, VersionId};
use shoal_proto::reason::Reason;
use shoal_proto::task::{DesiredState, Fault, TaskState, TaskStatus};
use shoal_proto::time::Timestamp;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::bed::{Bed, PATIENCE, facts, shared, shell, shell_with};

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

fn version(n: u128) -> VersionId {
    VersionId::new(Timestamp::from_ms(1), n)
}

/// A running agent over an Engine. Each has a cluster of its own, so that tests do not see each other's containers.
struct Node<'a> {
    bed: &'a Bed,
    runtime: Option<Runtime>,
    dir: tempfile::TempDir,
    facts: shoal_agent::engine::NodeFacts,
    handle: Option<AgentHandle>,
    stop: watch::Sender<bool>,
    index: u64,
}

impl<'a> Node<'a> {
    fn new(bed: &'a Bed, n: u128) -> Self {
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
        };
        node.start();
        node
    }

    fn start(&mut self) {
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
    fn crash(&mut self) {
        drop(self.handle.take());
        self.runtime
            .take()
            .expect("running")
            .shutdown_timeout(Duration::from_secs(5));
        self.start();
    }

    fn handle(&self) -> &AgentHandle {
        self.handle.as_ref().expect("running")
    }

    fn assign(&mut self, tasks: &[&Assigned]) {
        self.index += 1;
        let mut update = Update {
            cluster: Some(self.facts.cluster),
            ..Update::default()
        };
        update.index = SetIndex {
            incarnation: 1,
            index: self.index,
        };
        update.tasks = tasks.iter().map(|task| (*task).clone()).collect();
        self.handle().say(Word::Update(Box::new(update)));
    }

    fn status(&self, task: TaskId) -> Option<TaskStatus> {
        let all = self.handle().outbox.reporter().open();
        all.into_iter()
            .find(|(id, _)| *id == task)
            .map(|(_, status)| status)
    }

    fn until(&self, task: TaskId, state: TaskState) -> TaskStatus {
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

    fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < until, "never: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn pid(&self, container: &str) -> String {
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

fn with_desired(task: &Assigned, desired: DesiredState) -> Assigned {
    let mut task = task.clone();
    task.desired = desired;
    task
}

#[test]
fn a_task_is_adopted_after_a_crash_of_the_agent_and_stopped_on_a_word() {
    let mut node = Node::new(shared(), 1);
    let task = shell("trap 'exit 0' TERM; while :; do sleep 0.1; done");
    node.assign(&[&task]);
    let container = node
        .until(task.task, TaskState::Running)
        .container
        .expect("a container");
    let before = node.pid(&container);
    node.crash();
    node.until(task.task, TaskState::Running);
    assert_eq!(node.pid(&container), before, "the container was not touched");
    node.assign(&[&with_desired(&task, DesiredState::Shutdown)]);
    let ended = node.until(task.task, TaskState::Shutdown);
    assert_eq!((ended.exit_code, ended.fault), (Some(0), Fault::None));
    node.assign(&[&with_desired(&task, DesiredState::Remove)]);
    node.wait("container gone", || {
        !node.bed.docker(&["ps", "-aq", "--no-trunc"]).contains(&container)
    });
}

#[test]
fn a_container_that_ends_while_no_agent_runs_is_told_of_with_its_code() {
    let mut node = Node::new(shared(), 2);
    let task = shell("while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 9");
    node.assign(&[&task]);
    let container = node
        .until(task.task, TaskState::Running)
        .container
        .expect("a container");
    node.runtime
        .take()
        .expect("running")
        .shutdown_timeout(Duration::from_secs(5));
    node.bed.docker(&["exec", &container, "touch", "/tmp/end"]);
    node.bed.docker(&["wait", &container]);
    node.start();
    let ended = node.until(task.task, TaskState::Failed);
    assert_eq!((ended.exit_code, ended.fault), (Some(9), Fault::Own));
}

#[test]
fn a_container_removed_by_hand_is_nobodys_fault() {
    let mut node = Node::new(shared(), 3);
    let task = shell("sleep 600");
    node.assign(&[&task]);
    let container = node
        .until(task.task, TaskState::Running)
        .container
        .expect("a container");
    node.bed.docker(&["rm", "-f", &container]);
    let ended = node.until(task.task, TaskState::Failed);
    assert!(
        ended.fault == Fault::None || ended.exit_code == Some(137),
        "{ended:?}"
    );
}

#[test]
fn an_image_that_cannot_be_had_rejects_with_the_registrys_words() {
    let mut node = Node::new(shared(), 4);
    let task = shell_with("true", |t| t.container.image = "127.0.0.1:1/absent:1".to_owned());
    node.assign(&[&task]);
    let ended = node.until(task.task, TaskState::Rejected);
    assert!(
        ended.message.contains("127.0.0.1:1/absent:1") && ended.message.contains("refused"),
        "{}",
        ended.message
    );
}

#[test]
fn secrets_and_configs_are_seen_as_asked_and_go_with_the_task() {
    let mut node = Node::new(shared(), 5);
    let file = |path: &str, uid: &str, gid: &str, mode| FileTarget {
        path: path.to_owned(),
        uid: uid.to_owned(),
        gid: gid.to_owned(),
        mode,
    };
    let script = "cat /run/secrets/key; stat -c ' %u:%g %a' /run/secrets/key; stat -c '%u:%g %a' /etc/named; cat /conf; \
                  echo x 2>/dev/null > /run/secrets/key || echo read-only; while :; do sleep 1; done";
    let mut task = shell_with(script, |t| {
        t.container.secrets = vec![
            SecretUse {
                name: "key".into(),
                secret: None,
                version: Some(version(1)),
                file: file("", "55", "66", 0o440),
            },
            SecretUse {
                name: "key".into(),
                secret: None,
                version: Some(version(1)),
                file: file("/etc/named", "user1", "user1", 0o400),
            },
        ];
        t.container.configs = vec![ConfigUse {
            name: "conf".into(),
            config: None,
            version: Some(version(2)),
            file: file("", "", "", 0o444),
        }];
        t.container.stop_grace_ms = Some(0);
    });
    task.contents.insert(version(1), Digest::of(b"s3cret"));
    task.contents.insert(version(2), Digest::of(b"conf=1\n"));
    node.assign(&[&task]);
    let container = node
        .until(task.task, TaskState::Running)
        .container
        .expect("a container");
    let expected = "s3cret 55:66 440\n1001:1002 400\nconf=1\nread-only";
    node.wait("all is seen", || {
        node.bed.docker(&["logs", &container]).contains("read-only")
    });
    assert_eq!(node.bed.docker(&["logs", &container]), expected);
    let dir = node.dir.path().join("secrets").join(task.task.as_str());
    assert!(dir.exists());
    node.assign(&[&with_desired(&task, DesiredState::Shutdown)]);
    node.until(task.task, TaskState::Shutdown);
    node.wait("secrets gone", || !dir.exists());
}

#[test]
fn an_engine_that_restarts_ends_tasks_without_their_fault() {
    let bed = Bed::new(&[]);
    let mut node = Node::new(&bed, 6);
    let task = shell("trap 'exit 0' TERM; while :; do sleep 0.1; done");
    let other = shell("exit 4");
    node.assign(&[&task, &other]);
    node.until(task.task, TaskState::Running);
    node.until(other.task, TaskState::Failed);
    bed.say("stop");
    bed.say("start");
    let ended = node.until(task.task, TaskState::Failed);
    assert_eq!(
        (ended.reason, ended.fault),
        (Some(Reason::EngineRestarted), Fault::None)
    );
    let next = shell("sleep 600");
    node.assign(&[&task, &other, &next]);
    node.until(next.task, TaskState::Running);
    assert_eq!(node.status(other.task).expect("known").exit_code, Some(4));
}

#[test]
fn an_engine_with_live_restore_restarts_unnoticed() {
    let bed = Bed::new(&["--live-restore"]);
    let mut node = Node::new(&bed, 7);
    let task = shell("sleep 600");
    node.assign(&[&task]);
    let container = node
        .until(task.task, TaskState::Running)
        .container
        .expect("a container");
    let before = node.pid(&container);
    bed.say("stop");
    node.wait("silence is noticed", || {
        !node.handle().progress.borrow().engine_answers
    });
    assert_eq!(
        node.until(task.task, TaskState::Running).state,
        TaskState::Running
    );
    bed.say("start");
    node.wait("the engine answers", || {
        node.handle().progress.borrow().engine_answers
    });
    node.until(task.task, TaskState::Running);
    assert_eq!(node.pid(&container), before);
    bed.docker(&["kill", &container]);
    let ended = node.until(task.task, TaskState::Failed);
    assert_eq!(
        (ended.exit_code, ended.fault),
        (Some(137), Fault::Own),
        "{:?}",
        ended.reason
    );
}

#[test]
fn a_host_port_that_is_taken_fails_the_task_with_words() {
    let mut node = Node::new(shared(), 9);
    let port = |t: &mut shoal_proto::service::TaskTemplate| {
        t.host_ports = vec![shoal_proto::service::HostPort {
            protocol: shoal_proto::service::Protocol::Tcp,
            container_port: 80,
            published_port: 8_123,
            host_ip: None,
        }];
    };
    let (first, second) = (shell_with("sleep 600", port), shell_with("sleep 600", port));
    node.assign(&[&first]);
    node.until(first.task, TaskState::Running);
    node.assign(&[&first, &second]);
    let ended = node.until(second.task, TaskState::Failed);
    assert_eq!(ended.fault, Fault::Own);
    assert!(
        ended.message.contains("already allocated") && ended.message.contains("8123"),
        "{}",
        ended.message
    );
}

#[test]
fn an_engine_that_hangs_is_silent_and_no_task_ends_for_it() {
    let bed = Bed::new(&[]);
    let mut node = Node::new(&bed, 8);
    let task = shell("sleep 600");
    node.assign(&[&task]);
    node.until(task.task, TaskState::Running);
    bed.say("hang");
    node.wait("silence is noticed", || {
        !node.handle().progress.borrow().engine_answers
    });
    assert_eq!(
        node.until(task.task, TaskState::Running).state,
        TaskState::Running
    );
    bed.say("go");
    node.wait("the engine answers", || {
        node.handle().progress.borrow().engine_answers
    });
    node.until(task.task, TaskState::Running);
}
