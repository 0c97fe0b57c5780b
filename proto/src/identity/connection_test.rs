use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::testing::{HOUR_MS, TestCa, node, operator};
use super::{
    AcceptLimits, Applicant, CallTableLayer, Caller, DialError, Expect, FORWARDED_FOR, Identity, JoinError,
    JoinToken, LiveCredentials, Members, PrivateKey, Role, Standing, Subject, VerifyError, Who, accept,
    clock, dial, dial_pinned, is_expired, is_removed, join,
};
use crate::digest::Digest;
use crate::wire;
use crate::wire::ca_client::CaClient;
use crate::wire::ca_server::{Ca, CaServer};

/// Answers with who called, and remembers every token it was sent.
#[derive(Clone, Default)]
struct Echo {
    tokens: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl Ca for Echo {
    async fn get_root_ca(
        &self,
        request: Request<wire::GetRootCaRequest>,
    ) -> Result<Response<wire::GetRootCaResponse>, Status> {
        let caller = Caller::from_request(&request)?;
        let cluster_id = match caller.who {
            Who::Anonymous => "nobody".to_owned(),
            Who::Local { .. } => "local".to_owned(),
            Who::Member(identity) => identity.subject.to_string(),
        };
        Ok(Response::new(wire::GetRootCaResponse {
            root: Vec::new(),
            cluster_id,
        }))
    }

    async fn issue_certificate(
        &self,
        request: Request<wire::IssueCertificateRequest>,
    ) -> Result<Response<wire::IssueCertificateResponse>, Status> {
        self.tokens.lock().unwrap().push(request.into_inner().token);
        Err(Status::resource_exhausted("the echo issues nothing"))
    }

    async fn renew_certificate(
        &self,
        request: Request<wire::RenewCertificateRequest>,
    ) -> Result<Response<wire::RenewCertificateResponse>, Status> {
        let caller = Caller::from_request(&request)?;
        Ok(Response::new(wire::RenewCertificateResponse {
            managers: vec![caller.identity().unwrap().subject.to_string()],
            ..Default::default()
        }))
    }

    async fn join_raft(
        &self,
        request: Request<wire::JoinRaftRequest>,
    ) -> Result<Response<wire::JoinRaftResponse>, Status> {
        let caller = Caller::from_request(&request)?;
        caller.must_be(node(1))?;
        Ok(Response::new(wire::JoinRaftResponse::default()))
    }

    async fn leave_raft(
        &self,
        _request: Request<wire::LeaveRaftRequest>,
    ) -> Result<Response<wire::LeaveRaftResponse>, Status> {
        Err(Status::unimplemented("the echo has no group"))
    }
}

/// A state that says the same of everybody.
struct Everybody(Standing);

impl Members for Everybody {
    fn standing(&self, _identity: &Identity, _key: &Digest) -> Standing {
        self.0
    }
}

async fn serve(live: &LiveCredentials, standing: Standing) -> (String, Echo) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let limits = AcceptLimits {
        handshake: Duration::from_secs(2),
        handshakes: 4,
        ..AcceptLimits::default()
    };
    let incoming = accept(listener, live, limits, Arc::new(drop), std::future::pending());
    let echo = Echo::default();
    let server = tonic::transport::Server::builder()
        .layer(CallTableLayer::new(Arc::new(Everybody(standing))))
        .add_service(CaServer::new(echo.clone()));
    tokio::spawn(server.serve_with_incoming(incoming));
    (address, echo)
}

fn manager(ca: &TestCa) -> LiveCredentials {
    LiveCredentials::new(ca.issue(Subject::Manager(node(1))))
}

async fn name_seen(channel: Channel) -> Result<String, Status> {
    let answer = CaClient::new(channel)
        .get_root_ca(wire::GetRootCaRequest {})
        .await?;
    Ok(answer.into_inner().cluster_id)
}

