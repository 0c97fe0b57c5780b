//! What a deployment becomes, tried on a state.

use shoal_core::state::Group;
use shoal_proto::digest::Digest;
use shoal_proto::service::{Mode, NetworkTarget};
use tonic::Code;

use super::Prune;
use crate::api::control::stack_draft::Telling;
use crate::api::control::stack_house::{House, house_with_shop, replicas, shop, told};

#[test]
fn everything_of_a_new_stack_is_made_in_one_transaction_and_refers_to_itself() {
    let (house, _) = house_with_shop();
    let web = house.state.service_named("shop_web").unwrap();
    let api = house.state.service_named("shop_api").unwrap();
    let template = &house.state.revision(web.revision).unwrap().template;
    let network = house.state.network_named("shop_net").unwrap();
    assert_eq!(template.networks[0].network, NetworkTarget::Cluster(network.id));
    let secret = house.state.secret_named("shop_key").unwrap();
    assert_eq!(template.container.secrets[0].version, Some(secret.versions[0].id));
    let ports = [web, api].map(|service| service.settings.ingress_ports[0].published_port);
    assert!(ports[0] >= 30_000 && ports[0] != ports[1], "{ports:?}");
    let stack = house.state.stack_named("shop").unwrap();
    assert!(web.stack == Some(stack.id) && stack.revisions.len() == 1);
}

#[test]
fn an_unchanged_file_changes_nothing() {
    let (mut house, spec) = house_with_shop();
    let index = house.state.index();
    let changes = house.deploy(&spec, Prune::Services).unwrap();
    assert!(
        changes.iter().all(|change| change.starts_with("unchanged")),
        "{changes:?}"
    );
    assert_eq!(house.state.index(), index);
}

#[test]
fn a_changed_secret_is_a_new_version_and_a_new_revision_of_those_who_use_it() {
    let (mut house, mut spec) = house_with_shop();
    spec.secrets[0].digest = house.upload(b"another secret");
    let changes = house.deploy(&spec, Prune::Nothing).unwrap();
    assert!(
        changes.contains(&"updated secret shop_key".to_owned()),
        "{changes:?}"
    );
    assert!(
        changes.contains(&"updated service shop_web".to_owned()),
        "{changes:?}"
    );
    assert_eq!(house.state.secret_named("shop_key").unwrap().versions.len(), 2);
    assert_eq!(
        house
            .state
            .service_named("shop_web")
            .unwrap()
            .last_revision_number,
        2
    );
}

#[test]
fn a_scale_survives_a_deployment_whose_file_did_not_change_the_number() {
    let (mut house, mut spec) = house_with_shop();
    let mut scaled = shoal_proto::service::Service::clone(house.state.service_named("shop_web").unwrap());
    scaled.settings.mode = Mode::Replicated { replicas: 7 };
    let mut group = Group::new();
    group.put(scaled);
    house.apply(group);
    spec.services[0].template.container.image = "nginx:2".to_owned();
    house.deploy(&spec, Prune::Nothing).unwrap();
    assert_eq!(replicas(&house, "shop_web"), Mode::Replicated { replicas: 7 });
    spec.services[0].settings.mode = Mode::Replicated { replicas: 2 };
    house.deploy(&spec, Prune::Nothing).unwrap();
    assert_eq!(replicas(&house, "shop_web"), Mode::Replicated { replicas: 2 });
}

#[test]
fn a_service_that_the_file_no_longer_names_goes_only_with_prune() {
    let (mut house, mut spec) = house_with_shop();
    spec.services.pop();
    house.deploy(&spec, Prune::Nothing).unwrap();
    assert!(house.state.service_named("shop_api").is_some());
    let changes = house.deploy(&spec, Prune::Services).unwrap();
    assert!(
        changes.contains(&"removed service shop_api".to_owned()),
        "{changes:?}"
    );
    assert!(house.state.service_named("shop_api").is_none());
}

#[test]
fn a_refused_part_refuses_the_whole_and_says_which() {
    let (mut house, mut spec) = house_with_shop();
    spec.services[1].template.placement.constraints = vec!["node.colour == red".to_owned()];
    let error = house.deploy(&spec, Prune::Nothing).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().starts_with("service shop_api: "), "{error}");

    let mut other = spec.clone();
    other.name = "other".to_owned();
    let error = house.deploy(&other, Prune::Nothing).unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    assert!(
        error
            .message()
            .contains("network shop_net exists already and belongs to stack shop"),
        "{error}"
    );
}

#[test]
fn a_secret_whose_bytes_were_not_uploaded_is_refused() {
    let mut house = House::new();
    let config = house.upload(b"config");
    let error = house
        .deploy(&shop(Digest::of(b"never sent"), config), Prune::Nothing)
        .unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("upload it first"), "{error}");
}

