//! What has to pass a host's firewall for the cluster to work, in the words of `iptables` and of `nft`. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use shoal_proto::overlay::{SEALED_PORT, WIREGUARD_PORT};
use shoal_proto::reach::PROBE_PORT;

use crate::network::dns;
use crate::network::ours::{WIREGUARD_DEVICE, fnv};
use crate::network::side::{Block, Side};
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
            blocks: view::carried(view)
                .flat_map(|(_, network)| {
                    let six = network.prefix.map(Side::V6);
                    let sides = [Some(Side::V4), six].into_iter().flatten();
                    sides.map(|side| side.block(network.subnet))
                })
                .collect(),
        }
    }

    /// For `iptables`, each without comment and verdict.
    pub(super) fn for_iptables(&self, hook: Hook) -> Vec<Rule> {
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

    /// The same for `nft`.
    pub(super) fn for_nft(&self, hook: Hook) -> Vec<Rule> {
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
