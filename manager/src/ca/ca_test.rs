use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};
use shoal_core::ids::IdSource;
use shoal_core::state::{Change, Group, Proposal, State};
use shoal_proto::cluster::Cluster;
use shoal_proto::digest::Digest;
use shoal_proto::id::RequestId;
use shoal_proto::identity::{Identity, JoinToken, PrivateKey, Role, Standing, Subject};
use shoal_proto::node::Role as NodeRole;
use shoal_proto::object::Cause;
use shoal_proto::time::Timestamp;

use super::{
    Application, Authority, CSR_MAX_BYTES, CsrError, PublicKey, RateLimit, Refusal, TokenRefused,
    TooManyTokens, admit, one_use_token, open_token, renew, requested_token, reusable_token, rotate_token,
    standing,
};

const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);
const DAY_MS: u64 = 24 * 3_600_000;

struct House {
    state: State,
    authority: Authority,
    ids: IdSource,
    index: u64,
}

impl House {
    fn new() -> Self {
        let mut ids = IdSource::from_seed(1);
        let id = ids.cluster(NOW);
        let authority = Authority::create(id, NOW).unwrap();
        let cluster = Cluster {
            last_raft_id: 1,
            ..Cluster::founded(id, 1, authority.to_state())
        };
        let mut house = Self {
            state: State::default(),
            authority,
            ids,
            index: 0,
        };
        let mut group = Group::new();
        group.put(cluster);
        house.write(group);
        house
    }

    fn write(&mut self, group: Group) {
        self.index += 1;
        let applied = self
            .state
            .apply(self.index, &Proposal::new(NOW, Cause::default(), vec![group]));
        assert!(
            applied.results.iter().all(|result| result.is_ok()),
            "{:?}",
            applied.results
        );
    }

    fn change(&mut self, change: impl FnOnce(&mut Cluster)) {
        let mut cluster = self.cluster();
        change(&mut cluster);
        let mut group = Group::new();
        group.put(cluster);
        self.write(group);
    }

    fn cluster(&self) -> Cluster {
        Cluster::clone(self.state.cluster().unwrap())
    }

    fn token(&self, role: Role) -> JoinToken {
        reusable_token(&self.authority, &self.cluster(), role)
    }

    fn admit(&mut self, application: &Application, now: Timestamp) -> Result<Identity, Refusal> {
        let admission = admit(&self.state, &self.authority, application, &mut self.ids, now)?;
        if !admission.group.is_empty() {
            self.write(admission.group);
        }
        Ok(admission.identity)
    }
}

fn application(token: Option<JoinToken>, key: &str) -> Application {
    Application {
        token,
        key: Digest::of(key.as_bytes()),
        caller: None,
        address: None,
        hostname: "host".to_owned(),
        machine: None,
        labels: BTreeMap::new(),
        clock: NOW,
    }
}

#[test]
fn each_token_admits_its_own_role_and_no_other() {
    let mut house = House::new();
    for role in Role::ALL {
        let token = house.token(role);
        let identity = house
            .admit(&application(Some(token), role.as_str()), NOW)
            .unwrap();
        assert_eq!(identity.role(), role);
    }
    // The worker's secret under the manager's name is not a manager's secret.
    let worker = house.token(Role::Worker);
    let forged = JoinToken::new(worker.root(), Role::Manager, *worker.secret());
    let refused = house
        .admit(&application(Some(forged), "forged"), NOW)
        .unwrap_err();
    assert_eq!(refused, Refusal::Token(TokenRefused::Wrong(Role::Manager)));
}

#[test]
fn a_worker_that_asks_for_more_with_leftover_manager_files_stays_a_worker() {
    let mut house = House::new();
    let manager = house.token(Role::Manager);
    let was = house
        .admit(&application(Some(manager), "manager key"), NOW)
        .unwrap();
    let worker = house.token(Role::Worker);
    let again = Application {
        caller: Some(was),
        ..application(Some(worker), "agent key")
    };
    let got = house.admit(&again, NOW).unwrap();
    assert_eq!(got.subject, Subject::Worker(was.node().unwrap()));
}

#[test]
fn a_rotated_token_admits_nobody_and_its_successor_does() {
    let mut house = House::new();
    let old = house.token(Role::Worker);
    house.change(|cluster| cluster.tokens.worker += 1);
    let refused = house.admit(&application(Some(old), "a"), NOW).unwrap_err();
    assert_eq!(refused, Refusal::Token(TokenRefused::Wrong(Role::Worker)));
    assert!(
        refused.to_string().contains("shoal cluster join-token worker"),
        "{refused}"
    );
    let new = house.token(Role::Worker);
    house.admit(&application(Some(new), "a"), NOW).unwrap();
}

