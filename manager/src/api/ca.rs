//! The door to the certificate authority: admissions and renewals, and the managers' way in and out of the Raft group.
//!
//! Decides nothing about who is admitted (`ca` does) and signs only what has been committed. Carried out by the leader: the
//! forwarding layer brings every call there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shoal_core::ids::IdSource;
use shoal_core::state::{Group, Proposal, State};
use shoal_proto::digest::Digest;
use shoal_proto::id::NodeId;
use shoal_proto::identity::{
    Caller, Certificate, Credentials, Identity, JoinError, PrivateKey, Standing, Validity, Who, renew,
};
use shoal_proto::node::{ManagerMembership, Node, Role as NodeRole};
use shoal_proto::object::Cause;
use shoal_proto::time::Timestamp;
use shoal_proto::wire;
use shoal_proto::wire::ca_server::{Ca, CaServer};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::fault;
use crate::ca::{Admission, Application, Authority, PublicKey, RateLimit, Refusal, admit, standing};
use crate::clock::system_now;
use crate::identity::Renewer;
use crate::keeper;
use crate::machine::{Reply, StateMachine};
use crate::peers::Peers;
use crate::raft::{Manager, MembershipError, RaftHandle};

/// How often an admission that met a concurrent change is decided anew.
const ATTEMPTS: usize = 5;
/// How long a new manager may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(60);
/// Larger requests of this service are refused unread.
const MESSAGE_MAX_BYTES: usize = 64 * 1_024;

/// Serves `shoal.v1.Ca`.
#[derive(Clone)]
pub struct CaService {
    inner: Arc<Inner>,
}

struct Inner {
    raft: RaftHandle,
    machine: Arc<StateMachine>,
    peers: Peers,
    limit: RateLimit,
    ids: Mutex<IdSource>,
}

impl std::fmt::Debug for CaService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CaService")
    }
}

impl CaService {
    /// The service of one manager.
    #[must_use]
    pub fn new(raft: RaftHandle, machine: Arc<StateMachine>, peers: Peers) -> Self {
        let limit = RateLimit::new(Instant::now());
        let ids = Mutex::new(IdSource::from_entropy(rand::random()));
        Self {
            inner: Arc::new(Inner {
                raft,
                machine,
                peers,
                limit,
                ids,
            }),
        }
    }

    /// For tonic.
    #[must_use]
    pub fn into_server(self) -> CaServer<Self> {
        CaServer::new(self).max_decoding_message_size(MESSAGE_MAX_BYTES)
    }

    fn authority(state: &State) -> Result<Authority, Status> {
        let cluster = state.cluster().ok_or_else(|| refused(&Refusal::NoCluster))?;
        Authority::from_state(&cluster.ca).map_err(|error| Status::internal(error.to_string()))
    }

    async fn propose(&self, cause: &Cause, group: Group) -> Result<(), Status> {
        let state = self.inner.machine.state();
        let proposal = Proposal::new(now(&state), cause.clone(), vec![group]);
        let bytes = proposal.to_bytes().map_err(|error| fault::encode(&error))?;
        let (_, reply) = self
            .inner
            .raft
            .propose(bytes)
            .await
            .map_err(|error| fault::propose(&error))?;
        let reply: Reply = rmp_serde::from_slice(&reply)
            .map_err(|error| Status::internal(format!("the log's answer cannot be read: {error}")))?;
        for result in &reply.results {
            if let Err(conflict) = result {
                return Err(fault::conflict(conflict));
            }
        }
        Ok(())
    }

    /// Decides and writes, again when something changed in between; then signs.
    async fn carry_out(
        &self,
        cause: &Cause,
        key: &PublicKey,
        decide: impl Fn(&State, &Authority) -> Result<Admission, Refusal>,
    ) -> Result<(wire::Issued, Vec<String>), Status> {
        let mut attempt = 1;
        loop {
            let state = self.inner.machine.state();
            let authority = Self::authority(&state)?;
            let admission = decide(&state, &authority).map_err(|refusal| refused(&refusal))?;
            if !admission.group.is_empty() {
                match self.propose(cause, admission.group).await {
                    Err(status) if is_conflict(&status) && attempt < ATTEMPTS => {
                        attempt += 1;
                        continue;
                    }
                    other => other?,
                }
            }
            let certificate = sign(&state, &authority, key, &admission.identity)?;
            return Ok((issued(&certificate, &authority), admission.warnings));
        }
    }

