//! From a table of nftables as it should be and as it is to the transactions between. Pure.
//!
//! One endpoint more or less is one or two elements and one rule, whatever else is in the table.

use std::collections::{BTreeMap, BTreeSet};

use super::table::{Change, Elements, FoundRuleset, POOL, Pool, Ruleset};

/// At most two transactions: what is needed, then the removal of what nothing uses any more. (Old kernels do not see in
/// one transaction that a chain's last use has gone.)
#[must_use]
pub(super) fn difference(desired: Option<&Ruleset>, found: Option<&FoundRuleset>) -> Vec<Vec<Change>> {
    let Some(desired) = desired else {
        return found.map(|_| vec![Change::RemoveTable]).into_iter().collect();
    };
    let empty = FoundRuleset::default();
    let mut first = Vec::new();
    let found = match found {
        Some(found) if fits(desired, found) => found,
        Some(_) => {
            // Declared by another version, or by hand: made anew, in the same moment.
            first.extend([Change::RemoveTable, Change::AddTable]);
            &empty
        }
        None => {
            first.push(Change::AddTable);
            &empty
        }
    };
    declare(&mut first, desired, found);
    elements(&mut first, desired, found);
    let second = leftovers(desired, found);
    [first, second]
        .into_iter()
        .filter(|list| !list.is_empty())
        .collect()
}

/// True when all that is there under a name of ours can stay.
fn fits(desired: &Ruleset, found: &FoundRuleset) -> bool {
    let sets = desired.sets.iter().map(|(name, set)| (name, set.kind));
    let pools = desired.pools.keys().map(|name| (name, POOL));
    let same = |is: Option<&(String, Elements)>, text| is.is_none_or(|(is, _)| *is == text);
    let sets_fit = sets
        .chain(pools)
        .all(|(name, kind)| same(found.sets.get(name), kind.text(desired.family)));
    let chains_fit = desired.chains.iter().all(|(name, chain)| {
        let is = found.chains.get(name);
        is.is_none_or(|is| is.base == chain.found().base)
    });
    sets_fit && chains_fit
}

fn declare(changes: &mut Vec<Change>, desired: &Ruleset, found: &FoundRuleset) {
    let memories = desired.memories.difference(&found.memories);
    changes.extend(memories.map(|name| Change::AddMemory(name.clone())));
    let sets = desired.sets.iter().map(|(name, set)| (name, set.kind));
    let pools = desired.pools.keys().map(|name| (name, POOL));
    let new = sets
        .chain(pools)
        .filter(|(name, _)| !found.sets.contains_key(*name));
    changes.extend(new.map(|(name, kind)| Change::AddSet(name.clone(), kind)));
    let new = desired.chains.iter();
    let new = new.filter(|(name, _)| !found.chains.contains_key(*name));
    changes.extend(new.map(|(name, chain)| Change::AddChain(name.clone(), chain.base)));
    for (name, chain) in &desired.chains {
        let seals = found.chains.get(name).map_or(&[][..], |is| &is.seals);
        if seals != chain.found().seals {
            changes.push(Change::FillChain(name.clone(), chain.rules.clone()));
        }
    }
}

fn elements(changes: &mut Vec<Change>, desired: &Ruleset, found: &FoundRuleset) {
    let none = Elements::new();
    for (name, set) in &desired.sets {
        let is = found.sets.get(name).map_or(&none, |(_, elements)| elements);
        set_elements(changes, name, &set.elements, is);
    }
    for (name, pool) in &desired.pools {
        let is = found.sets.get(name).map_or(&none, |(_, elements)| elements);
        set_elements(changes, name, &seats(pool, is), is);
    }
}

fn set_elements(changes: &mut Vec<Change>, set: &str, desired: &Elements, found: &Elements) {
    let stale = found
        .iter()
        .filter(|(key, value)| desired.get(*key) != Some(value));
    changes.extend(stale.map(|(key, _)| Change::RemoveElement(set.to_owned(), key.clone())));
    let new = desired
        .iter()
        .filter(|(key, value)| found.get(*key) != Some(value));
    changes.extend(new.map(|(key, value)| Change::AddElement(set.to_owned(), key.clone(), value.clone())));
}

/// Numbers for the members of a pool: who has one below the count of members keeps it, the others fill the gaps.
fn seats(pool: &Pool, found: &Elements) -> Elements {
    let mut waiting: BTreeSet<String> = pool.0.iter().map(ToString::to_string).collect();
    let count = waiting.len();
    let mut seats: BTreeMap<usize, String> = BTreeMap::new();
    for (key, value) in found {
        let (Ok(seat), Some(value)) = (key.parse::<usize>(), value) else {
            continue;
        };
        if seat < count && waiting.remove(value) {
            seats.insert(seat, value.clone());
        }
    }
    for seat in 0..count {
        let next = || waiting.pop_first().expect("as many members as seats");
        seats.entry(seat).or_insert_with(next);
    }
    seats
        .into_iter()
        .map(|(seat, address)| (seat.to_string(), Some(address)))
        .collect()
}

/// Chains and sets that the table should not have.
fn leftovers(desired: &Ruleset, found: &FoundRuleset) -> Vec<Change> {
    let chains = found.chains.keys();
    let chains: Vec<_> = chains
        .filter(|name| !desired.chains.contains_key(*name))
        .collect();
    let sets = found.sets.keys();
    let sets = sets.filter(|name| !desired.sets.contains_key(*name) && !desired.pools.contains_key(*name));
    // All are emptied before the first goes: they may use each other.
    let flush = chains
        .iter()
        .map(|name| Change::FillChain((*name).clone(), Vec::new()));
    let remove = chains.iter().map(|name| Change::RemoveChain((*name).clone()));
    let sets = sets.map(|name| Change::RemoveSet(name.clone()));
    flush.chain(sets).chain(remove).collect()
}

#[cfg(test)]
#[path = "table_difference_test.rs"]
mod tests;
