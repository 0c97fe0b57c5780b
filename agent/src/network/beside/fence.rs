//! Keeps bridges of ours from passing packets between their ports past the node, from the moment a port is there: the
//! agent isolates each port, but one that comes while no agent runs has to wait for the next. Pure.
//!
//! Only right where bridges do not show packets to the ruleset: where they do, the node itself sends packets so.

use std::collections::BTreeSet;

use serde_json::Value;

use super::native::objects;
use super::openings::MARK;
use crate::network::ours::{TABLE, fnv};
use crate::network::side::{Block, Family};

const FAMILY: &str = "bridge";

/// Text for `nft -f` that makes the fence around these blocks, given `nft -j list chains`; none: there shall be none.
pub(super) fn steps(listed: &Value, blocks: Option<&BTreeSet<Block>>) -> Vec<String> {
    let mut found =
        objects(listed, "chain").filter(|chain| chain["family"] == FAMILY && chain["table"] == TABLE);
    let is = found
        .next()
        .map(|chain| chain["name"].as_str().unwrap_or_default());
    let wanted = blocks.filter(|blocks| !blocks.is_empty()).map(fence);
    let name = wanted.as_ref().map(|(name, _)| name.as_str());
    if is == name && found.next().is_none() {
        return Vec::new();
    }
    let table = format!("table {FAMILY} {TABLE}");
    // A table can be removed only if it is there, which adding it makes sure of.
    let mut lines = vec![format!("add {table}"), format!("delete {table}")];
    if let Some((name, rules)) = &wanted {
        lines.push(format!("add {table}"));
        let hook = "{ type filter hook forward priority -5; policy accept; }";
        lines.push(format!("add chain {FAMILY} {TABLE} {name} {hook}"));
        let rules = rules.iter();
        lines.extend(rules.map(|rule| format!("add rule {FAMILY} {TABLE} {name} {rule}")));
    }
    lines
}

/// The name of its chain, from which it is told what it holds, and its rules.
fn fence(blocks: &BTreeSet<Block>) -> (String, Vec<String>) {
    let mut rules = Vec::new();
    for family in Family::ALL {
        let blocks = blocks.iter().filter(|block| Family::of(block.first) == family);
        let blocks: Vec<String> = blocks.map(ToString::to_string).collect();
        if blocks.is_empty() {
            continue;
        }
        let (ip, blocks) = (family.word(), blocks.join(", "));
        // In IPv6 neighbours ask for each other by packets of the same addresses.
        let ask = match family {
            Family::V4 => format!("ether type arp arp saddr ip {{ {blocks} }}"),
            Family::V6 => format!("ether type ip6 ip6 saddr {{ {blocks} }} icmpv6 type nd-neighbor-solicit"),
        };
        let call = format!("ether type {ip} {ip} saddr {{ {blocks} }} {ip} daddr {{ {blocks} }}");
        rules.extend([call, ask].map(|rule| format!("{rule} drop comment \"{MARK}\"")));
    }
    (format!("apart-{:016x}", fnv(&rules.concat())), rules)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::steps;
    use crate::network::side::Side;

    fn listed(names: &[&str]) -> Value {
        let chain = |name: &&str| json!({ "chain": { "family": "bridge", "table": "shoal", "name": name } });
        let other = json!({ "chain": { "family": "ip", "table": "shoal", "name": "guard" } });
        let chains: Vec<Value> = names.iter().map(chain).chain([other]).collect();
        json!({ "nftables": chains })
    }

    #[test]
    fn a_fence_is_made_once_made_anew_for_other_blocks_and_taken_away() {
        let four = |text: &str| Side::V4.block(text.parse().unwrap());
        let blocks = BTreeSet::from([four("10.1.0.0/20")]);
        let made = steps(&listed(&[]), Some(&blocks));
        let chain = made
            .iter()
            .find(|line| line.starts_with("add chain"))
            .expect("a chain");
        let name = chain.split(' ').nth(4).expect("its name");
        assert!(
            made.iter()
                .any(|line| line.contains("ip daddr { 10.1.0.0/20 } drop")),
            "{made:?}"
        );
        assert_eq!(steps(&listed(&[name]), Some(&blocks)), Vec::<String>::new());
        let six = Side::V6("fd12::/96".parse().unwrap()).block("10.1.0.0/20".parse().unwrap());
        let dual = steps(&listed(&[]), Some(&BTreeSet::from([four("10.1.0.0/20"), six])));
        let has = |words: &str| dual.iter().any(|line| line.contains(words));
        assert!(has("ip6 daddr { fd12::a01:0/116 } drop"), "{dual:?}");
        assert!(has("nd-neighbor-solicit drop"), "{dual:?}");
        let more = BTreeSet::from([four("10.1.0.0/20"), four("10.2.0.0/20")]);
        assert!(steps(&listed(&[name]), Some(&more)).contains(&"delete table bridge shoal".to_owned()));
        assert_eq!(steps(&listed(&[name]), None).len(), 2);
        assert_eq!(steps(&listed(&[]), None), Vec::<String>::new());
        assert_eq!(steps(&listed(&[]), Some(&BTreeSet::new())), Vec::<String>::new());
    }
}
