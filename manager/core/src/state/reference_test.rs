use shoal_proto::container::{ContainerSpec, FileTarget, SecretUse};
use shoal_proto::content::ContentVersion;
use shoal_proto::digest::Digest;
use shoal_proto::id::{RevisionId, SecretId, ServiceId};
use shoal_proto::secret::Secret;
use shoal_proto::service::{Mode, TaskTemplate};
use shoal_proto::stack::{Stack, StackRevision};
use shoal_proto::task::TaskState;
use shoal_proto::update::{Direction, Rollout, RolloutState};
use shoal_proto::volume::Volume;

use crate::fixture::{Fixture, data};
use crate::state::{Conflict, Guard, ObjectKey};

fn secret(fixture: &mut Fixture) -> SecretId {
    let id = fixture.ids.secret(fixture.now);
    let version = ContentVersion {
        id: fixture.ids.version(fixture.now),
        number: 1,
        digest: Digest::of(b"x"),
        size_bytes: 1,
        created_at: fixture.now,
    };
    let name = format!("secret-{id}");
    fixture.put(Secret {
        id,
        meta: Default::default(),
        stack: None,
        name,
        labels: Default::default(),
        versions: vec![version],
    });
    id
}

fn using(fixture: &Fixture, id: SecretId) -> TaskTemplate {
    let version = fixture.state.secret(id).unwrap().versions[0].id;
    let file = FileTarget {
        path: "x".to_owned(),
        uid: String::new(),
        gid: String::new(),
        mode: 0o444,
    };
    let used = SecretUse {
        name: "x".to_owned(),
        secret: Some(id),
        version: Some(version),
        file,
    };
    let container = ContainerSpec {
        secrets: vec![used],
        ..ContainerSpec::default()
    };
    TaskTemplate {
        container,
        ..TaskTemplate::default()
    }
}

#[test]
fn a_secret_of_a_wanted_revision_cannot_go() {
    let mut fixture = Fixture::new();
    let secret = secret(&mut fixture);
    let template = using(&fixture, secret);
    let (web, _) = fixture.service_with("web", Mode::default(), template);
    let key = ObjectKey::Secret(secret);
    let refused = Err(Conflict::Referenced {
        key: key.clone(),
        by: Box::new(ObjectKey::Service(web)),
    });
    let guard = Guard::Unreferenced(key);
    assert_eq!(
        fixture.group(|group| {
            group.guard(guard);
        }),
        refused
    );
}

#[test]
fn a_rotated_secret_may_go_once_the_rollout_is_complete_and_its_tasks_ended() {
    let mut fixture = Fixture::new();
    let secret = secret(&mut fixture);
    let key = ObjectKey::Secret(secret);
    let template = using(&fixture, secret);
    let (web, old) = fixture.service_with("web", Mode::default(), template);
    let node = fixture.node();
    let task = fixture.task((web, old), 1, Some(node), TaskState::Running);
    let new = fixture.revision(web, 2, TaskTemplate::default());
    let started_at = fixture.now;
    let rollout = move |state| Rollout {
        direction: Direction::Update,
        state,
        from: old,
        to: new,
        started_at,
        ended_at: None,
        batch_done_at: None,
        failed_slots: 0,
        reason: None,
        reason_before_pause: None,
    };
    fixture.edit_service(web, |web| {
        (web.revision, web.previous_revision) = (new, Some(old));
        web.rollout = Some(rollout(RolloutState::Running));
    });
    assert_eq!(fixture.state.referrer(&key), Some(ObjectKey::Service(web)));
    fixture.edit_service(web, |web| web.rollout = Some(rollout(RolloutState::Completed)));
    assert_eq!(fixture.state.referrer(&key), Some(ObjectKey::Task(task)));
    fixture.report(task, node, TaskState::Shutdown, 1);
    assert_eq!(fixture.state.referrer(&key), None);
    assert_eq!(
        fixture.state.referrer(&ObjectKey::Revision(old)),
        Some(ObjectKey::Service(web))
    );
}