fn refused(result: Result<Channel, DialError>) -> VerifyError {
    match result {
        Err(DialError::Refused { source, .. }) => source,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

#[tokio::test]
async fn a_member_is_known_by_the_name_in_its_certificate() {
    let ca = TestCa::new(1);
    let (address, _) = serve(&manager(&ca), Standing::Current).await;
    for subject in [
        Subject::Worker(node(2)),
        Subject::Manager(node(3)),
        Subject::Operator(operator(4)),
    ] {
        let live = LiveCredentials::new(ca.issue(subject));
        let channel = dial(&address, Expect::manager(ca.cluster).node(node(1)), &live)
            .await
            .unwrap();
        assert_eq!(name_seen(channel).await.unwrap(), subject.to_string());
    }
}

#[tokio::test]
async fn a_dialler_refuses_whoever_it_did_not_mean() {
    let (ca, other) = (TestCa::new(1), TestCa::new(2));
    let (address, _) = serve(&manager(&ca), Standing::Current).await;
    let live = LiveCredentials::new(ca.issue(Subject::Worker(node(2))));
    let to_other_node = dial(&address, Expect::manager(ca.cluster).node(node(9)), &live).await;
    assert!(matches!(refused(to_other_node), VerifyError::WrongNode { .. }));
    let to_worker = dial(&address, Expect::role(ca.cluster, Role::Worker), &live).await;
    assert!(matches!(refused(to_worker), VerifyError::WrongRole { .. }));
    let to_other_cluster = dial(&address, Expect::manager(other.cluster), &live).await;
    assert!(matches!(
        refused(to_other_cluster),
        VerifyError::WrongCluster { .. }
    ));
    let foreigner = LiveCredentials::new(other.issue(Subject::Worker(node(2))));
    let to_foreign = dial(&address, Expect::manager(ca.cluster), &foreigner).await;
    assert!(matches!(refused(to_foreign), VerifyError::Foreign(_)));
}

#[tokio::test]
async fn a_certificate_of_a_foreign_authority_is_refused_whatever_it_says() {
    let (ca, foreign) = (TestCa::new(1), TestCa::new(1));
    let (address, _) = serve(&manager(&ca), Standing::Current).await;
    // The foreigner trusts our root, claims our cluster, and shows what its own authority signed.
    let theirs = foreign.issue(Subject::Manager(node(1)));
    let pinned = dial_pinned(&address, ca.root.digest(), Some(&LiveCredentials::new(theirs))).await;
    let refused = match pinned {
        Err(_) => true,
        Ok(pinned) => name_seen(pinned.channel).await.is_err(),
    };
    assert!(refused);
}

#[tokio::test]
async fn a_token_is_not_sent_to_whoever_is_not_of_its_authority() {
    let (ca, middle) = (TestCa::new(1), TestCa::new(1));
    let (address, echo) = serve(&manager(&middle), Standing::Current).await;
    let token = JoinToken::new(ca.root.digest(), Role::Worker, [1; 20]);
    let error = join(&address, &token, Role::Worker, Applicant::default(), None)
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        JoinError::Dial(DialError::Refused {
            source: VerifyError::WrongAuthority(_),
            ..
        })
    ));
    assert!(echo.tokens.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_token_reaches_a_manager_of_its_authority_and_nobody_else_in_the_cluster() {
    let ca = TestCa::new(1);
    let token = JoinToken::new(ca.root.digest(), Role::Worker, [1; 20]);
    let (address, echo) = serve(&manager(&ca), Standing::Current).await;
    let error = join(&address, &token, Role::Worker, Applicant::default(), None)
        .await
        .unwrap_err();
    assert!(matches!(error, JoinError::Refused(_)), "{error}");
    assert_eq!(echo.tokens.lock().unwrap().len(), 1);
    let worker = LiveCredentials::new(ca.issue(Subject::Worker(node(7))));
    let (address, echo) = serve(&worker, Standing::Current).await;
    join(&address, &token, Role::Worker, Applicant::default(), None)
        .await
        .unwrap_err();
    assert!(echo.tokens.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_token_for_another_role_is_named_before_anybody_is_called() {
    let token = JoinToken::new(Digest::of(b"root"), Role::Manager, [1; 20]);
    let error = join("127.0.0.1:1", &token, Role::Worker, Applicant::default(), None)
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        JoinError::WrongToken {
            found: Role::Manager,
            needed: Role::Worker
        }
    ));
}

#[tokio::test]
async fn both_ends_change_certificates_while_connections_go_on() {
    let ca = TestCa::new(1);
    let (server, client) = (
        manager(&ca),
        LiveCredentials::new(ca.issue(Subject::Worker(node(2)))),
    );
    let (address, _) = serve(&server, Standing::Current).await;
    let old = dial(&address, Expect::manager(ca.cluster).node(node(1)), &client)
        .await
        .unwrap();
    assert!(name_seen(old.clone()).await.unwrap().contains(node(2).as_str()));
    server.swap(ca.issue(Subject::Manager(node(5))));
    client.swap(ca.issue(Subject::Worker(node(6))));
    assert!(name_seen(old).await.unwrap().contains(node(2).as_str()));
    let new = dial(&address, Expect::manager(ca.cluster).node(node(5)), &client)
        .await
        .unwrap();
    assert!(name_seen(new).await.unwrap().contains(node(6).as_str()));
}

#[tokio::test]
async fn an_expired_certificate_renews_and_is_told_that_it_expired_elsewhere() {
    let ca = TestCa::new(1);
    let (address, _) = serve(&manager(&ca), Standing::Current).await;
    let now = clock::now().as_ms();
    let expired = ca.issue_between(Subject::Manager(node(1)), now - 3 * HOUR_MS, now - HOUR_MS);
    let live = LiveCredentials::new(expired);
    let channel = dial(&address, Expect::manager(ca.cluster), &live).await.unwrap();
    let mut client = CaClient::new(channel);
    client
        .renew_certificate(wire::RenewCertificateRequest::default())
        .await
        .unwrap();
    let status = client
        .join_raft(wire::JoinRaftRequest::default())
        .await
        .unwrap_err();
    assert!(is_expired(&status), "{status:?}");
}

#[tokio::test]
async fn an_expired_manager_is_reached_only_by_who_knows_its_key() {
    let ca = TestCa::new(1);
    let now = clock::now().as_ms();
    let expired = ca.issue_between(Subject::Manager(node(1)), now - 3 * HOUR_MS, now - HOUR_MS);
    let key = expired.certificate().key();
    let (address, _) = serve(&LiveCredentials::new(expired), Standing::Current).await;
    let live = LiveCredentials::new(ca.issue(Subject::Manager(node(2))));
    let expect = Expect::manager(ca.cluster).node(node(1));
    assert!(matches!(
        refused(dial(&address, expect, &live).await),
        VerifyError::Expired { .. }
    ));
    let wrong = expect.even_expired_with_key(Digest::of(b"other"));
    assert!(matches!(
        refused(dial(&address, wrong, &live).await),
        VerifyError::Expired { .. }
    ));
    dial(&address, expect.even_expired_with_key(key), &live)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_certificate_of_the_future_names_the_clock() {
    let ca = TestCa::new(1);
    let now = clock::now().as_ms();
    let early = ca.issue_between(Subject::Manager(node(1)), now + HOUR_MS, now + 2 * HOUR_MS);
    let (address, _) = serve(&LiveCredentials::new(early), Standing::Current).await;
    let live = LiveCredentials::new(ca.issue(Subject::Worker(node(2))));
    let error = refused(dial(&address, Expect::manager(ca.cluster), &live).await);
    assert!(error.to_string().contains("clock"), "{error}");
}

#[tokio::test]
async fn a_removed_node_is_told_so_by_a_word_that_programs_understand() {
    let ca = TestCa::new(1);
    let (address, _) = serve(&manager(&ca), Standing::Removed).await;
    let live = LiveCredentials::new(ca.issue(Subject::Worker(node(2))));
    let channel = dial(&address, Expect::manager(ca.cluster), &live).await.unwrap();
    let status = name_seen(channel).await.unwrap_err();
    assert!(is_removed(&status), "{status:?}");
}

#[tokio::test]
async fn a_call_table_without_a_certificate_lets_through_only_what_anybody_may() {
    let ca = TestCa::new(1);
    let (address, _) = serve(&manager(&ca), Standing::Current).await;
    let pinned = dial_pinned(&address, ca.root.digest(), None).await.unwrap();
    assert_eq!(pinned.cluster, ca.cluster);
    assert_eq!(name_seen(pinned.channel.clone()).await.unwrap(), "nobody");
    let status = CaClient::new(pinned.channel)
        .renew_certificate(wire::RenewCertificateRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}

async fn forwarded_as(address: &str, ca: &TestCa, by: Subject, caller: &Caller) -> Result<String, Status> {
    let live = LiveCredentials::new(ca.issue(by));
    let channel = dial(address, Expect::manager(ca.cluster), &live).await.unwrap();
    let mut request = Request::new(wire::RenewCertificateRequest::default());
    request
        .metadata_mut()
        .insert(FORWARDED_FOR, caller.to_forwarded());
    let answer = CaClient::new(channel).renew_certificate(request).await?;
    Ok(answer.into_inner().managers.concat())
}

fn member(ca: &TestCa, subject: Subject) -> Caller {
    Caller {
        who: Who::Member(Identity {
            cluster: ca.cluster,
            subject,
        }),
        key: Some(Digest::of(b"key")),
        validity: super::Validity::Valid,
        address: Some("10.0.0.9:1234".parse().unwrap()),
        via: None,
    }
}

#[tokio::test]
async fn a_manager_forwards_a_caller_and_lends_it_no_rights() {
    let ca = TestCa::new(1);
    let (address, _) = serve(&manager(&ca), Standing::Current).await;
    let by = Subject::Manager(node(3));
    let worker = member(&ca, Subject::Worker(node(2)));
    assert_eq!(
        forwarded_as(&address, &ca, by, &worker).await.unwrap(),
        format!("worker {}", node(2))
    );
    let nobody = Caller {
        who: Who::Anonymous,
        key: None,
        ..worker.clone()
    };
    assert_eq!(
        forwarded_as(&address, &ca, by, &nobody).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    let not_a_manager = forwarded_as(&address, &ca, Subject::Worker(node(3)), &worker)
        .await
        .unwrap_err();
    assert_eq!(not_a_manager.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn another_node_does_not_speak_for_this_one() {
    let ca = TestCa::new(1);
    let (address, _) = serve(&manager(&ca), Standing::Current).await;
    let live = LiveCredentials::new(ca.issue(Subject::Manager(node(2))));
    let channel = dial(&address, Expect::manager(ca.cluster), &live).await.unwrap();
    let status = CaClient::new(channel)
        .join_raft(wire::JoinRaftRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains(node(1).as_str()) && status.message().contains(node(2).as_str()));
}

#[tokio::test]
async fn connections_that_never_shake_hands_do_not_keep_others_out() {
    let ca = TestCa::new(1);
    let (address, _) = serve(&manager(&ca), Standing::Current).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    let live = LiveCredentials::new(ca.issue(Subject::Worker(node(2))));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        if dial(&address, Expect::manager(ca.cluster), &live).await.is_ok() {
            break;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "silent connections still hold the door"
        );
    }
}

#[tokio::test]
async fn an_old_key_does_not_fit_a_new_certificate() {
    let ca = TestCa::new(1);
    let (one, other) = (
        ca.issue(Subject::Worker(node(1))),
        PrivateKey::generate().unwrap(),
    );
    let mixed = super::Credentials::new(ca.root.clone(), one.certificate().clone(), other);
    assert!(mixed.is_err());
}