#[test]
fn a_token_of_another_cluster_is_named_as_such() {
    let mut house = House::new();
    let foreign = House::new().token(Role::Worker);
    let refused = house.admit(&application(Some(foreign), "a"), NOW).unwrap_err();
    assert_eq!(refused, Refusal::Token(TokenRefused::OtherCluster(Role::Worker)));
}

#[test]
fn a_one_use_token_admits_one_key_and_the_same_key_again() {
    let mut house = House::new();
    let (token, kept) = one_use_token(&house.authority, Role::Manager, None, NOW + DAY_MS);
    house.change(|cluster| cluster.one_use_tokens.push(kept));
    let first = house.admit(&application(Some(token.clone()), "a"), NOW).unwrap();
    assert_eq!(
        house.admit(&application(Some(token.clone()), "a"), NOW),
        Ok(first)
    );
    let reused = house
        .admit(&application(Some(token), "b"), NOW + 2_000)
        .unwrap_err();
    let (role, ago_s) = (Role::Manager, 2);
    assert_eq!(reused, Refusal::Token(TokenRefused::Used { role, ago_s }));
    assert!(
        reused.to_string().contains("join-token manager --one-use"),
        "{reused}"
    );
}

#[test]
fn a_rotation_ends_the_one_use_tokens_that_operators_made_for_the_role() {
    let mut house = House::new();
    let tokens = [Role::Worker, Role::Operator].map(|role| {
        let (token, fresh) = one_use_token(&house.authority, role, None, NOW + DAY_MS);
        house.change(|cluster| open_token(cluster, fresh, NOW).unwrap());
        token
    });
    house.change(|cluster| rotate_token(cluster, Role::Worker));
    let [worker, operator] = tokens;
    let refused = house.admit(&application(Some(worker), "a"), NOW).unwrap_err();
    assert_eq!(refused, Refusal::Token(TokenRefused::Wrong(Role::Worker)));
    house.admit(&application(Some(operator), "b"), NOW).unwrap();
}

#[test]
fn open_one_use_tokens_and_those_that_ended_are_bounded() {
    let mut house = House::new();
    let open = |house: &mut House, until: Timestamp, now: Timestamp| {
        let (_, fresh) = one_use_token(&house.authority, Role::Worker, None, until);
        let mut cluster = house.cluster();
        let opened = open_token(&mut cluster, fresh, now);
        house.change(|kept| kept.one_use_tokens = cluster.one_use_tokens);
        opened
    };
    for round in 0..3 {
        let now = NOW + round * DAY_MS;
        for _ in 0..100 {
            open(&mut house, now + 1_000, now).unwrap();
        }
        assert_eq!(open(&mut house, now + 1_000, now), Err(TooManyTokens));
    }
    assert!(house.cluster().one_use_tokens.len() <= 200);
}

#[test]
fn a_repeated_request_gets_the_same_one_use_token() {
    let house = House::new();
    let request = |number: u128| RequestId::new(NOW, number);
    let token = |number| requested_token(&house.authority, Role::Worker, request(number));
    assert_eq!(token(1), token(1));
    assert_ne!(token(1), token(2));
}

#[test]
fn an_expired_one_use_token_says_for_how_long() {
    let mut house = House::new();
    let (token, kept) = one_use_token(&house.authority, Role::Worker, None, NOW);
    house.change(|cluster| cluster.one_use_tokens.push(kept));
    let late = Application {
        clock: NOW + 5_000,
        ..application(Some(token), "a")
    };
    let refused = house.admit(&late, NOW + 5_000).unwrap_err();
    assert_eq!(
        refused,
        Refusal::Token(TokenRefused::Expired {
            role: Role::Worker,
            ago_s: 5
        })
    );
}

