//! Chains that a firewall made with `nft` itself: which of them could drop what is ours, from `nft -j list`, and the text
//! for `nft -f` that puts our rules first in them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::openings::{Hook, MARK, Openings, Rule, told};
use crate::network::ours::TABLE;
use crate::network::side::Family;

/// Tables that see to our packets as they should: the Engine's lets through what its networks say, and those of
/// `kube-proxy` drop what is for its own services.
const LEFT_ALONE: [&str; 2] = ["docker-bridges", "kube-proxy"];

/// A table: its family and name.
pub(super) type Name = (String, String);

/// A base chain at which packets of the host pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base {
    /// Its table.
    pub(super) table: Name,
    /// Its own name.
    pub(super) chain: String,
    /// As `nft` names it.
    pub(super) hook: String,
    /// Whether it drops what no rule decides.
    pub(super) drops: bool,
}

/// Base chains of others, from `nft -j list chains`.
pub(super) fn bases(listed: &Value) -> Vec<Base> {
    let chains = objects(listed, "chain");
    let bases = chains.filter_map(|chain| {
        let text = |name: &str| chain[name].as_str().map(str::to_owned);
        let (family, table) = (text("family")?, text("table")?);
        let theirs = table != TABLE && !LEFT_ALONE.contains(&table.as_str());
        let counts = ["ip", "ip6", "inet"].contains(&family.as_str()) && chain["type"] == "filter";
        (theirs && counts).then_some(())?;
        Some(Base {
            table: (family, table),
            chain: text("name")?,
            hook: text("hook")?,
            drops: chain["policy"] == "drop",
        })
    });
    bases.collect()
}

impl Base {
    /// Where our rules count; none for hooks at which we make none.
    pub(super) fn our_hook(&self) -> Option<Hook> {
        match self.hook.as_str() {
            "input" => Some(Hook::Input),
            "forward" => Some(Hook::Forward),
            _ => None,
        }
    }

    /// Whose packets it sees; none: both families'.
    pub(super) fn family(&self) -> Option<Family> {
        Family::ALL
            .into_iter()
            .find(|family| family.word() == self.table.0)
    }

    /// Whether `iptables`, or in IPv6 `ip6tables`, made it.
    pub(super) fn is_of_iptables(&self, family: Family) -> bool {
        let filter = self.family() == Some(family) && self.table.1 == "filter";
        filter && ["INPUT", "FORWARD", "OUTPUT"].contains(&self.chain.as_str())
    }

    /// What of ours passes it.
    pub(super) fn concerned<'o>(&self, openings: Option<&'o Openings>) -> Option<&'o Openings> {
        openings.filter(|openings| self.family().is_none_or(|family| openings.concern(family)))
    }

    /// As people name it.
    pub(super) fn told(&self) -> String {
        let ((family, table), chain) = (&self.table, &self.chain);
        format!("{family} {table} {chain}")
    }

    /// A chain that drops at a hook where we let nothing through ourselves: packets that come in before anything of ours
    /// can be told apart, or that the host sends.
    pub(super) fn problem(&self) -> Option<String> {
        let early = ["prerouting", "output", "postrouting"].contains(&self.hook.as_str());
        let name = self.told();
        (early && self.drops).then(|| {
            format!(
                "chain {name} drops what it does not know at {}: tunnel, probes and containers may be cut off; let \
                 them through with `nft insert rule {name} accept` or a narrower rule",
                self.hook
            )
        })
    }
}

/// Rules of one table, by chain, from `nft -j list table`.
#[derive(Debug, Default)]
pub(super) struct Chains {
    rules: BTreeMap<String, Vec<Found>>,
}

/// A rule of others, or ours.
#[derive(Debug)]
struct Found {
    handle: u64,
    comment: String,
    /// Whether it drops or rejects.
    drops: bool,
    /// Where it may lead.
    leads_to: BTreeSet<String>,
}

impl Found {
    fn is_ours(&self) -> bool {
        self.comment.split(' ').next() == Some(MARK)
    }
}

impl Chains {
    pub(super) fn read(listed: &Value) -> Self {
        let mut chains = Self::default();
        for rule in objects(listed, "rule") {
            let mut found = Found {
                handle: rule["handle"].as_u64().unwrap_or_default(),
                comment: rule["comment"].as_str().unwrap_or_default().to_owned(),
                drops: false,
                leads_to: BTreeSet::new(),
            };
            verdicts(&rule["expr"], &mut found);
            let chain = rule["chain"].as_str().unwrap_or_default();
            chains.rules.entry(chain.to_owned()).or_default().push(found);
        }
        chains
    }

    /// Whether any rule that can be reached from a chain drops or rejects.
    fn restrict(&self, chain: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![chain.to_owned()];
        while let Some(chain) = open.pop() {
            let rules = self.rules.get(&chain).map_or(&[][..], Vec::as_slice);
            if rules.iter().any(|rule| rule.drops) {
                return true;
            }
            let more = rules.iter().flat_map(|rule| &rule.leads_to).cloned();
            let more: Vec<_> = more.filter(|chain| !seen.contains(chain)).collect();
            seen.extend(more.iter().cloned());
            open.extend(more);
        }
        false
    }

    /// Lines for `nft -f` after which a chain lets the openings through, or with none, holds nothing of ours; and what
    /// is kept there.
    pub(super) fn steps(&self, base: &Base, openings: Option<&Openings>) -> (Vec<String>, Option<String>) {
        let found = self.rules.get(&base.chain).map_or(&[][..], Vec::as_slice);
        let restricts = base.drops || self.restrict(&base.chain);
        let wanted = base.concerned(openings).zip(base.our_hook());
        let wanted = wanted.filter(|_| restricts);
        let rules = wanted.map_or_else(Vec::new, |(openings, hook)| openings.for_nft(hook, base.family()));
        let name = base.told();
        let kept = wanted.map(|_| format!("nft {name}: {}", told(&rules)));
        let is = found.iter().filter(|rule| rule.is_ours()).count();
        let first = found.iter().take(rules.len()).map(|rule| &rule.comment);
        let wanted: Vec<_> = rules.iter().map(Rule::comment).collect();
        if is == rules.len() && first.eq(&wanted) {
            return (Vec::new(), kept);
        }
        let ours = found.iter().filter(|rule| rule.is_ours());
        let gone = ours.map(|rule| format!("delete rule {name} handle {}", rule.handle));
        // Each goes before those that were put there: the last one first.
        let put = rules.iter().zip(&wanted).rev();
        let put = put.map(|(rule, comment)| {
            format!("insert rule {name} {} accept comment \"{comment}\"", rule.matches)
        });
        (gone.chain(put).collect(), kept)
    }
}

/// What a rule may end in, wherever in it that stands: a verdict, or a map of them.
fn verdicts(expression: &Value, found: &mut Found) {
    match expression {
        Value::Array(parts) => parts.iter().for_each(|part| verdicts(part, found)),
        Value::Object(parts) => {
            for (key, part) in parts {
                match key.as_str() {
                    "drop" | "reject" => found.drops = true,
                    // What a named map holds is not looked at.
                    "vmap" if part["data"].is_string() => found.drops = true,
                    "jump" | "goto" => found.leads_to.extend(part["target"].as_str().map(str::to_owned)),
                    _ => {}
                }
                verdicts(part, found);
            }
        }
        _ => {}
    }
}

pub(super) fn objects<'a>(listed: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = listed["nftables"].as_array().into_iter().flatten();
    all.filter_map(move |object| object.get(kind))
}

#[cfg(test)]
#[path = "native_test.rs"]
mod tests;