    fn application(
        &self,
        caller: &Caller,
        key: Digest,
        request: wire::IssueCertificateRequest,
    ) -> Result<Application, Status> {
        let token = match request.token.as_str() {
            "" => None,
            text => Some(
                text.parse()
                    .map_err(|error| Status::invalid_argument(format!("{error}")))?,
            ),
        };
        Ok(Application {
            token,
            key,
            caller: self.voucher(caller)?,
            address: caller.address.map(|address| address.ip()),
            hostname: request.hostname,
            machine: request.machine.try_into().ok().map(Digest::from_bytes),
            labels: request.labels.into_iter().collect(),
            clock: Timestamp::from_ms(request.clock_ms),
        })
    }

    /// The certificate shown, if it may vouch for the host.
    fn voucher(&self, caller: &Caller) -> Result<Option<Identity>, Status> {
        let (Who::Member(identity), Some(key)) = (&caller.who, &caller.key) else {
            return Ok(None);
        };
        let known = standing(&self.inner.machine.state(), identity, key);
        match (known, caller.validity) {
            (Standing::Current, Validity::Valid) => Ok(Some(*identity)),
            (Standing::Current, Validity::Expired) => Err(Status::failed_precondition(format!(
                "the certificate of {identity} has expired: wait until that daemon has renewed it, then join again"
            ))),
            _ => Err(Status::permission_denied(format!(
                "the certificate of {identity} is not valid any more: join again with --reset"
            ))),
        }
    }

    fn limit(&self, caller: &Caller) -> Result<(), Status> {
        let source = caller.address.map(|address| address.ip());
        let taken = self.inner.limit.take(source, Instant::now());
        taken.map_err(|limited| Status::resource_exhausted(limited.to_string()))
    }

    async fn issue(
        &self,
        caller: &Caller,
        request: wire::IssueCertificateRequest,
    ) -> Result<wire::IssueCertificateResponse, Status> {
        self.limit(caller)?;
        let key = public_key(&request.csr)?;
        let application = self.application(caller, key.digest(), request)?;
        let cause = Cause {
            actor: caller.actor(),
            action: format!("join of {}", application.hostname),
        };
        let decide = |state: &State, authority: &Authority| {
            let mut ids = self.inner.ids.lock().unwrap_or_else(PoisonError::into_inner);
            admit(state, authority, &application, &mut ids, now(state))
        };
        let (issued, warnings) = self.carry_out(&cause, &key, decide).await?;
        let managers = managers(&self.inner.machine.state());
        Ok(wire::IssueCertificateResponse {
            issued: Some(issued),
            managers,
            warnings,
        })
    }

    async fn renew_for(
        &self,
        caller: &Caller,
        request: &wire::RenewCertificateRequest,
    ) -> Result<wire::RenewCertificateResponse, Status> {
        self.limit(caller)?;
        let identity = *caller
            .identity()
            .ok_or_else(|| Status::unauthenticated("only a member renews"))?;
        let key = public_key(&request.csr)?;
        let cause = Cause {
            actor: caller.actor(),
            action: "renewal of a certificate".to_owned(),
        };
        let clock = Timestamp::from_ms(request.clock_ms);
        let decide = |state: &State, _: &Authority| {
            crate::ca::renew(state, &identity, key.digest(), clock, now(state))
        };
        let (issued, warnings) = self.carry_out(&cause, &key, decide).await?;
        let managers = managers(&self.inner.machine.state());
        Ok(wire::RenewCertificateResponse {
            issued: Some(issued),
            managers,
            warnings,
        })
    }

    async fn take_in(&self, caller: &Caller, request: &wire::JoinRaftRequest) -> Result<(), Status> {
        let node = caller.node()?;
        let manager = Manager {
            raft_id: request.raft_id,
            node: node.to_string(),
            address: request.advertise.clone(),
        };
        request.advertise.parse::<std::net::SocketAddr>().map_err(|_| {
            Status::invalid_argument(format!("{:?} is not an address with a port", request.advertise))
        })?;
        let state = self.inner.machine.state();
        let plan = state
            .node(node)
            .map(|node| node.plan.clone())
            .ok_or_else(|| refused(&Refusal::Gone(node)))?;
        if plan.desired_role != NodeRole::Manager {
            return Err(Status::failed_precondition(format!(
                "node {node} is being demoted"
            )));
        }
        self.place_in_group(manager)
            .await
            .map_err(|error| fault::membership(&error))?;
        let place = ManagerMembership {
            raft_id: request.raft_id,
            addr: request.advertise.clone(),
        };
        if plan.role == NodeRole::Manager && plan.manager.as_ref() == Some(&place) {
            return Ok(());
        }
        self.write_node(caller, node, "join of a manager", |group, _, node| {
            let mut node = Node::clone(node);
            node.plan.role = NodeRole::Manager;
            node.plan.manager = Some(place.clone());
            group.put(node);
        })
        .await
    }

