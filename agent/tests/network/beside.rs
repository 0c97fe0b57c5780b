//! Beside firewalls, with the rules that they write: what the cluster needs passes, what it does not need is dropped as
//! before, a reload is survived, and nothing stays behind.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use shoal_agent::network::beside::Beside;
use shoal_agent::network::dns::{Config, Dns};
use shoal_agent::network::kernel::linux::Linux;
use shoal_agent::network::view::View;
use tokio::task::spawn_blocking;

use crate::alone::{Space, alone, run, until};
use crate::names::{GATEWAY, TASK, cluster, container};
use crate::sample::{HOST, host, mend};

/// Where nodes ask each other how they are.
const PROBES: u16 = 4_603;
/// Of the sample's second node.
const PEER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 12);
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 66);

/// ufw 0.36 as it is after `ufw enable`, without what is for other protocols.
const UFW: &str = "*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-before-input - [0:0]
:ufw-before-forward - [0:0]
:ufw-user-input - [0:0]
:ufw-not-local - [0:0]
-A INPUT -j ufw-before-input
-A FORWARD -j ufw-before-forward
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -p icmp --icmp-type echo-request -j ACCEPT
-A ufw-before-input -j ufw-not-local
-A ufw-before-input -j ufw-user-input
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw-not-local -j DROP
-A ufw-user-input -p tcp --dport 22 -j ACCEPT
COMMIT
";

/// An Engine of before version 28 on the same host, with a bridge of its own; of one that sees to IPv6 (27 and later do by
/// themselves) there, too.
pub(crate) const DOCKER: &str = "*filter
:DOCKER-USER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-I FORWARD -j DOCKER-ISOLATION-STAGE-1
-I FORWARD -j DOCKER-USER
-A DOCKER-ISOLATION-STAGE-1 -i shl+ ! -o shl+ -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o shl+ -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
";

/// Puts ufw and an Engine's rules up on a host.
pub(crate) fn wall_in(host: &Space) {
    for rules in [UFW, DOCKER] {
        host.run(&format!("iptables-nft-restore --noflush <<'X'\n{rules}X"));
    }
}

/// Lets what a node with this view needs through the firewalls of a host, of which one is told with that word.
pub(crate) fn open(host: &Space, view: &View, word: &str) {
    host.within(async || {
        let beside = Beside::start(Arc::new(Linux::open().expect("netlink")));
        beside.show(&Arc::new(view.clone()));
        let mut state = beside.state();
        let kept = state.wait_for(|state| !state.kept.is_empty());
        let kept = tokio::time::timeout(Duration::from_secs(20), kept).await;
        let kept = kept.expect("in time").expect("it runs").clone();
        assert!(kept.kept.iter().any(|line| line.contains(word)), "{kept:?}");
        assert!(kept.problems.is_empty(), "{kept:?}");
    });
}

/// firewalld 2 over nftables, the zone public.
pub(crate) const FIREWALLD: &str = "table inet firewalld {
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept;
        ct state { established, related } accept
        iifname \"lo\" accept
        ct state invalid drop
        jump filter_INPUT_ZONES
        reject with icmpx admin-prohibited
    }
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname \"lo\" accept
        ct state invalid drop
        reject with icmpx admin-prohibited
    }
    chain filter_INPUT_ZONES { goto filter_IN_public; }
    chain filter_IN_public { tcp dport 22 accept; }
}
";

/// A firewall: how it is loaded again from the start, and how it is read.
struct Firewall {
    load: String,
    read: &'static str,
}

fn ufw(kind: &str, read: &'static str) -> Firewall {
    Firewall {
        load: format!("{kind}-restore <<'X'\n{UFW}X"),
        read,
    }
}

fn firewalld() -> Firewall {
    Firewall {
        load: format!("nft delete table inet firewalld 2>/dev/null; nft -f - <<'X'\n{FIREWALLD}X"),
        read: "nft list table inet firewalld",
    }
}

/// Another host on the nodes' network.
fn neighbour(port: &str, address: Ipv4Addr) -> Space {
    let space = Space::new();
    let pid = space.pid();
    run(&format!(
        "ip link add {port} type veth peer name eth0 netns {pid} && ip link set {port} master under0 up"
    ));
    space.run(&format!(
        "ip addr add {address}/24 dev eth0 && ip link set eth0 up"
    ));
    space
}

