//! Our messages in openraft's words and back. Decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use shoal_proto::wire;
use tonic::Status;

use super::types::{
    Command, Entry, LogId, Manager, Membership, Payload, SnapshotMeta, StoredMembership, Types, Vote, log_id,
    term_of,
};

/// Format of the messages between managers.
pub(crate) const FORMAT: u32 = 1;

/// A message holds entries of about 1 MiB together, or one of up to 1 MiB, and their frame.
pub(crate) const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

pub(crate) type AppendResult = Result<Option<LogId>, StreamAppendError<Types>>;

/// Refuses a message that is for somebody else, or newer than this program.
pub(crate) fn check(envelope: Option<&wire::RaftEnvelope>, me: u64) -> Result<(), Status> {
    let envelope = envelope.ok_or_else(|| missing("envelope"))?;
    if envelope.format > FORMAT {
        let (found, from) = (envelope.format, envelope.from);
        return Err(Status::failed_precondition(format!(
            "manager {from} speaks format {found}, this one knows formats up to {FORMAT}"
        )));
    }
    if envelope.to != me {
        return Err(Status::failed_precondition(format!(
            "this is manager {me}, the message is for {}",
            envelope.to
        )));
    }
    Ok(())
}

fn missing(what: &str) -> Status {
    Status::invalid_argument(format!("the message has no {what}"))
}

pub(crate) fn log_id_out(id: &LogId) -> wire::RaftLogId {
    wire::RaftLogId {
        term: term_of(id),
        index: id.index,
    }
}

fn optional_out(id: Option<&LogId>) -> Option<wire::RaftLogId> {
    id.map(log_id_out)
}

fn log_id_in(id: &wire::RaftLogId) -> LogId {
    log_id(id.term, id.index)
}

fn optional_in(id: Option<&wire::RaftLogId>) -> Option<LogId> {
    id.map(log_id_in)
}

pub(crate) fn vote_out(vote: &Vote) -> wire::RaftVote {
    wire::RaftVote {
        term: vote.leader_id.term,
        candidate: vote.leader_id.voted_for,
        granted: vote.committed,
    }
}

pub(crate) fn vote_in(vote: Option<&wire::RaftVote>) -> Result<Vote, Status> {
    let vote = vote.ok_or_else(|| missing("vote"))?;
    Ok(if vote.granted {
        Vote::new_committed(vote.term, vote.candidate)
    } else {
        Vote::new(vote.term, vote.candidate)
    })
}

fn membership_out(membership: &Membership) -> wire::RaftMembership {
    let voters = membership.get_joint_config().iter();
    let managers = membership.nodes().map(|(id, m)| wire::RaftManager {
        raft_id: *id,
        node_id: m.node.clone(),
        address: m.address.clone(),
    });
    wire::RaftMembership {
        voters: voters
            .map(|ids| wire::RaftVoters {
                raft_ids: ids.iter().copied().collect(),
            })
            .collect(),
        managers: managers.collect(),
    }
}

fn membership_in(membership: &wire::RaftMembership) -> Result<Membership, Status> {
    let voters: Vec<BTreeSet<u64>> = membership
        .voters
        .iter()
        .map(|v| v.raft_ids.iter().copied().collect())
        .collect();
    let managers: BTreeMap<u64, Manager> = membership
        .managers
        .iter()
        .map(|m| {
            let manager = Manager {
                raft_id: m.raft_id,
                node: m.node_id.clone(),
                address: m.address.clone(),
            };
            (m.raft_id, manager)
        })
        .collect();
    if voters.is_empty() && managers.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(voters, managers).map_err(|e| Status::invalid_argument(format!("membership: {e}")))
}

fn entry_out(entry: &Entry) -> wire::RaftEntry {
    let payload = match &entry.payload {
        Payload::Blank => None,
        Payload::Normal(command) => Some(wire::raft_entry::Payload::Command(command.0.to_vec())),
        Payload::Membership(m) => Some(wire::raft_entry::Payload::Membership(membership_out(m))),
    };
    wire::RaftEntry {
        id: Some(log_id_out(&entry.log_id)),
        payload,
    }
}

fn entry_in(entry: wire::RaftEntry) -> Result<Entry, Status> {
    let log_id = optional_in(entry.id.as_ref()).ok_or_else(|| missing("entry position"))?;
    let payload = match entry.payload {
        None => Payload::Blank,
        Some(wire::raft_entry::Payload::Command(bytes)) => Payload::Normal(Command(Arc::from(bytes))),
        Some(wire::raft_entry::Payload::Membership(m)) => Payload::Membership(membership_in(&m)?),
    };
    Ok(Entry { log_id, payload })
}

pub(crate) fn append_out(
    request: &AppendEntriesRequest<Types>,
    envelope: wire::RaftEnvelope,
) -> wire::RaftAppendRequest {
    wire::RaftAppendRequest {
        envelope: Some(envelope),
        leader: Some(vote_out(&request.vote)),
        previous: optional_out(request.prev_log_id.as_ref()),
        entries: request.entries.iter().map(entry_out).collect(),
        committed: optional_out(request.leader_commit.as_ref()),
    }
}

