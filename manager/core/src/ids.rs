//! The only maker of ids: a seeded source, so that a run can be repeated exactly.
//! It never reads the system's randomness; the seed comes from outside.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use shoal_proto::id::{
    ClusterId, ConfigId, NetworkId, NodeId, OperatorId, RequestId, RevisionId, SecretId, ServiceId,
    SessionId, StackId, TaskId, VersionId, VolumeId,
};
use shoal_proto::time::Timestamp;

/// Makes ids. Two sources of one seed make the same ids in the same order.
#[derive(Debug)]
pub struct IdSource {
    random: StdRng,
}

impl IdSource {
    /// For tests and simulation.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// For a manager, which fills the seed from the system's randomness.
    #[must_use]
    pub fn from_entropy(seed: [u8; 32]) -> Self {
        Self {
            random: StdRng::from_seed(seed),
        }
    }
}

macro_rules! makers {
    ($($method:ident -> $id:ident,)*) => {
        impl IdSource {
            $(
                #[doc = concat!("A new [`", stringify!($id), "`] made at `now`.")]
                pub fn $method(&mut self, now: Timestamp) -> $id {
                    $id::new(now, self.random.random())
                }
            )*
        }
    };
}

makers! {
    cluster -> ClusterId,
    node -> NodeId,
    service -> ServiceId,
    revision -> RevisionId,
    task -> TaskId,
    network -> NetworkId,
    secret -> SecretId,
    config -> ConfigId,
    volume -> VolumeId,
    stack -> StackId,
    version -> VersionId,
    request -> RequestId,
    session -> SessionId,
    operator -> OperatorId,
}

#[cfg(test)]
mod tests {
    use super::{IdSource, Timestamp};

    #[test]
    fn one_seed_makes_the_same_ids_and_never_the_same_id_twice() {
        let now = Timestamp::from_ms(7);
        let (mut one, mut other) = (IdSource::from_seed(3), IdSource::from_seed(3));
        let first = one.task(now);
        assert_eq!(first, other.task(now));
        assert_ne!(first, one.task(now));
    }
}
