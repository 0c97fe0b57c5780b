//! How long a stack remembers, and what it holds on to meanwhile.

use shoal_core::service::revise::RollbackScope;
use shoal_core::state::Proposal;
use shoal_proto::object::Cause;
use shoal_proto::stack::{STACK_HISTORY_BYTES_MAX, STACK_REVISIONS_MAX};
use shoal_proto::time::Timestamp;

use super::stored_bytes;
use crate::api::control::stack_draft::Telling;
use crate::api::control::stack_house::{House, house_with_shop, service};
use crate::api::control::stack_plan::Prune;

fn numbers(house: &House) -> Vec<u64> {
    let revisions = house.stack().revisions.iter();
    revisions.map(|revision| revision.number).collect()
}

#[test]
fn a_stack_forgets_its_oldest_revisions_and_what_only_they_named() {
    let (mut house, mut spec) = house_with_shop();
    let pruned = spec.services.pop().unwrap();
    let gone = house.state.service_named(&pruned.name).unwrap().revision;
    house.deploy(&spec, Prune::Services).unwrap();
    house.settle();
    assert!(house.state.service_named(&pruned.name).is_none());
    assert!(house.state.revision(gone).is_some(), "revision 1 may come back");
    for number in 0..STACK_REVISIONS_MAX {
        spec.services[0].template.container.image = format!("nginx:{number}");
        house.deploy(&spec, Prune::Nothing).unwrap();
    }
    let last = STACK_REVISIONS_MAX as u64 + 2;
    assert_eq!(numbers(&house), (3..=last).collect::<Vec<_>>());
    assert!(
        house.state.revision(gone).is_none(),
        "nobody can ask for it any more"
    );
}

#[test]
fn the_history_of_a_large_stack_is_bounded_by_its_bytes() {
    let (mut house, mut spec) = house_with_shop();
    let more = (0..200).map(|number| service(&format!("shop_s{number}"), "nginx:1"));
    spec.services.extend(more);
    for number in 0..9 {
        spec.services[0].template.container.image = format!("nginx:{number}");
        house.deploy(&spec, Prune::Nothing).unwrap();
    }
    let kept = numbers(&house);
    assert!(
        kept.len() > 2 && kept.len() < 9 && kept.ends_with(&[9, 10]),
        "{kept:?}"
    );
    assert!(stored_bytes(house.stack()) <= STACK_HISTORY_BYTES_MAX);
}

#[test]
fn revisions_that_a_stack_names_outlive_the_history_of_their_service() {
    let (mut house, mut spec) = house_with_shop();
    let first = house.state.service_named("shop_web").unwrap().revision;
    spec.services[0].template.container.image = "nginx:2".to_owned();
    house.deploy(&spec, Prune::Nothing).unwrap();
    for number in 0..30 {
        house.edit("shop_web", |spec| {
            spec.template.container.image = format!("other:{number}");
        });
        house.settle();
    }
    assert!(house.state.revision(first).is_some());
    house.rollback(1, RollbackScope::Content).unwrap();
}

#[test]
fn the_history_makes_room_for_a_deployment_that_changes_everything() {
    let (mut house, mut spec) = house_with_shop();
    let more = (0..130).map(|number| service(&format!("shop_s{number}"), "nginx:1"));
    spec.services.extend(more);
    for number in 0..5 {
        for service in &mut spec.services {
            service.template.container.env = vec![format!("N={number}{}", "x".repeat(5_000))];
        }
        let planned = house.order(&spec, Prune::Nothing, Telling::Outcome).unwrap();
        let groups = vec![planned.group.clone()];
        let proposal = Proposal::new(Timestamp::from_ms(1), Cause::default(), groups);
        assert!(
            proposal.to_bytes().is_ok(),
            "deployment {number} is within the limits"
        );
        house.carry_out(planned);
    }
    assert!(numbers(&house).len() < 6, "{:?}", numbers(&house));
}