pub(crate) fn append_in(request: wire::RaftAppendRequest) -> Result<AppendEntriesRequest<Types>, Status> {
    Ok(AppendEntriesRequest {
        vote: vote_in(request.leader.as_ref())?,
        prev_log_id: optional_in(request.previous.as_ref()),
        entries: request
            .entries
            .into_iter()
            .map(entry_in)
            .collect::<Result<_, _>>()?,
        leader_commit: optional_in(request.committed.as_ref()),
    })
}

pub(crate) fn append_result_out(result: &AppendResult) -> wire::raft_append_response::Outcome {
    use wire::raft_append_response::Outcome;
    match result {
        Ok(last) => Outcome::Matched(wire::RaftMatched {
            last: optional_out(last.as_ref()),
        }),
        Err(StreamAppendError::Conflict(at)) => Outcome::Conflict(log_id_out(at)),
        Err(StreamAppendError::HigherVote(vote)) => Outcome::Newer(vote_out(vote)),
    }
}

pub(crate) fn append_result_in(
    outcome: Option<&wire::raft_append_response::Outcome>,
) -> Result<AppendResult, Status> {
    use wire::raft_append_response::Outcome;
    Ok(match outcome.ok_or_else(|| missing("outcome"))? {
        Outcome::Matched(matched) => Ok(optional_in(matched.last.as_ref())),
        Outcome::Conflict(at) => Err(StreamAppendError::Conflict(log_id_in(at))),
        Outcome::Newer(vote) => Err(StreamAppendError::HigherVote(vote_in(Some(vote))?)),
    })
}

pub(crate) fn vote_request_out(
    request: &VoteRequest<Types>,
    envelope: wire::RaftEnvelope,
) -> wire::RaftVoteRequest {
    wire::RaftVoteRequest {
        envelope: Some(envelope),
        candidate: Some(vote_out(&request.vote)),
        last: optional_out(request.last_log_id.as_ref()),
        transfer: request.leadership_transfer,
    }
}

pub(crate) fn vote_request_in(request: &wire::RaftVoteRequest) -> Result<VoteRequest<Types>, Status> {
    let mut out = VoteRequest::new(
        vote_in(request.candidate.as_ref())?,
        optional_in(request.last.as_ref()),
    );
    out.leadership_transfer = request.transfer;
    Ok(out)
}

pub(crate) fn vote_response_out(response: &VoteResponse<Types>) -> wire::RaftVoteResponse {
    wire::RaftVoteResponse {
        vote: Some(vote_out(&response.vote)),
        granted: response.vote_granted,
        last: optional_out(response.last_log_id.as_ref()),
    }
}

pub(crate) fn vote_response_in(response: &wire::RaftVoteResponse) -> Result<VoteResponse<Types>, Status> {
    let vote = vote_in(response.vote.as_ref())?;
    Ok(VoteResponse::new(
        vote,
        optional_in(response.last.as_ref()),
        response.granted,
    ))
}

pub(crate) fn snapshot_head_out(
    vote: &Vote,
    meta: &SnapshotMeta,
    size_bytes: u64,
    envelope: wire::RaftEnvelope,
) -> wire::RaftSnapshotHead {
    wire::RaftSnapshotHead {
        envelope: Some(envelope),
        leader: Some(vote_out(vote)),
        last: optional_out(meta.last_log_id.as_ref()),
        membership: Some(membership_out(meta.last_membership.membership())),
        membership_at: optional_out(meta.last_membership.log_id().as_ref()),
        size_bytes,
    }
}

pub(crate) fn snapshot_head_in(head: &wire::RaftSnapshotHead) -> Result<(Vote, SnapshotMeta), Status> {
    let membership = membership_in(head.membership.as_ref().ok_or_else(|| missing("membership"))?)?;
    let last_membership = StoredMembership::new(optional_in(head.membership_at.as_ref()), membership);
    let meta = SnapshotMeta {
        last_log_id: optional_in(head.last.as_ref()),
        last_membership,
    };
    Ok((vote_in(head.leader.as_ref())?, meta))
}

pub(crate) fn transfer_out(
    request: &TransferLeaderRequest<Types>,
    envelope: wire::RaftEnvelope,
) -> wire::RaftTransferLeaderRequest {
    wire::RaftTransferLeaderRequest {
        envelope: Some(envelope),
        leader: Some(vote_out(request.from_leader())),
        last: optional_out(request.last_log_id()),
        successor: *request.to_node_id(),
    }
}

pub(crate) fn transfer_in(
    request: &wire::RaftTransferLeaderRequest,
) -> Result<TransferLeaderRequest<Types>, Status> {
    let (leader, last) = (
        vote_in(request.leader.as_ref())?,
        optional_in(request.last.as_ref()),
    );
    Ok(TransferLeaderRequest::new(leader, request.successor, last))
}
