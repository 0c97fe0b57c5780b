use super::difference;
use crate::network::ruleset;
use crate::network::side::{Family, Side};
use crate::network::table::{Change, FoundRuleset, script};
use crate::network::testing::{put, view, virtual_ip};
use crate::network::view::EndpointState;

fn made() -> (ruleset::Ruleset, Vec<Vec<Change>>) {
    let mut with = view(2, 2);
    virtual_ip(&mut with, 1, 1);
    put(&mut with, (1, 1, 1, 1), EndpointState::Ready);
    put(&mut with, (2, 1, 1, 2), EndpointState::Ready);
    let wanted = ruleset::of(&with, Side::V4);
    let changes = difference(Some(&wanted), None);
    (wanted, changes)
}

#[test]
fn a_table_that_somebody_declared_otherwise_is_replaced_in_one_transaction() {
    let (wanted, _) = made();
    let mut found = FoundRuleset::default();
    found
        .sets
        .insert("subnets".to_owned(), ("ipv4_addr".to_owned(), [].into()));
    let changes = difference(Some(&wanted), Some(&found));
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0][..2], [Change::RemoveTable, Change::AddTable]);
}

#[test]
fn a_rule_that_was_taken_out_fills_its_chain_again() {
    let (wanted, _) = made();
    let mut found = FoundRuleset::default();
    for (name, chain) in &wanted.chains {
        found.chains.insert(name.clone(), chain.found());
    }
    found.chains.get_mut("guard").expect("it is there").seals.pop();
    let changes = difference(Some(&wanted), Some(&found)).concat();
    let filled = changes
        .iter()
        .filter(|change| matches!(change, Change::FillChain(..)));
    assert_eq!(filled.count(), 1, "{changes:?}");
}

#[test]
fn elements_of_a_set_share_a_line() {
    let (_, changes) = made();
    let text = script(Family::V4, &changes[0]);
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.contains(" subnets { 10."))
        .collect();
    assert_eq!(
        lines,
        ["add element ip shoal subnets { 10.128.16.0/20, 10.128.32.0/20, 10.255.0.0/16 }"]
    );
    assert!(
        text.lines()
            .all(|line| line.matches('{').count() == line.matches('}').count()),
        "{text}"
    );
}
