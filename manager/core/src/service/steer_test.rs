//! Which word fits which rollout, and what is refused in the words of the command line.

use shoal_proto::reason::Reason;
use shoal_proto::service::{Service, ServiceSpec, TaskTemplate};
use shoal_proto::update::{Direction, Rollout, RolloutState, Steering};

use super::steer;
use crate::fixture::Fixture;
use crate::service::revise::{Request, create, update};
use crate::state::Group;

fn spec(image: &str) -> ServiceSpec {
    let mut template = TaskTemplate::default();
    image.clone_into(&mut template.container.image);
    ServiceSpec {
        name: "web".to_owned(),
        settings: Default::default(),
        template,
    }
}

/// A service with an update to a second image under way, and the rollout as `change` makes it.
fn updating(change: impl FnOnce(&mut Rollout)) -> (Fixture, Service) {
    let mut fixture = Fixture::new();
    let made = asked(&mut fixture, |request| create(request, spec("app:1"), None)).expect("created");
    let mut service =
        asked(&mut fixture, |request| update(request, made.id, spec("app:2"))).expect("updated");
    change(service.rollout.as_mut().expect("a rollout"));
    let mut group = Group::new();
    group.put(service.clone());
    fixture.groups(vec![group]);
    (fixture, service)
}

fn asked<E: std::fmt::Display>(
    fixture: &mut Fixture,
    ask: impl FnOnce(&mut Request<'_>) -> Result<crate::service::Planned, E>,
) -> Result<Service, String> {
    let asked = fixture.asked("ann", ask).map_err(|error| error.to_string());
    asked.map(|(service, _)| service)
}

fn said(word: Steering, change: impl FnOnce(&mut Rollout)) -> Result<Rollout, String> {
    let (mut fixture, service) = updating(change);
    let steered = asked(&mut fixture, |request| steer(request, service.id, word))?;
    Ok(steered.rollout.expect("a rollout"))
}

fn by_failures(rollout: &mut Rollout) {
    rollout.state = RolloutState::Paused;
    rollout.failed_slots = 1;
    rollout.reason = Some(Reason::TooManyFailures {
        failed: 1,
        total: 1,
        last: "task ended with exit code 1".to_owned(),
    });
}

#[test]
fn a_pause_says_who_asked_for_it_and_resuming_takes_it_back() {
    let paused = said(Steering::Pause, |_| {}).expect("paused");
    assert_eq!(paused.state, RolloutState::Paused);
    assert_eq!(paused.reason, Some(Reason::Operator("paused by ann".to_owned())));
    let resumed = said(Steering::Resume, |rollout| *rollout = paused.clone()).expect("resumed");
    assert_eq!(
        (resumed.state, resumed.reason, resumed.ended_at),
        (RolloutState::Running, None, None)
    );
    assert_eq!(resumed.started_at, paused.started_at, "failures so far count");
}

#[test]
fn failures_are_continued_not_resumed() {
    let refused = said(Steering::Resume, by_failures).unwrap_err();
    assert!(
        refused.contains("1 of 1 slots failed") && refused.contains("--continue goes on"),
        "{refused}"
    );
    let on = said(Steering::Continue, by_failures).expect("goes on");
    assert_eq!(
        (on.state, on.failed_slots, on.reason),
        (RolloutState::Running, 0, None)
    );
}

#[test]
fn an_abort_leads_back_and_is_not_led_back_to() {
    let (mut fixture, service) = updating(|_| {});
    let back = asked(&mut fixture, |request| {
        steer(request, service.id, Steering::Abort)
    })
    .expect("goes back");
    let rollout = back.rollout.expect("a rollout");
    assert_eq!(
        (rollout.direction, rollout.state),
        (Direction::Rollback, RolloutState::Running)
    );
    assert_eq!(
        rollout.reason,
        Some(Reason::Operator("update aborted by ann".to_owned()))
    );
    let image = |id| {
        fixture
            .state
            .revision(id)
            .expect("kept")
            .template
            .container
            .image
            .clone()
    };
    assert_eq!(image(back.revision), "app:1");
    assert_eq!(back.previous_revision, None);
}

#[test]
fn what_does_not_fit_is_refused_in_words_that_help() {
    let ended = |rollout: &mut Rollout| rollout.state = RolloutState::Completed;
    let waits = |rollout: &mut Rollout| {
        rollout.state = RolloutState::Paused;
        rollout.reason = Some(Reason::Operator("paused by bob".to_owned()));
    };
    let back = |rollout: &mut Rollout| rollout.direction = Direction::Rollback;
    let words = [
        (said(Steering::Pause, ended), "has no update under way to pause"),
        (said(Steering::Abort, ended), "has no update under way to abort"),
        (said(Steering::Pause, waits), "is paused already: paused by bob"),
        (said(Steering::Resume, |_| {}), "is not paused"),
        (said(Steering::Continue, |_| {}), "is not paused"),
        (said(Steering::Abort, back), "is being rolled back already"),
    ];
    for (refused, words) in words {
        let refused = refused.unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }
}
