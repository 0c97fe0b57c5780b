//! The chains of our table that stay as they are whatever the cluster does. They open no port that was not published.
//! What they look up lies in sets and maps, which `ruleset` fills.

use std::collections::BTreeMap;

use shoal_proto::overlay::{SEALED_PORT, WIREGUARD_PORT};
use shoal_proto::reach::PROBE_PORT;

use super::dns::PORT as NAMES;
use super::ours::{BRIEF, DEVICE, MARK_MASK, SEALED_DEVICE, WIREGUARD_DEVICE};
use super::side::{Family, Side};
use super::table::{Base, Chain, Rule};
use super::view::View;

/// Ours come before Docker's and `kube-proxy`'s at the same hook, and after connection tracking.
const EARLY: i32 = -155;
const NAT_BEFORE: i32 = -105;
const NAT_AFTER: i32 = 95;
const FILTER: i32 = -5;
/// When all addresses of a packet are what they will be on the wire.
const LAST: i32 = 105;

const TRANSPORT: &str = "meta l4proto . th dport";

/// All of them, by name.
pub(super) fn fixed(view: &View, side: Side) -> BTreeMap<String, Chain> {
    let family = side.family();
    let filter = |hook, priority| base("filter", hook, priority);
    let chains = [
        ("guard", Chain::base(filter("prerouting", EARLY), guard(family))),
        ("outside", Chain::plain(outside(family))),
        ("tunnel", Chain::plain(tunnel(family))),
        ("sealed-tunnel", Chain::plain(entered(SEALED_DEVICE))),
        ("sealing", Chain::plain(sealing(family))),
        ("own-network", Chain::plain(own_network(family))),
        (
            "arrive",
            Chain::base(base("nat", "prerouting", NAT_BEFORE), arrive(family)),
        ),
        (
            "call",
            Chain::base(base("nat", "output", NAT_BEFORE), ["jump balance".to_owned()]),
        ),
        ("balance", Chain::plain(balance(family))),
        (
            "leave",
            Chain::base(base("nat", "postrouting", NAT_AFTER), leave(family)),
        ),
        (
            "refuse",
            Chain::base(filter("input", FILTER), refuse(view, family)),
        ),
        ("unserved", Chain::plain(unserved(family))),
        ("refusal", Chain::plain(refusal())),
        ("answer", Chain::base(filter("output", FILTER), answer(family))),
        ("pass", Chain::base(filter("forward", FILTER), pass())),
        ("seal", Chain::base(filter("postrouting", LAST), seal(view, side))),
        ("from-sealed", Chain::plain(from_sealed())),
        ("to-sealed", Chain::plain(to_sealed())),
    ];
    let chains = chains.into_iter();
    chains.map(|(name, chain)| (name.to_owned(), chain)).collect()
}

const fn base(kind: &'static str, hook: &'static str, priority: i32) -> Base {
    Base { kind, hook, priority }
}

const fn icmp(family: Family) -> &'static str {
    match family {
        Family::V4 => "icmp",
        Family::V6 => "icmpv6",
    }
}

/// Before anything is routed: marks, and who may call whom by address. Every packet of the host walks along here, so each
/// is sent to the few rules for where it comes from.
fn guard(family: Family) -> Vec<String> {
    let ip = family.word();
    // What ARP is to IPv4 are packets of its own to IPv6: they find neighbours, and nobody passes them on.
    let neighbours =
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } ip6 hoplimit 255 accept";
    let neighbours = (family == Family::V6).then(|| neighbours.to_owned());
    let first = ["iifname != \"shl*\" goto outside".to_owned()];
    let rest = [
        // Local processes may send from 127.0.0.1 into our devices; nobody may call it from there.
        format!("{ip} daddr {} drop", family.loopback()),
        format!(
            "iifname vmap {{ \"{DEVICE}\" : goto tunnel, \"{SEALED_DEVICE}\" : goto sealed-tunnel, \"{WIREGUARD_DEVICE}\" : \
             goto sealing }}"
        ),
        format!("ct direction reply ct mark & {MARK_MASK:#x} != 0 meta mark set ct mark & {MARK_MASK:#x}"),
        "ct direction reply accept".to_owned(),
        "goto own-network".to_owned(),
    ];
    first.into_iter().chain(neighbours).chain(rest).collect()
}

/// From outside a task is called by published ports only.
fn outside(family: Family) -> Vec<String> {
    vec![
        "ct direction reply accept".to_owned(),
        "iifname \"lo\" accept".to_owned(),
        format!("{} daddr @subnets drop", family.word()),
    ]
}

/// What is encrypted is believed only where it was sealed.
fn tunnel(family: Family) -> Vec<String> {
    let ip = family.word();
    let sealed = [
        format!("{ip} saddr @sealed drop"),
        format!("{ip} daddr @sealed drop"),
    ];
    sealed.into_iter().chain(entered(DEVICE)).collect()
}

/// A client whose own route does not lead through the tunnel is answered through the node where it entered: the one through
/// which it came last, because it may go on through another one from the same port, as datagrams behind a balancer do.
fn entered(device: &str) -> [String; 2] {
    [
        format!("ct state new fib saddr oifname != \"{device}\" ct mark set ether saddr map @entries"),
        format!("ct direction original ct mark & {MARK_MASK:#x} != 0 ct mark set ether saddr map @entries"),
    ]
}

/// From the WireGuard device come the sealed tunnel's packets and probes.
fn sealing(family: Family) -> Vec<String> {
    vec![
        format!("udp dport {{ {SEALED_PORT}, {PROBE_PORT} }} accept"),
        "ct state established,related accept".to_owned(),
        format!("{} type echo-request accept", icmp(family)),
        "drop".to_owned(),
    ]
}

