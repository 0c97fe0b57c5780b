//! Names from a manager that answers, from one that does not, and from the one that the line is for.

use std::path::Path;
use std::time::Duration;

use clap::CommandFactory as _;
use shoal_proto::identity::{AcceptLimits, Folder, LiveCredentials, PrivateKey, accept};
use tokio::net::TcpListener;
use tonic::transport::Server;

use super::manager_test::Manager;
use super::{Patience, Surroundings, answer};
use crate::cli::Cli;
use crate::client::house_test::{DAY_MS, House, manager, operator};
use crate::clock;
use crate::context::Contexts;

/// No test waits that long.
const LONG: Patience = Patience {
    connect: Duration::from_secs(60),
    all: Duration::from_secs(60),
};

/// A workstation whose contexts are in a folder, with the manager at `host` where the line names none.
fn workstation(folder: &Path, host: Option<&Path>) -> Surroundings {
    Surroundings {
        contexts: Some(Contexts::in_dir(folder)),
        host: host.map(|socket| format!("unix://{}", socket.display())),
        patience: LONG,
    }
}

/// The words that the answer offers to a line, without what it says about them.
async fn offered(around: &Surroundings, line: &[&str]) -> Vec<String> {
    let words: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
    let answer = answer(Cli::command(), &words, around).await;
    let word = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
    answer.lines().map(word).collect()
}

#[tokio::test]
async fn each_argument_takes_names_of_its_own_kind() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("sock");
    Manager::Full.listen(&socket);
    let here = workstation(folder.path(), Some(&socket));
    let services: &[&str] = &["shop_api", "shop_web", "web"];
    let nodes: &[&str] = &["h1", "h2"];
    let cases: &[(&[&str], &[&str])] = &[
        (&["service", "inspect", ""], services),
        (&["service", "update", "--replicas", "3", ""], services),
        (&["service", "rollback", ""], services),
        (&["service", "history", ""], services),
        (&["service", "ps", ""], services),
        (&["service", "rm", "-d", ""], services),
        (&["service", "rm", "web", ""], &["shop_api", "shop_web"]),
        (&["service", "remove", "we"], &["web"]),
        (
            &["service", "logs", "-f", "--tail", "9", "we"],
            &["web", "web.2", "web.10"],
        ),
        (
            &["service", "scale", ""],
            &[":nospace", "shop_api=", "shop_web=", "web="],
        ),
        (&["service", "scale", "web=3", "w"], &[":nospace"]),
        (
            &["service", "scale", "web=3", "shop_w"],
            &[":nospace", "shop_web="],
        ),
        (&["service", "create", "--network", ""], &["back"]),
        (&["service", "update", "--secret-add", "p"], &["password"]),
        (
            &["service", "update", "--config-rm=n"],
            &["--config-rm=nginx.conf"],
        ),
        (&["node", "inspect", ""], nodes),
        (&["node", "update", "--availability", "drain", ""], nodes),
        (&["node", "promote", "h1", ""], &["h2"]),
        (&["node", "ps", ""], nodes),
        (&["simulate", "--kill", ""], nodes),
        (&["stack", "ps", ""], &["shop"]),
        (&["stack", "deploy", "-c", "compose.yaml", ""], &["shop"]),
        (&["stack", "down", ""], &["shop"]),
        (&["stack", "logs", "shop", ""], &["api", "web"]),
        (&["stack", "restart", "shop", "api", ""], &["web"]),
        (&["network", "rm", ""], &["back"]),
        (&["secret", "inspect", ""], &["password"]),
        (&["config", "inspect", ""], &["nginx.conf"]),
        (&["registry", "logout", ""], &["registry.example:5000"]),
        (&["why", "h"], &["h1", "h2"]),
        (&["why", "shop_a"], &["shop_api", "shop_api.nodeid"]),
        // An id as tables show it, where no name fits.
        (&["why", "yy"], &["yyyyyyyyyyyy"]),
    ];
    for (line, wanted) in cases {
        assert_eq!(offered(&here, line).await, *wanted, "{line:?}");
    }
}

#[tokio::test]
async fn a_few_words_stand_beside_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("sock");
    Manager::Full.listen(&socket);
    let here = workstation(folder.path(), Some(&socket));
    let words = ["service", "inspect", "web"].map(str::to_owned);
    let said = answer(Cli::command(), &words, &here).await;
    assert_eq!(said, "web\t2/3 nginx:1.27\n");
}