    async fn place_in_group(&self, manager: Manager) -> Result<(), MembershipError> {
        let members = self.inner.raft.members();
        let known = members
            .voters
            .iter()
            .find(|member| member.raft_id == manager.raft_id);
        match known {
            Some(known) if known.node == manager.node && known.address != manager.address => {
                self.inner.raft.move_manager(manager).await
            }
            _ => self.inner.raft.add_manager(manager, CATCH_UP).await,
        }
    }

    async fn let_go(&self, caller: &Caller) -> Result<(), Status> {
        let id = caller.node()?;
        let state = self.inner.machine.state();
        let node = state.node(id).ok_or_else(|| refused(&Refusal::Gone(id)))?;
        if let Some(place) = &node.plan.manager {
            let removed = self.inner.raft.remove_manager(place.raft_id).await;
            match removed {
                Ok(()) | Err(MembershipError::Unknown(_)) => {}
                Err(error) => return Err(fault::membership(&error)),
            }
        }
        self.write_node(caller, id, "leave of a manager", |group, state, node| {
            if node.plan.keys.agent.is_none() {
                // A host without any daemon of ours is no node.
                keeper::forget(group, state, node, now(state));
                return;
            }
            let mut node = Node::clone(node);
            node.plan.role = NodeRole::Worker;
            node.plan.desired_role = NodeRole::Worker;
            node.plan.manager = None;
            node.plan.keys.manager = None;
            group.put(node);
        })
        .await
    }

    /// A channel to the leader; none where this manager leads.
    async fn leader_elsewhere(&self) -> Result<Option<Channel>, Status> {
        let mut leadership = self.inner.raft.leadership();
        let known = leadership.wait_for(|now| now.may_decide() || (!now.am_leader() && now.leader.is_some()));
        let now = match tokio::time::timeout(LEADER_WAIT, known).await {
            Ok(Ok(now)) => now.clone(),
            _ => return Err(Status::unavailable("no manager leads at the moment: try again")),
        };
        match now.leader {
            Some(leader) if !now.may_decide() => {
                let channel = self.inner.peers.open(&leader);
                channel
                    .map(Some)
                    .map_err(|error| Status::unavailable(error.to_string()))
            }
            _ => Ok(None),
        }
    }

    async fn write_node(
        &self,
        caller: &Caller,
        id: NodeId,
        action: &str,
        change: impl Fn(&mut Group, &State, &Arc<Node>),
    ) -> Result<(), Status> {
        let cause = Cause {
            actor: caller.actor(),
            action: action.to_owned(),
        };
        let mut attempt = 1;
        loop {
            let state = self.inner.machine.state();
            let node = state.node(id).ok_or_else(|| refused(&Refusal::Gone(id)))?;
            let mut group = Group::new();
            change(&mut group, &state, node);
            match self.propose(&cause, group).await {
                Err(status) if is_conflict(&status) && attempt < ATTEMPTS => attempt += 1,
                other => return other,
            }
        }
    }
}

/// How long a call waits for a leader.
const LEADER_WAIT: Duration = Duration::from_secs(4);

#[tonic::async_trait]
impl Ca for CaService {
    async fn get_root_ca(
        &self,
        _request: Request<wire::GetRootCaRequest>,
    ) -> Result<Response<wire::GetRootCaResponse>, Status> {
        let state = self.inner.machine.state();
        let authority = Self::authority(&state)?;
        let cluster_id = state
            .cluster()
            .map(|cluster| cluster.id.to_string())
            .unwrap_or_default();
        Ok(Response::new(wire::GetRootCaResponse {
            root: authority.root().der().to_vec(),
            cluster_id,
        }))
    }

