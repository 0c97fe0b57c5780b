//! Who may call what: one row per method, and nobody else. A method without a row is denied to everybody.
//!
//! This table is the specification. Handlers add only what a row cannot say: that a node speaks of itself (`OWN`).

use super::name::Role;
use super::peer::{Caller, Validity, Who};

/// One method and its callers.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// `/package.Service/Method`.
    pub method: &'static str,
    /// Its callers.
    pub allow: Allow,
}

/// A set of callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allow(u8);

impl Allow {
    /// Everybody, also without a certificate.
    pub const ANYONE: Self = Self(1);
    /// Agents. The handler takes the node from the certificate, or checks it with [`Caller::must_be`].
    pub const OWN: Self = Self(2);
    /// Managers.
    pub const MANAGER: Self = Self(4);
    /// Operators, by certificate.
    pub const OPERATOR: Self = Self(8);
    /// Processes on the daemon's host, through its own socket, and never passed on.
    pub const LOCAL: Self = Self(16);
    /// In addition: whoever the row names may come with an expired certificate, if its key is the recorded one.
    pub const EVEN_EXPIRED: Self = Self(32);
    /// In addition: a manager without knowledge of the caller lets it in on a valid certificate alone. For Raft, which is
    /// what fills an empty manager's state.
    pub const BEFORE_STATE: Self = Self(64);
    /// Processes on a manager's host, through its own socket, also when that manager passes their calls on.
    pub const HOST: Self = Self(128);

    /// These and those.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without those.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` is in here.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

const fn row(method: &'static str, allow: Allow) -> Row {
    Row { method, allow }
}

/// Whoever gives orders: with an operator's certificate, or on a manager's own host.
const OPERATORS: Allow = Allow::OPERATOR.or(Allow::HOST);
/// What every holder of a certificate may do, and for as long as its key is the recorded one.
const RENEW: Allow = Allow::OWN
    .or(Allow::MANAGER)
    .or(Allow::OPERATOR)
    .or(Allow::EVEN_EXPIRED);
/// Managers among themselves: what brings a cluster back that was off for longer than its certificates live.
const RAFT: Allow = Allow::MANAGER.or(Allow::EVEN_EXPIRED).or(Allow::BEFORE_STATE);

/// Every method of every service, sorted by name.
pub const TABLE: &[Row] = &[
    row("/shoal.v1.Ca/GetRootCa", Allow::ANYONE),
    row("/shoal.v1.Ca/IssueCertificate", Allow::ANYONE),
    row("/shoal.v1.Ca/JoinRaft", Allow::MANAGER),
    row("/shoal.v1.Ca/LeaveRaft", Allow::MANAGER),
    row("/shoal.v1.Ca/RenewCertificate", RENEW),
    row("/shoal.v1.Control/CreateConfig", OPERATORS),
    row("/shoal.v1.Control/CreateNetwork", OPERATORS),
    row("/shoal.v1.Control/CreateSecret", OPERATORS),
    row("/shoal.v1.Control/CreateService", OPERATORS),
    row("/shoal.v1.Control/DeployStack", OPERATORS),
    row("/shoal.v1.Control/DiagnoseNetwork", OPERATORS),
    row("/shoal.v1.Control/GetClusterStatus", OPERATORS),
    row("/shoal.v1.Control/GetConfig", OPERATORS),
    row("/shoal.v1.Control/GetExplanation", OPERATORS),
    row("/shoal.v1.Control/GetJoinToken", OPERATORS),
    row("/shoal.v1.Control/GetNetwork", OPERATORS),
    row("/shoal.v1.Control/GetNode", OPERATORS),
    row("/shoal.v1.Control/GetSecret", OPERATORS),
    row("/shoal.v1.Control/GetService", OPERATORS),
    row("/shoal.v1.Control/GetStack", OPERATORS),
    row("/shoal.v1.Control/GetStackRevision", OPERATORS),
    row("/shoal.v1.Control/GetTask", OPERATORS),
    row("/shoal.v1.Control/ListConfigs", OPERATORS),
    row("/shoal.v1.Control/ListNetworks", OPERATORS),
    row("/shoal.v1.Control/ListNodes", OPERATORS),
    row("/shoal.v1.Control/ListRegistries", OPERATORS),
    row("/shoal.v1.Control/ListRevisions", OPERATORS),
    row("/shoal.v1.Control/ListSecrets", OPERATORS),
    row("/shoal.v1.Control/ListServices", OPERATORS),
    row("/shoal.v1.Control/ListStacks", OPERATORS),
    row("/shoal.v1.Control/ListTasks", OPERATORS),
    row("/shoal.v1.Control/LoginRegistry", OPERATORS),
    row("/shoal.v1.Control/LogoutRegistry", OPERATORS),
    row("/shoal.v1.Control/ReadServiceLogs", OPERATORS),
    row("/shoal.v1.Control/RemoveConfig", OPERATORS),
    row("/shoal.v1.Control/RemoveNetwork", OPERATORS),
    row("/shoal.v1.Control/RemoveNode", OPERATORS),
    row("/shoal.v1.Control/RemoveSecret", OPERATORS),
    row("/shoal.v1.Control/RemoveService", OPERATORS),
    row("/shoal.v1.Control/RemoveStack", OPERATORS),
    row("/shoal.v1.Control/ResolveImage", OPERATORS),
    row("/shoal.v1.Control/RestartStack", OPERATORS),
    row("/shoal.v1.Control/RollbackService", OPERATORS),
    row("/shoal.v1.Control/RollbackStack", OPERATORS),
    row("/shoal.v1.Control/ScaleServices", OPERATORS),
    row("/shoal.v1.Control/Simulate", OPERATORS),
    row("/shoal.v1.Control/SteerService", OPERATORS),
    row("/shoal.v1.Control/UpdateCluster", OPERATORS),
    row("/shoal.v1.Control/UpdateNode", OPERATORS),
    row("/shoal.v1.Control/UpdateService", OPERATORS),
    row("/shoal.v1.Control/UploadBlob", OPERATORS),
    row("/shoal.v1.Control/Watch", OPERATORS),
    row("/shoal.v1.Dispatcher/Bulk", Allow::OWN),
    row("/shoal.v1.Dispatcher/FetchContent", Allow::OWN),
    row("/shoal.v1.Dispatcher/Heartbeat", Allow::OWN),
    row("/shoal.v1.Dispatcher/Session", Allow::OWN),
    row("/shoal.v1.Local/Init", Allow::LOCAL),
    row("/shoal.v1.Local/Join", Allow::LOCAL),
    row("/shoal.v1.Local/Leave", Allow::LOCAL),
    row("/shoal.v1.Local/Status", Allow::LOCAL),
    row("/shoal.v1.Raft/Append", RAFT),
    row("/shoal.v1.Raft/Greet", RAFT),
    row("/shoal.v1.Raft/InstallSnapshot", RAFT),
    row("/shoal.v1.Raft/PreVote", RAFT),
    row("/shoal.v1.Raft/TransferLeader", RAFT),
    row("/shoal.v1.Raft/Vote", RAFT),
];

/// Why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No such method, or one nobody listed.
    #[error("the call is not in the call table")]
    Unlisted,
    /// A certificate is needed.
    #[error("the call needs a certificate of this cluster: join with a token first")]
    Anonymous,
    /// Another role is needed.
    #[error("the call is not for this role")]
    Role,
    /// The certificate is past its time.
    #[error("the certificate has expired; until it is renewed, renewing is all it can do")]
    Expired,
    /// The manager does not know the holder (any more).
    #[error("this manager does not know the certificate's holder yet; try again, or another manager")]
    Unknown,
    /// The holder's membership ended.
    #[error("the membership of the certificate's holder has ended; join again with a token")]
    Removed,
    /// The holder's recorded key is another one: a role was taken away, or a newer certificate was issued.
    #[error(
        "the certificate's key is not the recorded one: the role was taken away, or the key was replaced"
    )]
    Superseded,
}

