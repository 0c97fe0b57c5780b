//! What an operator may do to a service, as groups to propose: the API only translates, and decides nothing itself.
//! Settings change in place; a template makes a revision; the leader follows.

pub mod resolve;
pub mod revise;
pub mod steer;
pub mod validate;

use shoal_proto::digest::Digest;
use shoal_proto::service::{Service, TaskTemplate};

use crate::state::Group;

/// A change of a service, ready to be proposed.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The service as it will be.
    pub service: Service,
    /// What to propose: guarded by the version the service was read at.
    pub group: Group,
    /// Whether tasks will be replaced.
    pub effect: Effect,
}

/// What a change does to the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: the service is as asked for.
    Unchanged,
    /// Settings only: no task is replaced.
    Settings,
    /// Another content: a rollout begins.
    Rollout,
}

/// Digest of a template: equal digests mean equal tasks.
#[must_use]
pub fn content_digest(template: &TaskTemplate) -> Digest {
    let bytes = rmp_serde::to_vec_named(template).expect("a template is made of plain data");
    Digest::of(&bytes)
}
