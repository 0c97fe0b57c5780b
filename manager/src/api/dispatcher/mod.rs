//! `shoal.v1.Dispatcher`: what agents and this manager say to each other, while it leads.
//!
//! Every message of an agent speaks of itself only: its node is taken from its certificate.

mod arrival;
mod assignments;
mod bulk;
mod content;
mod inbox;
mod reports;
mod session;
mod sessions;

use std::pin::Pin;

use futures::Stream;
use shoal_core::dispatcher::seen::SeenError;
use shoal_proto::id::{NodeId, SessionId};
use shoal_proto::identity::Caller;
use shoal_proto::node::NodeState;
use shoal_proto::wire::dispatcher_server::Dispatcher;
use shoal_proto::wire::{self, Invalid};
use tonic::{Request, Response, Status, Streaming};

use super::Api;
pub(crate) use bulk::{Bulk, BulkAnswer, Question, ask};
pub(crate) use reports::ReportQueue;
pub(crate) use sessions::Sessions;

/// Serves agents.
#[derive(Clone)]
pub struct DispatcherService(pub(crate) Api);

type Down<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Dispatcher for DispatcherService {
    type SessionStream = Down<wire::SessionDown>;
    type FetchContentStream = Down<wire::ContentChunk>;
    type BulkStream = Down<wire::BulkDown>;

    async fn session(
        &self,
        request: Request<Streaming<wire::SessionUp>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let caller = Caller::from_request(&request)?.clone();
        let node = caller.node()?;
        session::open(&self.0, &caller, node, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn heartbeat(
        &self,
        request: Request<wire::HeartbeatRequest>,
    ) -> Result<Response<wire::HeartbeatResponse>, Status> {
        let node = Caller::from_request(&request)?.node()?;
        let beat = request.into_inner();
        let session: SessionId = beat
            .session_id
            .parse()
            .map_err(|error| Invalid::new("session_id", format!("{error}")))?;
        let known = self.0.beat(node, session, beat.applied_index);
        Ok(Response::new(wire::HeartbeatResponse {
            known: known.is_some(),
            heartbeat_period_ms: known.unwrap_or_default(),
        }))
    }

    async fn fetch_content(
        &self,
        request: Request<wire::FetchContentRequest>,
    ) -> Result<Response<Self::FetchContentStream>, Status> {
        let node = Caller::from_request(&request)?.node()?;
        content::fetch(&self.0, node, &request.into_inner().version_id).map(Response::new)
    }

    async fn bulk(
        &self,
        request: Request<Streaming<wire::BulkUp>>,
    ) -> Result<Response<Self::BulkStream>, Status> {
        let node = Caller::from_request(&request)?.node()?;
        bulk::attach(&self.0, node, request.into_inner())
            .await
            .map(Response::new)
    }
}

impl Api {
    /// A sign of life; answers how long until the next, milliseconds. None when the session is not the node's newest here.
    fn beat(&self, node: NodeId, session: SessionId, carried_out: u64) -> Option<u64> {
        let applied = self.inner.sessions.carried_out(node, session, carried_out)?;
        let state = self.inner.machine.state();
        let period_ms = state.cluster_spec().heartbeat_period_ms;
        let fed = self.inner.leader.hear(|seen, now| {
            let before = seen
                .node(node)
                .map(|known| (known.applied_index, known.period_ms));
            seen.heartbeat(node, session, applied, now)?;
            seen.told_period(node, session, period_ms)?;
            Ok::<_, SeenError>(before != Some((applied, Some(period_ms))))
        });
        let moved = fed?.ok()?;
        let ready = state
            .node(node)
            .is_some_and(|node| node.status.state == NodeState::Ready);
        if moved || !ready {
            self.inner.leader.nudge();
        }
        Some(period_ms)
    }
}
