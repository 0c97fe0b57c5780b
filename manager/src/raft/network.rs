//! The calling side: openraft's requests, sent to one other manager each.
//!
//! Every call has a deadline, and every failure to get through is `Unreachable`, which makes Raft back off.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, VoteRequest,
    VoteResponse,
};
use shoal_proto::wire;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Status, Streaming};

use super::network_dial::{Lane, Links};
use super::network_wire::{
    AppendResult, append_out, append_result_in, snapshot_head_out, transfer_out, vote_in, vote_request_out,
    vote_response_in,
};
use super::snapshot::{Reading, Snapshots, Stored};
use super::types::{Manager, Types, Vote};

type Failed = RPCError<Types>;
type Answers<'s> = BoxStream<'s, Result<AppendResult, Failed>>;
type SnapshotAnswer = Result<SnapshotResponse<Types>, StreamingError<Types>>;
type TransferAnswer = openraft::raft::TransferLeaderResponse<Types>;

/// Opening a stream of entries: a connection, perhaps a TLS handshake on a busy machine.
const SETUP_DEADLINE: Duration = Duration::from_millis(1000);

/// The other manager must have entries on disk within this time, however slow its disk is.
const APPEND_DEADLINE: Duration = Duration::from_secs(5);

/// A transfer of the leadership includes an election's first step at the other end.
const TRANSFER_DEADLINE: Duration = Duration::from_millis(1000);

/// A greeting is answered at once by whoever is alive.
const GREET_DEADLINE: Duration = Duration::from_millis(750);

/// No piece of a snapshot may take longer than this to be taken off our hands.
const PIECE_DEADLINE: Duration = Duration::from_secs(10);

/// A whole snapshot, with its installation.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(600);

/// Pieces read ahead of the network.
const PIECES_AHEAD: usize = 4;

/// Makes one `Network` per target and purpose.
#[derive(Clone)]
pub(crate) struct Factory {
    pub(crate) links: Arc<Links>,
    pub(crate) snapshots: Arc<Snapshots>,
}

impl Factory {
    pub(crate) fn network(&self, target: &Manager, lane: Lane) -> Network {
        Network {
            links: self.links.clone(),
            snapshots: self.snapshots.clone(),
            target: target.clone(),
            lane,
        }
    }
}

impl RaftNetworkFactory<Types> for Factory {
    type Network = Network;

