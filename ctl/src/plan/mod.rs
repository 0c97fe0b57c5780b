//! What a deployment would do, or what lies between two revisions of a stack: each thing, and each field of a service that
//! differs, with what that does to its tasks. Pure: looks at what the cluster said, and at nothing else.

mod container;
mod fields;

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::service::{ServiceSettings, ServiceSpec, TaskTemplate};

pub use self::fields::Effect;
use self::fields::Fields;
use crate::client::{SpecNames, StackChange, StackDeployed, StackRevisionDetail};
use crate::render::inspect;
use crate::render::table::since;

/// What happens to one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// service, network, secret, config.
    pub kind: String,
    /// Its full name.
    pub name: String,
    /// What happens to it.
    pub what: What,
    /// What differs.
    pub fields: Vec<FieldChange>,
    /// What else is worth knowing about it.
    pub notes: Vec<String>,
}

/// What happens to a thing as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It is made.
    Created,
    /// It changes, and no task is touched.
    InPlace,
    /// Its tasks are replaced.
    Rolled,
    /// It has a new version.
    NewVersion,
    /// It goes.
    Removed,
    /// Nothing.
    Unchanged,
}

/// What differs in one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// In the words of a Compose file: `deploy.replicas`.
    pub field: String,
    /// None: it was not set.
    pub before: Option<String>,
    /// None: it is not set any more.
    pub after: Option<String>,
    /// What that does to the tasks.
    pub effect: Effect,
}

impl What {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::InPlace => "changed in place",
            Self::Rolled => "rolled",
            Self::NewVersion => "new version",
            Self::Removed => "removed",
            Self::Unchanged => "unchanged",
        }
    }
}

/// What the cluster would do, as it told.
#[must_use]
pub fn of(deployed: &StackDeployed) -> Vec<Change> {
    let change = |change: &StackChange| {
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        let what = match change.what.as_str() {
            "created" => What::Created,
            "removed" => What::Removed,
            "unchanged" => What::Unchanged,
            _ if change.kind != "service" => What::NewVersion,
            _ if change.rolls => What::Rolled,
            _ => What::InPlace,
        };
        Change {
            kind: change.kind.clone(),
            name: change.name.clone(),
            what,
            fields: between((before, after), (&deployed.names, &deployed.names)),
            notes: notes(change),
        }
    };
    deployed.changes.iter().map(change).collect()
}

fn notes(change: &StackChange) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some((cause, at)) = &change.drift {
        notes.push(format!(
            "{} changed its content {} ({}): that is set back",
            inspect::actor(&cause.actor),
            since(*at),
            cause.action
        ));
    }
    for (setting, writer) in &change.kept {
        notes.push(format!(
            "{setting} stays as {writer} set it: the file has not changed there"
        ));
    }
    notes
}

/// What leads from one revision of a stack to another.
#[must_use]
pub fn between_revisions(from: &StackRevisionDetail, to: &StackRevisionDetail) -> Vec<Change> {
    let by_name = |detail: &StackRevisionDetail| -> BTreeMap<String, ServiceSpec> {
        let services = detail.services.iter();
        services
            .map(|service| (service.name.clone(), service.clone()))
            .collect()
    };
    let (before, after) = (by_name(from), by_name(to));
    let lost: BTreeSet<&String> = from.lost.iter().chain(&to.lost).collect();
    let names: BTreeSet<&String> = before
        .keys()
        .chain(after.keys())
        .chain(lost.iter().copied())
        .collect();
    let change = |name: &String| {
        let (old, new) = (before.get(name), after.get(name));
        let mut notes = Vec::new();
        let mut fields = Vec::new();
        if lost.contains(name) {
            notes.push("what it was made of is not kept any more".to_owned());
        } else {
            fields = between((old, new), (&from.names, &to.names));
        }
        let rolls = fields.iter().any(|field| field.effect != Effect::InPlace);
        let is_in = |detail: &StackRevisionDetail, found: bool| found || detail.lost.contains(name);
        let what = match (is_in(from, old.is_some()), is_in(to, new.is_some())) {
            (false, _) => What::Created,
            (true, false) => What::Removed,
            (true, true) if rolls || lost.contains(name) => What::Rolled,
            (true, true) if fields.is_empty() => What::Unchanged,
            (true, true) => What::InPlace,
        };
        Change {
            kind: "service".to_owned(),
            name: name.clone(),
            what,
            fields,
            notes,
        }
    };
    names.into_iter().map(change).collect()
}

/// The fields of a service that differ, by name. One that is made has all that is not the default, one that goes none.
fn between(
    (before, after): (Option<&ServiceSpec>, Option<&ServiceSpec>),
    (names_before, names_after): (&SpecNames, &SpecNames),
) -> Vec<FieldChange> {
    let Some(after) = after else {
        return Vec::new();
    };
    let plain = ServiceSpec {
        name: after.name.clone(),
        settings: ServiceSettings::default(),
        template: TaskTemplate::default(),
    };
    let old = Fields::of(before.unwrap_or(&plain), names_before).found;
    let new = Fields::of(after, names_after).found;
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let mut found = Vec::new();
    for key in keys {
        let (was, is) = (old.get(key), new.get(key));
        // What one that is made leaves at its default, or does not have at all, is not told.
        if was == is || (before.is_none() && is.is_none()) {
            continue;
        }
        let effect = is.or(was).map_or(Effect::InPlace, |(_, effect)| *effect);
        let text = |value: Option<&(String, Effect)>| value.map(|(text, _)| text.clone());
        found.push(FieldChange {
            field: key.0.clone(),
            before: before.and(text(was)),
            after: text(is),
            effect,
        });
    }
    if let Some(before) = before {
        found.extend(reordered(before, after, &found));
    }
    found
}

/// Tasks are replaced although no entry differs: the order of some list does.
fn reordered(before: &ServiceSpec, after: &ServiceSpec, found: &[FieldChange]) -> Option<FieldChange> {
    let rolls = found.iter().any(|field| field.effect != Effect::InPlace);
    (before.template != after.template && !rolls).then(|| FieldChange {
        field: "order".to_owned(),
        before: None,
        after: Some(
            "entries of a list stand in another order, or the same name means another thing".to_owned(),
        ),
        effect: Effect::Rolls,
    })
}

#[cfg(test)]
#[path = "../plan_test.rs"]
mod tests;
