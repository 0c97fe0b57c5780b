//! The two families of IP addresses, and where the cluster's addresses have their place in each. Pure.
//! Everything is counted out and told in IPv4; IPv6 addresses lie beside those.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shoal_proto::prefix::Prefix;
use shoal_proto::subnet::Subnet;

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// As `nft` calls its tables and the header of its packets.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }

    /// As `nft` calls the type of its addresses.
    #[must_use]
    pub const fn address_type(self) -> &'static str {
        match self {
            Self::V4 => "ipv4_addr",
            Self::V6 => "ipv6_addr",
        }
    }

    /// What never leaves a host, as `nft` writes it.
    #[must_use]
    pub const fn loopback(self) -> &'static str {
        match self {
            Self::V4 => "127.0.0.0/8",
            Self::V6 => "::1",
        }
    }

    /// All of its addresses.
    #[must_use]
    pub const fn everywhere(self) -> Block {
        let first = match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Self::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Block { first, length: 0 }
    }
}

/// The cluster's addresses in one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// As they were given out.
    V4,
    /// Beside those, in this prefix.
    V6(Prefix),
}

impl Side {
    /// Its family.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::V4 => Family::V4,
            Self::V6(_) => Family::V6,
        }
    }

    /// An address on this side.
    #[must_use]
    pub fn address(self, of: Ipv4Addr) -> IpAddr {
        match self {
            Self::V4 => of.into(),
            Self::V6(prefix) => prefix.address(of).into(),
        }
    }

    /// A subnet on this side.
    #[must_use]
    pub fn block(self, of: Subnet) -> Block {
        match self {
            Self::V4 => Block {
                first: of.first().into(),
                length: of.prefix(),
            },
            Self::V6(prefix) => {
                let (first, length) = prefix.range(of);
                let first = first.into();
                Block { first, length }
            }
        }
    }

    /// One address alone, as a block.
    #[must_use]
    pub fn single(self, of: Ipv4Addr) -> Block {
        self.block(Subnet::around(of, 32).expect("32 is a length"))
    }
}

/// Addresses that share their first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    /// The first of them.
    pub first: IpAddr,
    /// How many bits they share.
    pub length: u8,
}

impl Block {
    /// Whether an address is one of them.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let beyond = |bits: u8| u32::from(bits.saturating_sub(self.length));
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let differ = first.to_bits() ^ address.to_bits();
                differ.checked_shr(beyond(32)).unwrap_or_default() == 0
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let differ = first.to_bits() ^ address.to_bits();
                differ.checked_shr(beyond(128)).unwrap_or_default() == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::{Family, Side};

    #[test]
    fn a_block_has_its_addresses_and_those_of_no_other_family() {
        let prefix = "fd12:3456:789a::/96".parse().unwrap();
        let subnet = "10.1.0.0/24".parse().unwrap();
        for side in [Side::V4, Side::V6(prefix)] {
            let block = side.block(subnet);
            let inside = side.address([10, 1, 0, 255].into());
            let beyond = side.address([10, 1, 1, 0].into());
            assert!(block.contains(inside) && !block.contains(beyond), "{block}");
            assert!(side.single([10, 1, 0, 255].into()).contains(inside));
            for family in Family::ALL {
                assert_eq!(family.everywhere().contains(inside), family == side.family());
            }
        }
        assert_eq!(
            Side::V6(prefix).block(subnet).to_string(),
            "fd12:3456:789a::a01:0/120"
        );
    }
}