    async fn new_client(&mut self, _target: u64, node: &Manager) -> Network {
        self.network(node, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, _target: u64, node: &Manager) -> Network {
        self.network(node, Lane::Beat)
    }

    async fn new_snapshot_client(&mut self, _target: u64, node: &Manager) -> Network {
        self.network(node, Lane::Bulk)
    }
}

/// Calls one manager.
pub(crate) struct Network {
    links: Arc<Links>,
    snapshots: Arc<Snapshots>,
    target: Manager,
    lane: Lane,
}

impl Network {
    // Runs one call with its deadline, and notes what it says about the connection.
    async fn call<T>(
        &self,
        lane: Lane,
        deadline: Duration,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Failed> {
        match timeout(deadline, call).await {
            Ok(Ok(answer)) => {
                self.links.answered(self.target.raft_id, lane);
                Ok(answer)
            }
            Ok(Err(status)) => Err(self.failed(lane, &status)),
            Err(_) => {
                self.links.silent(self.target.raft_id, lane);
                Err(unreachable(format!(
                    "manager {} did not answer within {deadline:?}",
                    self.target
                )))
            }
        }
    }

    fn failed(&self, lane: Lane, status: &Status) -> Failed {
        failed(&self.links, &self.target, lane, status)
    }

    fn hung_up(&self) -> Failed {
        // Whoever answers there does not serve Raft any more; another may, at the same address.
        self.links.broken(self.target.raft_id, self.lane);
        unreachable(format!("manager {} ended the stream", self.target))
    }

    async fn client(
        &self,
        lane: Lane,
    ) -> Result<wire::raft_client::RaftClient<tonic::transport::Channel>, Status> {
        self.links
            .client(&self.target, lane)
            .await
            .map_err(|e| Status::unavailable(e.to_string()))
    }

    /// Says that this manager is there. True when the other one answered.
    pub(crate) async fn greet(&self, disk_full: bool) -> bool {
        let envelope = Some(self.links.envelope(self.target.raft_id));
        let request = wire::RaftGreetRequest { envelope, disk_full };
        let greeting = async { Ok(self.client(Lane::Beat).await?.greet(request).await?.into_inner()) };
        match self.call(Lane::Beat, GREET_DEADLINE, greeting).await {
            Ok(response) => {
                self.links
                    .heard(self.target.raft_id, response.level, response.disk_full);
                true
            }
            Err(error) => {
                tracing::debug!(to = %self.target, %error, "a manager was not greeted");
                false
            }
        }
    }

    async fn ask_vote(
        &self,
        request: VoteRequest<Types>,
        option: RPCOption,
        kind: VoteKind,
    ) -> Result<VoteResponse<Types>, Failed> {
        let message = vote_request_out(&request, self.links.envelope(self.target.raft_id));
        self.call(Lane::Beat, option.soft_ttl(), async {
            let mut client = self.client(Lane::Beat).await?;
            let response = match kind {
                VoteKind::Real => client.vote(message).await?,
                VoteKind::Pre => client.pre_vote(message).await?,
            };
            vote_response_in(response.get_ref())
        })
        .await
    }

    async fn open_stream<S>(
        &self,
        input: S,
        sent: &Sent,
    ) -> Result<Streaming<wire::RaftAppendResponse>, Failed>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
    {
        let envelope = self.links.envelope(self.target.raft_id);
        let (sent, ended) = (sent.clone(), sent.clone());
        let requests = input.map(move |request| {
            sent.push();
            append_out(&request, envelope)
        });
        let end = futures::stream::once(async move { ended.end() }).filter_map(|()| std::future::ready(None));
        let requests = requests.chain(end);
        self.call(self.lane, SETUP_DEADLINE, async {
            Ok(self.client(self.lane).await?.append(requests).await?.into_inner())
        })
        .await
    }

    async fn send_snapshot(&self, vote: &Vote, stored: Stored) -> Result<Vote, Failed> {
        let envelope = self.links.envelope(self.target.raft_id);
        let head = snapshot_head_out(vote, &stored.meta, stored.size_bytes, envelope);
        let snapshots = self.snapshots.clone();
        let reading = tokio::task::spawn_blocking(move || snapshots.read(&stored)).await;
        let reading = match reading {
            Ok(Ok(reading)) => reading,
            Ok(Err(e)) => return Err(unreachable(format!("the snapshot to send does not read: {e}"))),
            Err(e) => return Err(unreachable(format!("the snapshot to send was not read: {e}"))),
        };
        let (pieces, outgoing) = mpsc::channel(PIECES_AHEAD);
        tokio::spawn(feed(head, reading, pieces));
        self.call(Lane::Bulk, SNAPSHOT_DEADLINE, async {
            let mut client = self.client(Lane::Bulk).await?;
            let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
            let response = client.install_snapshot(outgoing).await?;
            vote_in(response.get_ref().vote.as_ref())
        })
        .await
    }
}

#[derive(Clone, Copy)]
enum VoteKind {
    Real,
    Pre,
}

// What went out on one stream.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Outgoing>>);

#[derive(Default)]
struct Outgoing {
    // When each request went out that has not been answered yet.
    unanswered: VecDeque<Instant>,
    // No more follow.
    ended: bool,
}

impl Sent {
    fn push(&self) {
        self.lock().unanswered.push_back(Instant::now());
    }

    fn pop(&self) {
        self.lock().unanswered.pop_front();
    }

    fn end(&self) {
        self.lock().ended = true;
    }

    fn is_done(&self) -> bool {
        let outgoing = self.lock();
        outgoing.ended && outgoing.unanswered.is_empty()
    }

    fn overdue_at(&self) -> Option<Instant> {
        self.lock().unanswered.front().map(|at| *at + APPEND_DEADLINE)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Outgoing> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

struct Answering<'s> {
    network: &'s Network,
    responses: Streaming<wire::RaftAppendResponse>,
    sent: Sent,
    // The target was lost and is back: this stream leads nowhere any more.
    returns: watch::Receiver<u64>,
}

impl Answering<'_> {
    async fn next(&mut self) -> Option<Result<AppendResult, Failed>> {
        loop {
            let look_again = Instant::now() + APPEND_DEADLINE;
            let until = self.sent.overdue_at().unwrap_or(look_again);
            let response = tokio::select! {
                response = timeout_at(until, self.responses.message()) => response,
                _ = self.returns.changed() => return Some(Err(self.network.hung_up())),
            };
            match response {
                Ok(Ok(Some(response))) => return Some(self.answer(&response)),
                Ok(Ok(None)) if self.sent.is_done() => return None,
                // Must be an error: only then does Raft count this manager as lagging, and cuts the log without it.
                Ok(Ok(None)) => return Some(Err(self.network.hung_up())),
                Ok(Err(status)) => return Some(Err(self.network.failed(self.network.lane, &status))),
                Err(_) => {}
            }
            if self.sent.overdue_at().is_some_and(|at| at <= Instant::now()) {
                self.network
                    .links
                    .silent(self.network.target.raft_id, self.network.lane);
                let what = format!(
                    "manager {} took no entries within {APPEND_DEADLINE:?}",
                    self.network.target
                );
                return Some(Err(unreachable(what)));
            }
        }
    }

