//! What a plan says of services, from what the cluster told, and how it looks.

use shoal_proto::container::{FileTarget, Mount, MountKind, SecretUse};
use shoal_proto::id::{SecretId, StackId, VersionId};
use shoal_proto::object::{Actor, Cause};
use shoal_proto::service::{IngressPort, Mode, NetworkTarget, NetworkUse, Protocol, ServiceSpec};
use shoal_proto::stack::StackRevision;
use shoal_proto::time::Timestamp;

use super::{Change, Effect, What, between_revisions, of};
use crate::client::{SpecNames, StackChange, StackDeployed, StackRevisionDetail};
use crate::render;

fn web() -> ServiceSpec {
    let mut spec = ServiceSpec {
        name: "shop_web".to_owned(),
        settings: Default::default(),
        template: Default::default(),
    };
    let container = &mut spec.template.container;
    container.image = "nginx:1".to_owned();
    container.env = vec!["LEVEL=info".to_owned(), "OLD=1".to_owned()];
    spec
}

fn deployed(changes: Vec<StackChange>, names: SpecNames) -> StackDeployed {
    StackDeployed {
        id: String::new(),
        revision: 2,
        index: 1,
        changes,
        warnings: Vec::new(),
        names,
    }
}

fn change(what: &str, before: Option<ServiceSpec>, after: Option<ServiceSpec>) -> StackChange {
    let rolls = match (&before, &after) {
        (Some(before), Some(after)) => before.template != after.template,
        _ => false,
    };
    StackChange {
        kind: "service".to_owned(),
        name: "shop_web".to_owned(),
        what: what.to_owned(),
        before,
        after,
        rolls,
        ..StackChange::default()
    }
}

fn updated(after: ServiceSpec) -> Vec<Change> {
    of(&deployed(
        vec![change("updated", Some(web()), Some(after))],
        SpecNames::default(),
    ))
}

fn version(secret: u128) -> VersionId {
    VersionId::new(Timestamp::from_ms(1), secret)
}

fn secret(number: u128) -> SecretUse {
    SecretUse {
        name: "shop_key".to_owned(),
        secret: Some(SecretId::new(Timestamp::from_ms(1), 1)),
        version: Some(version(number)),
        file: FileTarget {
            path: "key".to_owned(),
            uid: String::new(),
            gid: String::new(),
            mode: 0o444,
        },
    }
}

fn detail(number: u64, services: Vec<ServiceSpec>) -> StackRevisionDetail {
    StackRevisionDetail {
        name: "shop".to_owned(),
        id: StackId::new(Timestamp::from_ms(1), 1).to_string(),
        revision: StackRevision {
            number,
            created_at: Timestamp::from_ms(1),
            by: "ann".to_owned(),
            services: Default::default(),
            settings: Default::default(),
            names: Default::default(),
            restores: None,
        },
        services,
        lost: Vec::new(),
        names: SpecNames::default(),
        newest: 2,
    }
}

#[test]
fn each_field_that_differs_is_told_with_what_it_does() {
    let mut after = web();
    after.settings.mode = Mode::Replicated { replicas: 3 };
    after.template.container.image = "nginx:2".to_owned();
    after.template.container.image_digest = Some("sha256:ab".to_owned());
    after.template.container.env = vec!["LEVEL=debug".to_owned(), "NEW=1".to_owned()];
    let wanted = "~ service shop_web: rolled\n    \
                  deploy.replicas: 1 → 3\n    \
                  environment.LEVEL: info → debug (replaces tasks)\n    \
                  environment.NEW: added 1 (replaces tasks)\n    \
                  environment.OLD: removed 1 (replaces tasks)\n    \
                  image: nginx:1 → nginx:2@sha256:ab (replaces tasks)\n\
                  1 rolled\n";
    assert_eq!(render::plan::text(&updated(after)), wanted);
}

#[test]
fn settings_alone_change_in_place() {
    let mut after = web();
    after.settings.labels.insert("team".to_owned(), "a".to_owned());
    after.settings.ingress_ports = vec![IngressPort {
        name: String::new(),
        protocol: Protocol::Tcp,
        container_port: 80,
        published_port: 8000,
        host_ip: None,
        prefer: None,
    }];
    let wanted = "~ service shop_web: changed in place\n    \
                  deploy.labels.team: added a\n    \
                  ports: added 8000:80/tcp\n\
                  1 changed in place\n";
    assert_eq!(render::plan::text(&updated(after)), wanted);
}

#[test]
fn entries_of_lists_are_compared_one_by_one_and_by_the_names_people_know() {
    let (mut before, mut after) = (web(), web());
    let id: shoal_proto::id::NetworkId = shoal_proto::id::NetworkId::new(Timestamp::from_ms(1), 7);
    after.template.networks = vec![NetworkUse {
        network: NetworkTarget::Cluster(id),
        aliases: vec!["web".to_owned()],
    }];
    let volume = |read_only| Mount {
        destination: "/data".to_owned(),
        read_only,
        kind: MountKind::Volume {
            name: "shop_data".to_owned(),
            driver: String::new(),
            driver_options: Default::default(),
            labels: Default::default(),
            no_copy: false,
            subpath: String::new(),
        },
    };
    before.template.container.mounts = vec![volume(false)];
    after.template.container.mounts = vec![volume(true)];
    before.template.container.secrets = vec![secret(1)];
    after.template.container.secrets = vec![secret(2)];
    let names = SpecNames {
        networks: [(id.to_string(), "shop_back".to_owned())].into(),
        versions: [(version(1).to_string(), 1), (version(2).to_string(), 2)].into(),
    };
    let changes = of(&deployed(
        vec![change("updated", Some(before), Some(after))],
        names,
    ));
    let wanted = "~ service shop_web: rolled\n    \
                  networks: added shop_back as web (replaces tasks)\n    \
                  secrets.shop_key: version 1 at key, mode 444 → version 2 at key, mode 444 (replaces tasks)\n    \
                  volumes: volume shop_data:/data → volume shop_data:/data, read-only (replaces tasks)\n\
                  1 rolled\n";
    assert_eq!(render::plan::text(&changes), wanted);
}

