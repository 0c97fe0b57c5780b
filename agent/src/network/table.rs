//! A table of nftables as values: as it should be, as it is, the changes between, and their text. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::ours::{TABLE, fnv};
use super::side::Family;

/// A table as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// Which packets it sees.
    pub family: Family,
    /// Chains by name.
    pub chains: BTreeMap<String, Chain>,
    /// Sets and maps by name.
    pub sets: BTreeMap<String, Set>,
    /// Maps from 0, 1, 2 … to addresses, by name; who has which number is not said.
    pub pools: BTreeMap<String, Pool>,
    /// How long connections are remembered, by name.
    pub memories: BTreeSet<String>,
}

/// A table as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundRuleset {
    /// Chains by name.
    pub chains: BTreeMap<String, FoundChain>,
    /// Sets and maps by name, and how they were declared; pools are among them.
    pub sets: BTreeMap<String, (String, Elements)>,
    /// How long connections are remembered, by name; what they say is not looked at.
    pub memories: BTreeSet<String>,
}

/// Keys, and what each leads to in a map.
pub type Elements = BTreeMap<String, Option<String>>;

/// A chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// Where the kernel enters it, if it does.
    pub base: Option<Base>,
    /// Its rules in order.
    pub rules: Vec<Rule>,
}

/// A chain as it is: of its rules, only the seals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundChain {
    /// As `Base::text` says it.
    pub base: Option<String>,
    /// One for each rule; empty for a rule that has none.
    pub seals: Vec<String>,
}

/// Where the kernel enters a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// `filter` or `nat`.
    pub kind: &'static str,
    /// Such as `prerouting`.
    pub hook: &'static str,
    /// Place among all chains at that hook.
    pub priority: i32,
}

/// A rule in the words of `nft`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule(String);

/// What the keys and values of a set are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    key: &'static str,
    value: Option<&'static str>,
    ranges: Ranges,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ranges {
    Yes,
    No,
}

/// A set or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// What it holds.
    pub kind: Kind,
    /// Its elements.
    pub elements: Elements,
}

/// Addresses that take turns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pool(pub BTreeSet<IpAddr>);

/// Both sides are done after a second, or one refused: the numbers of seconds.
const MEMORY: &str = "policy = { time_wait : 1, close : 1 };";

/// What a pool is to `nft`.
pub const POOL: Kind = Kind::map("integer", ADDRESS);

/// Stands for the type of the family's addresses in a kind.
const ADDRESS: &str = "address";

/// One line for `nft`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Makes the table.
    AddTable,
    /// Removes it with all that is in it.
    RemoveTable,
    /// Makes a rule of how long TCP connections that are over are remembered, which rules refer to.
    AddMemory(String),
    /// Makes a set or map.
    AddSet(String, Kind),
    /// Removes one that nothing uses.
    RemoveSet(String),
    /// Makes an empty chain.
    AddChain(String, Option<Base>),
    /// Empties a chain and gives it these rules.
    FillChain(String, Vec<Rule>),
    /// Removes a chain that nothing uses.
    RemoveChain(String),
    /// Adds an element: set, key, value.
    AddElement(String, String, Option<String>),
    /// Removes one: set, key.
    RemoveElement(String, String),
}

impl Ruleset {
    /// Adds an element to a set, which is made if need be.
    pub fn element(&mut self, set: &str, kind: Kind, element: (String, Option<String>)) {
        let set = self.sets.entry(set.to_owned());
        let set = set.or_insert_with(|| Set::of(kind, []));
        set.elements.insert(element.0, element.1);
    }
}

impl Chain {
    /// A chain that others jump to.
    pub fn plain(rules: impl IntoIterator<Item = String>) -> Self {
        Self {
            base: None,
            rules: rules.into_iter().map(Rule).collect(),
        }
    }

    /// A chain that the kernel enters.
    pub fn base(base: Base, rules: impl IntoIterator<Item = String>) -> Self {
        Self {
            base: Some(base),
            ..Self::plain(rules)
        }
    }

    /// How it looks when it is as it should be.
    #[must_use]
    pub fn found(&self) -> FoundChain {
        FoundChain {
            base: self.base.map(|base| base.text()),
            seals: self.rules.iter().map(Rule::seal).collect(),
        }
    }
}

impl Base {
    /// One text for all of it, made from what `nft` lists too.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} {} {}", self.kind, self.hook, self.priority)
    }
}

impl Rule {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// Short for its text; kept as the rule's comment, because `nft` lists rules in other words than it was given.
    #[must_use]
    pub fn seal(&self) -> String {
        format!("{:016x}", fnv(&self.0))
    }
}

impl Kind {
    /// Keys alone.
    #[must_use]
    pub const fn set(key: &'static str) -> Self {
        Self {
            key,
            value: None,
            ranges: Ranges::No,
        }
    }