#[tokio::test]
async fn a_manager_that_never_answers_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("sock");
    // Its connections live: nothing but our own patience ends the call.
    Manager::Silent.listen(&socket);
    let soon = Duration::from_millis(50);
    let here = Surroundings {
        patience: Patience {
            connect: soon,
            all: soon,
        },
        ..workstation(folder.path(), Some(&socket))
    };
    assert!(offered(&here, &["service", "inspect", ""]).await.is_empty());
}

#[tokio::test]
async fn without_a_manager_commands_and_options_are_offered_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let here = workstation(folder.path(), Some(&gone));
    assert!(offered(&here, &["why", ""]).await.is_empty());
    assert_eq!(offered(&here, &["why", "--k"]).await, ["--kind"]);
    // A context that is not there is no error in the line either.
    let line = ["--context", "gone", "service", "inspect", ""];
    assert!(offered(&here, &line).await.is_empty());
}

/// Makes a cluster with this one service known as a context.
async fn context(folder: &Path, name: &str, service: &'static str) {
    let house = House::new();
    let now = clock::now().as_ms();
    let issue = |subject| {
        let key = PrivateKey::generate().unwrap();
        house.issue(subject, key, now - 60 * DAY_MS, now + 30 * DAY_MS)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let live = LiveCredentials::new(issue(manager()));
    let incoming = accept(
        listener,
        &live,
        AcceptLimits::default(),
        std::sync::Arc::new(drop),
        std::future::pending(),
    );
    let serving = Server::builder().add_service(Manager::Holds(service));
    tokio::spawn(serving.serve_with_incoming(incoming));
    let context = Folder::new(folder.join("contexts").join(name));
    std::fs::create_dir_all(folder.join("contexts")).unwrap();
    context
        .write_identity(&issue(operator()), None, &[address])
        .unwrap();
}

#[tokio::test]
async fn the_line_says_which_cluster_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    context(folder.path(), "prod", "billing").await;
    context(folder.path(), "staging", "canary").await;
    let here = workstation(folder.path(), None);
    let billing: &[&str] = &["billing"];
    let cases: &[(&[&str], &[&str])] = &[
        (&["--context", "prod", "service", "ps", ""], billing),
        (&["--context=staging", "service", "ps", ""], &["canary"]),
        (&["service", "ps", "--context", "prod", ""], billing),
        (&["--stale", "--context", "prod", "service", "ps", ""], billing),
        (&["--context", ""], &["prod", "staging"]),
        (&["service", "ls", "--context=p"], &["--context=prod"]),
        (&["context", "use", "s"], &["staging"]),
        (&["context", "rm", "prod", ""], &["staging"]),
    ];
    for (line, wanted) in cases {
        assert_eq!(offered(&here, line).await, *wanted, "{line:?}");
    }
    // The address that the line names goes before the one of the surroundings.
    let socket = folder.path().join("sock");
    Manager::Holds("local").listen(&socket);
    let host = format!("unix://{}", socket.display());
    let elsewhere = workstation(folder.path(), Some(&folder.path().join("gone")));
    let line = ["--host", &host, "service", "ps", ""];
    assert_eq!(offered(&elsewhere, &line).await, ["local"]);
    // Under a command, `--host` is a line of the hosts file.
    let line = ["service", "update", "--host-add", "a:10.0.0.1", ""];
    assert_eq!(
        offered(&workstation(folder.path(), Some(&socket)), &line).await,
        ["local"]
    );
}

#[tokio::test]
async fn looking_leaves_the_context_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    // Past its half life: any other command would renew it.
    context(folder.path(), "prod", "billing").await;
    let kept = |name: &str| {
        let file = folder.path().join("contexts/prod").join(name);
        std::fs::read(file).unwrap_or_default()
    };
    let files = || -> Vec<String> {
        let entries = std::fs::read_dir(folder.path().join("contexts/prod")).unwrap();
        let name =
            |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut files: Vec<String> = entries.map(name).collect();
        files.sort();
        files
    };
    let all = || -> Vec<(String, Vec<u8>)> { files().into_iter().map(|f| (f.clone(), kept(&f))).collect() };
    let before = all();
    let here = workstation(folder.path(), None);
    let line = ["--context", "prod", "service", "ps", ""];
    assert_eq!(offered(&here, &line).await, ["billing"]);
    assert_eq!(all(), before);
}
