//! Property 5: Every accepted change raises an object's version by exactly one: of two changes that expected the same
//! version, one was refused.

use super::Transition;
use crate::state::{Event, Object};

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    for event in transition.events {
        let Event::Put { before, after } = event else {
            continue;
        };
        let old = before.as_ref().map_or(0, |object| object.meta().version);
        let new = after.meta().version;
        let status_alone = before
            .as_ref()
            .is_some_and(|before| new == old && status_version(after) == status_version(before) + 1);
        if new != old + 1 && !status_alone {
            found.push(format!("{} went from version {old} to {new}", after.key()));
        }
    }
}

/// The version of the second half of an object that has one.
pub(super) fn status_version(object: &Object) -> u64 {
    match object {
        Object::Task(task) => task.status.version,
        Object::Node(node) => node.status.version,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Transition, check};
    use crate::fixture::Fixture;
    use crate::state::Event;

    #[test]
    fn a_change_that_skips_a_version_is_found() {
        let mut fixture = Fixture::new();
        let (web, _) = fixture.service("web", 1);
        let mut jumped = (**fixture.state.service(web).unwrap()).clone();
        let before = Some(jumped.clone().into());
        jumped.meta.version += 2;
        let events = [Event::Put {
            before,
            after: jumped.into(),
        }];
        let (before, after) = (&fixture.state, &fixture.state);
        let violations = check(&Transition {
            before,
            after,
            events: &events,
        });
        assert_eq!(violations[0].property, "version");
    }
}
