//! A stack: services, networks, secrets and configs deployed together, in numbered revisions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{RevisionId, ServiceId, StackId};
use crate::network::NetworkSpec;
use crate::object::Meta;
use crate::service::{ServiceSettings, ServiceSpec};
use crate::time::Timestamp;

/// What one deployment asks for. References inside are by name; the manager turns them into ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackSpec {
    /// The stack's name.
    pub name: String,
    /// Services with their full names.
    pub services: Vec<ServiceSpec>,
    /// Networks with their full names.
    pub networks: Vec<NetworkSpec>,
    /// Secrets with their full names.
    pub secrets: Vec<ContentSpec>,
    /// Configs with their full names.
    pub configs: Vec<ContentSpec>,
}

/// A secret or config whose bytes were uploaded before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentSpec {
    /// Full name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Of the uploaded bytes.
    pub digest: Digest,
}

/// A stack as the cluster holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Never used again.
    pub id: StackId,
    /// Version and cause.
    pub meta: Meta,
    /// Unique, ignoring case.
    pub name: String,
    /// Oldest first; at most [`STACK_REVISIONS_MAX`] kept, and of large stacks no more than fit into
    /// [`STACK_HISTORY_BYTES_MAX`].
    pub revisions: Vec<StackRevision>,
    /// Set once it was removed and only its tasks remain.
    pub removed_at: Option<Timestamp>,
}

/// Revisions a stack remembers.
pub const STACK_REVISIONS_MAX: usize = 20;
/// Bytes of a stack with its revisions, as stored: each deployment writes all of them in one entry, beside what it changes.
pub const STACK_HISTORY_BYTES_MAX: usize = 512 * 1024;

/// One numbered deployment of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackRevision {
    /// Counts from 1.
    pub number: u64,
    /// When.
    pub created_at: Timestamp,
    /// By whom.
    pub by: String,
    /// What each service was to run.
    pub services: BTreeMap<ServiceId, RevisionId>,
    /// What the file asked for each service's settings: the next deployment changes only what its file changed.
    pub settings: BTreeMap<ServiceId, ServiceSettings>,
    /// The services' names, which outlive the services here.
    #[serde(default)]
    pub names: BTreeMap<ServiceId, String>,
    /// None for a deployment; else the number of the revision whose content it brought back.
    #[serde(default)]
    pub restores: Option<u64>,
}
