//! The answering side: hands what other managers send to Raft.
//!
//! Who may call at all is decided before, by the call table.

use std::sync::{Arc, Mutex};

use futures::{Stream, StreamExt};
use openraft::raft::AppendEntriesRequest;
use openraft::rt::WatchReceiver;
use shoal_proto::wire;
use shoal_proto::wire::raft_server::{Raft as RaftService, RaftServer};
use tonic::{Request, Response, Status, Streaming};

use super::disk::Disk;
use super::network_dial::Links;
use super::network_wire::{
    MAX_MESSAGE_BYTES, append_in, append_result_out, check, snapshot_head_in, transfer_in, vote_out,
    vote_request_in, vote_response_out,
};
use super::snapshot::{Snapshots, Stored, Writing};
use super::types::{Raft, Types};

/// A snapshot may not be larger than this.
const MAX_SNAPSHOT_BYTES: u64 = 4 * 1024 * 1024 * 1024;

type Snapshot = openraft::type_config::alias::SnapshotOf<Types, Stored>;
type Answers = std::pin::Pin<Box<dyn Stream<Item = Result<wire::RaftAppendResponse, Status>> + Send>>;

/// Serves `shoal.v1.Raft`.
#[derive(Clone)]
pub struct Service {
    pub(crate) raft: Raft,
    pub(crate) me: u64,
    pub(crate) level: u32,
    pub(crate) disk: Arc<Disk>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) links: Arc<Links>,
}

impl Service {
    /// The tonic service, with the limits of this room.
    pub fn into_server(self) -> RaftServer<Service> {
        RaftServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn take_append(
        &self,
        message: Result<wire::RaftAppendRequest, Status>,
    ) -> Result<AppendEntriesRequest<Types>, Status> {
        let request = message?;
        check(request.envelope.as_ref(), self.me)?;
        if let (true, Some(full)) = (self.brings_command(&request), self.disk.full()) {
            // Heartbeats still pass, so this manager keeps following and votes, and goes on when there is room. So does
            // a new leader's first entry, a few bytes of the reserve's room: without it nobody could read.
            return Err(Status::resource_exhausted(format!(
                "the disk is full: {} needs {} more bytes free",
                full.path.display(),
                full.missing_bytes
            )));
        }
        append_in(request)
    }

    // A new leader that does not know yet how far this log goes also sends what is in it already.
    fn brings_command(&self, request: &wire::RaftAppendRequest) -> bool {
        let last = self.raft.metrics().borrow_watched().last_log_index;
        request.entries.iter().any(|entry| {
            let is_new = entry.id.as_ref().map(|id| id.index) > last;
            is_new && matches!(entry.payload, Some(wire::raft_entry::Payload::Command(_)))
        })
    }

    async fn receive(
        &self,
        head: &wire::RaftSnapshotHead,
        from: &mut Streaming<wire::RaftSnapshotChunk>,
    ) -> Result<Stored, Status> {
        let (_, meta) = snapshot_head_in(head)?;
        if head.size_bytes > MAX_SNAPSHOT_BYTES {
            let size = head.size_bytes;
            return Err(Status::out_of_range(format!(
                "a snapshot of {size} bytes is over the limit of {MAX_SNAPSHOT_BYTES} bytes"
            )));
        }
        self.disk.look(head.size_bytes);
        let mut writing = self.snapshots.create(meta).map_err(|e| storage(&e))?;
        let mut received = 0;
        while received < head.size_bytes {
            let chunk = match from.message().await {
                Ok(Some(wire::RaftSnapshotChunk {
                    part: Some(wire::raft_snapshot_chunk::Part::Data(data)),
                })) => data,
                other => {
                    writing.abandon();
                    return Err(cut_short(other.err(), received, head.size_bytes));
                }
            };
            received += chunk.len() as u64;
            writing = write_off_path(writing, chunk).await?;
        }
        if received > head.size_bytes {
            writing.abandon();
            return Err(Status::invalid_argument("the snapshot is longer than it said"));
        }
        tokio::task::spawn_blocking(move || writing.finish())
            .await
            .map_err(|e| Status::internal(e.to_string()))?
            .map_err(|e| storage(&e))
    }
}

async fn write_off_path(mut writing: Writing, chunk: Vec<u8>) -> Result<Writing, Status> {
    let written = tokio::task::spawn_blocking(move || match writing.write(&chunk) {
        Ok(()) => Ok(writing),
        Err(error) => {
            writing.abandon();
            Err(error)
        }
    });
    written
        .await
        .map_err(|e| Status::internal(e.to_string()))?
        .map_err(|e| storage(&e))
}

fn cut_short(error: Option<Status>, received: u64, size: u64) -> Status {
    error.unwrap_or_else(|| Status::aborted(format!("the snapshot ended after {received} of {size} bytes")))
}

fn storage(error: &std::io::Error) -> Status {
    match super::file::is_no_space(error) {
        true => Status::resource_exhausted(format!("no room for the snapshot: {error}")),
        false => Status::internal(format!("the snapshot was not written: {error}")),
    }
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("the raft log has stopped: {error}"))
}