    fn answer(&self, response: &wire::RaftAppendResponse) -> Result<AppendResult, Failed> {
        self.sent.pop();
        let (links, id) = (&self.network.links, self.network.target.raft_id);
        links.answered(id, self.network.lane);
        links.heard(id, response.level, response.disk_full);
        append_result_in(response.outcome.as_ref()).map_err(|s| self.network.failed(self.network.lane, &s))
    }
}

impl RaftNetworkV2<Types> for Network {
    type SnapshotData = Stored;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, Failed> {
        let once = futures::stream::iter([request]);
        let mut answers = RaftNetworkV2::stream_append(self, once, option).await?;
        match answers.next().await {
            Some(answer) => answer.map(AppendEntriesResponse::from),
            None => Err(unreachable("the stream ended before its answer".into())),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<Answers<'s>, Failed>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let network = &*self;
            let sent = Sent::default();
            let returns = network.links.returns_of(network.target.raft_id);
            let responses = network.open_stream(input, &sent).await?;
            let answering = Answering {
                network,
                responses,
                sent,
                returns,
            };
            let answers = futures::stream::unfold(Some(answering), |answering| async move {
                let mut answering = answering?;
                let answer = answering.next().await?;
                let goes_on = matches!(answer, Ok(Ok(_)));
                Some((answer, goes_on.then_some(answering)))
            });
            Ok(answers.boxed())
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, Failed> {
        self.ask_vote(request, option, VoteKind::Real).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, Failed> {
        self.ask_vote(request, option, VoteKind::Pre).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::type_config::alias::SnapshotOf<Types, Stored>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> SnapshotAnswer {
        tokio::select! {
            sent = self.send_snapshot(&vote, snapshot.snapshot) => Ok(SnapshotResponse::new(sent?)),
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        _option: RPCOption,
    ) -> Result<TransferAnswer, Failed> {
        let message = transfer_out(&request, self.links.envelope(self.target.raft_id));
        let refused = self
            .call(Lane::Beat, TRANSFER_DEADLINE, async {
                Ok(self
                    .client(Lane::Beat)
                    .await?
                    .transfer_leader(message)
                    .await?
                    .into_inner()
                    .refused)
            })
            .await?;
        if refused.is_empty() {
            return Ok(Ok(()));
        }
        tracing::warn!(to = %self.target, refused, "the leadership was not taken over");
        Ok(Err(openraft::raft::TransferLeaderError::LogNotFlushed {
            expected: request.last_log_id().copied(),
            actual: None,
        }))
    }
}

// Reads pieces and hands them to the network. Ending early makes the receiver refuse what it has.
async fn feed(
    head: wire::RaftSnapshotHead,
    mut reading: Reading,
    pieces: mpsc::Sender<wire::RaftSnapshotChunk>,
) {
    use wire::raft_snapshot_chunk::Part;
    let mut part = Some(Part::Head(head));
    while let Some(now) = part {
        match timeout(
            PIECE_DEADLINE,
            pieces.send(wire::RaftSnapshotChunk { part: Some(now) }),
        )
        .await
        {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                tracing::warn!("a snapshot stalled on its way to another manager");
                return;
            }
        }
        let read = tokio::task::spawn_blocking(move || {
            let piece = reading.next_piece();
            (reading, piece)
        });
        part = match read.await {
            Ok((again, Ok(piece))) => {
                reading = again;
                piece.map(Part::Data)
            }
            Ok((_, Err(error))) => {
                tracing::error!(%error, "the snapshot to send does not read");
                return;
            }
            Err(_) => return,
        };
    }
}

fn failed(links: &Links, target: &Manager, lane: Lane, status: &Status) -> Failed {
    if status.code() == tonic::Code::Unavailable {
        links.broken(target.raft_id, lane);
    }
    unreachable(format!("manager {target}: {}", status.message()))
}

fn unreachable(what: String) -> Failed {
    RPCError::Unreachable(Unreachable::from_string(what))
}