#[test]
fn a_node_is_referred_to_by_tasks_that_have_not_ended() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let web = fixture.service("web", 1);
    let task = fixture.task(web, 1, Some(node), TaskState::Running);
    assert_eq!(
        fixture.state.referrer(&ObjectKey::Node(node)),
        Some(ObjectKey::Task(task))
    );
    assert_eq!(
        fixture.state.referrer(&ObjectKey::Service(web.0)),
        Some(ObjectKey::Task(task))
    );
    fixture.report(task, node, TaskState::Failed, 1);
    assert_eq!(fixture.state.referrer(&ObjectKey::Node(node)), None);
    assert_eq!(
        fixture.state.referrer(&ObjectKey::Service(web.0)),
        Some(ObjectKey::Task(task))
    );
}

#[test]
fn a_volume_is_held_by_the_task_that_mounts_it() {
    let mut fixture = Fixture::new();
    let container = ContainerSpec {
        mounts: vec![data("data")],
        ..ContainerSpec::default()
    };
    let template = TaskTemplate {
        container,
        ..TaskTemplate::default()
    };
    let node = fixture.node();
    let db = fixture.service_with("db", Mode::default(), template);
    let id = fixture.ids.volume(fixture.now);
    let name = "data".to_owned();
    fixture.put(Volume {
        id,
        meta: Default::default(),
        name,
        node,
        service: db.0,
    });
    assert_eq!(fixture.state.referrer(&ObjectKey::Volume(id)), None);
    let task = fixture.task(db, 1, Some(node), TaskState::Running);
    assert_eq!(
        fixture.state.referrer(&ObjectKey::Volume(id)),
        Some(ObjectKey::Task(task))
    );
    assert_eq!(fixture.state.volumes_named("data").count(), 1);
}

/// A stack that deployed these revisions, one after the other.
fn stack(fixture: &mut Fixture, deployed: &[(ServiceId, RevisionId)]) -> Stack {
    let one = |(at, (service, revision)): (usize, &(ServiceId, RevisionId))| StackRevision {
        number: at as u64 + 1,
        created_at: fixture.now,
        by: "ann".to_owned(),
        services: [(*service, *revision)].into(),
        settings: Default::default(),
        names: Default::default(),
        restores: None,
    };
    Stack {
        id: fixture.ids.stack(fixture.now),
        meta: Default::default(),
        name: "shop".to_owned(),
        revisions: deployed.iter().enumerate().map(one).collect(),
        removed_at: None,
    }
}

#[test]
fn a_revision_is_remembered_by_the_stack_that_deployed_it_until_that_forgets_it() {
    let mut fixture = Fixture::new();
    let (web, first) = fixture.service("web", 1);
    let second = fixture.revision(web, 2, TaskTemplate::default());
    let third = fixture.revision(web, 3, TaskTemplate::default());
    let mut shop = stack(&mut fixture, &[(web, first), (web, second), (web, second)]);
    fixture.put(shop.clone());
    fixture.edit_service(web, |service| service.revision = third);
    let holder = ObjectKey::Stack(shop.id);
    assert_eq!(
        fixture.state.referrer(&ObjectKey::Revision(second)),
        Some(holder.clone())
    );
    shop.meta = fixture.state.stack(shop.id).unwrap().meta.clone();
    shop.revisions.remove(1);
    fixture.put(shop.clone());
    assert_eq!(fixture.state.referrer(&ObjectKey::Revision(second)), Some(holder));
    shop.meta = fixture.state.stack(shop.id).unwrap().meta.clone();
    shop.removed_at = Some(fixture.now);
    fixture.put(shop);
    assert_eq!(fixture.state.referrer(&ObjectKey::Revision(second)), None);
}

#[test]
fn only_revisions_of_services_that_are_gone_are_left_alone() {
    let mut fixture = Fixture::new();
    let (web, web_first) = fixture.service("web", 1);
    let (old, old_first) = fixture.service("old", 1);
    let shop = stack(&mut fixture, &[(web, web_first), (old, old_first)]);
    let gone = fixture.state.service(old).unwrap().clone();
    assert!(fixture.state.only_named_by(&shop.revisions, &[]).is_empty());
    fixture
        .group(|group| {
            group.delete(gone);
        })
        .unwrap();
    let left = fixture.state.only_named_by(&shop.revisions, &[]);
    assert_eq!(left.iter().map(|one| one.id).collect::<Vec<_>>(), [old_first]);
    assert!(
        fixture
            .state
            .only_named_by(&shop.revisions, &shop.revisions)
            .is_empty()
    );
}
