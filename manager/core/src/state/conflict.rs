//! Why a group was not applied: which guard did not hold, or what of it cannot be. Data for the proposer.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use shoal_proto::digest::Digest;
use shoal_proto::id::{NetworkId, ServiceId};
use shoal_proto::object::Kind;
use shoal_proto::service::Protocol;
use shoal_proto::subnet::Subnet;

use super::object::ObjectKey;

/// Why a group was not applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Conflict {
    /// The object changed since it was read.
    #[error("{key} is at version {found}, not {expected}: read it again")]
    Version {
        /// Which.
        key: ObjectKey,
        /// The version it was read at.
        expected: u64,
        /// The version it has.
        found: u64,
    },
    /// The status of the object changed since it was read.
    #[error("the status of {key} is at version {found}, not {expected}: read it again")]
    Status {
        /// Which.
        key: ObjectKey,
        /// The version it was read at.
        expected: u64,
        /// The version it has.
        found: u64,
    },
    /// The object is not there.
    #[error("{0} does not exist")]
    Missing(ObjectKey),
    /// The object is there already.
    #[error("{0} exists already")]
    Exists(ObjectKey),
    /// The name is held.
    #[error("name {name:?} is used already by {holder}")]
    NameTaken {
        /// Of which kind.
        kind: Kind,
        /// As asked for.
        name: String,
        /// By whom.
        holder: ObjectKey,
    },
    /// The port is published by another service.
    #[error("port {port}/{protocol} is published already by service {holder}")]
    PortTaken {
        /// Its protocol.
        protocol: Protocol,
        /// Which.
        port: u16,
        /// By whom.
        holder: ServiceId,
    },
    /// Something refers to the object.
    #[error("{key} is in use by {by}")]
    Referenced {
        /// Which.
        key: ObjectKey,
        /// The first that refers to it.
        by: Box<ObjectKey>,
    },
    /// The bytes are not here, or not all of them.
    #[error("content {0} is not uploaded: upload it first")]
    BlobMissing(Digest),
    /// A secret or config has these bytes.
    #[error("content {digest} is in use by {by}")]
    BlobUsed {
        /// Which.
        digest: Digest,
        /// By whom.
        by: ObjectKey,
    },
    /// A chunk does not continue what is here.
    #[error("content {digest} has {have} bytes here: the next piece begins there, not at {offset}")]
    BlobGap {
        /// Which.
        digest: Digest,
        /// Bytes that are here.
        have: u64,
        /// Where the piece begins.
        offset: u64,
    },
    /// The bytes are not those that the digest names.
    #[error("content does not have the digest {0} that it was announced with")]
    BlobDigest(Digest),
    /// More than a limit allows.
    #[error("{what} of {found} is over the limit of {limit}")]
    Limit {
        /// Which limit.
        what: String,
        /// What was asked for.
        found: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The proposal has changed the object already.
    #[error("{0} is changed twice in one proposal")]
    ChangedTwice(String),
    /// Somebody else has the address.
    #[error("address {address} on network {network} is held already by {holder}")]
    AddressTaken {
        /// On which network.
        network: NetworkId,
        /// Which.
        address: Ipv4Addr,
        /// By whom.
        holder: ObjectKey,
    },
    /// Another network has addresses of the subnet.
    #[error("subnet {subnet} overlaps {theirs} of network {holder}")]
    SubnetTaken {
        /// Which.
        subnet: Subnet,
        /// The other network's.
        theirs: Subnet,
        /// The other network.
        holder: NetworkId,
    },
}