/// What calls the node in a test.
struct Callers {
    peer: Space,
    stranger: Space,
    task: Space,
    probes: UdpSocket,
}

impl Callers {
    fn new() -> Self {
        let probes = UdpSocket::bind((HOST, PROBES)).expect("the port");
        probes
            .set_read_timeout(Some(Duration::from_millis(300)))
            .expect("a socket");
        Self {
            peer: neighbour("peer0", PEER),
            stranger: neighbour("strange0", STRANGER),
            task: container("task1", TASK),
            probes,
        }
    }

    /// Whether a probe of another host arrives.
    fn probe(&self, from: &Space) -> bool {
        from.within(async || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
            socket.send_to(b"well?", (HOST, PROBES)).expect("sent");
        });
        self.probes.recv_from(&mut [0; 16]).is_ok()
    }

    fn resolves(&self) -> bool {
        let ask = format!("timeout 2 busybox nslookup -type=a web {GATEWAY}");
        self.task.attempt(&ask).is_ok()
    }
}

/// Rules as they are read back, without what changes by itself.
fn rules(firewall: &Firewall) -> Vec<String> {
    let text = run(firewall.read);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.map(|line| line.split(" [").next().unwrap_or_default().to_owned());
    lines.collect()
}

/// The story of one firewall.
fn story(firewall: Firewall) {
    alone(async || {
        host();
        let view = cluster();
        let callers = Callers::new();
        let kernel = Linux::open().expect("netlink");
        mend(&kernel, &view).await;
        run(&firewall.load);
        let before = rules(&firewall);
        let (view, dns, beside) = (
            Arc::new(view),
            Dns::start(Config::default()),
            Beside::start(Arc::new(kernel)),
        );
        dns.show(Arc::clone(&view));
        let open = spawn_blocking(move || {
            assert!(
                !callers.probe(&callers.peer) && !callers.resolves(),
                "the firewall works"
            );
            callers
        });
        let callers = open.await.expect("it calls");
        beside.show(&view);
        let mut state = beside.state();
        let kept = tokio::time::timeout(
            Duration::from_secs(20),
            state.wait_for(|state| !state.kept.is_empty()),
        );
        let kept = kept.await.expect("in time").expect("it runs").clone();
        assert_eq!((kept.kept.len(), kept.problems.len()), (2, 0), "{kept:?}");
        let load = firewall.load.clone();
        let calls = spawn_blocking(move || {
            until("a probe and a name", || {
                callers.probe(&callers.peer) && callers.resolves()
            });
            assert!(!callers.probe(&callers.stranger), "it was opened to all");
            let ssh = format!("timeout 2 busybox nc {HOST} 4604 </dev/null");
            assert!(callers.peer.attempt(&ssh).is_err(), "more was opened");
            run(&load);
            until("the same after a reload", || {
                callers.probe(&callers.peer) && callers.resolves()
            });
        });
        calls.await.expect("it calls");
        beside.clear();
        let gone = tokio::time::timeout(Duration::from_secs(20), state.wait_for(|state| state.cleared));
        gone.await.expect("in time").expect("it runs");
        assert_eq!(rules(&firewall), before, "nothing of ours stays");
    });
}

#[test]
fn beside_ufw_over_the_new_iptables() {
    story(ufw("iptables-nft", "iptables-nft-save -t filter"));
}

#[test]
fn beside_ufw_over_the_old_iptables() {
    story(ufw("iptables-legacy", "iptables-legacy-save -t filter"));
}

#[test]
fn beside_firewalld() {
    story(firewalld());
}

#[test]
fn a_host_without_a_firewall_stays_as_it_is() {
    alone(async || {
        host();
        let (old, nft) = (
            "cat /proc/thread-self/net/ip_tables_names 2>/dev/null; true",
            "nft list ruleset",
        );
        let before = (run(old), run(nft));
        let beside = Beside::start(Arc::new(Linux::open().expect("netlink")));
        beside.show(&Arc::new(cluster()));
        beside.clear();
        let mut state = beside.state();
        let gone = tokio::time::timeout(Duration::from_secs(20), state.wait_for(|state| state.cleared));
        gone.await.expect("in time").expect("it runs");
        assert_eq!((run(old), run(nft)), before);
    });
}
