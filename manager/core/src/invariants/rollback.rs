//! Property 26: The leader turns an update back only where the rules say so, to its last good revision or the one it
//! came from, and never turns a rollback.

use shoal_proto::object::Actor;
use shoal_proto::service::Service;
use shoal_proto::update::{Direction, FailureAction, Rollout, RolloutState};

use super::{Transition, changed_services};

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    for (before, after) in changed_services(transition) {
        if after.meta.cause.actor != Actor::Leader {
            continue;
        }
        let (Some(old), Some(new)) = (&before.rollout, &after.rollout) else {
            if before.rollout.is_none() && after.rollout.as_ref().is_some_and(is_rollback) {
                found.push(format!(
                    "the leader began a rollback of service {} by itself",
                    after.id
                ));
            }
            continue;
        };
        if is_rollback(new) && (old.direction, old.started_at) != (new.direction, new.started_at) {
            check_turn(transition, before, (old, new), found);
        }
    }
}

fn is_rollback(rollout: &Rollout) -> bool {
    rollout.direction == Direction::Rollback
}

fn check_turn(
    transition: &Transition<'_>,
    before: &Service,
    (old, new): (&Rollout, &Rollout),
    found: &mut Vec<String>,
) {
    let id = before.id;
    if is_rollback(old) {
        found.push(format!("a rollback of service {id} was turned by the leader"));
    }
    if old.state != RolloutState::Running || before.settings.update.failure_action != FailureAction::Rollback
    {
        found.push(format!(
            "service {id} was turned back although its rules do not ask for it"
        ));
    }
    let content = |revision| {
        transition
            .after
            .revision(revision)
            .map(|revision| revision.digest)
    };
    let back = [before.good_revision, Some(old.from)];
    if !back
        .into_iter()
        .flatten()
        .any(|back| content(new.to) == content(back))
    {
        found.push(format!(
            "service {id} was turned back to a revision that is not its last good one nor where it came from"
        ));
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::service::TaskTemplate;
    use shoal_proto::update::{Direction, FailureAction};

    use crate::fixture::Fixture;

    #[test]
    fn a_rollback_that_is_turned_by_the_leader_is_found() {
        let mut fixture = Fixture::new();
        let web = fixture.service("web", 1);
        let new = fixture.revision(web.0, 2, TaskTemplate::default());
        fixture.edit_service(web.0, |web| {
            web.settings.update.failure_action = FailureAction::Rollback
        });
        fixture.begin_rollout(web.0, new);
        let now = fixture.now + 1;
        let mut turn = |from, to, at| {
            fixture.edit_service(web.0, |web| {
                web.revision = to;
                let rollout = web.rollout.as_mut().unwrap();
                rollout.direction = Direction::Rollback;
                (rollout.from, rollout.to, rollout.started_at) = (from, to, at);
            });
            fixture.violated()
        };
        assert!(turn(new, web.1, now).is_empty());
        assert_eq!(turn(web.1, new, now + 1), ["rollback"]);
    }

    #[test]
    fn an_update_that_is_turned_back_against_its_rules_is_found() {
        let mut fixture = Fixture::new();
        let web = fixture.service("web", 1);
        let new = fixture.revision(web.0, 2, TaskTemplate::default());
        fixture.begin_rollout(web.0, new);
        fixture.edit_service(web.0, |service| {
            service.revision = web.1;
            let rollout = service.rollout.as_mut().unwrap();
            rollout.direction = Direction::Rollback;
            (rollout.from, rollout.to) = (new, web.1);
        });
        assert_eq!(fixture.violated(), ["rollback"]);
    }
}