/// What a task may call before any address is translated.
fn own_network(family: Family) -> Vec<String> {
    let ip = family.word();
    vec![
        format!("iifname . {ip} daddr @gateways accept"),
        format!("{ip} saddr @answering drop"),
        // A task calls its own network by address, and nothing else of the cluster but by published ports.
        format!("iifname . {ip} daddr @own accept"),
        format!("{ip} daddr @subnets drop"),
        "iifname @closed drop".to_owned(),
    ]
}

fn arrive(family: Family) -> Vec<String> {
    let ip = family.word();
    vec![
        format!("meta l4proto {{ tcp, udp }} th dport 53 iifname . {ip} daddr @gateways dnat to :{NAMES}"),
        // Who is started by hand knows no gateway of ours, but is to find services by name.
        format!(
            "meta l4proto {{ tcp, udp }} th dport 53 {ip} daddr @resolvers iifname . {ip} saddr @by_hand redirect to :{NAMES}"
        ),
        "jump balance".to_owned(),
    ]
}

fn balance(family: Family) -> Vec<String> {
    let ip = family.word();
    let called = [
        format!("{ip} daddr vmap @balanced"),
        format!("{ip} daddr @virtual return"),
    ];
    // An answer from beyond this host has no way back to ::1. It is refused at once, so that callers try 127.0.0.1.
    let own = (family == Family::V6).then(|| format!("{ip} daddr {} return", family.loopback()));
    let ports = [
        format!("fib daddr type local {ip} daddr . {TRANSPORT} vmap @open_at"),
        format!("fib daddr type local {TRANSPORT} vmap @open"),
    ];
    called.into_iter().chain(own).chain(ports).collect()
}

fn leave(family: Family) -> Vec<String> {
    let ip = family.word();
    vec![
        // It would answer itself past us.
        format!("ct status dnat {ip} saddr . {ip} daddr @selves masquerade"),
        format!("{ip} saddr {} oifname \"shl*\" masquerade", family.loopback()),
        // The task may run on the caller's own host, which would take the answer for one of its own.
        format!(
            "ct status dnat {ip} saddr @peers oifname {{ \"{DEVICE}\", \"{SEALED_DEVICE}\" }} masquerade"
        ),
        // A task of an encrypted network calls a port of one that is not: its address stays off the open tunnel.
        format!("ct status dnat {ip} saddr @sealed oifname \"{DEVICE}\" masquerade"),
        format!("{ip} saddr @subnets oifname != \"shl*\" oifname != \"lo\" masquerade"),
    ]
}

/// Connections to tasks, wherever they come from.
pub(super) fn forget_soon(family: Family) -> Rule {
    let ip = family.word();
    Rule::new(format!(
        "meta l4proto tcp {ip} daddr @subnets ct timeout set \"{BRIEF}\""
    ))
}

/// What has no ready task is refused at once.
fn refuse(view: &View, family: Family) -> Vec<String> {
    let ip = family.word();
    vec![
        // A published port of the same number does not hide it from tasks.
        format!("th dport {NAMES} meta l4proto {{ tcp, udp }} iifname . {ip} daddr @gateways accept"),
        format!(
            "udp dport {{ {}, {WIREGUARD_PORT} }} {ip} saddr != @peers drop",
            view.overlay.port
        ),
        format!("udp dport {SEALED_PORT} iifname != \"{WIREGUARD_DEVICE}\" drop"),
        "ct state new goto unserved".to_owned(),
    ]
}

/// What nobody of the host itself serves.
fn unserved(family: Family) -> Vec<String> {
    let ip = family.word();
    vec![
        format!("{ip} daddr @virtual jump refusal"),
        format!("fib daddr type local {ip} daddr . {TRANSPORT} @claimed_at jump refusal"),
        format!("fib daddr type local {TRANSPORT} @claimed jump refusal"),
    ]
}

fn refusal() -> Vec<String> {
    vec![
        "meta l4proto tcp reject with tcp reset".to_owned(),
        "meta l4proto { udp, sctp } reject".to_owned(),
    ]
}

fn answer(family: Family) -> Vec<String> {
    let redirect = match family {
        Family::V4 => "redirect",
        Family::V6 => "nd-redirect",
    };
    // Isolated neighbours cannot follow the kernel's word that there is a shorter way.
    vec![format!("oifname \"shl*\" {} type {redirect} drop", icmp(family))]
}

fn pass() -> Vec<String> {
    // Few packets open a connection: what they are is asked before where they go.
    let opening = "tcp flags & (syn | rst) == syn";
    vec![format!(
        "{opening} oifname {{ \"{DEVICE}\", \"{SEALED_DEVICE}\" }} tcp option maxseg size set rt mtu"
    )]
}

/// Nothing of an encrypted network leaves this node as it is, whatever is missing: routes, devices, the tunnel's other end.
fn seal(view: &View, side: Side) -> Vec<String> {
    let ip = side.family().word();
    vec![
        format!("{ip} saddr @sealed jump from-sealed"),
        format!("{ip} daddr @sealed jump to-sealed"),
        format!(
            "udp dport {SEALED_PORT} {ip} daddr {} oifname != \"{WIREGUARD_DEVICE}\" drop",
            side.block(view.overlay.subnet)
        ),
    ]
}

fn from_sealed() -> Vec<String> {
    vec![
        format!("oifname \"{DEVICE}\" drop"),
        // What entered at another node is answered through the tunnel.
        format!("ct direction reply ct mark & {MARK_MASK:#x} != 0 oifname != \"{SEALED_DEVICE}\" drop"),
    ]
}

fn to_sealed() -> Vec<String> {
    vec![
        format!("oifname \"{DEVICE}\" drop"),
        "oifname != \"shl*\" oifname != \"lo\" drop".to_owned(),
    ]
}
