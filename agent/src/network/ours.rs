//! By what the agent tells its own devices, routes, rules and tables from everybody else's, and where the numbers of a
//! node come from. Whatever is not named here is never touched.

use shoal_proto::id::NetworkId;
pub use shoal_proto::overlay::DEVICE_PREFIX;
use shoal_proto::overlay::OverlayNumber;

use super::model::Lane;

/// The device that joins the nodes: one a node, whatever the number of networks.
pub const DEVICE: &str = "shlvx";
/// The same for encrypted networks. It runs over the WireGuard device.
pub const SEALED_DEVICE: &str = "shlvxe";
/// The WireGuard device.
pub const WIREGUARD_DEVICE: &str = "shlwg";
/// Our table of nftables, of the family `ip`.
pub const TABLE: &str = "shoal";
/// For how long the kernel remembers a connection to a task once it is over: a name in our table.
pub const BRIEF: &str = "brief";
/// Who made a route or a rule: a number that `/etc/iproute2/rt_protos` gives to nobody.
pub const ROUTE_PROTOCOL: u8 = 171;
/// Our routing tables are this plus the number of the node that they lead to.
pub const ROUTING_TABLES: u32 = 0x5348_0000;
/// The same through the sealed tunnel.
const SEALED_ROUTING_TABLES: u32 = 0x5348_8000;
/// Preferences of our rules, in their order: before the main table, after what VPNs use.
pub const RULES: std::ops::RangeInclusive<u32> = RULE_UNMARKED..=RULE_END;
/// Packets without a mark of ours leave: nearly all of a host's.
pub const RULE_UNMARKED: u32 = 17_900;
/// Packets from our bridges go on to `RULE_OPEN`, those of encrypted networks to `RULE_SEALED`.
pub const RULE_ENTER: u32 = 17_901;
/// All others leave.
pub const RULE_LEAVE: u32 = 17_902;
/// Where the part of networks that are not encrypted begins.
pub const RULE_OPEN: u32 = 17_903;
/// One for each node: its mark leads to its table.
pub const RULE_OPEN_NODE: u32 = 17_904;
/// That part ends here.
pub const RULE_OPEN_LEAVE: u32 = 17_905;
/// Where the part of encrypted networks begins.
pub const RULE_SEALED: u32 = 17_906;
/// As `RULE_OPEN_NODE`, through the sealed tunnel.
pub const RULE_SEALED_NODE: u32 = 17_907;
/// Where packets leave to.
pub const RULE_END: u32 = 17_908;
/// From which the node asks for tasks on its bridges in IPv6. The kernel would make an address of its own for that, and
/// look for others with the same for a second or two.
pub const ASKING: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x5348);
/// Bits of a packet's mark that name the node through which a connection entered.
pub const MARK_MASK: u32 = 0x7fff_0000;
/// What VXLAN over IPv4 adds to a packet: outer Ethernet, IP, UDP and VXLAN headers.
pub const ENCAPSULATION: u32 = 50;
/// What WireGuard over IPv4 adds to a packet: outer IP and UDP headers, its own header and the seal.
pub const SEALING: u32 = 60;

/// The mark of connections that entered through the node with this overlay number.
#[must_use]
pub fn mark(number: OverlayNumber) -> u32 {
    (u32::from(number.get()) << 16) & MARK_MASK
}

/// The routing table that leads to the node with this overlay number through that tunnel.
#[must_use]
pub fn routing_table(lane: Lane, number: OverlayNumber) -> u32 {
    let first = match lane {
        Lane::Open => ROUTING_TABLES,
        Lane::Sealed => SEALED_ROUTING_TABLES,
    };
    first + u32::from(number.get())
}

/// Name of the bridge of a network on every node: at most 15 characters, as the kernel wants it.
#[must_use]
pub fn bridge(network: NetworkId) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let digest = fnv(&network.to_string());
    let digits = (0..12).map(|place| char::from(DIGITS[(digest >> (place * 5) & 31) as usize]));
    DEVICE_PREFIX.chars().chain(digits).collect()
}

/// A device's address as people and `nft` write it.
#[must_use]
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// FNV-1a, 64 bits: short names for long things. Not for secrets.
#[must_use]
pub fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use shoal_proto::id::NetworkId;
    use shoal_proto::overlay::{OVERLAY_NUMBER_MAX, OverlayNumber};
    use shoal_proto::time::Timestamp;

    use super::{DEVICE, MARK_MASK, bridge, mark};

    #[test]
    fn names_of_bridges_fit_the_kernel_and_differ() {
        let name = |n| bridge(NetworkId::new(Timestamp::from_ms(n), 0));
        assert_eq!(name(1).len(), 15);
        assert!(name(1) != name(2) && name(1) != DEVICE);
    }

    #[test]
    fn every_number_has_a_mark_of_its_own() {
        let mark = |number| mark(OverlayNumber::new(number).expect("in range"));
        assert_eq!(mark(1), 0x0001_0000);
        assert_eq!(mark(OVERLAY_NUMBER_MAX), MARK_MASK);
    }
}
