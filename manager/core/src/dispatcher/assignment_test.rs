use std::sync::Arc;

use shoal_proto::container::{ContainerSpec, FileTarget, SecretUse};
use shoal_proto::content::ContentVersion;
use shoal_proto::digest::Digest;
use shoal_proto::id::VersionId;
use shoal_proto::network::{Network, NetworkSpec};
use shoal_proto::registry::Registry;
use shoal_proto::secret::Secret;
use shoal_proto::service::{Mode, NetworkTarget, NetworkUse, TaskTemplate};
use shoal_proto::task::{DesiredState, TaskState};

use super::{assignments_for, registry_of};
use crate::dispatcher::content::may_fetch;
use crate::fixture::Fixture;

/// A template with a secret, a network and an image of a registry that the cluster has credentials for.
fn template(fixture: &mut Fixture) -> (TaskTemplate, VersionId) {
    let now = fixture.now;
    let (secret, network) = (fixture.ids.secret(now), fixture.ids.network(now));
    let version = fixture.ids.version(now);
    let content = ContentVersion {
        id: version,
        number: 1,
        digest: Digest::of(b"x"),
        size_bytes: 1,
        created_at: now,
    };
    let versions = vec![content];
    let (name, labels) = ("key".to_owned(), Default::default());
    fixture.put(Secret {
        id: secret,
        meta: Default::default(),
        stack: None,
        name,
        labels,
        versions,
    });
    let spec = NetworkSpec {
        name: "net".to_owned(),
        ..NetworkSpec::default()
    };
    fixture.put(Network::new(network, None, spec));
    for host in ["reg.example:5000", "docker.io"] {
        fixture.put(Registry {
            meta: Default::default(),
            host: host.to_owned(),
            username: "u".to_owned(),
            password: "p".to_owned(),
        });
    }
    let file = FileTarget {
        path: "key".to_owned(),
        uid: String::new(),
        gid: String::new(),
        mode: 0o400,
    };
    let used = SecretUse {
        name: "key".to_owned(),
        secret: Some(secret),
        version: Some(version),
        file,
    };
    let container = ContainerSpec {
        image: "reg.example:5000/web:1".to_owned(),
        secrets: vec![used],
        ..ContainerSpec::default()
    };
    let networks = vec![NetworkUse {
        network: NetworkTarget::Cluster(network),
        aliases: vec![],
    }];
    (
        TaskTemplate {
            container,
            networks,
            ..TaskTemplate::default()
        },
        version,
    )
}

#[test]
fn a_node_gets_its_tasks_with_what_running_them_takes_and_nothing_of_others() {
    let mut fixture = Fixture::new();
    let (node, other) = (fixture.node(), fixture.node());
    let (template, version) = template(&mut fixture);
    let web = fixture.service_with("web", Mode::default(), template);
    let task = fixture.task(web, 1, Some(node), TaskState::Assigned);
    fixture.task(web, 2, None, TaskState::Pending);
    let set = assignments_for(&fixture.state, node);
    let assignment = &set.tasks[&task];
    assert_eq!(set.tasks.len(), 1);
    assert_eq!(assignment.service_name, "web");
    assert_eq!(assignment.contents[0].version, version);
    assert_eq!(assignment.credential.as_ref().unwrap().host, "reg.example:5000");
    assert_eq!(set.networks.len(), 1);
    assert_eq!((set.incarnation, set.index), (1, fixture.state.index()));
    assert!(assignments_for(&fixture.state, other).tasks.is_empty());
    assert!(may_fetch(&fixture.state, node, version).is_some());
    assert!(may_fetch(&fixture.state, other, version).is_none());
}

#[test]
fn an_ended_task_stays_in_the_set_without_its_secrets_until_it_is_forgotten() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let (template, version) = template(&mut fixture);
    let web = fixture.service_with("web", Mode::default(), template);
    let task = fixture.task(web, 1, Some(node), TaskState::Assigned);
    fixture.report(task, node, TaskState::Failed, 1);
    let set = assignments_for(&fixture.state, node);
    assert!(set.tasks[&task].contents.is_empty() && set.tasks[&task].credential.is_none());
    assert!(set.networks.is_empty());
    assert!(may_fetch(&fixture.state, node, version).is_none());
}

#[test]
fn what_an_agent_reported_itself_asks_nothing_new() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let web = fixture.service("web", 1);
    let task = fixture.task(web, 1, Some(node), TaskState::Assigned);
    let before = assignments_for(&fixture.state, node).tasks[&task].clone();
    fixture.report(task, node, TaskState::Running, 1);
    let after = assignments_for(&fixture.state, node).tasks[&task].clone();
    assert!(before.asks_the_same(&after) && !Arc::ptr_eq(&before.task, &after.task));
    fixture.edit_task(task, |task| task.plan.desired = DesiredState::Shutdown);
    assert!(!before.asks_the_same(&assignments_for(&fixture.state, node).tasks[&task]));
}

#[test]
fn an_image_names_its_registry_in_its_first_part_or_comes_from_the_hub() {
    let hosts = [
        ("nginx", "docker.io"),
        ("library/nginx:1", "docker.io"),
        ("index.docker.io/nginx", "docker.io"),
        ("localhost/web", "localhost"),
        ("reg.example/web", "reg.example"),
        ("10.0.0.1:5000/a/b@sha256:x", "10.0.0.1:5000"),
    ];
    for (image, host) in hosts {
        assert_eq!(registry_of(image), host, "{image}");
    }
}
