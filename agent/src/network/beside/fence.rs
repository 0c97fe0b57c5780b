//! Keeps bridges of ours from passing packets between their ports past the node, from the moment a port is there: the
//! agent isolates each port, but one that comes while no agent runs has to wait for the next. Pure.
//!
//! Only right where bridges do not show packets to the ruleset: where they do, the node itself sends packets so.

use std::collections::BTreeSet;

use serde_json::Value;
use shoal_proto::subnet::Subnet;

use super::native::objects;
use super::openings::MARK;
use crate::network::ours::{TABLE, fnv};

const FAMILY: &str = "bridge";

/// Text for `nft -f` that makes the fence around these blocks, given `nft -j list chains`; none: there shall be none.
pub(super) fn steps(listed: &Value, blocks: Option<&BTreeSet<Subnet>>) -> Vec<String> {
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
fn fence(blocks: &BTreeSet<Subnet>) -> (String, [String; 2]) {
    let blocks: Vec<String> = blocks.iter().map(ToString::to_string).collect();
    let blocks = blocks.join(", ");
    let rules = [
        format!("ether type ip ip saddr {{ {blocks} }} ip daddr {{ {blocks} }} drop comment \"{MARK}\""),
        format!("ether type arp arp saddr ip {{ {blocks} }} drop comment \"{MARK}\""),
    ];
    (format!("apart-{:016x}", fnv(&rules.concat())), rules)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::steps;

    fn listed(names: &[&str]) -> Value {
        let chain = |name: &&str| json!({ "chain": { "family": "bridge", "table": "shoal", "name": name } });
        let other = json!({ "chain": { "family": "ip", "table": "shoal", "name": "guard" } });
        let chains: Vec<Value> = names.iter().map(chain).chain([other]).collect();
        json!({ "nftables": chains })
    }

    #[test]
    fn a_fence_is_made_once_made_anew_for_other_blocks_and_taken_away() {
        let blocks = BTreeSet::from(["10.1.0.0/20".parse().unwrap()]);
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
        let more = BTreeSet::from(["10.1.0.0/20".parse().unwrap(), "10.2.0.0/20".parse().unwrap()]);
        assert!(steps(&listed(&[name]), Some(&more)).contains(&"delete table bridge shoal".to_owned()));
        assert_eq!(steps(&listed(&[name]), None).len(), 2);
        assert_eq!(steps(&listed(&[]), None), Vec::<String>::new());
        assert_eq!(steps(&listed(&[]), Some(&BTreeSet::new())), Vec::<String>::new());
    }
}
