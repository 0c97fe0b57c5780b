use serde_json::{Value, json};

use super::{Base, Chains, bases};
use crate::network::beside::openings::Openings;
use crate::network::testing::{view, widen};

fn chain(table: &str, name: &str, hook: &str, policy: &str) -> Value {
    json!({ "chain": { "family": "inet", "table": table, "name": name, "type": "filter", "hook": hook, "prio": 10,
        "policy": policy } })
}

fn rule(chain: &str, handle: u64, expression: Value) -> Value {
    json!({ "rule": { "chain": chain, "handle": handle, "expr": [expression] } })
}

fn listed(objects: &[Value]) -> Value {
    json!({ "nftables": objects })
}

fn base(hook: &str, policy: &str) -> Base {
    bases(&listed(&[chain("firewalld", "filter", hook, policy)])).remove(0)
}

fn openings() -> Openings {
    Openings::of(&view(3, 1))
}

#[test]
fn chains_that_could_drop_our_packets_are_found() {
    let mut docker = chain("docker-bridges", "filter-FORWARD", "forward", "accept");
    docker["chain"]["family"] = "ip".into();
    let all = listed(&[
        chain("shoal", "refuse", "input", "accept"),
        docker,
        json!({ "chain": { "family": "inet", "table": "firewalld", "name": "filter_INPUT_ZONES" } }),
        json!({ "chain": { "family": "arp", "table": "t", "name": "c", "type": "filter", "hook": "input" } }),
        json!({ "chain": { "family": "ip6", "table": "t", "name": "c", "type": "filter", "hook": "input" } }),
        chain("firewalld", "filter_INPUT", "input", "accept"),
    ]);
    let found = bases(&all);
    let told: Vec<_> = found.iter().map(Base::told).collect();
    assert_eq!(told, ["ip6 t c", "inet firewalld filter_INPUT"]);
}

#[test]
fn a_table_of_ipv6_counts_where_a_network_has_it() {
    let mut six = base("input", "drop");
    six.table.0 = "ip6".to_owned();
    let steps = |base: &Base, openings: &Openings| Chains::default().steps(base, Some(openings));
    assert_eq!(steps(&six, &openings()), (Vec::new(), None), "there is no IPv6");
    let mut with = view(3, 1);
    widen(&mut with, 1);
    let dual = Openings::of(&with);
    let find = "iifname \"shl*\" icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255";
    let (lines, kept) = steps(&six, &dual);
    assert!(lines.len() == 1 && lines[0].contains(find), "{lines:?}");
    assert!(kept.is_some());
    // A table of both families gets what it got before, and that.
    let both = base("input", "drop");
    let (narrow, wide) = (steps(&both, &openings()).0, steps(&both, &dual).0);
    assert_eq!(wide[..2], narrow[..]);
    assert!(wide.len() == 3 && wide[2].contains(find), "{wide:?}");
    let forward = Base {
        hook: "forward".to_owned(),
        ..six
    };
    assert_eq!(steps(&forward, &dual).0.len(), 4);
}

#[test]
fn a_chain_restricts_where_a_rule_of_it_or_behind_it_drops() {
    let jump = rule("filter", 1, json!({ "jump": { "target": "zones" } }));
    let back = rule("zones", 2, json!({ "goto": { "target": "filter" } }));
    let accept = rule("filter", 3, json!({ "accept": null }));
    let reject = rule("zones", 4, json!({ "reject": { "type": "icmpx" } }));
    let elements = json!({ "set": [["eth0", { "drop": null }]] });
    let map = rule("zones", 5, json!({ "vmap": { "key": 1, "data": elements } }));
    let named = rule("zones", 6, json!({ "vmap": { "key": 1, "data": "@zones" } }));
    let kept = |rules: &[&Value]| {
        let rules: Vec<_> = rules.iter().map(|rule| (*rule).clone()).collect();
        let chains = Chains::read(&listed(&rules));
        !chains
            .steps(&base("input", "accept"), Some(&openings()))
            .0
            .is_empty()
    };
    assert!(!kept(&[]) && !kept(&[&jump, &back, &accept]));
    for drops in [&reject, &map, &named] {
        assert!(kept(&[&jump, &back, drops]), "{drops}");
        assert!(!kept(&[drops]), "no way leads there: {drops}");
    }
}

#[test]
fn our_rules_are_first_or_are_put_there() {
    let input = base("input", "drop");
    let (lines, kept) = Chains::default().steps(&input, Some(&openings()));
    assert_eq!(lines.len(), 2);
    let name = "insert rule inet firewalld filter";
    assert!(lines[0].starts_with(&format!(
        "{name} ip saddr {{ 10.99.0.12, 10.99.0.13 }} udp dport {{ 4788, 4603 }}"
    )));
    assert!(lines[1].starts_with(&format!(
        "{name} iifname \"shl*\" meta l4proto {{ tcp, udp }} th dport 4753"
    )));
    let told = "nft inet firewalld filter: containers ask for names, tunnel and probes of the nodes";
    assert_eq!(kept.as_deref(), Some(told));
    let comment = |line: &str| line.split('"').rev().nth(1).expect("a comment").to_owned();
    let ours = |at: u64, line: &str| json!({ "rule": { "chain": "filter", "handle": at, "expr": [], "comment": comment(line) } });
    let theirs = rule("filter", 9, json!({ "drop": null }));
    let right = listed(&[ours(1, &lines[1]), ours(2, &lines[0]), theirs.clone()]);
    let chains = Chains::read(&right);
    assert!(chains.steps(&input, Some(&openings())).0.is_empty());
    let (cleared, kept) = chains.steps(&input, None);
    assert_eq!(
        cleared,
        [
            "delete rule inet firewalld filter handle 1",
            "delete rule inet firewalld filter handle 2"
        ]
    );
    assert!(kept.is_none());
    let late = listed(&[theirs, ours(1, &lines[1]), ours(2, &lines[0])]);
    assert_eq!(Chains::read(&late).steps(&input, Some(&openings())).0.len(), 4);
}

#[test]
fn only_what_is_translated_or_answered_is_forwarded_from_outside() {
    let (lines, _) = Chains::default().steps(&base("forward", "drop"), Some(&openings()));
    let into: Vec<_> = lines.iter().filter(|line| !line.contains("iifname")).collect();
    assert_eq!(into.len(), 2);
    assert!(
        into.iter()
            .all(|line| line.contains("ct status dnat") || line.contains("ct state established"))
    );
}

#[test]
fn a_chain_that_drops_where_we_make_no_rules_is_named() {
    let problem = base("prerouting", "drop").problem().expect("a problem");
    assert!(
        problem.contains("chain inet firewalld filter drops") && problem.contains("nft insert rule"),
        "{problem}"
    );
    assert!(base("input", "drop").problem().is_none() && base("output", "accept").problem().is_none());
}
