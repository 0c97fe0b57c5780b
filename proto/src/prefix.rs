//! The IPv6 addresses of a cluster: a /96 of its own, in which every IPv4 address of the cluster has its place. So
//! whatever has an IPv4 address has one IPv6 address too, and nobody has to give it out or remember it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::id::ClusterId;
use crate::subnet::Subnet;

/// Bits that all IPv6 addresses of a cluster share.
pub const PREFIX_BITS: u8 = 96;

/// Bits of it that name the cluster: those behind the eight that say "unique local" (RFC 4193).
const GLOBAL_ID_BYTES: usize = 5;

/// The addresses that share their first 96 bits; the last 32 are an IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix([u8; 12]);

/// Not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IPv6 prefix of a cluster: expected one such as fd12:3456:789a::/96")]
pub struct InvalidPrefix(String);

impl Prefix {
    /// A cluster's own: unique local addresses (RFC 4193) whose 40 bits of global id follow from the cluster's id.
    #[must_use]
    pub fn of_cluster(cluster: ClusterId) -> Self {
        let digest = Sha256::digest(format!("shoal ipv6 {cluster}"));
        let mut bytes = [0; 12];
        bytes[0] = 0xfd;
        bytes[1..=GLOBAL_ID_BYTES].copy_from_slice(&digest[..GLOBAL_ID_BYTES]);
        Self(bytes)
    }

    /// The IPv6 address beside an IPv4 address.
    #[must_use]
    pub fn address(self, of: Ipv4Addr) -> Ipv6Addr {
        let mut bytes = [0; 16];
        bytes[..12].copy_from_slice(&self.0);
        bytes[12..].copy_from_slice(&of.octets());
        bytes.into()
    }

    /// The IPv4 address beside an IPv6 address; none where that is outside.
    #[must_use]
    pub fn beside(self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        let [.., a, b, c, d] = address.octets();
        let of = Ipv4Addr::new(a, b, c, d);
        (self.address(of) == address).then_some(of)
    }

    /// The IPv6 addresses beside those of a subnet: the first of them, and how many bits they share.
    #[must_use]
    pub fn range(self, of: Subnet) -> (Ipv6Addr, u8) {
        (self.address(of.first()), PREFIX_BITS + of.prefix())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{PREFIX_BITS}", self.address(Ipv4Addr::UNSPECIFIED))
    }
}

impl FromStr for Prefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let invalid = || InvalidPrefix(text.to_owned());
        let (address, bits) = text.split_once('/').ok_or_else(invalid)?;
        let address: Ipv6Addr = address.parse().map_err(|_| invalid())?;
        let bits: u8 = bits.parse().map_err(|_| invalid())?;
        let mut prefix = [0; 12];
        prefix.copy_from_slice(&address.octets()[..12]);
        let prefix = Self(prefix);
        let whole = bits == PREFIX_BITS && prefix.address(Ipv4Addr::UNSPECIFIED) == address;
        whole.then_some(prefix).ok_or_else(invalid)
    }
}

impl TryFrom<String> for Prefix {
    type Error = InvalidPrefix;

    fn try_from(text: String) -> Result<Self, InvalidPrefix> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::Prefix;
    use crate::id::ClusterId;
    use crate::subnet::Subnet;
    use crate::time::Timestamp;

    #[test]
    fn a_clusters_prefix_is_unique_local_and_its_own() {
        let [one, other] = [1, 2].map(|seed| Prefix::of_cluster(ClusterId::new(Timestamp::ZERO, seed)));
        assert_ne!(one, other);
        assert!(one.to_string().starts_with("fd"), "{one}");
        assert_eq!(one.to_string().parse(), Ok(one));
    }

    #[test]
    fn every_ipv4_address_has_one_ipv6_address_beside_it() {
        let prefix: Prefix = "fd12:3456:789a::/96".parse().expect("a prefix");
        let address: Ipv6Addr = "fd12:3456:789a::a01:2".parse().expect("an address");
        assert_eq!(prefix.address(Ipv4Addr::new(10, 1, 0, 2)), address);
        assert_eq!(prefix.beside(address), Some(Ipv4Addr::new(10, 1, 0, 2)));
        assert_eq!(prefix.beside(Ipv6Addr::LOCALHOST), None);
        let subnet: Subnet = "10.1.0.0/24".parse().expect("a subnet");
        let first: Ipv6Addr = "fd12:3456:789a::a01:0".parse().expect("an address");
        assert_eq!(prefix.range(subnet), (first, 120));
    }

    #[test]
    fn what_is_no_prefix_is_refused_by_name() {
        for text in ["", "fd12::/64", "fd12::1/96", "10.1.0.0/24", "fd12::"] {
            let error = text.parse::<Prefix>().expect_err("no prefix").to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
