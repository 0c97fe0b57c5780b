//! Every method, called as everybody, over real connections.

use std::collections::BTreeMap;
use std::time::Duration;

use shoal_core::ids::IdSource;
use shoal_proto::identity::{
    Allow, Credentials, DENIED, Expect, Identity, LiveCredentials, PrivateKey, Role, Root, Subject, TABLE,
    dial, dial_local, dial_pinned,
};
use tonic::body::Body;
use tonic::transport::Channel;
use tower::ServiceExt as _;

use crate::ca::{Authority, PublicKey};
use crate::clock::system_now;
use crate::testing::House;

const DAY_MS: u64 = 24 * 3_600_000;

/// One empty message, uncompressed.
const EMPTY: &str = "\0\0\0\0\0";

/// The word by which the call table refused, if it did. What a handler answers is not looked at.
async fn denied(channel: &Channel, method: &str) -> Option<String> {
    let request = http::Request::post(format!("http://shoal{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(EMPTY.to_owned()))
        .unwrap();
    let answered = tokio::time::timeout(Duration::from_secs(5), channel.clone().oneshot(request)).await;
    // A stream that waits for more was let in.
    let response = answered.ok()?.unwrap();
    response
        .headers()
        .get(DENIED)
        .map(|word| word.to_str().unwrap().to_owned())
}

fn signed(authority: &Authority, root: &Root, identity: Identity) -> Credentials {
    let key = PrivateKey::generate().unwrap();
    let public = PublicKey::from_request(&key.request().unwrap()).unwrap();
    let certificate = authority.sign(&public, &identity, system_now(), DAY_MS).unwrap();
    Credentials::new(root.clone(), certificate, key).unwrap()
}

async fn connect(house: &House, credentials: Credentials) -> Channel {
    let expect = Expect::manager(house.cluster().id);
    dial(
        &house.address.to_string(),
        expect,
        &LiveCredentials::new(credentials),
    )
    .await
    .unwrap()
}

async fn compare(channel: &Channel, who: &str, may: impl Fn(Allow) -> bool) {
    let mut wrong = BTreeMap::new();
    for row in TABLE {
        let denied = denied(channel, row.method).await;
        if denied.is_none() != may(row.allow) {
            wrong.insert(row.method, denied);
        }
    }
    assert!(wrong.is_empty(), "{who}: {wrong:?}");
}

fn anyone(allow: Allow) -> bool {
    allow.has(Allow::ANYONE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_admits_its_callers_and_denies_all_others() {
    let house = House::found().await;
    let address = house.address.to_string();
    let nobody = dial_pinned(&address, house.authority().root().digest(), None)
        .await
        .unwrap()
        .channel;
    compare(&nobody, "nobody", anyone).await;
    let worker = house
        .join(&house.token(Role::Worker), Role::Worker)
        .await
        .unwrap();
    let worker = connect(&house, worker).await;
    compare(&worker, "a worker", |allow| {
        anyone(allow) || allow.has(Allow::OWN)
    })
    .await;
    let operator = house
        .join(&house.token(Role::Operator), Role::Operator)
        .await
        .unwrap();
    let operator = connect(&house, operator).await;
    compare(&operator, "an operator", |allow| {
        anyone(allow) || allow.has(Allow::OPERATOR)
    })
    .await;
    let manager = house
        .join(&house.token(Role::Manager), Role::Manager)
        .await
        .unwrap();
    let manager_node = manager.identity().node().unwrap();
    let manager = connect(&house, manager).await;
    let once = |allow: Allow| anyone(allow) || allow.has(Allow::MANAGER);
    for row in TABLE.iter().filter(|row| row.method != "/shoal.v1.Ca/LeaveRaft") {
        assert_eq!(
            denied(&manager, row.method).await.is_none(),
            once(row.allow),
            "{} by a manager",
            row.method
        );
    }
    // Last, because it ends what it is called with.
    assert_eq!(denied(&manager, "/shoal.v1.Ca/LeaveRaft").await, None);
    assert_eq!(
        denied(&manager, "/shoal.v1.Ca/RenewCertificate").await.unwrap(),
        "removed"
    );
    assert!(house.manager.machine.state().node(manager_node).is_none());
    house.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_process_gives_orders_and_is_nobodys_node() {
    let house = House::found().await;
    let local = dial_local(&house.place.path().join("manager.sock"))
        .await
        .unwrap();
    let orders = |allow: Allow| anyone(allow) || allow.has(Allow::LOCAL) || allow.has(Allow::HOST);
    for row in TABLE
        .iter()
        .filter(|row| !row.method.starts_with("/shoal.v1.Local/") || row.method.ends_with("Status"))
    {
        assert_eq!(
            denied(&local, row.method).await.is_none(),
            orders(row.allow),
            "{} by a local process",
            row.method
        );
    }
    house.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_the_state_does_not_know_do_nothing_but_what_anyone_may() {
    let house = House::found().await;
    let (authority, cluster) = (house.authority(), house.cluster().id);
    let known = house.manager.identity.node().unwrap();
    let mut ids = IdSource::from_seed(7);
    // Rightly signed, of a node that was never recorded: only Raft trusts a manager's, to be filled by it.
    let unknown = ids.node(system_now());
    for subject in [Subject::Worker(unknown), Subject::Manager(unknown)] {
        let channel = connect(
            &house,
            signed(&authority, authority.root(), Identity { cluster, subject }),
        )
        .await;
        let may = |allow: Allow| {
            anyone(allow) || (allow.has(Allow::BEFORE_STATE) && subject.role() == Role::Manager)
        };
        compare(&channel, "an unknown node", may).await;
    }
    // Rightly signed for this very node, with a key that is not the recorded one.
    let subject = Subject::Manager(known);
    let channel = connect(
        &house,
        signed(&authority, authority.root(), Identity { cluster, subject }),
    )
    .await;
    compare(&channel, "a superseded manager", anyone).await;
    house.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_authority_reaches_no_method_whatever_its_certificates_say() {
    let house = House::found().await;
    let cluster = house.cluster().id;
    let foreign = Authority::create(cluster, system_now()).unwrap();
    let subject = Subject::Manager(house.manager.identity.node().unwrap());
    let theirs = signed(&foreign, foreign.root(), Identity { cluster, subject });
    let live = LiveCredentials::new(theirs);
    // It believes our root, and shows what its own has signed.
    let digest = house.authority().root().digest();
    let pinned = dial_pinned(&house.address.to_string(), digest, Some(&live)).await;
    for row in TABLE {
        // The refusal arrives with the handshake or with the first call, whichever is sooner.
        let Ok(pinned) = &pinned else { break };
        let request = http::Request::post(format!("http://shoal{}", row.method))
            .header("content-type", "application/grpc")
            .body(Body::new(EMPTY.to_owned()))
            .unwrap();
        assert!(
            pinned.channel.clone().oneshot(request).await.is_err(),
            "{}",
            row.method
        );
    }
    // Its own token, at its own authority, works: what was refused above was the authority.
    let own = house
        .join(&house.token(Role::Worker), Role::Worker)
        .await
        .unwrap();
    assert_eq!(own.identity().cluster, cluster);
    house.manager.stop().await;
}
