//! What a person reads when a task cannot run, word by word, from a real Engine.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;

use shoal_agent::engine::docker::DockerEngine;
use shoal_agent::engine::{Engine as _, EngineError};
use shoal_proto::container::{Device, HealthCheck, LogDriver, Mount, MountKind};
use shoal_proto::service::{HostPort, Protocol, TaskTemplate};
use shoal_proto::task::{Fault, TaskState};

use crate::bed::{IMAGE, block, shared, shell_with};
use crate::node::Node;

use TaskState::{Failed, Rejected};

/// A task ends so, and says this.
fn says(
    node: &mut Node<'_>,
    script: &str,
    change: impl FnOnce(&mut TaskTemplate),
    (state, words): (TaskState, &str),
) {
    let task = shell_with(script, change);
    node.assign(&[&task]);
    let ended = node.ended(task.task);
    assert!(ended.message.contains(words), "{words:?}: {}", ended.message);
    assert_eq!(
        (ended.state, ended.fault),
        (state, Fault::Own),
        "{}",
        ended.message
    );
}

fn runs(command: &str) -> impl FnOnce(&mut TaskTemplate) {
    let command = command.to_owned();
    move |t| t.container.command = Some(vec![command])
}

fn mounts(destination: &str, kind: MountKind) -> impl FnOnce(&mut TaskTemplate) {
    let (destination, read_only) = (destination.to_owned(), false);
    move |t| {
        t.container.mounts = vec![Mount {
            destination,
            read_only,
            kind,
        }];
    }
}

fn bind(source: &str) -> MountKind {
    MountKind::Bind {
        source: source.to_owned(),
        propagation: String::new(),
        create: false,
    }
}

#[test]
fn a_command_that_cannot_run_is_named() {
    let mut node = Node::new(shared(), 100);
    let mut says = |command, words| says(&mut node, "", runs(command), (Failed, words));
    says(
        "/nope",
        "cannot run the command \"/nope\": stat /nope: no such file or directory",
    );
    says(
        "nope",
        "cannot run the command \"nope\": executable file not found in $PATH",
    );
    says(
        "/etc/passwd",
        "cannot run the command \"/etc/passwd\": permission denied",
    );
}

#[test]
fn an_end_is_told_with_its_code_signal_or_lack_of_memory() {
    let mut node = Node::new(shared(), 101);
    let node = &mut node;
    says(node, "exit 3", |_| {}, (Failed, "task: non-zero exit (3)"));
    let with_init = |t: &mut TaskTemplate| t.container.init = Some(true);
    says(
        node,
        "kill -SEGV $$; sleep 9",
        with_init,
        (Failed, "task: non-zero exit (139: SIGSEGV)"),
    );
    let small = |t: &mut TaskTemplate| t.resources.limits.memory_bytes = 16 << 20;
    let words = "killed: out of memory (its limit is 16 MiB)";
    says(node, "exec tail /dev/zero", small, (Failed, words));
    let words =
        "task: non-zero exit (4) after one of its processes was killed: out of memory (its limit is 16 MiB)";
    says(node, "tail /dev/zero; exit 4", small, (Failed, words));
}

#[test]
fn a_failed_health_check_is_told_with_its_last_output() {
    let mut node = Node::new(shared(), 102);
    let mut says = |test: &[&str], words| {
        let check = HealthCheck {
            test: test.iter().map(|word| (*word).to_owned()).collect(),
            interval_ms: 200,
            timeout_ms: 1_000,
            retries: 1,
            ..HealthCheck::default()
        };
        says(
            &mut node,
            "exec sleep 60",
            |t| {
                t.container.health = Some(check);
                t.container.stop_grace_ms = Some(0);
            },
            (Failed, words),
        );
    };
    says(
        &["CMD-SHELL", "echo broken; exit 3"],
        "unhealthy container: check ended with 3: broken",
    );
    says(
        &["CMD", "false"],
        "unhealthy container: check ended with 1 and said nothing",
    );
    says(
        &["CMD-SHELL", "sleep 5"],
        "unhealthy container: check failed: Health check exceeded timeout (1s)",
    );
    says(
        &["CMD", "/nope"],
        "unhealthy container: check failed: cannot run the command \"/nope\": stat /nope: no such file",
    );
}

