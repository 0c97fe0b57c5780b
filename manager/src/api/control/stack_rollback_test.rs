//! What a rollback and a restart of a stack become, tried on a state.

use shoal_core::service::revise::RollbackScope;
use shoal_core::state::Group;
use shoal_proto::service::Mode;
use shoal_proto::stack::StackSpec;
use shoal_proto::update::Direction;
use tonic::Code;

use crate::api::control::stack_house::{House, house_with_shop, image, replicas, service, told};
use crate::api::control::stack_plan::Prune;

/// A second deployment: another image for one service, and one service more.
fn house_with_two() -> (House, StackSpec, StackSpec) {
    let (mut house, first) = house_with_shop();
    let mut second = first.clone();
    second.services[0].template.container.image = "nginx:2".to_owned();
    second.services.push(service("shop_more", "more:1"));
    house.deploy(&second, Prune::Nothing).unwrap();
    (house, first, second)
}

fn refusal(house: &mut House, to: u64) -> (Code, String) {
    let refused = house.rollback(to, RollbackScope::Content).unwrap_err();
    (refused.code(), refused.message().to_owned())
}

#[test]
fn an_older_revision_comes_back_whole_under_a_new_number() {
    let (mut house, ..) = house_with_two();
    let changes = house.rollback(0, RollbackScope::Content).unwrap();
    let wanted = [
        "unchanged service shop_api",
        "rolled back service shop_web",
        "removed service shop_more",
    ];
    assert_eq!(changes, wanted);
    assert_eq!(image(&house, "shop_web"), "nginx:1");
    let web = house.state.service_named("shop_web").unwrap();
    assert_eq!(web.rollout.as_ref().unwrap().direction, Direction::Rollback);
    let newest = house.stack().revisions.last().unwrap();
    assert_eq!(
        (newest.number, newest.restores, newest.services.len()),
        (3, Some(1), 2)
    );
    // And forth again.
    house.settle();
    house.rollback(0, RollbackScope::Content).unwrap();
    assert_eq!(image(&house, "shop_web"), "nginx:2");
    assert_eq!(image(&house, "shop_more"), "more:1");
}

#[test]
fn replicas_set_by_scale_stay_unless_the_settings_are_asked_for() {
    let (mut house, ..) = house_with_two();
    house.scale("shop_web", 7);
    house.rollback(1, RollbackScope::Content).unwrap();
    assert_eq!(replicas(&house, "shop_web"), Mode::Replicated { replicas: 7 });
    let changes = house.rollback(1, RollbackScope::ContentAndSettings).unwrap();
    assert!(
        changes.contains(&"updated service shop_web".to_owned()),
        "{changes:?}"
    );
    assert_eq!(replicas(&house, "shop_web"), Mode::Replicated { replicas: 1 });
}

#[test]
fn a_file_that_changes_a_number_is_heard_after_a_rollback() {
    let (mut house, first, mut second) = house_with_two();
    second.services[0].settings.mode = Mode::Replicated { replicas: 3 };
    house.deploy(&second, Prune::Nothing).unwrap();
    house.rollback(1, RollbackScope::Content).unwrap();
    assert_eq!(replicas(&house, "shop_web"), Mode::Replicated { replicas: 3 });
    house.deploy(&first, Prune::Nothing).unwrap();
    assert_eq!(replicas(&house, "shop_web"), Mode::Replicated { replicas: 1 });
}

#[test]
fn a_service_that_was_pruned_is_made_again_as_it_was() {
    let (mut house, first) = house_with_shop();
    let mut second = first.clone();
    second.services.pop();
    house.deploy(&second, Prune::Services).unwrap();
    house.settle();
    assert!(house.state.services().all(|service| service.name != "shop_api"));
    let changes = house.rollback(1, RollbackScope::Content).unwrap();
    assert!(
        changes.contains(&"created service shop_api".to_owned()),
        "{changes:?}"
    );
    let api = house.state.service_named("shop_api").unwrap();
    let revision = house.state.revision(api.revision).unwrap();
    let secret = house.state.secret_named("shop_key").unwrap();
    assert_eq!(
        revision.template.container.secrets[0].version,
        Some(secret.versions[0].id)
    );
    assert_eq!(api.settings.ingress_ports.len(), 1);
    house.deploy(&first, Prune::Services).unwrap();
    assert_eq!(
        house.stack().revisions.len(),
        3,
        "the file of then asks for what is"
    );
}

