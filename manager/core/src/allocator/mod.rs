//! What services need of the cluster as a whole: ports, subnets, addresses, overlay numbers. Derived from what lives
//! every time, so that nothing can leak; what was given back lately is the one thing remembered.

pub mod address;
pub mod block;
pub mod overlay;
pub mod pools;
pub mod port;
pub mod subnet;
pub mod warn;

use shoal_proto::network::Network;
use shoal_proto::reason::{NetworkPart, Reason};
use shoal_proto::time::Timestamp;

/// How long an address, a block or a number is not given again after it was given back: longer than a resolver or a
/// client may believe in it.
pub const REST_MS: u64 = 60_000;

/// A network has no address, or no block, left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub struct NetworkFull {
    /// The network's name.
    pub network: String,
    /// Of which half.
    pub part: NetworkPart,
    /// What is held or rests.
    pub used: u64,
    /// What there is.
    pub size: u64,
    /// When the first that rests may be given again; none while all is held.
    pub frees_at: Option<Timestamp>,
}

impl NetworkFull {
    fn of(network: &Network, part: NetworkPart, used: u64, size: u64) -> Self {
        Self {
            network: network.spec.name.clone(),
            part,
            used,
            size,
            frees_at: None,
        }
    }

    /// For the task that waits.
    #[must_use]
    pub fn reason(&self) -> Reason {
        Reason::NetworkFull {
            network: self.network.clone(),
            part: self.part,
            used: self.used,
            size: self.size,
        }
    }
}