/// What the state says of a certificate's holder, now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Known under this role, with this key.
    Current,
    /// Not in the state: just issued elsewhere, or this manager is behind, or has no state yet.
    Unknown,
    /// Known, and removed.
    Removed,
    /// Known, without this role or with another key.
    Superseded,
}

/// The row of a method.
#[must_use]
pub fn find(method: &str) -> Option<&'static Row> {
    TABLE
        .binary_search_by(|row| row.method.cmp(method))
        .ok()
        .map(|at| &TABLE[at])
}

/// Whether this caller may call this method. `standing` is asked for members only.
///
/// # Errors
/// Why not.
pub fn decide(method: &str, caller: &Caller, standing: impl FnOnce() -> Standing) -> Result<(), Denied> {
    let allow = find(method).ok_or(Denied::Unlisted)?.allow;
    match caller.who {
        Who::Local { .. } if allow.has(Allow::LOCAL) && caller.via.is_none() => Ok(()),
        Who::Local { .. } if allow.has(Allow::HOST) || allow.has(Allow::ANYONE) => Ok(()),
        Who::Local { .. } => Err(Denied::Role),
        Who::Anonymous if allow.has(Allow::ANYONE) => Ok(()),
        Who::Anonymous => Err(Denied::Anonymous),
        Who::Member(identity) => {
            let role = match identity.role() {
                Role::Worker => Allow::OWN,
                Role::Manager => Allow::MANAGER,
                Role::Operator => Allow::OPERATOR,
            };
            if !allow.has(role) && !allow.has(Allow::ANYONE) {
                return Err(Denied::Role);
            }
            // Only nodes' keys are recorded: an expired certificate of an operator proves nothing.
            let allow = match identity.node() {
                Some(_) => allow,
                None => allow.without(Allow::EVEN_EXPIRED),
            };
            decide_member(allow, caller.validity, standing())
        }
    }
}

fn decide_member(allow: Allow, validity: Validity, standing: Standing) -> Result<(), Denied> {
    if validity == Validity::Expired && !allow.has(Allow::EVEN_EXPIRED) && !allow.has(Allow::ANYONE) {
        return Err(Denied::Expired);
    }
    match (standing, validity) {
        (Standing::Current, _) => Ok(()),
        (Standing::Removed, _) => Err(Denied::Removed),
        _ if allow.has(Allow::ANYONE) => Ok(()),
        (Standing::Superseded, _) => Err(Denied::Superseded),
        (Standing::Unknown, Validity::Valid) if allow.has(Allow::BEFORE_STATE) => Ok(()),
        (Standing::Unknown, _) => Err(Denied::Unknown),
    }
}

#[cfg(test)]
#[path = "call_table_test.rs"]
mod tests;
