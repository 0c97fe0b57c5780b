//! Plans and differences for eyes and for programs. Values of secrets are in neither.

use serde_json::{Value, json};

use super::table::cut;
use crate::plan::{Change, Effect, FieldChange, What};

/// Longest value shown, in characters; data for programs has all of it.
const VALUE_CHARACTERS_MAX: usize = 200;

/// One line for each thing that changes, its fields below it, and a sum at the end.
#[must_use]
pub fn text(changes: &[Change]) -> String {
    let mut out = String::new();
    for change in changes {
        if change.what == What::Unchanged && change.notes.is_empty() {
            continue;
        }
        let (kind, name, word) = (&change.kind, &change.name, change.what.word());
        out.push_str(&format!("{} {kind} {name}: {word}\n", sign(change.what)));
        for field in &change.fields {
            out.push_str(&format!("    {}\n", line(field, change.what)));
        }
        for note in &change.notes {
            out.push_str(&format!("    note: {note}\n"));
        }
    }
    out.push_str(&sum(changes));
    out
}

const fn sign(what: What) -> char {
    match what {
        What::Created => '+',
        What::Removed => '-',
        What::InPlace | What::Rolled | What::NewVersion => '~',
        What::Unchanged => '=',
    }
}

/// Of a service that rolls it is told which fields are why.
fn line(field: &FieldChange, what: What) -> String {
    let shown = |value: &String| cut(&value.escape_debug().to_string(), VALUE_CHARACTERS_MAX);
    let name = &field.field;
    let text = match (&field.before, &field.after) {
        (Some(before), Some(after)) => format!("{name}: {} → {}", shown(before), shown(after)),
        (None, Some(after)) if what == What::Created => format!("{name}: {}", shown(after)),
        (None, Some(after)) => format!("{name}: added {}", shown(after)),
        (Some(before), None) => format!("{name}: removed {}", shown(before)),
        (None, None) => name.clone(),
    };
    match (what, field.effect) {
        (What::Rolled, Effect::Rolls) => format!("{text} (replaces tasks)"),
        (What::Rolled, Effect::Misfits) => format!("{text} (replaces tasks that no longer fit)"),
        _ => text,
    }
}

/// `2 rolled, 1 created, 4 unchanged`; what does not occur is not counted.
fn sum(changes: &[Change]) -> String {
    let order = [
        What::Created,
        What::Rolled,
        What::InPlace,
        What::NewVersion,
        What::Removed,
        What::Unchanged,
    ];
    let count = |what: What| changes.iter().filter(|change| change.what == what).count();
    let parts: Vec<String> = order
        .into_iter()
        .filter(|what| count(*what) > 0)
        .map(|what| format!("{} {}", count(what), what.word()))
        .collect();
    if parts.is_empty() {
        return "nothing\n".to_owned();
    }
    format!("{}\n", parts.join(", "))
}

/// The same as data, one change each.
#[must_use]
pub fn json(changes: &[Change]) -> Vec<Value> {
    let field = |field: &FieldChange| {
        json!({
            "Field": field.field,
            "Before": field.before,
            "After": field.after,
            "ReplacesTasks": field.effect != Effect::InPlace,
        })
    };
    let change = |change: &Change| {
        json!({
            "Kind": change.kind,
            "Name": change.name,
            "Change": change.what.word(),
            "Fields": change.fields.iter().map(field).collect::<Vec<_>>(),
            "Notes": change.notes,
        })
    };
    changes.iter().map(change).collect()
}
