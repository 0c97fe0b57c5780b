//! What a node lives through, with the whole loop over a real Engine.

use shoal_agent::agent::Word;
use shoal_proto::container::{ConfigUse, FileTarget, SecretUse};
use shoal_proto::digest::Digest;
use shoal_proto::id::NetworkId;
use shoal_proto::network::{Network, NetworkSpec};
use shoal_proto::reason::Reason;
use shoal_proto::service::{NetworkTarget, NetworkUse};
use shoal_proto::task::{DesiredState, Fault, TaskState};
use shoal_proto::time::Timestamp;

use crate::bed::{Bed, IMAGE, shared, shell, shell_with};
use crate::node::{Node, version, with_desired};

#[test]
fn a_task_is_adopted_after_a_crash_of_the_agent_and_stopped_on_a_word() {
    let mut node = Node::new(shared(), 1);
    let task = shell("trap 'exit 0' TERM; while :; do sleep 0.1; done");
    let container = node.run(&task);
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
    let container = node.run(&task);
    node.end();
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
    let container = node.run(&task);
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
    let container = node.run(&task);
    let expected = "s3cret 55:66 440\n1001:1002 400\nconf=1\nread-only";
    node.wait("all is seen", || {
        node.bed.docker(&["logs", &container]).contains("read-only")
    });
    assert_eq!(node.bed.docker(&["logs", &container]), expected);
    let dir = node.dir.path().join("secrets").join(task.task.as_str());
    assert!(dir.exists());
    node.crash();
    node.until(task.task, TaskState::Running);
    assert!(dir.exists(), "an adopted task keeps its secrets");
    let again = ["exec", &container, "cat", "/run/secrets/key"];
    assert_eq!(node.bed.docker(&again), "s3cret");
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
    let container = node.run(&task);
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
        ended
            .message
            .starts_with("port 8123/tcp of this node is taken by container web.3."),
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

#[test]
fn nothing_is_left_of_a_node_that_was_removed_and_nothing_of_others_is_touched() {
    let bed = shared();
    bed.docker(&["run", "-d", "--name", "neighbour", IMAGE, "sleep", "600"]);
    bed.docker(&["network", "create", "neighbours"]);
    let mut node = Node::new(bed, 10);
    let id = NetworkId::new(Timestamp::from_ms(77), 0);
    let spec = NetworkSpec {
        name: "leaving".to_owned(),
        driver: "overlay".to_owned(),
        ..NetworkSpec::default()
    };
    let task = shell_with("exec sleep 600", |t| {
        t.networks = vec![NetworkUse {
            network: NetworkTarget::Cluster(id),
            aliases: Vec::new(),
        }];
        t.container.stop_grace_ms = Some(0);
    });
    node.networks = vec![Network::new(id, None, spec)];
    let container = node.run(&task);
    assert!(bed.docker(&["network", "ls"]).contains("leaving"));
    node.handle().say(Word::RemoveAll);
    node.wait("everything is gone", || node.handle().progress.borrow().cleared);
    assert!(!bed.docker(&["ps", "-aq", "--no-trunc"]).contains(&container));
    assert!(!bed.docker(&["network", "ls"]).contains("leaving"));
    assert!(
        bed.docker(&["ps", "--format", "{{.Names}}"])
            .contains("neighbour")
    );
    assert!(bed.docker(&["network", "ls"]).contains("neighbours"));
    bed.docker(&["rm", "-f", "neighbour"]);
    bed.docker(&["network", "rm", "neighbours"]);
}
