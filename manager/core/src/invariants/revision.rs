//! Property 27: Everything leads to a revision that was accepted: a service wants a revision of its own, a rollout leads to
//! the wanted one, and the revision of every task is there.

use super::{Transition, changed_tasks};
use crate::state::{Object, State};
use shoal_proto::id::{RevisionId, ServiceId};
use shoal_proto::service::Service;
use shoal_proto::update::RolloutState;

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    let state = transition.after;
    for (_, task) in changed_tasks(transition) {
        if !is_of(state, task.plan.revision, task.plan.service) && state.task(task.id).is_some() {
            found.push(format!(
                "task {} is made of a revision that its service does not have",
                task.id
            ));
        }
    }
    for event in transition.events {
        match (event.before(), event.after()) {
            (_, Some(Object::Service(service))) if state.service(service.id).is_some() => {
                check_service(state, service, found);
            }
            (Some(Object::Revision(revision)), None) => {
                if let Some(by) = state.tasks_of_revision(revision.id).next() {
                    found.push(format!(
                        "revision {} went while task {} is made of it",
                        revision.id, by.id
                    ));
                }
            }
            _ => {}
        }
    }
}

fn check_service(state: &State, service: &Service, found: &mut Vec<String>) {
    if !is_of(state, service.revision, service.id) {
        found.push(format!(
            "service {} wants a revision that it does not have",
            service.id
        ));
    }
    let running = service
        .rollout
        .as_ref()
        .filter(|rollout| rollout.state == RolloutState::Running);
    if running.is_some_and(|rollout| rollout.to != service.revision) {
        found.push(format!(
            "the rollout of service {} leads to another revision than it wants",
            service.id
        ));
    }
    let mut numbers: Vec<u64> = state
        .revisions_of(service.id)
        .map(|revision| revision.number)
        .collect();
    numbers.dedup();
    if numbers.len() != state.revisions_of(service.id).count() {
        found.push(format!("two revisions of service {} have one number", service.id));
    }
}

fn is_of(state: &State, revision: RevisionId, service: ServiceId) -> bool {
    state
        .revision(revision)
        .is_some_and(|revision| revision.service == service)
}

#[cfg(test)]
mod tests {
    use shoal_proto::task::TaskState;

    use crate::fixture::Fixture;

    #[test]
    fn a_task_of_a_foreign_revision_is_found() {
        let mut fixture = Fixture::new();
        let web = fixture.service("web", 1);
        let other = fixture.service("other", 1);
        fixture.task((web.0, other.1), 1, None, TaskState::Pending);
        assert_eq!(fixture.violated(), ["revision"]);
    }

    #[test]
    fn a_service_that_wants_a_revision_that_is_not_there_is_found() {
        let mut fixture = Fixture::new();
        let web = fixture.service("web", 1);
        let missing = fixture.ids.revision(fixture.now);
        fixture.edit_service(web.0, |web| web.revision = missing);
        assert_eq!(fixture.violated(), ["revision"]);
    }
}
