//! Raft: replicates opaque entries into a machine, durably, on every manager.
//!
//! A room of its own: it knows nothing of Shoal's objects, and nothing outside knows of openraft. An entry goes from
//! [`RaftHandle::propose`] to openraft, to `log` (synced) and `network` (to the others); once committed, `store` hands it
//! to [`Machine::apply`], and the answer goes back to the proposer.

mod config;
mod disk;
mod error;
mod file;
mod handle;
mod leadership;
mod log;
mod machine;
mod membership;
mod network;
mod network_dial;
mod network_serve;
mod network_wire;
mod nudge;
mod overlay;
mod record;
mod seal;
mod snapshot;
mod start;
mod store;
mod types;

pub use config::{MAX_ENTRY_BYTES, RaftConfig, SnapshotRule};
pub use disk::{Full, Room};
pub use error::{MembershipError, OpenError, ProposeError, ReadError};
pub use handle::{PeerMetrics, RaftHandle, RaftMetrics};
pub use leadership::{Leadership, Mine};
pub use machine::{Frozen, Machine, MachineError};
pub use membership::{MAX_MANAGERS, Members};
pub use network_dial::{Dial, DialError};
pub use network_serve::Service;
pub use seal::SealError;
pub use start::start;
pub use types::Manager;

#[cfg(test)]
mod bed_test;
#[cfg(test)]
mod group_test;
#[cfg(test)]
mod history_test;
