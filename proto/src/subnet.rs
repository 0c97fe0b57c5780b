//! A range of IPv4 addresses such as `10.1.0.0/24`: a value and its arithmetic.
//! Who uses which range is decided elsewhere.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Addresses that share their first `prefix` bits. The bits behind those are zero in `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u32, u8)", into = "(u32, u8)")]
pub struct Subnet {
    first: u32,
    prefix: u8,
}

/// Not a subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubnet {
    /// Not of the form.
    #[error("{0:?} is not an IPv4 subnet: expected one such as 10.1.0.0/24")]
    Form(String),
    /// More bits than an address has.
    #[error("/{0} is not the length of an IPv4 prefix: 0 to 32")]
    Prefix(u8),
    /// An address inside of a subnet instead of its first one.
    #[error("{given} is inside of subnet {meant}: write {meant}")]
    Inside {
        /// As written.
        given: String,
        /// The subnet it is inside of.
        meant: Subnet,
    },
}

impl Subnet {
    /// The subnet that begins at `first`.
    ///
    /// # Errors
    /// When the prefix is longer than an address, or `first` is not the first of so large a subnet.
    pub fn new(first: Ipv4Addr, prefix: u8) -> Result<Self, InvalidSubnet> {
        let around = Self::around(first, prefix)?;
        if around.first() == first {
            return Ok(around);
        }
        Err(InvalidSubnet::Inside {
            given: format!("{first}/{prefix}"),
            meant: around,
        })
    }

    /// The subnet of this length that holds `address`.
    ///
    /// # Errors
    /// When the prefix is longer than an address.
    pub fn around(address: Ipv4Addr, prefix: u8) -> Result<Self, InvalidSubnet> {
        if prefix > 32 {
            return Err(InvalidSubnet::Prefix(prefix));
        }
        let first = address.to_bits() & mask(prefix);
        Ok(Self { first, prefix })
    }

    /// Its first address, the one that names it.
    #[must_use]
    pub const fn first(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first)
    }

    /// Its last address.
    #[must_use]
    pub const fn last(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first | !mask(self.prefix))
    }

    /// Bits that its addresses share.
    #[must_use]
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// How many addresses it has, the first and the last counted.
    #[must_use]
    pub const fn size(self) -> u64 {
        1 << (32 - self.prefix)
    }

    /// The address that many places after the first; none beyond the last.
    #[must_use]
    pub fn nth(self, place: u64) -> Option<Ipv4Addr> {
        let offset = u32::try_from(place).ok().filter(|_| place < self.size())?;
        Some(Ipv4Addr::from_bits(self.first + offset))
    }

    /// How many places after the first an address is; none outside.
    #[must_use]
    pub fn place_of(self, address: Ipv4Addr) -> Option<u64> {
        self.contains(address)
            .then(|| u64::from(address.to_bits() - self.first))
    }

    /// Whether an address is one of it.
    #[must_use]
    pub const fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.first
    }

    /// Whether any address is in both.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        let shorter = if self.prefix < other.prefix {
            self.prefix
        } else {
            other.prefix
        };
        self.first & mask(shorter) == other.first & mask(shorter)
    }

    /// How many parts of this length it has; none where it is smaller than one.
    #[must_use]
    pub fn parts(self, prefix: u8) -> u64 {
        match prefix.checked_sub(self.prefix) {
            Some(bits) if prefix <= 32 => 1 << bits,
            _ => 0,
        }
    }

    /// The part of this length that many places after the first; none beyond the last.
    #[must_use]
    pub fn part(self, prefix: u8, place: u64) -> Option<Self> {
        if place >= self.parts(prefix) {
            return None;
        }
        let first = self.nth(place << (32 - prefix))?.to_bits();
        Some(Self { first, prefix })
    }
}

const fn mask(prefix: u8) -> u32 {
    match u32::MAX.checked_shl(32 - prefix as u32) {
        Some(mask) => mask,
        None => 0,
    }
}

impl FromStr for Subnet {
    type Err = InvalidSubnet;
    fn from_str(text: &str) -> Result<Self, InvalidSubnet> {
        let form = || InvalidSubnet::Form(text.to_owned());
        let (first, prefix) = text.split_once('/').ok_or_else(form)?;
        let first = first.parse().map_err(|_| form())?;
        Self::new(first, prefix.parse().map_err(|_| form())?)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.first(), self.prefix))
    }
}

impl TryFrom<(u32, u8)> for Subnet {
    type Error = InvalidSubnet;
    fn try_from((first, prefix): (u32, u8)) -> Result<Self, InvalidSubnet> {
        Self::new(Ipv4Addr::from_bits(first), prefix)
    }
}

impl From<Subnet> for (u32, u8) {
    fn from(subnet: Subnet) -> Self {
        (subnet.first, subnet.prefix)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::Subnet;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn a_subnet_is_written_as_it_is_read() {
        for text in ["0.0.0.0/0", "10.128.0.0/9", "10.1.2.3/32"] {
            assert_eq!(subnet(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_subnet_is_refused_with_what_would_be_right() {
        for text in ["", "10.1.0.0", "10.1.0/24", "fd00::/64", "10.1.0.0/x"] {
            let error = text.parse::<Subnet>().unwrap_err().to_string();
            assert!(error.contains("expected one such as 10.1.0.0/24"), "{error}");
        }
        let error = "10.1.0.9/24".parse::<Subnet>().unwrap_err().to_string();
        assert_eq!(
            error,
            "10.1.0.9/24 is inside of subnet 10.1.0.0/24: write 10.1.0.0/24"
        );
        let error = "10.1.0.0/33".parse::<Subnet>().unwrap_err().to_string();
        assert_eq!(error, "/33 is not the length of an IPv4 prefix: 0 to 32");
    }

    #[test]
    fn subnets_overlap_where_one_holds_the_other() {
        let all = [
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.0/24",
            "10.2.0.0/16",
            "0.0.0.0/0",
        ]
        .map(subnet);
        let meets = |one: usize, other: usize| all[one].overlaps(all[other]);
        assert!(meets(0, 2) && meets(2, 0) && meets(1, 2) && meets(4, 3) && meets(3, 3));
        assert!(!meets(1, 3) && !meets(3, 2));
    }

    #[test]
    fn addresses_and_parts_are_counted_from_the_first() {
        let net = subnet("10.1.0.0/24");
        assert_eq!(net.size(), 256);
        assert_eq!(net.nth(255), Some(net.last()));
        assert_eq!(net.nth(256), None);
        assert_eq!(net.place_of(Ipv4Addr::new(10, 1, 0, 7)), Some(7));
        assert_eq!(net.place_of(Ipv4Addr::new(10, 1, 1, 7)), None);
        assert_eq!(net.parts(28), 16);
        assert_eq!(net.part(28, 15), Some(subnet("10.1.0.240/28")));
        assert_eq!(net.part(28, 16), None);
        assert_eq!((net.parts(20), net.part(20, 0)), (0, None));
        assert_eq!(subnet("0.0.0.0/0").size(), 1 << 32);
    }
}