    /// Keys that may be blocks of addresses.
    #[must_use]
    pub const fn ranges(key: &'static str) -> Self {
        Self {
            key,
            value: None,
            ranges: Ranges::Yes,
        }
    }

    /// Keys that lead to values.
    #[must_use]
    pub const fn map(key: &'static str, value: &'static str) -> Self {
        Self {
            key,
            value: Some(value),
            ranges: Ranges::No,
        }
    }

    /// One text for all of it, made from what `nft` lists too.
    #[must_use]
    pub fn text(&self, family: Family) -> String {
        let text = kind_text(self.key, self.value, self.ranges == Ranges::Yes);
        text.replace(ADDRESS, family.address_type())
    }

    fn declaration(&self, family: Family) -> String {
        let mut text = match self.value {
            // A bare integer has no size; the generator's type has.
            Some(value) if self.key == POOL.key && Some(value) == POOL.value => {
                return format!("{{ typeof numgen inc mod 2 : {} daddr; }}", family.word());
            }
            Some(value) => format!("{{ type {} : {value};", self.key),
            None => format!("{{ type {};", self.key),
        };
        text = text.replace(ADDRESS, family.address_type());
        if self.ranges == Ranges::Yes {
            text.push_str(" flags interval;");
        }
        text + " }"
    }
}

/// The text of a kind that was read.
pub(super) fn kind_text(key: &str, value: Option<&str>, ranges: bool) -> String {
    let value = value.map(|value| format!(" : {value}")).unwrap_or_default();
    let ranges = if ranges { " ranges" } else { "" };
    format!("{key}{value}{ranges}")
}

impl Set {
    /// A set with elements.
    pub fn of(kind: Kind, elements: impl IntoIterator<Item = (String, Option<String>)>) -> Self {
        Self {
            kind,
            elements: elements.into_iter().collect(),
        }
    }
}

/// The changes to the table of a family in the language of `nft`, to be read from a file: one transaction.
#[must_use]
pub fn script(family: Family, changes: &[Change]) -> String {
    let table = format!("{} {TABLE}", family.word());
    let mut text = String::new();
    let mut open: Option<(&str, &str)> = None;
    for change in changes {
        let element = element(change);
        // Elements of one set that follow each other share a line: thousands of them are read at once.
        let same = open.is_some() && open == element.as_ref().map(|(verb, set, _)| (*verb, *set));
        if open.is_some() && !same {
            text.push_str(" }\n");
        }
        match &element {
            Some((_, _, element)) if same => text.extend([", ", element]),
            Some((verb, set, element)) => {
                text.extend([verb, " element ", &table, " ", set, " { ", element]);
            }
            None => text.extend([line((family, &table), change).as_str(), "\n"]),
        }
        open = element.map(|(verb, set, _)| (verb, set));
    }
    if open.is_some() {
        text.push_str(" }\n");
    }
    text
}

/// Verb, set and text of a change to an element.
fn element(change: &Change) -> Option<(&'static str, &str, String)> {
    match change {
        Change::AddElement(set, key, None) => Some(("add", set, key.clone())),
        Change::AddElement(set, key, Some(value)) => Some(("add", set, format!("{key} : {value}"))),
        Change::RemoveElement(set, key) => Some(("delete", set, key.clone())),
        _ => None,
    }
}

fn line((family, table): (Family, &str), change: &Change) -> String {
    match change {
        Change::AddTable => format!("add table {table}"),
        Change::RemoveTable => format!("delete table {table}"),
        Change::AddMemory(name) => {
            let of = family.word();
            format!("add ct timeout {table} {name} {{ protocol tcp; l3proto {of}; {MEMORY} }}")
        }
        Change::AddSet(name, kind) => {
            let word = kind.value.map_or("set", |_| "map");
            format!("add {word} {table} {name} {}", kind.declaration(family))
        }
        Change::RemoveSet(name) => format!("delete set {table} {name}"),
        Change::AddChain(name, None) => format!("add chain {table} {name}"),
        Change::AddChain(name, Some(base)) => format!(
            "add chain {table} {name} {{ type {} hook {} priority {}; policy accept; }}",
            base.kind, base.hook, base.priority
        ),
        Change::FillChain(name, rules) => {
            let flush = format!("flush chain {table} {name}");
            let rules = rules
                .iter()
                .map(|rule| format!("\nadd rule {table} {name} {} comment \"{}\"", rule.0, rule.seal()));
            std::iter::once(flush).chain(rules).collect()
        }
        Change::RemoveChain(name) => format!("delete chain {table} {name}"),
        Change::AddElement(..) | Change::RemoveElement(..) => {
            unreachable!("elements are written by `script`")
        }
    }
}