#[test]
fn a_promotion_token_is_for_its_node_only() {
    let mut house = House::new();
    let worker = house.token(Role::Worker);
    let meant = house.admit(&application(Some(worker.clone()), "a"), NOW).unwrap();
    let other = house.admit(&application(Some(worker), "b"), NOW).unwrap();
    let (token, kept) = one_use_token(&house.authority, Role::Manager, meant.node(), NOW + DAY_MS);
    house.change(|cluster| cluster.one_use_tokens.push(kept));
    let stolen = Application {
        caller: Some(other),
        ..application(Some(token.clone()), "c")
    };
    assert_eq!(
        house.admit(&stolen, NOW).unwrap_err(),
        Refusal::OtherNode(meant.node().unwrap())
    );
    let right = Application {
        caller: Some(meant),
        ..application(Some(token), "d")
    };
    let got = house.admit(&right, NOW).unwrap();
    assert_eq!(got.subject, Subject::Manager(meant.node().unwrap()));
    assert_eq!(
        house.state.node(meant.node().unwrap()).unwrap().plan.role,
        NodeRole::Worker
    );
}

#[test]
fn a_repeated_request_is_the_same_node_and_another_key_is_another() {
    let mut house = House::new();
    let token = house.token(Role::Worker);
    let first = house.admit(&application(Some(token.clone()), "a"), NOW).unwrap();
    assert_eq!(
        house.admit(&application(Some(token.clone()), "a"), NOW).unwrap(),
        first
    );
    assert_ne!(house.admit(&application(Some(token), "b"), NOW).unwrap(), first);
    assert_eq!(house.state.nodes().count(), 2);
}

#[test]
fn nobody_is_admitted_without_a_token_but_a_managers_own_agent() {
    let mut house = House::new();
    assert_eq!(
        house.admit(&application(None, "a"), NOW).unwrap_err(),
        Refusal::TokenNeeded
    );
    let manager = house.token(Role::Manager);
    let manager = house.admit(&application(Some(manager), "m"), NOW).unwrap();
    let agent = house
        .admit(
            &Application {
                caller: Some(manager),
                ..application(None, "a")
            },
            NOW,
        )
        .unwrap();
    assert_eq!(agent.subject, Subject::Worker(manager.node().unwrap()));
    let more = Application {
        caller: Some(agent),
        ..application(None, "x")
    };
    assert_eq!(house.admit(&more, NOW).unwrap_err(), Refusal::TokenNeeded);
}

#[test]
fn clones_twins_and_clocks_are_warned_about_with_names_and_sizes() {
    let mut house = House::new();
    let token = house.token(Role::Worker);
    let machine = Some(Digest::of(b"machine"));
    let first = Application {
        machine,
        ..application(Some(token.clone()), "a")
    };
    let first = house.admit(&first, NOW).unwrap();
    let twin = Application {
        machine,
        clock: NOW + 61_000,
        ..application(Some(token.clone()), "b")
    };
    let admission = admit(&house.state, &house.authority, &twin, &mut house.ids, NOW).unwrap();
    let text = admission.warnings.join("\n");
    assert!(
        text.contains(first.subject.id()) && text.contains("hostname host"),
        "{text}"
    );
    assert!(
        text.contains("machine-id") && text.contains("61 s ahead"),
        "{text}"
    );
    let far = Application {
        clock: Timestamp::from_ms(NOW.as_ms() - 2 * 3_600_000),
        ..application(Some(token), "c")
    };
    assert_eq!(
        house.admit(&far, NOW).unwrap_err(),
        Refusal::Clock { behind_s: 7_200 }
    );
}

#[test]
fn a_wild_request_yields_its_key_and_nothing_else() {
    let house = House::new();
    let pair = KeyPair::generate().unwrap();
    let mut wild = CertificateParams::new(vec!["*".to_owned(), "manager.example".to_owned()]).unwrap();
    wild.distinguished_name = DistinguishedName::new();
    wild.distinguished_name
        .push(DnType::OrganizationName, "another cluster");
    wild.distinguished_name
        .push(DnType::OrganizationalUnitName, "manager");
    wild.distinguished_name
        .push(DnType::CommonName, "n0000000000000000000000000");
    wild.subject_alt_names
        .push(SanType::IpAddress("0.0.0.0".parse().unwrap()));
    wild.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    wild.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let request = wild.serialize_request(&pair).unwrap();
    let key = PublicKey::from_request(request.der()).unwrap();
    let identity = Identity {
        cluster: house.cluster().id,
        subject: Subject::Worker(IdSource::from_seed(5).node(NOW)),
    };
    let signed = house.authority.sign(&key, &identity, NOW, DAY_MS).unwrap();
    assert_eq!(signed.identity(), identity);
    assert_eq!(signed.key(), key.digest());
    let text = String::from_utf8_lossy(signed.der()).into_owned();
    assert!(!text.contains("example") && !text.contains("another cluster"));
    let (_, parsed) = x509_parser::parse_x509_certificate(signed.der()).unwrap();
    assert!(!parsed.is_ca() && parsed.subject_alternative_name().unwrap().is_none());
    assert_eq!(signed.not_before().as_ms(), NOW.as_ms() - 3_600_000);
    assert_eq!(signed.renew_at().as_ms(), NOW.as_ms() + DAY_MS / 2);
}

