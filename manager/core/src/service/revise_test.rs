//! What operators ask of a service becomes settings in place, numbered revisions, and one rollout.

use shoal_proto::service::{Mode, Service, ServiceSpec, TaskTemplate};
use shoal_proto::update::{Direction, RolloutState};

use super::{Request, ReviseError, RollbackScope, create, remove, restore, rollback, scale, update};
use crate::fixture::Fixture;
use crate::service::{Effect, Planned};

fn spec(image: &str, replicas: u64) -> ServiceSpec {
    let mut template = TaskTemplate::default();
    image.clone_into(&mut template.container.image);
    let mut spec = ServiceSpec {
        name: "web".to_owned(),
        settings: Default::default(),
        template,
    };
    spec.settings.mode = Mode::Replicated { replicas };
    spec
}

fn ask(
    fixture: &mut Fixture,
    writer: &str,
    ask: impl FnOnce(&mut Request<'_>) -> Result<Planned, ReviseError>,
) -> Result<(Service, Effect), ReviseError> {
    fixture.asked(writer, ask)
}

fn web(fixture: &mut Fixture) -> Service {
    ask(fixture, "ann", |request| create(request, spec("app:1", 2), None))
        .expect("created")
        .0
}

#[test]
fn a_name_is_used_once_whatever_its_case() {
    let mut fixture = Fixture::new();
    web(&mut fixture);
    let again = ServiceSpec {
        name: "WEB".to_owned(),
        ..spec("app:1", 1)
    };
    let refused = ask(&mut fixture, "ann", |request| create(request, again, None));
    assert_eq!(refused.unwrap_err(), ReviseError::NameUsed("WEB".to_owned()));
}

#[test]
fn a_setting_remembers_its_last_writer_and_makes_no_revision() {
    let mut fixture = Fixture::new();
    let before = web(&mut fixture);
    let (after, effect) = ask(&mut fixture, "bob", |request| scale(request, before.id, 5)).unwrap();
    assert_eq!((effect, after.revision), (Effect::Settings, before.revision));
    assert_eq!(after.setting_writers["replicas"], "bob");
    assert_eq!(after.setting_writers["restart"], "ann");
    let (_, effect) = ask(&mut fixture, "bob", |request| scale(request, before.id, 5)).unwrap();
    assert_eq!(effect, Effect::Unchanged);
}

#[test]
fn another_content_is_the_next_revision_and_a_rollout() {
    let mut fixture = Fixture::new();
    let before = web(&mut fixture);
    let (same, effect) = ask(&mut fixture, "ann", |request| {
        update(request, before.id, spec("app:1", 2))
    })
    .unwrap();
    assert_eq!((effect, same.last_revision_number), (Effect::Unchanged, 1));
    let (after, effect) = ask(&mut fixture, "ann", |request| {
        update(request, before.id, spec("app:2", 2))
    })
    .unwrap();
    assert_eq!((effect, after.last_revision_number), (Effect::Rollout, 2));
    assert_eq!(after.previous_revision, Some(before.revision));
    let rollout = after.rollout.unwrap();
    assert_eq!(
        (rollout.direction, rollout.state),
        (Direction::Update, RolloutState::Running)
    );
    assert_eq!((rollout.from, rollout.to), (before.revision, after.revision));
}

#[test]
fn a_rollback_repeats_an_older_content_and_leaves_settings_unless_asked() {
    let mut fixture = Fixture::new();
    let first = web(&mut fixture);
    ask(&mut fixture, "ann", |request| {
        update(request, first.id, spec("app:2", 7))
    })
    .unwrap();
    let back = |scope| move |request: &mut Request<'_>| rollback(request, first.id, None, scope);
    let (after, _) = ask(&mut fixture, "ann", back(RollbackScope::Content)).unwrap();
    let digest = |fixture: &Fixture, id| fixture.state.revision(id).unwrap().digest;
    assert_eq!(digest(&fixture, after.revision), digest(&fixture, first.revision));
    assert_eq!(
        (after.last_revision_number, &after.settings.mode),
        (3, &Mode::Replicated { replicas: 7 })
    );
    let (again, _) = ask(&mut fixture, "ann", back(RollbackScope::ContentAndSettings)).unwrap();
    assert_eq!(again.settings.mode, Mode::Replicated { replicas: 2 });
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let mut fixture = Fixture::new();
    let web = web(&mut fixture);
    let back = ask(&mut fixture, "ann", |request| {
        rollback(request, web.id, None, RollbackScope::Content)
    });
    assert_eq!(back.unwrap_err(), ReviseError::NoPrevious("web".to_owned()));
    let mut global = spec("app:1", 1);
    global.settings.mode = Mode::Global;
    let changed = ask(&mut fixture, "ann", |request| update(request, web.id, global)).unwrap_err();
    assert!(
        changed
            .to_string()
            .contains("the mode of service \"web\" cannot change")
    );
    ask(&mut fixture, "ann", |request| remove(request, web.id)).unwrap();
    let gone = ask(&mut fixture, "ann", |request| scale(request, web.id, 1));
    assert_eq!(gone.unwrap_err(), ReviseError::Gone(web.id));
}

#[test]
fn a_name_inside_the_template_becomes_an_id_or_is_refused() {
    let mut fixture = Fixture::new();
    let mut asked = spec("app:1", 1);
    asked.template.networks.push(shoal_proto::service::NetworkUse {
        network: shoal_proto::service::NetworkTarget::Named("front".to_owned()),
        aliases: Vec::new(),
    });
    let refused = ask(&mut fixture, "ann", |request| create(request, asked, None)).unwrap_err();
    assert!(refused.to_string().contains("network \"front\" does not exist"));
}

#[test]
fn a_restored_content_is_a_rollback_and_settings_come_with_it_only_where_given() {
    let mut fixture = Fixture::new();
    let before = web(&mut fixture);
    let then = TaskTemplate::clone(&fixture.state.revision(before.revision).unwrap().template);
    ask(&mut fixture, "ann", |request| {
        update(request, before.id, spec("app:2", 5))
    })
    .unwrap();
    let back = |settings| {
        let then = then.clone();
        move |request: &mut Request<'_>| restore(request, before.id, then, settings)
    };
    let (after, effect) = ask(&mut fixture, "bob", back(None)).unwrap();
    assert_eq!((effect, after.last_revision_number), (Effect::Rollout, 3));
    assert_eq!(after.settings.mode, Mode::Replicated { replicas: 5 });
    assert_eq!(after.rollout.unwrap().direction, Direction::Rollback);
    let (_, effect) = ask(&mut fixture, "bob", back(None)).unwrap();
    assert_eq!(effect, Effect::Unchanged);
    let (after, effect) = ask(&mut fixture, "bob", back(Some(before.settings.clone()))).unwrap();
    assert_eq!(
        (effect, after.settings.mode),
        (Effect::Settings, before.settings.mode)
    );
}