#[test]
fn a_container_that_cannot_be_made_says_which_key_is_at_fault() {
    let mut node = Node::new(shared(), 103);
    let node = &mut node;
    let words = "bind source path does not exist: /nowhere/at/all";
    says(node, "", mounts("/x", bind("/nowhere/at/all")), (Rejected, words));
    let words = "error mounting \"/etc/hostname\" to rootfs at \"/etc\"";
    says(node, "", mounts("/etc", bind("/etc/hostname")), (Failed, words));
    let volume = MountKind::Volume {
        name: "driven".to_owned(),
        driver: "absent-driver".to_owned(),
        driver_options: [].into(),
        labels: [].into(),
        no_copy: false,
        subpath: String::new(),
    };
    let words = "create driven: error looking up volume plugin absent-driver";
    says(node, "", mounts("/x", volume), (Rejected, words));
    let device = Device {
        host: "/dev/nope".to_owned(),
        container: String::new(),
        permissions: String::new(),
    };
    let with_device = |t: &mut TaskTemplate| t.container.devices = vec![device];
    says(
        node,
        "",
        with_device,
        (Failed, "custom device \"/dev/nope\": no such file"),
    );
    let user = |t: &mut TaskTemplate| t.container.user = Some("nobody-such".to_owned());
    says(node, "", user, (Failed, "unable to find user nobody-such"));
    let capability = |t: &mut TaskTemplate| t.container.cap_add = vec!["NOPE".to_owned()];
    says(
        node,
        "",
        capability,
        (Rejected, "unknown capability: \"CAP_NOPE\""),
    );
    let driver = LogDriver {
        name: "absent-logs".to_owned(),
        options: [].into(),
    };
    let logs = |t: &mut TaskTemplate| t.log_driver = Some(driver);
    says(node, "", logs, (Rejected, "logging plugin absent-logs"));
    let small = |t: &mut TaskTemplate| t.resources.limits.memory_bytes = 1 << 20;
    says(node, "", small, (Rejected, "Minimum memory limit allowed is 6MB"));
    let many = |t: &mut TaskTemplate| t.resources.limits.nano_cpus = 9_000_000_000_000;
    says(node, "", many, (Rejected, "Range of CPUs is from"));
}

#[test]
fn a_port_that_a_strangers_container_publishes_is_told_with_its_name() {
    let bed = shared();
    bed.docker(&[
        "run", "-d", "--name", "squatter", "-p", "8222:80", IMAGE, "sleep", "600",
    ]);
    let port = HostPort {
        protocol: Protocol::Tcp,
        container_port: 80,
        published_port: 8_222,
        host_ip: None,
    };
    let mut node = Node::new(bed, 104);
    says(
        &mut node,
        "true",
        |t| t.host_ports = vec![port],
        (
            Failed,
            "port 8222/tcp of this node is taken by container squatter",
        ),
    );
    bed.docker(&["rm", "-f", "squatter"]);
}

/// What an Engine of 2019 answers to everything that matters here.
fn old_engine(listener: &UnixListener) {
    let version = "{\"Version\":\"19.03.15\",\"ApiVersion\":\"1.40\"}";
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        let mut request = [0; 4096];
        let _length = stream.read(&mut request).expect("a request");
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{version}",
            version.len()
        );
        stream.write_all(answer.as_bytes()).expect("an answer");
    }
}

#[test]
fn an_engine_that_is_too_old_is_named_and_never_counts_as_answering() {
    let dir = tempfile::tempdir().expect("directory");
    let socket = dir.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).expect("socket");
    std::thread::spawn(move || old_engine(&listener));
    let engine = DockerEngine::new(&socket.to_string_lossy());
    let expected = "engine 19.03.15 speaks API 1.40 only: a node needs API 1.41 (Docker 20.10) or newer";
    let refused = [
        block(engine.info()).map(drop).expect_err("too old"),
        block(engine.instance()).map(drop).expect_err("too old"),
    ];
    for error in refused {
        assert!(matches!(error, EngineError::Outdated { .. }), "{error:?}");
        assert_eq!(error.to_string(), expected);
    }
}
