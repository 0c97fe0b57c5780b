//! Settings of the kernel that matter to a node of the cluster: paths below `/proc/sys` and their values. Pure.

use std::collections::BTreeMap;

use super::model::{Bridging, Lane, Local};

/// Whether the host passes IPv6 packets on at all.
pub const FORWARDING: &str = "net/ipv6/conf/all/forwarding";

/// Those that matter for a node with these tunnels and bridges: path, and the value that we need.
#[must_use]
pub fn sysctls(local: &Local, lanes: &[Lane]) -> BTreeMap<String, String> {
    let mut wanted = vec![("net/ipv4/ip_forward".to_owned(), "1")];
    for device in lanes.iter().map(|lane| lane.device()) {
        // A tunnel brings packets of clients whose own route leads elsewhere.
        wanted.push((format!("net/ipv4/conf/{device}/rp_filter"), "2"));
        wanted.push((format!("net/ipv4/conf/{device}/route_localnet"), "1"));
    }
    for bridge in local.bridges.keys() {
        // The node answers for the tasks of other nodes, and for isolated neighbours on the same bridge.
        wanted.push((format!("net/ipv4/conf/{bridge}/proxy_arp"), "1"));
        let neighbours = match local.bridging {
            Bridging::Plain => "1",
            Bridging::Filtered => "0",
        };
        wanted.push((format!("net/ipv4/conf/{bridge}/proxy_arp_pvlan"), neighbours));
        // The kernel's default lets the first answer wait for up to 0.8 s.
        wanted.push((format!("net/ipv4/neigh/{bridge}/proxy_delay"), "0"));
        // A local process that calls 127.0.0.1:PORT reaches tasks; the ruleset keeps tasks from 127.0.0.1.
        wanted.push((format!("net/ipv4/conf/{bridge}/route_localnet"), "1"));
    }
    owned(wanted)
}

/// The same for IPv6, with those of the bridges that carry it.
#[must_use]
pub fn sysctls6<'a>(
    local: &Local,
    lanes: &[Lane],
    bridges: impl Iterator<Item = &'a String>,
) -> BTreeMap<String, String> {
    let mut wanted = vec![(FORWARDING.to_owned(), "1")];
    // A host that passes packets on takes no word from routers, unless it is told to.
    for device in &local.deaf {
        wanted.push((accept_ra(device), "2"));
    }
    for device in lanes.iter().map(|lane| lane.device()) {
        wanted.push((format!("net/ipv6/conf/{device}/disable_ipv6"), "0"));
        wanted.push((accept_ra(device), "0"));
    }
    for bridge in bridges {
        wanted.push((format!("net/ipv6/conf/{bridge}/disable_ipv6"), "0"));
        // A task is no router.
        wanted.push((accept_ra(bridge), "0"));
        wanted.push((format!("net/ipv6/conf/{bridge}/forwarding"), "1"));
        wanted.push((format!("net/ipv6/conf/{bridge}/proxy_ndp"), "1"));
        wanted.push((format!("net/ipv6/neigh/{bridge}/proxy_delay"), "0"));
    }
    owned(wanted)
}

/// The setting that says whether a device takes routes from the routers on its link: 1 while the host passes nothing on.
#[must_use]
pub fn accept_ra(device: &str) -> String {
    format!("net/ipv6/conf/{device}/accept_ra")
}

fn owned(wanted: Vec<(String, &str)>) -> BTreeMap<String, String> {
    let wanted = wanted.into_iter();
    wanted.map(|(path, value)| (path, value.to_owned())).collect()
}
