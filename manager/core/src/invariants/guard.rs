//! Property 5: Of two changes that expect the same version one is refused: a group that was applied found every object as it
//! said. Judged by the state before the entry, for the versions of events cannot tell a guard that was not checked.

use std::collections::BTreeSet;

use super::Violation;
use super::version::status_version;
use crate::state::{Applied, Guard, Object, ObjectKey, Proposal, State};

/// Guards of applied groups that did not hold.
#[must_use]
pub fn check_guards(before: &State, proposal: &Proposal, applied: &Applied) -> Vec<Violation> {
    if applied.repeated {
        return Vec::new();
    }
    let mut written = BTreeSet::new();
    let mut found = Vec::new();
    for (group, result) in proposal.groups.iter().zip(&applied.results) {
        let Ok(rows) = result else {
            continue;
        };
        for guard in &group.guards {
            if let Some((key, what)) = broken(before, guard)
                && !written.contains(key)
            {
                found.push(Violation {
                    number: 5,
                    property: "guard",
                    what: format!("a group was applied although {key} {what}"),
                });
            }
        }
        written.extend(rows.iter().map(|row| row.key.clone()));
    }
    found
}

fn broken<'g>(before: &State, guard: &'g Guard) -> Option<(&'g ObjectKey, String)> {
    let (key, expected, version): (_, _, fn(&Object) -> u64) = match guard {
        Guard::At { key, version } => (key, *version, |object| object.meta().version),
        Guard::StatusAt { key, version } => (key, *version, status_version),
        Guard::Absent(key) => {
            let there = before.object(key).is_some();
            return there.then(|| (key, "was there already".to_owned()));
        }
        _ => return None,
    };
    let is = before.object(key).as_ref().map(version);
    (is != Some(expected)).then(|| (key, format!("was at version {is:?}, not {expected}")))
}

#[cfg(test)]
mod tests {
    use shoal_proto::object::Cause;

    use super::check_guards;
    use crate::fixture::Fixture;
    use crate::state::{Group, Proposal};

    #[test]
    fn a_group_that_was_applied_on_another_version_than_it_read_is_found() {
        let mut fixture = Fixture::new();
        let (web, _) = fixture.service("web", 1);
        let read = (**fixture.state.service(web).unwrap()).clone();
        let mut group = Group::new();
        group.put(read);
        let proposal = Proposal::new(fixture.now, Cause::default(), vec![group]);
        let before = fixture.state.clone();
        let applied = fixture.apply(&proposal);
        assert!(check_guards(&before, &proposal, &applied).is_empty());
        // The same group once more, as if nobody had looked at its guard.
        let violations = check_guards(&fixture.state, &proposal, &applied);
        assert_eq!(violations[0].property, "guard");
    }
}
