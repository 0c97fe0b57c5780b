//! Who gets a certificate, and under which name: decided from the state, as a group of changes and the identity to sign.
//!
//! Nothing is signed before the group is committed: a certificate that exists is one whose key the state knows.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use shoal_core::ids::IdSource;
use shoal_core::state::{Group, State};
use shoal_proto::cluster::Cluster;
use shoal_proto::digest::Digest;
use shoal_proto::id::NodeId;
use shoal_proto::identity::{Identity, JoinToken, Role, Subject};
use shoal_proto::node::{Node, NodeDescription, NodeKeys, NodePlan, NodeStatus, Role as NodeRole};
use shoal_proto::object::Meta;
use shoal_proto::time::Timestamp;

use super::authority::Authority;
use super::token::{Admitted, TokenRefused, check_token, use_token};

/// Nodes in a cluster.
pub const NODES_MAX: usize = 2_000;
/// A clock that differs by more is warned about.
const SKEW_WARN_MS: u64 = 5_000;
/// A clock that is behind by more could not use the certificate, which is back-dated by an hour.
const SKEW_REFUSE_MS: u64 = 55 * 60 * 1_000;
/// Characters of a host's name.
const HOSTNAME_MAX: usize = 253;
/// Labels given at join, and the length of each key and value.
const LABELS_MAX: usize = 64;
const LABEL_LEN_MAX: usize = 256;

/// What somebody who asks for a certificate says and shows.
#[derive(Debug, Clone)]
pub struct Application {
    /// The token; none for a manager that asks for the agent of its own host.
    pub token: Option<JoinToken>,
    /// SHA-256 of the public key to certify.
    pub key: Digest,
    /// The certificate the connection showed, if the state knows its holder by that key.
    pub caller: Option<Identity>,
    /// Where the request comes from.
    pub address: Option<IpAddr>,
    /// The host's name.
    pub hostname: String,
    /// SHA-256 of its machine-id.
    pub machine: Option<Digest>,
    /// Labels for a new node.
    pub labels: BTreeMap<String, String>,
    /// The applicant's clock.
    pub clock: Timestamp,
}

/// Somebody is admitted once `group` is committed.
#[derive(Debug)]
pub struct Admission {
    /// The name to sign.
    pub identity: Identity,
    /// What must be written first; empty when nothing changes.
    pub group: Group,
    /// For the operator who joins.
    pub warnings: Vec<String>,
}

/// Somebody is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no cluster in the state.
    #[error("this manager holds no cluster yet")]
    NoCluster,
    /// No token where one is needed.
    #[error("a join token is needed: print one with `shoal cluster join-token worker` on a manager")]
    TokenNeeded,
    /// A bad token.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// A token made for one node, used by another.
    #[error("the join token is for node {0} only")]
    OtherNode(NodeId),
    /// The node is gone or going.
    #[error("node {0} is not a member any more: join again with --reset")]
    Gone(NodeId),
    /// The clocks are too far apart.
    #[error("this host's clock is {behind_s} s behind the cluster's: set it, then join again")]
    Clock {
        /// How far.
        behind_s: u64,
    },
    /// A bound is reached.
    #[error("{what}: at most {max}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
}

/// Decides about a first certificate.
///
/// # Errors
/// Why there is none.
pub fn admit(
    state: &State,
    authority: &Authority,
    application: &Application,
    ids: &mut IdSource,
    now: Timestamp,
) -> Result<Admission, Refusal> {
    let cluster = state.cluster().ok_or(Refusal::NoCluster)?;
    check_sizes(application)?;
    let mut warnings = check_clock(application.clock, now)?;
    let admitted = who(authority, cluster, application, now)?;
    let mut group = Group::new();
    strike_off(&mut group, cluster, &admitted, application.key, now);
    let subject = match admitted.role {
        Role::Operator => Subject::Operator(ids.operator(now)),
        Role::Worker | Role::Manager => {
            let node = place(state, application, &admitted, ids, now)?;
            warnings.extend(look_alikes(state, &node, application));
            let id = node.id;
            if node.meta.version == 0 || recorded(&node.plan.keys, admitted.role) != Some(application.key) {
                group.put(with_key(node, admitted.role, application.key));
            }
            Subject::new(admitted.role, id.as_str()).expect("a node's id is an id")
        }
    };
    Ok(Admission {
        identity: Identity {
            cluster: cluster.id,
            subject,
        },
        group,
        warnings,
    })
}

/// Decides about a fresh certificate for `caller`, whose key `old` the call table has checked against the state.
///
/// # Errors
/// When the node is gone, or the clocks are too far apart.
pub fn renew(
    state: &State,
    caller: &Identity,
    new: Digest,
    clock: Timestamp,
    now: Timestamp,
) -> Result<Admission, Refusal> {
    let warnings = check_clock(clock, now)?;
    let mut group = Group::new();
    if let Some(id) = caller.node() {
        let node = state.node(id).ok_or(Refusal::Gone(id))?;
        if recorded(&node.plan.keys, caller.role()) != Some(new) {
            group.put(with_key(Node::clone(node), caller.role(), new));
        }
    }
    Ok(Admission {
        identity: *caller,
        group,
        warnings,
    })
}

