use std::time::Duration;

use shoal_daemon::home::Member;
use shoal_proto::identity::{
    Applicant, Credentials, DialError, Expect, Folder, JoinError, JoinToken, LiveCredentials, PrivateKey,
    Role, Standing, Subject, VerifyError, dial, is_expired, is_removed, join, renew,
};
use shoal_proto::wire;
use shoal_proto::wire::ca_client::CaClient;

use crate::ca::{Authority, PublicKey, one_use_token, standing};
use crate::clock::system_now;
use crate::identity::Renewer as _;
use crate::testing::{House, copy, words};

const DAY_MS: u64 = 24 * 3_600_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_joins_with_a_token_and_is_in_the_state_with_its_key() {
    let house = House::found().await;
    let worker = house
        .join(&house.token(Role::Worker), Role::Worker)
        .await
        .unwrap();
    let state = house.manager.machine.state();
    let node = state.node(worker.identity().node().unwrap()).unwrap();
    assert_eq!(node.plan.keys.agent, Some(worker.certificate().key()));
    assert_eq!(node.name(), "worker");
    assert!(matches!(worker.identity().subject, Subject::Worker(_)));
    house.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_rotated_used_and_expired_tokens_are_told_apart() {
    let house = House::found().await;
    let good = house.token(Role::Worker);
    let wrong = JoinToken::new(good.root(), Role::Worker, [9; 20]);
    let text = words(house.join(&wrong, Role::Worker).await.unwrap_err());
    assert!(
        text.contains("not valid") && text.contains("shoal cluster join-token worker"),
        "{text}"
    );
    house.change_cluster(|cluster| cluster.tokens.worker += 1).await;
    assert!(words(house.join(&good, Role::Worker).await.unwrap_err()).contains("rotated"));
    let authority = house.authority();
    let (once, kept) = one_use_token(&authority, Role::Worker, None, system_now() + DAY_MS);
    let past = shoal_proto::time::Timestamp::from_ms(system_now().as_ms() - 1_000);
    let (late, late_kept) = one_use_token(&authority, Role::Worker, None, past);
    house
        .change_cluster(|cluster| cluster.one_use_tokens.extend([kept, late_kept]))
        .await;
    house.join(&once, Role::Worker).await.unwrap();
    assert!(words(house.join(&once, Role::Worker).await.unwrap_err()).contains("was used "));
    assert!(words(house.join(&late, Role::Worker).await.unwrap_err()).contains("expired"));
    house.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_cluster_never_leaves_the_host() {
    let (one, other) = (House::found().await, House::found().await);
    let token = other.token(Role::Worker);
    let error = one.join(&token, Role::Worker).await.unwrap_err();
    assert!(matches!(
        error,
        JoinError::Dial(DialError::Refused {
            source: VerifyError::WrongAuthority(_),
            ..
        })
    ));
    one.manager.stop().await;
    other.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_with_its_recorded_key_is_renewed_and_does_nothing_else() {
    let house = House::found().await;
    let worker = house
        .join(&house.token(Role::Worker), Role::Worker)
        .await
        .unwrap();
    let expired = expired(&house.authority(), &worker);
    let status = house
        .call(&expired)
        .await
        .join_raft(wire::JoinRaftRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
    let live = LiveCredentials::new(copy(&expired));
    let expect = Expect::manager(house.cluster().id);
    let channel = dial(&house.address.to_string(), expect, &live).await.unwrap();
    let fresh = renew(channel, &expired).await.unwrap().credentials;
    assert_eq!(fresh.identity(), worker.identity());
    assert!(fresh.certificate().not_after() > system_now());
    house.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_with_another_key_is_not_renewed() {
    let house = House::found().await;
    let worker = house
        .join(&house.token(Role::Worker), Role::Worker)
        .await
        .unwrap();
    let key = PrivateKey::generate().unwrap();
    let public = PublicKey::from_request(&key.request().unwrap()).unwrap();
    let long_ago = shoal_proto::time::Timestamp::from_ms(system_now().as_ms() - 400 * DAY_MS);
    let old = house
        .authority()
        .sign(&public, &worker.identity(), long_ago, DAY_MS)
        .unwrap();
    let stolen = Credentials::new(worker.root().clone(), old, key).unwrap();
    let request = wire::RenewCertificateRequest {
        csr: stolen.key().request().unwrap(),
        clock_ms: system_now().as_ms(),
    };
    let status = house
        .call(&stolen)
        .await
        .renew_certificate(request)
        .await
        .unwrap_err();
    assert!(
        !is_expired(&status) && status.message().contains("not the recorded one"),
        "{status:?}"
    );
    house.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_node_is_refused_by_name_from_the_next_call_on() {
    let house = House::found().await;
    let worker = house
        .join(&house.token(Role::Worker), Role::Worker)
        .await
        .unwrap();
    let mut client = house.call(&worker).await;
    client.get_root_ca(wire::GetRootCaRequest {}).await.unwrap();
    let id = worker.identity().node().unwrap();
    house.remove(id).await;
    let status = client.get_root_ca(wire::GetRootCaRequest {}).await.unwrap_err();
    assert!(is_removed(&status), "{status:?}");
    house.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_manager_joins_the_group_and_leaves_it_again() {
    let first = House::found().await;
    let second = first.joined("second").await;
    assert_eq!(first.manager.raft.members().voters.len(), 2);
    let node = second.manager.identity.node().unwrap();
    let plan = first.manager.machine.state().node(node).unwrap().plan.clone();
    assert_eq!(plan.manager.unwrap().addr, second.address.to_string());
    assert_eq!(plan.role, shoal_proto::node::Role::Manager);
    let mut client = CaClient::new(second.dial(&first).await);
    client.leave_raft(wire::LeaveRaftRequest {}).await.unwrap();
    assert_eq!(first.manager.raft.members().voters.len(), 1);
    let key = second.manager.live.load().certificate().key();
    let state = first.manager.machine.state();
    // No agent there: the host is a node no more.
    assert_eq!(
        standing(&state, &second.manager.identity, &key),
        Standing::Removed
    );
    let denied = client.leave_raft(wire::LeaveRaftRequest {}).await.unwrap_err();
    assert_eq!(denied.code(), tonic::Code::PermissionDenied);
    second.manager.stop().await;
    first.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_begins_anew_takes_the_place_of_its_first_try() {
    let first = House::found().await;
    let second = first.joined("second").await;
    let third = first.joined("third").await;
    let before = third.manager.raft.id();
    let node = third.manager.identity.node().unwrap();
    // The answer was lost, and with it the log: a new one comes with a new number.
    let third = third.anew().await;
    let now = third.manager.raft.id();
    assert_ne!(now, before);
    let numbers = |house: &House| -> Vec<u64> {
        let voters = house.manager.raft.members().voters;
        voters.iter().map(|voter| voter.raft_id).collect()
    };
    third.enter(&first).await;
    let voters = numbers(&first);
    assert!(voters.contains(&now) && !voters.contains(&before), "{voters:?}");
    // And where the node was never written, a demotion takes it out all the same.
    first.edit_node(node, |node| node.plan.manager = None).await;
    first.demote(node).await;
    let out = async {
        while numbers(&first).contains(&now) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), out)
        .await
        .expect("it is taken out");
    for house in [third, second, first] {
        house.manager.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_and_followers_get_fresh_certificates() {
    let first = House::found().await;
    let second = first.joined("second").await;
    for house in [&first, &second] {
        let old = house.manager.live.load();
        let fresh = house.manager.ca.renew(&old).await.unwrap();
        assert_eq!(fresh.identity(), old.identity());
        assert_ne!(fresh.certificate().der(), old.certificate().der());
    }
    second.manager.stop().await;
    first.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_comes_back_with_its_identity_and_its_state() {
    let first = House::found().await;
    let worker = first
        .join(&first.token(Role::Worker), Role::Worker)
        .await
        .unwrap();
    let House {
        place,
        address,
        home,
        manager,
        ..
    } = first;
    let cluster = manager.identity.cluster;
    manager.stop().await;
    let Member {
        membership,
        credentials,
    } = home.load().unwrap().unwrap();
    assert_eq!(membership.cluster, cluster);
    let again = House::start(place, home, address, credentials).await;
    let mut leadership = again.manager.raft.leadership();
    let leads = leadership.wait_for(|now| now.may_decide());
    tokio::time::timeout(Duration::from_secs(10), leads)
        .await
        .unwrap()
        .unwrap();
    assert!(
        again
            .manager
            .machine
            .state()
            .node(worker.identity().node().unwrap())
            .is_some()
    );
    again
        .call(&worker)
        .await
        .get_root_ca(wire::GetRootCaRequest {})
        .await
        .unwrap();
    again.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_of_a_managers_host_is_the_same_node() {
    let house = House::found().await;
    let address = house.address.to_string();
    let own = house.manager.live.clone();
    let token = house.token(Role::Worker);
    let joined = join(&address, &token, Role::Worker, Applicant::default(), Some(&own))
        .await
        .unwrap();
    assert_eq!(
        joined.credentials.identity().node(),
        house.manager.identity.node()
    );
    let folder = Folder::new(house.place.path().join("identity"));
    folder.write_credentials(&joined.credentials).unwrap();
    assert!(folder.credentials(Role::Worker).unwrap().is_some());
    assert!(folder.credentials(Role::Manager).unwrap().is_some());
    house.manager.stop().await;
}

/// The same identity and key, in a certificate that ended long ago.
fn expired(authority: &Authority, current: &Credentials) -> Credentials {
    let long_ago = shoal_proto::time::Timestamp::from_ms(system_now().as_ms() - 400 * DAY_MS);
    let public = PublicKey::from_request(&current.key().request().unwrap()).unwrap();
    let old = authority
        .sign(&public, &current.identity(), long_ago, DAY_MS)
        .unwrap();
    let key = PrivateKey::from_der(&current.key().to_der()).unwrap();
    Credentials::new(current.root().clone(), old, key).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_off_for_longer_than_its_certificates_live_comes_back() {
    let first = House::found().await;
    let second = first.joined("second").await;
    let authority = first.authority();
    let mut houses = Vec::new();
    for house in [first, second] {
        let House {
            place,
            address,
            home,
            manager,
            ..
        } = house;
        let old = expired(&authority, &manager.live.load());
        manager.stop().await;
        houses.push((place, home, address, old));
    }
    let mut back = Vec::new();
    for (place, home, address, old) in houses {
        back.push(House::start(place, home, address, old).await);
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    for house in &back {
        while house.manager.live.load().certificate().not_after() < system_now() {
            assert!(tokio::time::Instant::now() < deadline, "not renewed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    for house in back {
        house.manager.stop().await;
    }
}