    async fn issue_certificate(
        &self,
        request: Request<wire::IssueCertificateRequest>,
    ) -> Result<Response<wire::IssueCertificateResponse>, Status> {
        let caller = Caller::from_request(&request)?.clone();
        Ok(Response::new(self.issue(&caller, request.into_inner()).await?))
    }

    async fn renew_certificate(
        &self,
        request: Request<wire::RenewCertificateRequest>,
    ) -> Result<Response<wire::RenewCertificateResponse>, Status> {
        let caller = Caller::from_request(&request)?.clone();
        Ok(Response::new(self.renew_for(&caller, request.get_ref()).await?))
    }

    async fn join_raft(
        &self,
        request: Request<wire::JoinRaftRequest>,
    ) -> Result<Response<wire::JoinRaftResponse>, Status> {
        let caller = Caller::from_request(&request)?.clone();
        self.take_in(&caller, request.get_ref()).await?;
        Ok(Response::new(wire::JoinRaftResponse {
            managers: managers(&self.inner.machine.state()),
        }))
    }

    async fn leave_raft(
        &self,
        request: Request<wire::LeaveRaftRequest>,
    ) -> Result<Response<wire::LeaveRaftResponse>, Status> {
        let caller = Caller::from_request(&request)?.clone();
        self.let_go(&caller).await?;
        Ok(Response::new(wire::LeaveRaftResponse {}))
    }
}

#[async_trait::async_trait]
impl Renewer for CaService {
    /// The leader signs for itself; the others ask it. The channel is dialled with the certificate that is to be renewed,
    /// which may have expired.
    async fn renew(&self, current: &Credentials) -> Result<Credentials, JoinError> {
        if let Some(channel) = self.leader_elsewhere().await? {
            return Ok(renew(channel, current).await?.credentials);
        }
        let caller = Caller {
            who: Who::Member(current.identity()),
            key: Some(current.certificate().key()),
            validity: Validity::Valid,
            address: None,
            via: None,
        };
        let request = wire::RenewCertificateRequest {
            csr: current.key().request()?,
            clock_ms: now(&self.inner.machine.state()).as_ms(),
        };
        let answer = self.renew_for(&caller, &request).await?;
        let certificate = Certificate::from_der(&answer.issued.unwrap_or_default().certificate)?;
        let key = PrivateKey::from_der(&current.key().to_der())?;
        Ok(Credentials::new(current.root().clone(), certificate, key)?)
    }
}

/// Time for certificates: never behind what is stored.
fn now(state: &State) -> Timestamp {
    system_now().max(state.newest_time())
}

fn is_conflict(status: &Status) -> bool {
    matches!(status.code(), Code::Aborted | Code::AlreadyExists)
}

fn public_key(csr: &[u8]) -> Result<PublicKey, Status> {
    PublicKey::from_request(csr).map_err(|error| Status::invalid_argument(error.to_string()))
}

fn refused(refusal: &Refusal) -> Status {
    let text = refusal.to_string();
    match refusal {
        Refusal::NoCluster => Status::unavailable(text),
        Refusal::TokenNeeded | Refusal::Token(_) | Refusal::OtherNode(_) => Status::permission_denied(text),
        Refusal::Gone(_) | Refusal::Clock { .. } => Status::failed_precondition(text),
        Refusal::TooMany { .. } => Status::resource_exhausted(text),
    }
}

fn sign(
    state: &State,
    authority: &Authority,
    key: &PublicKey,
    identity: &Identity,
) -> Result<Certificate, Status> {
    let lifetime_ms = state.cluster_spec().certificate_lifetime_ms;
    let signed = authority.sign(key, identity, now(state), lifetime_ms);
    signed.map_err(|error| Status::internal(error.to_string()))
}

fn issued(certificate: &Certificate, authority: &Authority) -> wire::Issued {
    let identity = certificate.identity();
    wire::Issued {
        certificate: certificate.der().to_vec(),
        root: authority.root().der().to_vec(),
        cluster_id: identity.cluster.to_string(),
        subject_id: identity.subject.id().to_owned(),
        role: identity.role().to_string(),
        not_after_ms: certificate.not_after().as_ms(),
    }
}

/// host:port of every manager.
fn managers(state: &State) -> Vec<String> {
    state
        .nodes()
        .filter_map(|node| node.plan.manager.as_ref())
        .map(|manager| manager.addr.clone())
        .collect()
}
