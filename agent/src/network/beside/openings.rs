//! What has to pass a host's firewall for the cluster to work, in the words of `iptables` and of `nft`. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use shoal_proto::overlay::{SEALED_PORT, WIREGUARD_PORT};
use shoal_proto::reach::PROBE_PORT;

use crate::network::dns;
use crate::network::ours::{WIREGUARD_DEVICE, fnv};
use crate::network::side::{Block, Family, Side};
use crate::network::view::{self, View};

/// By what our rules are told from those of others, at the beginning of their comment.
pub(super) const MARK: &str = "shoal";

/// When in a packet's way a rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hook {
    /// For the host itself.
    Input,
    /// Through it.
    Forward,
}

impl Hook {
    pub(super) const ALL: [Self; 2] = [Self::Input, Self::Forward];
}

/// What is to pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Openings {
    /// The other nodes' hosts.
    peers: BTreeSet<Ipv4Addr>,
    tunnel_port: u16,
    /// Whether encrypted networks concern this node.
    seals: bool,
    /// Whether networks with IPv6 do.
    six: bool,
    /// Networks of this node: what bridges must not pass by themselves.
    pub(super) blocks: BTreeSet<Block>,
}

/// One rule that lets something pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// Which packets, in the words of its program.
    pub(super) matches: String,
    /// Who and what that is.
    pub(super) about: &'static str,
}

impl Rule {
    /// By what it is found again as it was made. Programs write rules back in words of their own.
    pub(super) fn comment(&self) -> String {
        format!("{MARK} {:016x} {}", fnv(&self.matches), self.about)
    }
}

/// The packets by which neighbours find each other in IPv6, as ARP does it in IPv4: nobody passes them on.
const FINDING: [(&str, u8); 2] = [("nd-neighbor-solicit", 135), ("nd-neighbor-advert", 136)];

const NEIGHBOURS: &str = "containers and the node find each other";
const NAMES: &str = "containers ask for names";
const NODES: &str = "tunnel and probes of the nodes";
const WITHIN: &str = "between containers of the cluster";
const ANSWERS: &str = "answers";
const PORTS: &str = "published ports";

impl Openings {
    /// For a node with this view.
    #[must_use]
    pub fn of(view: &View) -> Self {
        Self {
            peers: view.others().map(|peer| peer.host).collect(),
            tunnel_port: view.overlay.port,
            seals: view::seals(view),
            six: view.networks.values().any(|network| network.prefix.is_some()),
            blocks: view::carried(view)
                .flat_map(|(_, network)| {
                    let six = network.prefix.map(Side::V6);
                    let sides = [Some(Side::V4), six].into_iter().flatten();
                    sides.map(|side| side.block(network.subnet))
                })
                .collect(),
        }
    }

    /// Whether anything of ours passes a table of that family.
    pub(super) fn concern(&self, family: Family) -> bool {
        family == Family::V4 || self.six
    }

    /// For `iptables` and, of IPv6, `ip6tables`, each without comment and verdict.
    pub(super) fn for_iptables(&self, hook: Hook, family: Family) -> Vec<Rule> {
        let rule = |about, matches: &str| Rule {
            matches: matches.to_owned(),
            about,
        };
        if hook == Hook::Forward {
            return vec![
                rule(WITHIN, "-i shl+ -o shl+"),
                rule(ANSWERS, "-i shl+ -m conntrack --ctstate RELATED,ESTABLISHED"),
                rule(ANSWERS, "-o shl+ -m conntrack --ctstate RELATED,ESTABLISHED"),
                rule(PORTS, "-o shl+ -m conntrack --ctstate DNAT"),
            ];
        }
        if family == Family::V6 {
            // Nodes call each other in IPv4, and containers ask for names so.
            let find = FINDING.map(|(_, number)| {
                let kind = format!("-m icmp6 --icmpv6-type {number} -m hl --hl-eq 255");
                rule(NEIGHBOURS, &format!("-i shl+ -p ipv6-icmp {kind}"))
            });
            return find.into();
        }
        let ask = ["udp", "tcp"].map(|protocol| {
            let matches = format!("-i shl+ -p {protocol} -m {protocol} --dport {}", dns::PORT);
            rule(NAMES, &matches)
        });
        let ports = format!("{},{PROBE_PORT}{}", self.tunnel_port, self.sealed(","));
        let inside = self.seals.then(|| {
            let ports = format!("{SEALED_PORT},{PROBE_PORT}");
            rule(
                NODES,
                &format!("-i {WIREGUARD_DEVICE} -p udp -m multiport --dports {ports}"),
            )
        });
        let nodes = self.peers.iter().map(|peer| {
            let matches = format!("-s {peer}/32 -p udp -m multiport --dports {ports}");
            rule(NODES, &matches)
        });
        ask.into_iter().chain(nodes).chain(inside).collect()
    }

    /// The same for `nft`, in a table of one family, or with none, of both.
    pub(super) fn for_nft(&self, hook: Hook, family: Option<Family>) -> Vec<Rule> {
        let rule = |about, matches: String| Rule { matches, about };
        if hook == Hook::Forward {
            let answers = "ct state established,related";
            return vec![
                rule(WITHIN, "iifname \"shl*\" oifname \"shl*\"".to_owned()),
                rule(ANSWERS, format!("iifname \"shl*\" {answers}")),
                rule(ANSWERS, format!("oifname \"shl*\" {answers}")),
                rule(PORTS, "oifname \"shl*\" ct status dnat".to_owned()),
            ];
        }
        let find = (family != Some(Family::V4) && self.six).then(|| {
            let kinds = FINDING.map(|(name, _)| name).join(", ");
            let find = format!("iifname \"shl*\" icmpv6 type {{ {kinds} }} ip6 hoplimit 255");
            rule(NEIGHBOURS, find)
        });
        let calls = (family != Some(Family::V6)).then(|| self.calls_for_nft());
        find.into_iter().chain(calls.into_iter().flatten()).collect()
    }

    /// Who calls the node in IPv4.
    fn calls_for_nft(&self) -> Vec<Rule> {
        let rule = |about, matches: String| Rule { matches, about };
        let names = format!(
            "iifname \"shl*\" meta l4proto {{ tcp, udp }} th dport {}",
            dns::PORT
        );
        let mut rules = vec![rule(NAMES, names)];
        if !self.peers.is_empty() {
            let peers: Vec<_> = self.peers.iter().map(ToString::to_string).collect();
            let peers = peers.join(", ");
            let ports = format!("{}, {PROBE_PORT}{}", self.tunnel_port, self.sealed(", "));
            rules.push(rule(
                NODES,
                format!("ip saddr {{ {peers} }} udp dport {{ {ports} }}"),
            ));
        }
        if self.seals {
            let ports = format!("{SEALED_PORT}, {PROBE_PORT}");
            let inside = format!("iifname \"{WIREGUARD_DEVICE}\" udp dport {{ {ports} }}");
            rules.push(rule(NODES, inside));
        }
        rules
    }

    /// WireGuard's port behind others, where it is used.
    fn sealed(&self, behind: &str) -> String {
        let port = self.seals.then(|| format!("{behind}{WIREGUARD_PORT}"));
        port.unwrap_or_default()
    }
}

/// What rules are about, each once, for people.
pub(super) fn told(rules: &[Rule]) -> String {
    let mut about: Vec<_> = rules.iter().map(|rule| rule.about).collect();
    about.dedup();
    about.join(", ")
}