#[test]
fn services_have_virtual_ips_on_a_network_that_is_made_with_them() {
    let (house, _) = house_with_shop();
    let network = house.state.network_named("shop_net").unwrap();
    let subnet = network.subnet.unwrap();
    assert_eq!(subnet.to_string(), "10.128.0.0/20");
    let ips = ["shop_web", "shop_api"].map(|name| {
        let addresses = &house.state.service_named(name).unwrap().addresses;
        assert_eq!(addresses.len(), 1, "{name}");
        assert_eq!(addresses[0].0, network.id);
        addresses[0].1
    });
    assert!(
        ips[0] != ips[1] && ips.iter().all(|ip| subnet.contains(*ip)),
        "{ips:?}"
    );
}

#[test]
fn a_network_that_would_get_ipv6_is_refused_with_what_is_different() {
    let (mut house, mut spec) = house_with_shop();
    spec.networks[0].ipv6 = true;
    let error = house.deploy(&spec, Prune::Nothing).unwrap_err();
    let wanted = "network shop_net exists with other settings (enable_ipv6), and a network never changes";
    assert!(error.message().contains(wanted), "{error}");
}

#[test]
fn a_subnet_of_another_stack_is_refused_with_its_network() {
    let (mut house, mut spec) = house_with_shop();
    spec.name = "other".to_owned();
    spec.services.clear();
    (spec.secrets, spec.configs) = (Vec::new(), Vec::new());
    spec.networks[0].name = "other_net".to_owned();
    spec.networks[0].subnet = "10.128.4.0/24".to_owned();
    let error = house.deploy(&spec, Prune::Nothing).unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    assert!(
        error
            .message()
            .contains("overlaps 10.128.0.0/20 of network shop_net"),
        "{error}"
    );
}

#[test]
fn a_plan_tells_how_each_service_would_be_and_needs_no_bytes() {
    let (mut house, mut spec) = house_with_shop();
    spec.secrets[0].digest = Digest::of(b"never sent");
    spec.services[1].template.container.secrets.clear();
    spec.services[1].settings.mode = Mode::Replicated { replicas: 4 };
    let planned = house.order(&spec, Prune::Nothing, Telling::Plan).unwrap();
    let answer = planned.answer;
    assert_eq!(answer.revision, 2);
    let web = answer
        .changes
        .iter()
        .find(|one| told(one) == "updated service shop_web")
        .unwrap();
    let used = |spec: &Option<shoal_proto::wire::ServiceSpec>| {
        let template = spec.as_ref().unwrap().template.as_ref().unwrap();
        let secret = &template.container.as_ref().unwrap().secrets[0];
        answer.names.as_ref().unwrap().versions[secret.version.as_ref().unwrap()]
    };
    assert_eq!((used(&web.before), used(&web.after)), (1, 2));
    assert!(web.rolls);
    let unchanged = answer.changes.iter().find(|one| one.kind == "config").unwrap();
    assert!(told(unchanged).starts_with("unchanged") && unchanged.after.is_none());
    let outcome = house.order(&spec, Prune::Nothing, Telling::Outcome).unwrap_err();
    assert_eq!(
        outcome.code(),
        Code::FailedPrecondition,
        "a deployment does need them"
    );
}

#[test]
fn a_plan_says_who_changed_what_meanwhile_and_what_stays() {
    let (mut house, spec) = house_with_shop();
    house.scale("shop_web", 7);
    house.edit("shop_api", |spec| {
        spec.template.container.image = "hacked:1".to_owned()
    });
    let planned = house.order(&spec, Prune::Nothing, Telling::Plan).unwrap();
    let change = |what: &str| {
        planned
            .answer
            .changes
            .iter()
            .find(|one| told(one) == what)
            .unwrap()
    };
    let web = change("unchanged service shop_web");
    assert_eq!(
        web.kept.iter().collect::<Vec<_>>(),
        [(&"replicas".to_owned(), &"ann".to_owned())]
    );
    assert!(web.drifted_by.is_none());
    let api = change("updated service shop_api");
    assert!(api.rolls && api.kept.is_empty() && api.drifted_by.is_some());
    let done = house
        .order(&spec, Prune::Nothing, Telling::Outcome)
        .unwrap()
        .answer;
    let kept = done.changes.iter().filter(|one| !one.kept.is_empty());
    assert_eq!(
        kept.map(told).collect::<Vec<_>>(),
        ["unchanged service shop_web"],
        "a deployment says it, too"
    );
}

#[test]
fn what_an_older_file_asked_for_a_service_is_remembered_while_it_lives() {
    let (mut house, mut spec) = house_with_shop();
    let api = spec.services.pop().unwrap();
    house.deploy(&spec, Prune::Nothing).unwrap();
    house.scale("shop_api", 5);
    spec.services.push(api);
    house.deploy(&spec, Prune::Nothing).unwrap();
    assert_eq!(replicas(&house, "shop_api"), Mode::Replicated { replicas: 5 });
}
