//! The door to the certificate authority: admissions and renewals, and the managers' way in and out of the Raft group.
//!
//! Decides nothing about who is admitted (`ca` does) and signs only what has been committed. Carried out by the leader: the
//! forwarding layer brings every call there.

mod group;
mod issue;
mod own;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use shoal_core::ids::IdSource;
use shoal_core::state::{Group, Proposal, State};
use shoal_proto::identity::Caller;
use shoal_proto::object::Cause;
use shoal_proto::time::Timestamp;
use shoal_proto::wire;
use shoal_proto::wire::ca_server::{Ca, CaServer};
use tonic::{Code, Request, Response, Status};

use super::fault;
use crate::ca::{Authority, RateLimit, Refusal};
use crate::clock::system_now;
use crate::machine::{Reply, StateMachine};
use crate::peers::Peers;
use crate::raft::RaftHandle;

/// How often an admission that met a concurrent change is decided anew.
const ATTEMPTS: usize = 5;
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
}

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

/// Time for certificates: never behind what is stored.
fn now(state: &State) -> Timestamp {
    system_now().max(state.newest_time())
}

fn is_conflict(status: &Status) -> bool {
    matches!(status.code(), Code::Aborted | Code::AlreadyExists)
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

/// host:port of every manager.
fn managers(state: &State) -> Vec<String> {
    state
        .nodes()
        .filter_map(|node| node.plan.manager.as_ref())
        .map(|manager| manager.addr.clone())
        .collect()
}
