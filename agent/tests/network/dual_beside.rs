//! Firewalls that drop IPv6 packets: what networks with IPv6 need passes, on the nodes' own rules and no others, and what
//! nobody opened is dropped as before.

use std::sync::Arc;
use std::time::Duration;

use shoal_agent::network::beside::Beside;
use shoal_agent::network::kernel::linux::Linux;
use shoal_agent::network::ours;

use crate::alone::Space;
use crate::beside::{DOCKER, FIREWALLD, open};
use crate::dual::{at, dual, saw, story};
use crate::packets::{Bed, address, answers, ask, both, network};

const READY: [&str; 2] = ["task1", "task2"];

/// ufw 0.36 as it is after `ufw enable`, but that it knows neighbours on the host's own device only.
const UFW6: &str = "*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ufw6-before-input - [0:0]
:ufw6-before-forward - [0:0]
-A INPUT -j ufw6-before-input
-A FORWARD -j ufw6-before-forward
-A ufw6-before-input -i lo -j ACCEPT
-A ufw6-before-input -i eth0 -p icmpv6 -m icmp6 --icmpv6-type 135 -m hl --hl-eq 255 -j ACCEPT
-A ufw6-before-input -i eth0 -p icmpv6 -m icmp6 --icmpv6-type 136 -m hl --hl-eq 255 -j ACCEPT
-A ufw6-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw6-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw6-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
";

/// A firewall of a host: how it is loaded, how it is read, and how our rules in it are told.
struct Wall {
    load: String,
    read: &'static str,
    told: &'static str,
}

fn ip6tables(program: &str, read: &'static str, told: &'static str) -> Wall {
    let load = [UFW6, DOCKER].map(|rules| format!("{program}-restore --noflush <<'X'\n{rules}X\n"));
    Wall {
        load: load.concat(),
        read,
        told,
    }
}

/// Rules as they are read back, without what changes by itself.
fn rules(node: &Space, wall: &Wall) -> Vec<String> {
    let text = node.run(wall.read);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.map(|line| line.split(" [").next().unwrap_or_default().to_owned());
    lines.collect()
}

/// Who was found is to be found again.
fn forget_neighbours(bed: &Bed) {
    for container in bed.containers.values() {
        container.run("ip -6 neigh flush dev eth0");
    }
    for node in &bed.nodes {
        for n in [1, 2] {
            let bridge = ours::bridge(network(n));
            node.run(&format!("ip -6 neigh flush dev {bridge}"));
        }
    }
}

fn the_cluster_passes(name: &str, wall: &Wall) {
    story(name, |bed| {
        bed.settle_as(&READY, dual);
        for node in &bed.nodes {
            node.run(&wall.load);
        }
        let before = rules(&bed.nodes[0], wall);
        let neighbour = at(address(1, 102));
        assert!(
            ask(&bed.containers["caller1"], &neighbour).is_err(),
            "the firewall works"
        );
        for (nth, node) in bed.nodes.iter().enumerate() {
            open(node, &dual(nth, &READY), wall.told);
        }
        forget_neighbours(&bed);
        let answer = ask(&bed.containers["caller1"], &neighbour);
        assert!(answer.is_ok(), "by address in its own network: {answer:?}");
        let virtual_ip = at(address(1, 2));
        for from in ["caller1", "caller2", "task1", "task2"] {
            assert_eq!(answers(&bed.containers[from], &virtual_ip).0, both(), "{from}");
        }
        for entry in ["[fd99::11]:8001", "[fd99::12]:8001"] {
            let seen = answers(&bed.client, entry);
            assert_eq!(seen, (both(), saw(&["fd99::99"])), "{entry}");
        }
        let stranger = &bed.containers["stranger"];
        assert_eq!(answers(stranger, "[fd99::11]:8001").0, both(), "by the port");
        bed.client.run("ip -6 route add fd12:3456:789a::/48 via fd99::11");
        for from in [stranger, &bed.client] {
            assert!(ask(from, &at(address(1, 101))).is_err(), "by address");
        }
        bed.nodes[0].within(async || {
            let beside = Beside::start(Arc::new(Linux::open().expect("netlink")));
            beside.clear();
            let mut state = beside.state();
            let gone = tokio::time::timeout(Duration::from_secs(20), state.wait_for(|state| state.cleared));
            gone.await.expect("in time").expect("it runs");
        });
        assert_eq!(rules(&bed.nodes[0], wall), before, "nothing of ours stays");
    });
}

#[test]
fn the_cluster_passes_ip6tables_of_the_new_kind() {
    let read = "ip6tables-nft-save -t filter";
    let wall = ip6tables("ip6tables-nft", read, "ip6tables (nft) DOCKER-USER");
    the_cluster_passes("walls6", &wall);
}

#[test]
fn the_cluster_passes_ip6tables_of_the_old_kind() {
    let read = "ip6tables-legacy-save -t filter";
    let wall = ip6tables("ip6tables-legacy", read, "ip6tables (legacy) DOCKER-USER");
    the_cluster_passes("old-walls6", &wall);
}

#[test]
fn the_cluster_passes_firewalld_in_ipv6() {
    // It finds neighbours itself: firewalld lets through what IPv6 cannot be without.
    let find =
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n        ct state invalid drop";
    let rules = FIREWALLD.replace("ct state invalid drop", find);
    let wall = Wall {
        load: format!("nft -f - <<'X'\n{rules}X\n"),
        read: "nft list table inet firewalld",
        told: "inet firewalld filter_FORWARD",
    };
    the_cluster_passes("zones6", &wall);
}