#[test]
fn the_version_of_a_secret_of_then_comes_back() {
    let (mut house, mut spec) = house_with_shop();
    spec.secrets[0].digest = house.upload(b"another secret");
    house.deploy(&spec, Prune::Nothing).unwrap();
    house.rollback(0, RollbackScope::Content).unwrap();
    let web = house.state.service_named("shop_web").unwrap();
    let used = &house
        .state
        .revision(web.revision)
        .unwrap()
        .template
        .container
        .secrets[0];
    let secret = house.state.secret_named("shop_key").unwrap();
    assert_eq!(used.version, Some(secret.versions[0].id));
}

#[test]
fn a_rollback_that_cannot_be_is_refused_and_says_why() {
    let (mut house, _) = house_with_shop();
    let (code, text) = refusal(&mut house, 0);
    assert_eq!(code, Code::FailedPrecondition);
    assert_eq!(
        text,
        "stack shop has no revision before revision 1 to roll back to"
    );
    let (code, text) = refusal(&mut house, 9);
    assert_eq!(code, Code::NotFound);
    let wanted =
        "stack shop has no revision 9: revision 1 is the only one, `shoal stack history shop` lists them";
    assert_eq!(text, wanted);
    let (_, text) = refusal(&mut house, 1);
    assert_eq!(text, "stack shop has the content of revision 1 already");
}

#[test]
fn a_rollback_to_what_used_a_secret_that_is_gone_is_refused() {
    let (mut house, mut spec) = house_with_shop();
    for service in &mut spec.services {
        service.template.container.secrets.clear();
    }
    spec.secrets.clear();
    house.deploy(&spec, Prune::Nothing).unwrap();
    let secret = house.state.secret_named("shop_key").unwrap().clone();
    let mut group = Group::new();
    group.delete(secret);
    house.apply(group);
    let (code, text) = refusal(&mut house, 1);
    assert_eq!(code, Code::FailedPrecondition);
    let wanted = "stack shop cannot go back to revision 1: service shop_api used a version of secret shop_key then, \
                  which is gone";
    assert_eq!(text, wanted);
}

#[test]
fn a_rollback_undoes_what_others_changed_since_the_newest_deployment() {
    let (mut house, _) = house_with_shop();
    house.edit("shop_web", |spec| {
        spec.template.container.image = "hacked:1".to_owned()
    });
    house.rollback(1, RollbackScope::Content).unwrap();
    assert_eq!(image(&house, "shop_web"), "nginx:1");
    assert_eq!(house.stack().revisions.len(), 2);
}

#[test]
fn a_plan_of_a_rollback_tells_both_sides() {
    let (mut house, ..) = house_with_two();
    let planned = house.plan_rollback(1, RollbackScope::Content).unwrap();
    let changes = &planned.answer.changes;
    let web = changes
        .iter()
        .find(|one| told(one) == "rolled back service shop_web")
        .unwrap();
    assert!(web.rolls && web.before.is_some() && web.after.is_some());
    let more = changes
        .iter()
        .find(|one| told(one) == "removed service shop_more")
        .unwrap();
    assert!(!more.rolls && more.before.is_some() && more.after.is_none());
}

#[test]
fn a_restart_makes_new_tasks_and_counts_as_no_change_of_the_file() {
    let (mut house, spec) = house_with_shop();
    assert_eq!(house.restart(&["web"]).unwrap(), ["restarted service shop_web"]);
    assert_eq!(
        house
            .state
            .service_named("shop_web")
            .unwrap()
            .last_revision_number,
        2
    );
    assert_eq!(
        house
            .state
            .service_named("shop_api")
            .unwrap()
            .last_revision_number,
        1
    );
    let index = house.state.index();
    house.deploy(&spec, Prune::Nothing).unwrap();
    assert_eq!(house.state.index(), index);
    house.restart(&[]).unwrap();
    assert_eq!(
        house
            .state
            .service_named("shop_api")
            .unwrap()
            .last_revision_number,
        2
    );
    let refused = house.restart(&["wbe"]).unwrap_err();
    let wanted = "stack shop has no service \"wbe\": it has shop_web, shop_api";
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, wanted));
}
