//! Whether this host has IPv6: where it has none, its tasks have IPv4 addresses alone, and the node says so.
//! Who turned it off had a reason; it is never turned on from here.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::{fmt, fs};

use shoal_proto::network::ingress_network;
use shoal_proto::node::ADDRESSES_MAX;

use super::ours::DEVICE_PREFIX;
use super::view::View;

/// The setting by which hosts are kept from IPv6; missing where the kernel has none.
const SETTING: &str = "/proc/sys/net/ipv6/conf/all/disable_ipv6";

/// The host's IPv6 addresses, a line for each.
const ADDRESSES: &str = "/proc/net/if_inet6";

/// Their scope in those lines: everywhere, not one link or this host.
const EVERYWHERE: &str = "00";

/// IPv6 on this host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ipv6 {
    /// It is there.
    #[default]
    There,
    /// Somebody turned it off.
    Off,
    /// The kernel was built or started without it.
    Missing,
}

impl Ipv6 {
    /// As it is now.
    #[must_use]
    pub fn of_host() -> Self {
        Self::parse(fs::read_to_string(SETTING).ok().as_deref())
    }

    fn parse(setting: Option<&str>) -> Self {
        match setting.map(str::trim) {
            None => Self::Missing,
            Some("0") => Self::There,
            Some(_) => Self::Off,
        }
    }

    /// The host's own addresses, from which its programs call; none where there is no IPv6.
    #[must_use]
    pub fn addresses(self) -> Option<BTreeSet<Ipv6Addr>> {
        let read = || addresses(&fs::read_to_string(ADDRESSES).unwrap_or_default());
        (self == Self::There).then(read)
    }

    /// What a node carries of a view: all of it, or all but its IPv6 addresses.
    #[must_use]
    pub fn carried(self, mut view: View) -> View {
        if self != Self::There {
            view.overlay.prefix = None;
            for network in view.networks.values_mut() {
                network.prefix = None;
            }
        }
        view
    }

    /// What is missing on this node, if anything that somebody asked for is. The cluster's own network has IPv6 where
    /// that is to be had.
    #[must_use]
    pub fn problem(self, view: &View) -> Option<String> {
        let asked = view.networks.iter().filter(|(id, network)| {
            let here = network.blocks.contains_key(&view.node);
            here && network.prefix.is_some() && **id != ingress_network()
        });
        let mut names: Vec<&str> = asked.map(|(_, network)| network.name.as_str()).collect();
        names.sort_unstable();
        (self != Self::There && !names.is_empty()).then(|| {
            format!(
                "tasks of this node have IPv4 addresses only on networks with IPv6 ({}): {self}",
                names.join(", ")
            )
        })
    }
}

impl fmt::Display for Ipv6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::There => "IPv6 is on",
            Self::Off => {
                "IPv6 is off on this host (net.ipv6.conf.all.disable_ipv6); turn it on and restart shoal-agent"
            }
            Self::Missing => "this host's kernel has no IPv6",
        })
    }
}

/// Lines of address, index, length, scope, flags and name of the device, the first ones in hexadecimal.
fn addresses(lines: &str) -> BTreeSet<Ipv6Addr> {
    let all = lines.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok()?;
        let (scope, device) = (words.nth(2)?, words.nth(1)?);
        let own = scope == EVERYWHERE && !device.starts_with(DEVICE_PREFIX);
        own.then(|| Ipv6Addr::from_bits(address))
    });
    let all: BTreeSet<_> = all.collect();
    all.into_iter().take(ADDRESSES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use shoal_proto::network::ingress_network;
    use shoal_proto::node::ADDRESSES_MAX;

    use super::{Ipv6, addresses};
    use crate::network::testing::{network, view};

    #[test]
    fn a_setting_that_is_not_there_is_a_kernel_without_ipv6() {
        let all = [Some("0\n"), Some("1\n"), None].map(Ipv6::parse);
        assert_eq!(all, [Ipv6::There, Ipv6::Off, Ipv6::Missing]);
    }

    #[test]
    fn a_hosts_addresses_are_those_of_everywhere_and_none_of_ours() {
        let text = "00000000000000000000000000000001 01 80 10 80       lo\n\
                    fd120000000000000000000000000a80 04 70 00 82 shl00000001\n\
                    20010db8000000000000000000000007 02 40 00 80     eth0\n\
                    fe80000000000000000000fffe000001 02 40 20 80     eth0\n";
        let own: Vec<_> = addresses(text).iter().map(ToString::to_string).collect();
        assert_eq!(own, ["2001:db8::7"]);
        for without in [Ipv6::Off, Ipv6::Missing] {
            assert_eq!(without.addresses(), None);
        }
        let many: String = (0..40)
            .map(|n| format!("20010db80000000000000000000000{n:02} 02 40 00 80 eth0\n"))
            .collect();
        assert_eq!(addresses(&many).len(), ADDRESSES_MAX);
    }

    #[test]
    fn a_node_without_ipv6_carries_the_rest_and_names_the_networks_that_were_to_have_it() {
        let mut view = view(2, 2);
        let prefix = "fd12:3456:789a::/96".parse().ok();
        view.overlay.prefix = prefix;
        view.networks.get_mut(&network(1)).expect("there").prefix = prefix;
        assert_eq!(Ipv6::There.problem(&view), None);
        assert_eq!(Ipv6::There.carried(view.clone()), view);
        let problem = Ipv6::Off.problem(&view).expect("it is missing");
        assert!(problem.contains("(net1): IPv6 is off on this host"), "{problem}");
        let carried = Ipv6::Off.carried(view.clone());
        assert!(carried.overlay.prefix.is_none());
        assert!(carried.networks.values().all(|network| network.prefix.is_none()));
        let own = view.networks.remove(&network(1)).expect("there");
        view.networks.insert(ingress_network(), own);
        assert_eq!(Ipv6::Off.problem(&view), None, "nobody asked for it");
    }
}
