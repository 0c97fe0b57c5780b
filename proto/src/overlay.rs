//! A node's number in the overlay, and what follows from it alone: its address there and the MAC of its end of the
//! tunnel. Who gets which number is the managers' to decide.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::subnet::Subnet;

/// Largest number: it fits into fifteen bits, which is what packets are marked with.
pub const OVERLAY_NUMBER_MAX: u16 = 0x7fff;

/// VXLAN network identifier of the nodes' tunnel.
pub const OVERLAY_IDENTIFIER: u32 = 4_097;

/// UDP port of the nodes' tunnel: neither VXLAN's own nor the one beside it, which Swarm and others use.
pub const OVERLAY_PORT: u16 = 4_788;

/// VXLAN network identifier of the tunnel for encrypted networks, which runs inside of WireGuard.
pub const SEALED_IDENTIFIER: u32 = 4_098;

/// UDP port of that tunnel: no packet of it leaves a host but inside of WireGuard.
pub const SEALED_PORT: u16 = 4_786;

/// UDP port on which nodes speak WireGuard to each other.
pub const WIREGUARD_PORT: u16 = 4_787;

/// Longest prefix of an overlay subnet that has an upper half for every number.
pub const SEALED_PREFIX_MAX: u8 = 16;

/// How the names of all devices of the cluster on a host begin, bridges made by the Engine among them.
pub const DEVICE_PREFIX: &str = "shl";

/// Counts from 1 to [`OVERLAY_NUMBER_MAX`]; of one node while it is a member, and of no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct OverlayNumber(u16);

/// Not a number of the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a number of the overlay: 1 to {OVERLAY_NUMBER_MAX}")]
pub struct InvalidOverlayNumber(pub u32);

impl OverlayNumber {
    /// A number of the overlay.
    ///
    /// # Errors
    /// When it is out of range.
    pub fn new(number: u16) -> Result<Self, InvalidOverlayNumber> {
        match number {
            1..=OVERLAY_NUMBER_MAX => Ok(Self(number)),
            _ => Err(InvalidOverlayNumber(number.into())),
        }
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The node's address in the cluster's overlay subnet; none where that is too small for this number.
    #[must_use]
    pub fn address_in(self, subnet: Subnet) -> Option<Ipv4Addr> {
        let address = subnet.nth(self.0.into())?;
        (address != subnet.last()).then_some(address)
    }

    /// The node's address inside of WireGuard: as far into the upper half of the subnet as its other one is into the
    /// lower; none where the subnet is longer than [`SEALED_PREFIX_MAX`], so that no two numbers ever share an address.
    #[must_use]
    pub fn sealed_address_in(self, subnet: Subnet) -> Option<Ipv4Addr> {
        if subnet.prefix() > SEALED_PREFIX_MAX {
            return None;
        }
        subnet.nth(subnet.size() / 2 + u64::from(self.0))
    }

    /// The MAC of the node's end of the tunnel: locally administered, equal wherever it is computed.
    #[must_use]
    pub const fn mac(self) -> [u8; 6] {
        let [high, low] = self.0.to_be_bytes();
        [0x02, 0x5e, 0x00, 0x00, high, low]
    }
}

impl TryFrom<u16> for OverlayNumber {
    type Error = InvalidOverlayNumber;
    fn try_from(number: u16) -> Result<Self, InvalidOverlayNumber> {
        Self::new(number)
    }
}

impl From<OverlayNumber> for u16 {
    fn from(number: OverlayNumber) -> Self {
        number.0
    }
}

impl fmt::Display for OverlayNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{OVERLAY_NUMBER_MAX, OverlayNumber};

    #[test]
    fn address_and_mac_follow_from_the_number() {
        let number = OverlayNumber::new(0x0102).unwrap();
        let subnet = "10.255.0.0/16".parse().unwrap();
        assert_eq!(number.address_in(subnet), Some([10, 255, 1, 2].into()));
        assert_eq!(number.mac(), [0x02, 0x5e, 0, 0, 1, 2]);
    }

    #[test]
    fn a_number_has_no_address_where_the_subnet_is_too_small() {
        let subnet = "10.255.0.0/29".parse().unwrap();
        let address = |number| OverlayNumber::new(number).unwrap().address_in(subnet);
        assert_eq!(address(6), Some([10, 255, 0, 6].into()));
        assert_eq!((address(7), address(8)), (None, None));
    }

    #[test]
    fn addresses_inside_of_wireguard_are_nobodys_other_address() {
        let subnet = "10.255.0.0/16".parse().unwrap();
        let sealed = |number| OverlayNumber::new(number).unwrap().sealed_address_in(subnet);
        assert_eq!(sealed(0x0102), Some([10, 255, 129, 2].into()));
        let last = OverlayNumber::new(OVERLAY_NUMBER_MAX).unwrap();
        assert!(last.address_in(subnet) < sealed(1));
        let small = "10.255.0.0/17".parse().unwrap();
        assert_eq!(last.sealed_address_in(small), None);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert!(OverlayNumber::new(0).is_err());
        assert!(OverlayNumber::new(OVERLAY_NUMBER_MAX).is_ok());
        assert!(OverlayNumber::new(OVERLAY_NUMBER_MAX + 1).is_err());
    }
}
