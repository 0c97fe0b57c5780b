//! Where the host itself sends packets: the managers keep the cluster's networks apart from that. Reads the kernel's main
//! table and the host's resolvers as text, and changes nothing.

use std::net::Ipv4Addr;
use std::path::Path;

use shoal_proto::node::ROUTES_MAX;
use shoal_proto::subnet::Subnet;

use super::dns::{self, RESOLV_CONF};
use super::ours::DEVICE_PREFIX;

const TABLE: &str = "/proc/net/route";

/// The host's routes but for the one to everywhere and those of this cluster, and its resolvers, which may lie behind the
/// one to everywhere; widest first, and each covers what none before it does.
#[must_use]
pub(crate) fn of_host() -> Vec<Subnet> {
    match std::fs::read_to_string(TABLE) {
        Ok(text) => parse(&text, &dns::reachable(Path::new(RESOLV_CONF))),
        Err(error) => {
            tracing::warn!(%error, "{TABLE} cannot be read: the managers do not know this host's routes");
            Vec::new()
        }
    }
}

fn parse(text: &str, resolvers: &[Ipv4Addr]) -> Vec<Subnet> {
    let single = |address: &Ipv4Addr| Subnet::new(*address, 32).ok();
    let resolvers = resolvers.iter().filter_map(single);
    let mut routes: Vec<Subnet> = lines(text).filter_map(route).chain(resolvers).collect();
    routes.sort_by_key(|route| (route.prefix(), route.first()));
    let mut found: Vec<Subnet> = Vec::new();
    for route in routes {
        if found.len() < ROUTES_MAX && !found.iter().any(|wider| wider.contains(route.first())) {
            found.push(route);
        }
    }
    found
}

fn route(line: Line<'_>) -> Option<Subnet> {
    let prefix = u8::try_from(line.mask.to_bits().leading_ones()).ok()?;
    if line.device.starts_with(DEVICE_PREFIX) || prefix == 0 {
        return None;
    }
    Subnet::new(line.to, prefix).ok()
}

/// A line of `/proc/net/route`, which each network namespace has of its own.
pub(super) struct Line<'a> {
    pub(super) device: &'a str,
    pub(super) to: Ipv4Addr,
    pub(super) gateway: Ipv4Addr,
    pub(super) metric: u32,
    pub(super) mask: Ipv4Addr,
}

/// The lines of such a file but for its head: device, destination, gateway, flags, two counts, metric, mask. Addresses are
/// numbers as their bytes lie in memory.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().skip(1).filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        Some(Line {
            device: words.next()?,
            to: address(words.next()?)?,
            gateway: address(words.next()?)?,
            metric: words.nth(3)?.parse().ok()?,
            mask: address(words.next()?)?,
        })
    })
}

fn address(hex: &str) -> Option<Ipv4Addr> {
    let number = u32::from_str_radix(hex, 16).ok()?;
    Some(Ipv4Addr::from(number.to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    use super::{of_host, parse};

    /// A table with these lines of device, destination and mask.
    fn table(lines: &[(&str, [u8; 4], u8)]) -> String {
        let mut text =
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
                .to_owned();
        for (device, destination, prefix) in lines {
            let mask = u32::MAX.checked_shl(32 - u32::from(*prefix)).unwrap_or(0);
            let hex = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
            let (to, mask) = (hex(*destination), hex(mask.to_be_bytes()));
            text += &format!("{device}\t{to}\t00000000\t0001\t0\t0\t0\t{mask}\t0\t0\t0\n");
        }
        text
    }

    fn words(text: &str) -> Vec<String> {
        parse(text, &[]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn routes_of_the_host_are_told_but_for_the_clusters_and_the_one_to_everywhere() {
        let text = table(&[
            ("eth0", [0, 0, 0, 0], 0),
            ("eth0", [192, 168, 7, 0], 24),
            ("shl0abc", [10, 128, 0, 0], 16),
            ("tun0", [10, 0, 0, 0], 8),
            ("*", [172, 16, 0, 0], 12),
        ]);
        assert_eq!(words(&text), ["10.0.0.0/8", "172.16.0.0/12", "192.168.7.0/24"]);
    }

    #[test]
    fn a_resolver_behind_the_route_to_everywhere_is_told() {
        let text = table(&[("eth0", [0, 0, 0, 0], 0), ("eth0", [192, 168, 7, 0], 24)]);
        let resolvers = [[192, 168, 7, 1].into(), [10, 255, 0, 2].into()];
        let told: Vec<_> = parse(&text, &resolvers).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["192.168.7.0/24", "10.255.0.2/32"]);
    }

    #[test]
    fn what_a_wider_route_covers_is_told_once() {
        let text = table(&[
            ("eth0", [10, 1, 2, 3], 32),
            ("eth0", [10, 1, 0, 0], 16),
            ("eth1", [10, 1, 2, 0], 24),
            ("eth1", [10, 2, 0, 0], 24),
        ]);
        assert_eq!(words(&text), ["10.1.0.0/16", "10.2.0.0/24"]);
    }

    #[test]
    fn lines_that_are_no_routes_and_the_table_of_this_host_do_no_harm() {
        assert!(words("Iface\tDestination\nnonsense\neth0 zz 0 0 0 0 0 zz\n").is_empty());
        assert!(of_host().iter().all(|route| route.prefix() > 0));
    }
}
