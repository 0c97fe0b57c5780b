//! Errors of the rooms behind the door, as gRPC statuses: one place that chooses the codes.
//!
//! - `NotFound`: what was named is not there. `AlreadyExists`: the name or port is used. `InvalidArgument`: the request
//!   itself is wrong. `FailedPrecondition`: not in this state of things. `Aborted`: it changed since it was read.
//! - `ResourceExhausted`: over a limit, or no room on the disk. `Unavailable`: nobody leads; try again.

use shoal_core::state::{Conflict, EncodeError, ObjectKey, State};
use tonic::Status;

use crate::raft::{MembershipError, ProposeError, ReadError};

/// Of a guard that did not hold.
pub(crate) fn conflict(conflict: &Conflict) -> Status {
    let text = conflict.to_string();
    match conflict {
        Conflict::Version { .. } | Conflict::Status { .. } => Status::aborted(text),
        Conflict::Missing(_) => Status::not_found(text),
        Conflict::Exists(_)
        | Conflict::NameTaken { .. }
        | Conflict::PortTaken { .. }
        | Conflict::AddressTaken { .. }
        | Conflict::SubnetTaken { .. } => Status::already_exists(text),
        Conflict::Referenced { .. } | Conflict::BlobMissing(_) | Conflict::BlobUsed { .. } => {
            Status::failed_precondition(text)
        }
        Conflict::BlobGap { .. } => Status::aborted(text),
        Conflict::BlobDigest(_) => Status::invalid_argument(text),
        Conflict::Limit { .. } => Status::resource_exhausted(text),
        Conflict::ChangedTwice(_) => Status::invalid_argument(text),
    }
}

/// As [`conflict`], with the names that operators know beside the ids.
pub(crate) fn conflict_in(state: &State, found: &Conflict) -> Status {
    match found {
        Conflict::Referenced { key, by } => Status::failed_precondition(format!(
            "{} is in use by {}: remove or change that first",
            named(state, key),
            named(state, by)
        )),
        Conflict::NameTaken { name, holder, .. } => {
            let text =
                format!("name {name:?} is used already by {holder}: choose another, or remove that first");
            Status::already_exists(text)
        }
        other => conflict(other),
    }
}

/// `service web (ID)`.
fn named(state: &State, key: &ObjectKey) -> String {
    let name = match key {
        ObjectKey::Node(id) => state.node(*id).map(|node| node.name().to_owned()),
        ObjectKey::Service(id) => state.service(*id).map(|service| service.name.clone()),
        ObjectKey::Network(id) => state.network(*id).map(|network| network.spec.name.clone()),
        ObjectKey::Secret(id) => state.secret(*id).map(|secret| secret.name.clone()),
        ObjectKey::Config(id) => state.config(*id).map(|config| config.name.clone()),
        ObjectKey::Stack(id) => state.stack(*id).map(|stack| stack.name.clone()),
        ObjectKey::Task(id) => state.task(*id).and_then(|task| {
            let service = state.service(task.plan.service)?;
            Some(format!("{}.{}", service.name, task.plan.slot))
        }),
        _ => None,
    };
    let text = key.to_string();
    match (name, text.split_once(' ')) {
        (Some(name), Some((kind, id))) => format!("{kind} {name} ({id})"),
        _ => text,
    }
}

/// Of an entry that was not written.
pub(crate) fn propose(error: &ProposeError) -> Status {
    let text = error.to_string();
    match error {
        ProposeError::NotLeader { .. }
        | ProposeError::NoQuorum { .. }
        | ProposeError::OutcomeUnknown { .. }
        | ProposeError::Stopped { .. } => Status::unavailable(text),
        ProposeError::DiskFull { .. } | ProposeError::DisksFull { .. } | ProposeError::TooLarge { .. } => {
            Status::resource_exhausted(text)
        }
    }
}

/// Of a read that cannot be answered here and now.
pub(crate) fn read(error: &ReadError) -> Status {
    Status::unavailable(error.to_string())
}

/// Of a proposal that cannot be an entry.
pub(crate) fn encode(error: &EncodeError) -> Status {
    match error {
        EncodeError::Limit(limit) => Status::resource_exhausted(limit.to_string()),
        EncodeError::Encode { .. } => Status::internal(error.to_string()),
    }
}

/// Of a change of the managers.
pub(crate) fn membership(error: &MembershipError) -> Status {
    let text = error.to_string();
    match error {
        MembershipError::NotLeader { .. } | MembershipError::Failed(_) => Status::unavailable(text),
        MembershipError::WouldLoseQuorum(_) | MembershipError::NotCaughtUp { .. } => {
            Status::failed_precondition(text)
        }
        MembershipError::Unknown(_) => Status::not_found(text),
        MembershipError::Conflict(_) => Status::already_exists(text),
    }
}
