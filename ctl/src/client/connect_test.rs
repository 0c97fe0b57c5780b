//! Certificates of contexts: renewed on use, over real TLS, by a manager that is one in name only.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use shoal_proto::identity::{AcceptLimits, Certificate, Folder, LiveCredentials, PrivateKey, Role, accept};
use shoal_proto::wire;
use shoal_proto::wire::ca_server::{Ca, CaServer};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};

use super::{Target, in_turn, merged, same};
use crate::client::house_test::{DAY_MS, House, manager, operator};
use crate::clock;

fn owned(all: &[&str]) -> Vec<String> {
    all.iter().map(|address| (*address).to_owned()).collect()
}

#[test]
fn the_manager_that_failed_is_asked_last() {
    let all = owned(&["a:1", "b:1", "c:1"]);
    for _ in 0..20 {
        let order = in_turn(all.clone(), Some("b:1"));
        assert_eq!(order.last().map(String::as_str), Some("b:1"));
        assert!(same(&order, &all));
    }
}

#[test]
fn the_address_that_works_from_here_is_kept_beside_the_clusters_own() {
    assert_eq!(merged("a:1,b:1", Some("b:1")), ["a:1", "b:1"]);
    assert_eq!(
        merged("a:1,b:1", Some("nat.example:1")),
        ["nat.example:1", "a:1", "b:1"]
    );
    assert_eq!(merged("", Some("a:1")), ["a:1"]);
}

/// What a manager does about a renewal.
#[derive(Clone, Copy)]
enum Manner {
    Renews,
    Refuses,
    Hangs,
}

#[derive(Clone)]
struct Manager {
    house: Arc<House>,
    manner: Manner,
    key: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl Ca for Manager {
    async fn renew_certificate(
        &self,
        _request: Request<wire::RenewCertificateRequest>,
    ) -> Result<Response<wire::RenewCertificateResponse>, Status> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.manner {
            Manner::Renews => {}
            Manner::Refuses => return Err(Status::unavailable("no manager leads")),
            Manner::Hangs => std::future::pending().await,
        }
        let key = PrivateKey::from_der(&self.key.lock().unwrap()).unwrap();
        let now = clock::now().as_ms();
        let fresh = self.house.issue(operator(), key, now - DAY_MS, now + 90 * DAY_MS);
        Ok(Response::new(wire::RenewCertificateResponse {
            issued: Some(wire::Issued {
                certificate: fresh.certificate().der().to_vec(),
                ..wire::Issued::default()
            }),
            managers: owned(&["10.0.0.1:4600", "10.0.0.2:4600"]),
            warnings: Vec::new(),
        }))
    }

    async fn get_root_ca(
        &self,
        _request: Request<wire::GetRootCaRequest>,
    ) -> Result<Response<wire::GetRootCaResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn issue_certificate(
        &self,
        _request: Request<wire::IssueCertificateRequest>,
    ) -> Result<Response<wire::IssueCertificateResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn join_raft(
        &self,
        _request: Request<wire::JoinRaftRequest>,
    ) -> Result<Response<wire::JoinRaftResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn leave_raft(
        &self,
        _request: Request<wire::LeaveRaftRequest>,
    ) -> Result<Response<wire::LeaveRaftResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

/// A context with a certificate of this age and of this rest of its life, and the manager it knows.
struct Workstation {
    _dir: tempfile::TempDir,
    folder: Folder,
    target: Target,
    asked: Arc<AtomicUsize>,
}

impl Workstation {
    async fn new(manner: Manner, age_ms: u64, left_ms: i64) -> Self {
        let house = Arc::new(House::new());
        let now = clock::now().as_ms();
        let serving = house.issue(
            manager(),
            PrivateKey::generate().unwrap(),
            now - DAY_MS,
            now + DAY_MS,
        );
        let key = PrivateKey::generate().unwrap();
        let service = Manager {
            house: Arc::clone(&house),
            manner,
            key: Arc::new(Mutex::new(key.to_der().to_vec())),
            asked: Arc::default(),
        };
        let asked = Arc::clone(&service.asked);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let live = LiveCredentials::new(serving);
        let incoming = accept(
            listener,
            &live,
            AcceptLimits::default(),
            Arc::new(drop),
            std::future::pending(),
        );
        let server = tonic::transport::Server::builder().add_service(CaServer::new(service));
        tokio::spawn(server.serve_with_incoming(incoming));
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("prod"));
        let held = house.issue(operator(), key, now - age_ms, now.saturating_add_signed(left_ms));
        folder.write_identity(&held, None, &[address]).unwrap();
        let target = Target::Context {
            name: "prod".to_owned(),
            folder: folder.clone(),
            only: None,
        };
        Self {
            _dir: dir,
            folder,
            target,
            asked,
        }
    }

    fn certificate(&self) -> Certificate {
        let held = self.folder.credentials(Role::Operator).unwrap().unwrap();
        held.certificate().clone()
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

#[tokio::test]
async fn a_certificate_past_half_its_life_is_renewed_when_it_is_used() {
    let here = Workstation::new(Manner::Renews, 60 * DAY_MS, 30 * DAY_MS as i64).await;
    let (before, files) = (here.certificate(), here.files());
    here.target.connect(None).await.unwrap();
    let after = here.certificate();
    assert!(after.not_after() > before.not_after());
    assert_eq!(
        after.key(),
        before.key(),
        "the key is what the holder is known by"
    );
    // One file took the other's place, and nothing half written is left beside it.
    assert_eq!(here.files(), files);
    let managers = here.folder.membership(None).unwrap().unwrap().managers;
    assert!(managers.contains(&"10.0.0.2:4600".to_owned()), "{managers:?}");
    // The fresh one is good, and is not renewed again.
    here.target.connect(None).await.unwrap();
    assert_eq!(here.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_young_certificate_is_left_as_it_is() {
    let here = Workstation::new(Manner::Renews, DAY_MS, 80 * DAY_MS as i64).await;
    let before = here.certificate();
    here.target.connect(None).await.unwrap();
    assert_eq!(here.certificate(), before);
    assert_eq!(here.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_renewal_that_fails_or_hangs_fails_no_command() {
    for manner in [Manner::Refuses, Manner::Hangs] {
        let here = Workstation::new(manner, 60 * DAY_MS, 30 * DAY_MS as i64).await;
        let before = here.certificate();
        here.target.connect(None).await.unwrap();
        assert_eq!(here.certificate(), before);
        assert_eq!(here.asked.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn an_expired_certificate_says_since_when_and_how_to_get_another() {
    let here = Workstation::new(Manner::Renews, 90 * DAY_MS, -3 * DAY_MS as i64).await;
    let Err(error) = here.target.connect(None).await else {
        panic!("connected with an expired certificate");
    };
    let text = error.to_string();
    for words in [
        "context prod expired 3 days ago",
        "shoal context rm prod",
        "shoal cluster join-token operator",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(here.asked.load(Ordering::Relaxed), 0);
}
