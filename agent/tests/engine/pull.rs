//! Images from a real registry with passwords: had with the right one, refused in the registry's own words.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use shoal_agent::assignments::Assigned;
use shoal_agent::engine::{Credentials, Engine as _};
use shoal_proto::container::PullPolicy;
use shoal_proto::task::{Fault, TaskState};

use crate::bed::{Bed, IMAGE, PATIENCE, block, shared, shell_with};
use crate::node::Node;

const REGISTRY: &str = "127.0.0.1:5000";
const USER: &str = "reader";
const PASSWORD: &str = "correct-horse";
/// `PASSWORD` as the registry wants it (bcrypt).
const HASH: &str = "$2b$04$BJkUqFn3eQ1YUc26ZMQM8.S0ZM2ZA01bK0waQmEHPE9TMkXgHVm7i";

/// A registry beside the shared Engine, with one image in it that the Engine itself has no more.
fn registry() -> &'static Bed {
    static STARTED: OnceLock<()> = OnceLock::new();
    let bed = shared();
    STARTED.get_or_init(|| {
        let dir = bed.dir.display();
        std::fs::write(bed.dir.join("htpasswd"), format!("{USER}:{HASH}\n")).expect("users");
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {dir}/registry\nhttp:\n  addr: {REGISTRY}\n\
             auth:\n  htpasswd:\n    realm: bed\n    path: {dir}/htpasswd\n"
        );
        std::fs::write(bed.dir.join("registry.yml"), config).expect("config");
        bed.say("registry");
        push(bed);
    });
    bed
}

fn push(bed: &Bed) {
    let config = bed.dir.join("client").display().to_string();
    let login = ["--config", &config, "login", "-u", USER, "-p", PASSWORD, REGISTRY];
    let until = Instant::now() + PATIENCE;
    while let Err(words) = bed.try_docker(&login) {
        assert!(Instant::now() < until, "registry does not come up: {words}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let name = image("1");
    bed.docker(&["tag", IMAGE, &name]);
    bed.docker(&["--config", &config, "push", &name]);
    bed.docker(&["rmi", &name]);
}

fn image(tag: &str) -> String {
    format!("{REGISTRY}/team/app:{tag}")
}

fn task(tag: &str, password: Option<&str>) -> Assigned {
    let mut task = shell_with("exec sleep 600", |t| {
        t.container.image = image(tag);
        t.container.stop_grace_ms = Some(0);
    });
    task.credential = password.map(|password| Credentials {
        host: REGISTRY.to_owned(),
        username: USER.to_owned(),
        password: password.to_owned(),
    });
    task
}

fn refused(node: &mut Node<'_>, task: &Assigned, words: &str) {
    node.assign(&[task]);
    let ended = node.ended(task.task);
    assert_eq!((ended.state, ended.fault), (TaskState::Rejected, Fault::Own));
    let expected = format!("pull of {}: ", task.template.container.image);
    assert!(
        ended.message.starts_with(&expected) && ended.message.contains(words),
        "{words:?}: {}",
        ended.message
    );
}

#[test]
fn a_registry_with_passwords_gives_to_who_knows_one_and_tells_the_others_why_not() {
    let mut node = Node::new(registry(), 110);
    let node = &mut node;
    refused(node, &task("1", None), "no basic auth credentials");
    refused(
        node,
        &task("1", Some("wrong")),
        "unauthorized: authentication required",
    );
    refused(node, &task("absent", Some(PASSWORD)), "manifest unknown");
    let right = task("1", Some(PASSWORD));
    node.run(&right);
    let seen = block(node.bed.engine.resolve(&image("1"), right.credential.as_ref())).expect("resolve");
    assert!(seen.digest.starts_with("sha256:"), "{seen:?}");
    let error = block(node.bed.engine.resolve(&image("1"), None)).expect_err("nobody in particular");
    assert!(error.to_string().contains("no basic auth credentials"), "{error}");
    // The image is there now: nobody needs to be asked, unless each start shall ask.
    node.run(&task("1", None));
    let mut always = task("1", None);
    std::sync::Arc::make_mut(&mut always.template).container.pull = PullPolicy::Always;
    refused(node, &always, "no basic auth credentials");
}

#[test]
fn an_image_is_had_by_its_digest_with_credentials() {
    let mut node = Node::new(registry(), 111);
    let right = task("1", Some(PASSWORD));
    let digest = block(node.bed.engine.resolve(&image("1"), right.credential.as_ref()))
        .expect("resolve")
        .digest;
    let mut pinned = task("1", Some(PASSWORD));
    std::sync::Arc::make_mut(&mut pinned.template)
        .container
        .image_digest = Some(digest.clone());
    let container = node.run(&pinned);
    let used = node
        .bed
        .docker(&["inspect", "-f", "{{.Config.Image}}", &container]);
    assert_eq!(used, format!("{REGISTRY}/team/app@{digest}"));
}

#[test]
fn a_policy_of_never_asks_no_registry() {
    let mut node = Node::new(shared(), 112);
    let mut absent = task("never", Some(PASSWORD));
    std::sync::Arc::make_mut(&mut absent.template).container.pull = PullPolicy::Never;
    node.assign(&[&absent]);
    let words = node.ended(absent.task).message;
    assert_eq!(
        words,
        format!(
            "image {} is not on this node and its pull policy is never",
            image("never")
        )
    );
}

/// Waits until a container of the Engine's network listens on a TCP port.
fn listens(bed: &Bed, container: &str, port: u16) {
    let look = format!("cat /proc/net/tcp /proc/net/tcp6 | grep -q ':{port:04X} .* 0A '");
    let until = Instant::now() + PATIENCE;
    while let Err(words) = bed.try_docker(&["exec", container, "sh", "-c", &look]) {
        assert!(
            Instant::now() < until,
            "{container} does not listen on {port}: {words}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_registry_that_forbids_or_cannot_be_reached_is_quoted() {
    let bed = shared();
    // On the Engine's own network, where the Engine looks for its registries.
    let body = r#"{"errors":[{"code":"DENIED","message":"your plan has ended"}]}"#;
    let head = r"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
    // What was asked is read to its end: closing before that would take the answer back.
    let answer = format!("head -c 1 >/dev/null; printf '{head}%s' '{body}'; timeout 1 cat >/dev/null");
    let mut run = vec!["run", "-d", "--name", "forbidding", "--network", "host", IMAGE];
    run.extend(["nc", "-ll", "-p", "5403", "-e", "sh", "-c", &answer]);
    bed.docker(&run);
    listens(bed, "forbidding", 5403);
    let mut node = Node::new(bed, 113);
    let at = |host: &str| shell_with("true", |t| t.container.image = format!("{host}/team/app:1"));
    refused(&mut node, &at("127.0.0.1:5403"), "your plan has ended");
    bed.docker(&["rm", "-f", "forbidding"]);
    refused(&mut node, &at("127.0.0.1:1"), "connection refused");
    refused(&mut node, &at("registry.invalid"), "lookup registry.invalid");
}