fn who(
    authority: &Authority,
    cluster: &Cluster,
    application: &Application,
    now: Timestamp,
) -> Result<Admitted, Refusal> {
    if let Some(token) = &application.token {
        return Ok(check_token(authority, cluster, token, application.key, now)?);
    }
    match application.caller.map(|caller| caller.subject) {
        Some(Subject::Manager(node)) => Ok(Admitted {
            role: Role::Worker,
            node: Some(node),
            one_use: None,
        }),
        _ => Err(Refusal::TokenNeeded),
    }
}

/// The node the applicant is or becomes: the one its host's other daemon is, the one that has this key already (the first
/// answer was lost), the one the token was made for, or a new one.
fn place(
    state: &State,
    application: &Application,
    admitted: &Admitted,
    ids: &mut IdSource,
    now: Timestamp,
) -> Result<Node, Refusal> {
    let sibling = application.caller.and_then(|caller| caller.node());
    if let (Some(meant), Some(found)) = (admitted.node, sibling)
        && meant != found
    {
        return Err(Refusal::OtherNode(meant));
    }
    if let Some(id) = sibling.or(admitted.node) {
        return state
            .node(id)
            .map(|node| Node::clone(node))
            .ok_or(Refusal::Gone(id));
    }
    let same_key = |node: &&Arc<Node>| recorded(&node.plan.keys, admitted.role) == Some(application.key);
    if let Some(node) = state.nodes().find(same_key) {
        return Ok(Node::clone(node));
    }
    if state.nodes().count() >= NODES_MAX {
        return Err(Refusal::TooMany {
            what: "nodes in a cluster",
            max: NODES_MAX,
        });
    }
    Ok(new_node(ids.node(now), application, now))
}

fn new_node(id: NodeId, application: &Application, now: Timestamp) -> Node {
    let description = NodeDescription {
        hostname: application.hostname.clone(),
        machine: application.machine.unwrap_or_default(),
        ..NodeDescription::default()
    };
    Node {
        id,
        meta: Meta::default(),
        plan: NodePlan {
            labels: application.labels.clone(),
            ..NodePlan::default()
        },
        status: NodeStatus {
            since: now,
            addr: application.address,
            description: Some(description),
            ..NodeStatus::default()
        },
    }
}

const fn recorded(keys: &NodeKeys, role: Role) -> Option<Digest> {
    match role {
        Role::Manager => keys.manager,
        _ => keys.agent,
    }
}

const fn with_key(mut node: Node, role: Role, key: Digest) -> Node {
    match role {
        Role::Manager => {
            node.plan.keys.manager = Some(key);
            node.plan.desired_role = NodeRole::Manager;
        }
        _ => node.plan.keys.agent = Some(key),
    }
    node
}

fn strike_off(group: &mut Group, cluster: &Arc<Cluster>, admitted: &Admitted, key: Digest, now: Timestamp) {
    if let Some(secret) = &admitted.one_use {
        let mut next = Cluster::clone(cluster);
        use_token(&mut next, secret, key, now);
        if next.one_use_tokens != cluster.one_use_tokens {
            group.put(next);
        }
    }
}

fn check_sizes(application: &Application) -> Result<(), Refusal> {
    if application.hostname.len() > HOSTNAME_MAX {
        return Err(Refusal::TooMany {
            what: "bytes of a hostname",
            max: HOSTNAME_MAX,
        });
    }
    if application.labels.len() > LABELS_MAX {
        return Err(Refusal::TooMany {
            what: "node labels given at join",
            max: LABELS_MAX,
        });
    }
    if application
        .labels
        .iter()
        .any(|(key, value)| key.len().max(value.len()) > LABEL_LEN_MAX)
    {
        return Err(Refusal::TooMany {
            what: "bytes of a label's key or value",
            max: LABEL_LEN_MAX,
        });
    }
    Ok(())
}

fn check_clock(theirs: Timestamp, now: Timestamp) -> Result<Vec<String>, Refusal> {
    let behind_ms = now.ms_since(theirs);
    let ahead_ms = theirs.ms_since(now);
    if behind_ms > SKEW_REFUSE_MS {
        return Err(Refusal::Clock {
            behind_s: behind_ms / 1_000,
        });
    }
    let (ms, word) = if behind_ms > ahead_ms {
        (behind_ms, "behind")
    } else {
        (ahead_ms, "ahead of")
    };
    if ms <= SKEW_WARN_MS {
        return Ok(Vec::new());
    }
    let seconds = ms / 1_000;
    Ok(vec![format!(
        "this host's clock is {seconds} s {word} the cluster's: logs and certificates go by it"
    )])
}

/// Other nodes that look like this host.
fn look_alikes(state: &State, node: &Node, application: &Application) -> Vec<String> {
    let mut warnings = Vec::new();
    for other in state.nodes().filter(|other| other.id != node.id) {
        let Some(description) = &other.status.description else {
            continue;
        };
        if description.hostname == application.hostname {
            warnings.push(format!(
                "node {} has the hostname {} too: `node.hostname` constraints will match both",
                other.id, application.hostname
            ));
        }
        if application.machine == Some(description.machine) {
            warnings.push(format!(
                "node {} has the same machine-id: one is a clone of the other, give it its own \
                 (`rm /etc/machine-id && systemd-machine-id-setup`)",
                other.id
            ));
        }
    }
    warnings.truncate(WARNINGS_MAX);
    warnings
}

/// Warnings in one answer.
const WARNINGS_MAX: usize = 8;
