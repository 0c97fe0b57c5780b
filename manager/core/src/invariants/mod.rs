//! What must always be true of the state, whoever wrote it: one file per property, run after every step in tests
//! and simulation. They judge by stored facts alone; but for reading constraints they share no code with what decides.
//!
//! Numbers are those of the project's list of properties. What only an agent or a whole cluster can break (13 one
//! container per task, 31 no restart for the loss of a leader) is judged here, too, and looked for by the simulation.

mod address;
mod attempts;
mod capacity;
mod choice;
mod churn;
mod container;
mod evicted;
mod fixed;
mod forgotten;
mod forward;
mod guard;
mod placement;
mod reference;
mod revision;
mod rollback;
mod settings;
mod settled;
mod slot;
mod traffic;
mod unique;
mod untouched;
mod update;
mod version;
mod watched;

use std::fmt;

pub use container::check_containers;
pub use guard::check_guards;
pub use untouched::check_untouched;

use crate::state::{Event, State};

/// One applied entry: the state before it, the state after it, and what it changed.
#[derive(Debug, Clone, Copy)]
pub struct Transition<'a> {
    /// Before.
    pub before: &'a State,
    /// After.
    pub after: &'a State,
    /// What changed, in order.
    pub events: &'a [Event],
}

/// A property that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Number in the list of properties.
    pub number: u8,
    /// Name of the property's file.
    pub property: &'static str,
    /// What is wrong, with ids.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "property {} ({}): {}", self.number, self.property, self.what)
    }
}

type Rule = fn(&Transition<'_>, &mut Vec<String>);

/// Checked after every entry.
const RULES: [(u8, &str, Rule); 17] = [
    (5, "version", version::check),
    (9, "slot", slot::check),
    (10, "forward", forward::check),
    (11, "fixed", fixed::check),
    (12, "forgotten", forgotten::check),
    (17, "churn", churn::check),
    (17, "attempts", attempts::check),
    (19, "capacity", capacity::check),
    (20, "placement", placement::check_suitable),
    (22, "placement", placement::check_available),
    (26, "rollback", rollback::check),
    (26, "watched", watched::check),
    (27, "revision", revision::check),
    (28, "evicted", evicted::check),
    (33, "reference", reference::check),
    (34, "unique", unique::check),
    (34, "address", address::check),
];

type SettledRule = fn(&State, &mut Vec<String>);

/// Checked once the faults have stopped and the cluster has come to rest.
const SETTLED: [(u8, &str, SettledRule); 4] = [
    (16, "settled", settled::converged),
    (18, "settled", settled::history_bounded),
    (29, "settled", settled::one_survivor),
    (30, "settled", settled::drained_empty),
];

/// Checked of a leader's step, on the state it looked at.
const CHOICES: [(u8, &str, Rule); 5] = [
    (25, "update", update::check),
    (25, "update_order", choice::update_order),
    (16, "scale_down", choice::scale_down),
    (30, "surge", choice::surge),
    (35, "traffic", traffic::check),
];

/// All properties that an entry broke.
#[must_use]
pub fn check(transition: &Transition<'_>) -> Vec<Violation> {
    let mut violations = run(&RULES, transition);
    let mut found = Vec::new();
    settings::check(transition, &mut found);
    violations.extend(found.into_iter().map(|what| Violation {
        number: 0,
        property: "settings",
        what,
    }));
    violations
}

/// What a leader's step chose badly. `transition` leads from the state that the leader looked at to the one in which
/// all of its groups are applied and nothing else.
#[must_use]
pub fn check_choice(transition: &Transition<'_>) -> Vec<Violation> {
    run(&CHOICES, transition)
}

fn run(rules: &[(u8, &'static str, Rule)], transition: &Transition<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (number, property, rule) in rules {
        let mut found = Vec::new();
        rule(transition, &mut found);
        violations.extend(found.into_iter().map(|what| Violation {
            number: *number,
            property,
            what,
        }));
    }
    violations
}

/// All properties of a cluster at rest that do not hold.
#[must_use]
pub fn check_settled(state: &State) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (number, property, rule) in SETTLED {
        let mut found = Vec::new();
        rule(state, &mut found);
        violations.extend(found.into_iter().map(|what| Violation {
            number,
            property,
            what,
        }));
    }
    violations
}

/// Tasks that an entry made or changed, as they were and as they are.
fn changed_tasks<'a>(
    transition: &Transition<'a>,
) -> impl Iterator<Item = (Option<&'a shoal_proto::task::Task>, &'a shoal_proto::task::Task)> {
    use crate::state::Object::Task;
    transition
        .events
        .iter()
        .filter_map(|event| match (event.before(), event.after()) {
            (Some(Task(before)), Some(Task(after))) => Some((Some(before.as_ref()), after.as_ref())),
            (None, Some(Task(after))) => Some((None, after.as_ref())),
            _ => None,
        })
}

/// Slots that an entry made or changed, as they were and as they are.
fn changed_slots<'a>(
    transition: &Transition<'a>,
) -> impl Iterator<
    Item = (
        Option<&'a shoal_proto::service::Slot>,
        &'a shoal_proto::service::Slot,
    ),
> {
    use crate::state::Object::Slot;
    transition
        .events
        .iter()
        .filter_map(|event| match (event.before(), event.after()) {
            (Some(Slot(before)), Some(Slot(after))) => Some((Some(before.as_ref()), after.as_ref())),
            (None, Some(Slot(after))) => Some((None, after.as_ref())),
            _ => None,
        })
}

/// Services that an entry changed, as they were and as they are.
fn changed_services<'a>(
    transition: &Transition<'a>,
) -> impl Iterator<
    Item = (
        &'a shoal_proto::service::Service,
        &'a shoal_proto::service::Service,
    ),
> {
    use crate::state::Object::Service;
    transition
        .events
        .iter()
        .filter_map(|event| match (event.before(), event.after()) {
            (Some(Service(before)), Some(Service(after))) => Some((before.as_ref(), after.as_ref())),
            _ => None,
        })
}

/// Tasks that an entry gave a node.
fn newly_placed<'a>(transition: &Transition<'a>) -> impl Iterator<Item = &'a shoal_proto::task::Task> {
    changed_tasks(transition)
        .filter(|(before, after)| {
            after.plan.node.is_some() && before.is_none_or(|task| task.plan.node.is_none())
        })
        .map(|(_, after)| after)
}