#[test]
fn requests_that_prove_nothing_are_refused() {
    let good = PrivateKey::generate().unwrap().request().unwrap();
    let mut broken = good.clone();
    *broken.last_mut().unwrap() ^= 1;
    assert_eq!(
        PublicKey::from_request(&broken).unwrap_err(),
        CsrError::Possession
    );
    assert_eq!(
        PublicKey::from_request(&good[1..]).unwrap_err(),
        CsrError::Encoding
    );
    assert_eq!(
        PublicKey::from_request(&vec![0; CSR_MAX_BYTES + 1]).unwrap_err(),
        CsrError::TooLong(4_097)
    );
    let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let other = CertificateParams::default().serialize_request(&other).unwrap();
    assert_eq!(PublicKey::from_request(other.der()).unwrap_err(), CsrError::Kind);
    let edwards = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let edwards = CertificateParams::default().serialize_request(&edwards).unwrap();
    assert_eq!(
        PublicKey::from_request(edwards.der()).unwrap_err(),
        CsrError::Kind
    );
}

#[test]
fn the_state_holds_no_token_and_a_stored_authority_makes_the_same_ones() {
    let house = House::new();
    let token = house.token(Role::Worker).reveal();
    let secret = token.rsplit('-').next().unwrap();
    let snapshot = house.state.to_snapshot().unwrap();
    assert!(
        !snapshot
            .windows(secret.len())
            .any(|window| window == secret.as_bytes())
    );
    let again = Authority::from_state(&house.cluster().ca).unwrap();
    assert_eq!(
        *reusable_token(&again, &house.cluster(), Role::Worker).reveal(),
        *token
    );
}

#[test]
fn standing_follows_the_recorded_key() {
    let mut house = House::new();
    let token = house.token(Role::Manager);
    let manager = house.admit(&application(Some(token), "a"), NOW).unwrap();
    let key = Digest::of(b"a");
    assert_eq!(standing(&house.state, &manager, &key), Standing::Current);
    assert_eq!(
        standing(&house.state, &manager, &Digest::of(b"b")),
        Standing::Superseded
    );
    let node = house.state.node(manager.node().unwrap()).unwrap().clone();
    // A worker's certificate with the manager's key does not exist.
    let as_worker = Identity {
        subject: Subject::Worker(node.id),
        ..manager
    };
    assert_eq!(standing(&house.state, &as_worker, &key), Standing::Superseded);
    let mut group = Group::new();
    group.delete(node.clone());
    let mut cluster = house.cluster();
    cluster.removed_nodes.push((node.id, NOW));
    group.change(Change::Put(cluster.into()));
    house.write(group);
    assert_eq!(standing(&house.state, &manager, &key), Standing::Removed);
}

#[test]
fn a_renewal_records_a_new_key_and_changes_nothing_for_the_old_one() {
    let mut house = House::new();
    let token = house.token(Role::Worker);
    let worker = house.admit(&application(Some(token), "a"), NOW).unwrap();
    let same = renew(&house.state, &worker, Digest::of(b"a"), NOW, NOW).unwrap();
    assert!(same.group.is_empty());
    let new = renew(&house.state, &worker, Digest::of(b"b"), NOW, NOW).unwrap();
    house.write(new.group);
    assert_eq!(
        standing(&house.state, &worker, &Digest::of(b"b")),
        Standing::Current
    );
    assert_eq!(
        standing(&house.state, &worker, &Digest::of(b"a")),
        Standing::Superseded
    );
}

#[test]
fn one_source_runs_dry_before_the_cluster_does_and_recovers() {
    let start = Instant::now();
    let limit = RateLimit::new(start);
    let source = Some("10.0.0.1".parse().unwrap());
    let admitted = (0..100).filter(|_| limit.take(source, start).is_ok()).count();
    assert_eq!(admitted, 30);
    limit.take(Some("10.0.0.2".parse().unwrap()), start).unwrap();
    limit.take(source, start + Duration::from_secs(2)).unwrap();
    let many = (0..10_000_u32)
        .filter(|n| {
            limit
                .take(Some(std::net::Ipv4Addr::from(*n).into()), start)
                .is_ok()
        })
        .count();
    assert!(many < 200, "{many}");
}
