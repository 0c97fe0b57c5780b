use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{AcceptLimits, TurnedAway, accept};
use crate::identity::testing::{HOUR_MS, TestCa, node};
use crate::identity::{Expect, LiveCredentials, Subject, clock, dial, dial_pinned};

/// A door of manager 1, and who it turned away.
async fn door(ca: &TestCa, limits: AcceptLimits) -> (String, mpsc::UnboundedReceiver<TurnedAway>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (told, hears) = mpsc::unbounded_channel();
    let watchman = Arc::new(move |turned| told.send(turned).unwrap());
    let live = LiveCredentials::new(ca.issue(Subject::Manager(node(1))));
    let incoming = accept(listener, &live, limits, watchman, std::future::pending());
    let server = tonic::transport::Server::builder();
    tokio::spawn(
        server
            .clone()
            .add_routes(tonic::service::Routes::default())
            .serve_with_incoming(incoming),
    );
    (address, hears)
}

async fn next(hears: &mut mpsc::UnboundedReceiver<TurnedAway>) -> String {
    let heard = tokio::time::timeout(Duration::from_secs(10), hears.recv()).await;
    let turned = heard.expect("somebody was turned away in silence").unwrap();
    assert!(turned.peer().unwrap().ip().is_loopback());
    turned.to_string()
}

#[tokio::test]
async fn whoever_is_turned_away_is_named_with_address_and_cause() {
    let ca = TestCa::new(1);
    let (address, mut hears) = door(&ca, AcceptLimits::default()).await;

    let mut plain = TcpStream::connect(&address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let said = next(&mut hears).await;
    let from = plain.local_addr().unwrap();
    assert_eq!(said, format!("no connection with {from}: it does not speak TLS"));

    drop(TcpStream::connect(&address).await.unwrap());
    assert!(
        next(&mut hears)
            .await
            .ends_with("it hung up during the handshake")
    );

    // A certificate of another authority, shown to the right manager.
    let foreign = LiveCredentials::new(TestCa::new(1).issue(Subject::Worker(node(2))));
    dial_pinned(&address, ca.root.digest(), Some(&foreign)).await.ok();
    let said = next(&mut hears).await;
    assert!(
        said.contains("was not signed by this cluster's certificate authority"),
        "{said}"
    );

    // A caller that refuses this manager: it belongs to another cluster.
    let other = TestCa::new(2);
    let stranger = LiveCredentials::new(other.issue(Subject::Worker(node(2))));
    dial(&address, Expect::manager(other.cluster), &stranger)
        .await
        .unwrap_err();
    let said = next(&mut hears).await;
    assert!(said.contains("it refuses this manager's certificate"), "{said}");

    // A certificate of the future: this host's clock is behind, or the other's was ahead.
    let now = clock::now().as_ms();
    let early = ca.issue_between(Subject::Worker(node(2)), now + HOUR_MS, now + 2 * HOUR_MS);
    let early = LiveCredentials::new(early);
    dial(&address, Expect::manager(ca.cluster), &early).await.ok();
    let said = next(&mut hears).await;
    assert!(said.contains("is valid in 3600 s only"), "{said}");
}

#[tokio::test]
async fn who_says_nothing_or_comes_too_often_is_named_with_the_limit() {
    let ca = TestCa::new(1);
    let limits = AcceptLimits {
        handshake: Duration::from_millis(1_000),
        per_address: 2,
        ..AcceptLimits::default()
    };
    let (address, mut hears) = door(&ca, limits).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(TcpStream::connect(&address).await.unwrap());
    }
    let said = next(&mut hears).await;
    assert!(
        said.ends_with("that address has 2 open, which is the limit"),
        "{said}"
    );
    let said = next(&mut hears).await;
    assert!(said.ends_with("its handshake took more than 1 s"), "{said}");
}