#[tonic::async_trait]
impl RaftService for Service {
    type AppendStream = Answers;

    async fn append(
        &self,
        request: Request<Streaming<wire::RaftAppendRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let fault: Arc<Mutex<Option<Status>>> = Arc::default();
        let (service, noted) = (self.clone(), fault.clone());
        let requests = request
            .into_inner()
            .map(move |message| match service.take_append(message) {
                Ok(request) => Some(request),
                Err(status) => {
                    *noted.lock().expect("no holder of this lock panics") = Some(status);
                    None
                }
            });
        // Ends at the first message that is refused; the refusal follows the answers to what came before it.
        let requests = requests
            .take_while(|r| std::future::ready(r.is_some()))
            .filter_map(std::future::ready);
        let (level, disk) = (self.level, self.disk.clone());
        let answers = self.raft.stream_append(requests).map(move |answer| {
            let outcome = answer.map_err(stopped)?;
            Ok(wire::RaftAppendResponse {
                outcome: Some(append_result_out(&outcome)),
                level,
                disk_full: disk.full().is_some(),
            })
        });
        let refusal =
            futures::stream::once(async move { fault.lock().expect("no holder of this lock panics").take() });
        let answers = answers.chain(refusal.filter_map(|s| std::future::ready(s.map(Err))));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn vote(
        &self,
        request: Request<wire::RaftVoteRequest>,
    ) -> Result<Response<wire::RaftVoteResponse>, Status> {
        check(request.get_ref().envelope.as_ref(), self.me)?;
        let response = self
            .raft
            .vote(vote_request_in(request.get_ref())?)
            .await
            .map_err(stopped)?;
        Ok(Response::new(vote_response_out(&response)))
    }

    async fn pre_vote(
        &self,
        request: Request<wire::RaftVoteRequest>,
    ) -> Result<Response<wire::RaftVoteResponse>, Status> {
        check(request.get_ref().envelope.as_ref(), self.me)?;
        let response = self
            .raft
            .pre_vote(vote_request_in(request.get_ref())?)
            .await
            .map_err(stopped)?;
        Ok(Response::new(vote_response_out(&response)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<wire::RaftSnapshotChunk>>,
    ) -> Result<Response<wire::RaftSnapshotResponse>, Status> {
        let mut from = request.into_inner();
        let head = match from.message().await? {
            Some(wire::RaftSnapshotChunk {
                part: Some(wire::raft_snapshot_chunk::Part::Head(head)),
            }) => head,
            _ => return Err(Status::invalid_argument("a snapshot begins with its head")),
        };
        check(head.envelope.as_ref(), self.me)?;
        let (vote, meta) = snapshot_head_in(&head)?;
        let stored = self.receive(&head, &mut from).await?;
        let snapshot = Snapshot {
            meta,
            snapshot: stored,
        };
        let response = self
            .raft
            .install_full_snapshot(vote, snapshot)
            .await
            .map_err(stopped)?;
        Ok(Response::new(wire::RaftSnapshotResponse {
            vote: Some(vote_out(&response.vote)),
        }))
    }

    async fn greet(
        &self,
        request: Request<wire::RaftGreetRequest>,
    ) -> Result<Response<wire::RaftGreetResponse>, Status> {
        let greeting = request.get_ref();
        check(greeting.envelope.as_ref(), self.me)?;
        // A manager whose log has stopped is not there, even though its process still answers.
        self.raft
            .metrics()
            .borrow_watched()
            .running_state
            .clone()
            .map_err(stopped)?;
        if let Some(envelope) = &greeting.envelope {
            self.links
                .heard(envelope.from, envelope.level, greeting.disk_full);
        }
        let (level, disk_full) = (self.level, self.disk.full().is_some());
        Ok(Response::new(wire::RaftGreetResponse { level, disk_full }))
    }

    async fn transfer_leader(
        &self,
        request: Request<wire::RaftTransferLeaderRequest>,
    ) -> Result<Response<wire::RaftTransferLeaderResponse>, Status> {
        check(request.get_ref().envelope.as_ref(), self.me)?;
        let asked = transfer_in(request.get_ref())?;
        if let (true, Some(full)) = (*asked.to_node_id() == self.me, self.disk.full()) {
            let refused = format!(
                "the disk of manager {} is full at {}",
                self.me,
                full.path.display()
            );
            return Ok(Response::new(wire::RaftTransferLeaderResponse { refused }));
        }
        let answer = self.raft.handle_transfer_leader(asked).await.map_err(stopped)?;
        let refused = answer.err().map(|e| e.to_string()).unwrap_or_default();
        Ok(Response::new(wire::RaftTransferLeaderResponse { refused }))
    }
}
