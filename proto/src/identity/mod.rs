//! Who am I, and who is calling: certificates, keys, TLS that can be swapped while running, join tokens, the call table.
//!
//! The only place that knows TLS. Certificates name cluster, id and role, never an address.

mod accept;
mod address;
mod call_table;
mod certificate;
mod clock;
mod credentials;
mod dial;
mod folder;
mod forward;
#[cfg(feature = "wire")]
mod join;
mod key;
mod layer;
mod machine;
mod name;
mod peer;
#[cfg(feature = "wire")]
mod place;
mod token;
mod verify;

// On disk. A `Folder` is a host's (or a context's) identity folder: `folder.membership(machine)` says which cluster and
// node, `folder.credentials(Role::Worker)` loads the agent's `Credentials`, `folder.write_identity(…)` writes them;
// `machine_digest` binds them to the host.
pub use certificate::{BACK_DATED_MS, Certificate, MalformedCertificate, Root};
pub use folder::{FORMAT, Folder, FolderError, Former, MANAGERS_MAX, Membership};
pub use key::{KeyError, PrivateKey};
pub use machine::{MACHINE_ID_FILE, machine_digest};
pub use name::{Expect, Identity, InvalidRole, Role, Subject};

// Running. Wrap credentials once, `LiveCredentials::new(credentials)`, and clone that everywhere; after a renewal
// `live.swap(new)`: new connections use the new certificate. `Certificate::renew_at` says when.
pub use credentials::{Credentials, CredentialsError, LiveCredentials};

// Dialling. `dial(addr, Expect::manager(cluster).node(id), &live).await?` is a tonic `Channel`; leave `.node(…)` out when any
// manager will do. `dial_lazy` connects at the first call. `dial_local(socket)` is a daemon's own socket.
#[cfg(unix)]
pub use dial::dial_local;
pub use dial::{CONNECT_TIMEOUT, DialError, KEEP_ALIVE, Pinned, dial, dial_lazy, dial_pinned, refusal};
pub use verify::VerifyError;

// Joining. `join(addr, &token, Role::Worker, Applicant { … }, sibling).await?` gives credentials, managers and warnings;
// `renew(channel, &credentials)` gives fresh ones. A manager's place in the Raft group: `ask_for_place`, `give_up_place`.
#[cfg(feature = "wire")]
pub use join::{Applicant, JoinError, Joined, join, renew};
#[cfg(feature = "wire")]
pub use place::{ask_for_place, give_up_place};
pub use token::{InvalidToken, JoinToken, SECRET_LEN};

// Accepting. `accept(listener, &live, AcceptLimits::default(), watchman, stop)` is the `incoming` of tonic's `serve_with_incoming`;
// put `CallTableLayer` on the builder. For a unix socket wrap each connection in `LocalConn`. Handlers get the caller with
// `Caller::from_request(&request)?`; a worker's node is `caller.node()?`, checked with `caller.must_be(node)?`. To pass a
// call on to the leader: `request.metadata_mut().insert(FORWARDED_FOR, caller.to_forwarded())`, dialled as a manager.
// Refused calls carry why in their metadata (`DENIED`): `is_removed`, `is_expired`.
pub use accept::{AcceptLimits, Conn, TurnedAway, Watchman, accept};
pub use address::{DEFAULT_PORT, with_port};
pub use call_table::{Allow, Denied, Row, Standing, TABLE, decide, find};
pub use forward::FORWARDED_FOR;
pub use layer::{CallTableLayer, DENIED, Guarded, Members, is_expired, is_removed};
#[cfg(unix)]
pub use peer::LocalConn;
pub use peer::{Caller, Peer, Shown, Validity, Who};

#[cfg(test)]
mod testing;
#[cfg(feature = "wire")]
#[cfg(test)]
#[path = "connection_test.rs"]
mod tests;
