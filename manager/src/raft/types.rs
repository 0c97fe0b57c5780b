//! The words of this room in openraft's grammar: what an entry, a reply and a member are.
//!
//! Nothing outside this room may see openraft's types; `Manager` is ours and is also what openraft stores per member.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    /// Textbook Raft: one leader per term, opaque commands, opaque replies.
    pub(crate) Types:
        D = Command,
        R = Reply,
        NodeId = u64,
        Node = Manager,
        Term = u64,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

pub(crate) type Raft = openraft::Raft<Types, super::store::MachineStore>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<Types>;
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<Types>;
pub(crate) type Payload = openraft::type_config::alias::EntryPayloadOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, Manager>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;

/// One opaque entry. Cloning shares the bytes.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Command(pub(crate) Arc<[u8]>);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the content: an entry may hold a secret, and this text ends up in logs.
        write!(f, "command of {} bytes", self.0.len())
    }
}

/// What the machine answered to an entry.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Reply(pub(crate) Vec<u8>);

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reply of {} bytes", self.0.len())
    }
}

/// One member of the Raft group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manager {
    /// The member's number in the Raft group. Never used twice: a manager that comes back without its data is a new one.
    pub raft_id: u64,
    /// The Node's id.
    pub node: String,
    /// Where it is reached, `host:port`.
    pub address: String,
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.node, self.address)
    }
}

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

pub(crate) fn term_of(id: &LogId) -> u64 {
    id.leader_id.term
}