#[test]
fn another_placement_replaces_only_what_does_not_fit_any_more() {
    let mut after = web();
    after.template.placement.constraints = vec!["node.labels.zone==a".to_owned()];
    let wanted = "~ service shop_web: rolled\n    \
                  deploy.placement.constraints: added node.labels.zone==a (replaces tasks that no longer fit)\n\
                  1 rolled\n";
    assert_eq!(render::plan::text(&updated(after)), wanted);
}

#[test]
fn another_order_alone_is_told_when_it_replaces_tasks() {
    let mut after = web();
    after.template.container.env.reverse();
    let changes = updated(after);
    assert_eq!(changes[0].fields.len(), 1);
    assert_eq!(
        (changes[0].fields[0].field.as_str(), changes[0].fields[0].effect),
        ("order", Effect::Rolls)
    );
}

#[test]
fn a_new_service_is_told_by_what_is_not_the_default() {
    let mut made = web();
    made.settings.mode = Mode::Replicated { replicas: 2 };
    let changes = of(&deployed(
        vec![
            change("created", None, Some(made)),
            change("removed", Some(web()), None),
        ],
        SpecNames::default(),
    ));
    let wanted = "+ service shop_web: created\n    \
                  deploy.replicas: 2\n    \
                  environment.LEVEL: info\n    \
                  environment.OLD: 1\n    \
                  image: nginx:1\n\
                  - service shop_web: removed\n\
                  1 created, 1 removed\n";
    assert_eq!(render::plan::text(&changes), wanted);
}

#[test]
fn what_stays_and_what_is_set_back_is_told_with_who_did_it() {
    let mut after = web();
    after.template.container.image = "nginx:2".to_owned();
    let mut told = change("updated", Some(web()), Some(after));
    told.kept = [("replicas".to_owned(), "bob".to_owned())].into();
    let cause = Cause {
        actor: Actor::Operator("ann".to_owned()),
        action: "service update shop_web".to_owned(),
    };
    told.drift = Some((cause, Timestamp::from_ms(1)));
    let text = render::plan::text(&of(&deployed(vec![told], SpecNames::default())));
    assert!(text.contains("note: ann changed its content "), "{text}");
    assert!(
        text.contains(" ago (service update shop_web): that is set back\n"),
        "{text}"
    );
    assert!(
        text.contains("note: replicas stays as bob set it: the file has not changed there\n"),
        "{text}"
    );
}

#[test]
fn nothing_to_do_is_one_line() {
    let same = change("unchanged", None, None);
    let text = render::plan::text(&of(&deployed(vec![same], SpecNames::default())));
    assert_eq!(text, "1 unchanged\n");
}

#[test]
fn revisions_are_compared_service_by_service() {
    let named = |name: &str| ServiceSpec {
        name: name.to_owned(),
        ..web()
    };
    let mut newer = named("shop_web");
    newer.template.container.image = "nginx:2".to_owned();
    let from = detail(1, vec![named("shop_old"), named("shop_same"), named("shop_web")]);
    let mut to = detail(2, vec![named("shop_same"), named("shop_new"), newer]);
    let told = |changes: Vec<Change>| -> Vec<(String, What)> {
        changes
            .into_iter()
            .map(|change| (change.name, change.what))
            .collect()
    };
    let wanted = [
        ("shop_new".to_owned(), What::Created),
        ("shop_old".to_owned(), What::Removed),
        ("shop_same".to_owned(), What::Unchanged),
        ("shop_web".to_owned(), What::Rolled),
    ];
    assert_eq!(told(between_revisions(&from, &to)), wanted);
    to.services.retain(|service| service.name != "shop_web");
    to.lost.push("shop_web".to_owned());
    let changes = between_revisions(&from, &to);
    let web = changes.iter().find(|change| change.name == "shop_web").unwrap();
    assert_eq!((web.what, web.notes.len()), (What::Rolled, 1));
}

#[test]
fn a_plan_as_data_has_whole_values() {
    let mut after = web();
    after.template.container.env = vec![format!("LEVEL={}", "x".repeat(500)), "OLD=1".to_owned()];
    let changes = updated(after);
    assert!(render::plan::text(&changes).contains('…'));
    let data = &render::plan::json(&changes)[0];
    assert_eq!(data["Change"], "rolled");
    assert_eq!(data["Fields"][0]["Field"], "environment.LEVEL");
    assert_eq!(data["Fields"][0]["After"].as_str().unwrap().len(), 500);
    assert_eq!(data["Fields"][0]["ReplacesTasks"], true);
}
