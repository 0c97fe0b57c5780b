//! The form of a placement constraint. Whether any node fits is the scheduler's business.

/// Keys a constraint may ask for; those ending in a dot are followed by a label's name.
const KEYS: &[&str] = &[
    "node.id",
    "node.hostname",
    "node.ip",
    "node.role",
    "node.platform.os",
    "node.platform.arch",
    "node.labels.",
    "engine.labels.",
];

/// Whether a text is a constraint the scheduler knows.
pub(super) fn check(text: &str) -> Result<(), String> {
    let split = text.split_once("==").or_else(|| text.split_once("!="));
    let Some((key, value)) = split else {
        return Err(format!(
            "{text:?} is not a constraint; expected KEY==VALUE or KEY!=VALUE"
        ));
    };
    let (key, value) = (key.trim(), value.trim());
    let known = KEYS.iter().any(|known| match known.strip_suffix('.') {
        Some(_) => key.len() > known.len() && key.starts_with(known),
        None => key.eq_ignore_ascii_case(known),
    });
    if !known {
        let near = super::unknown::nearest(family(key), KEYS.iter().map(|known| known.trim_end_matches('.')));
        let hint = match near {
            Some(near) => format!("did you mean {near}?"),
            None => format!(
                "expected one of {}",
                KEYS.join(", ").replace("labels.", "labels.NAME")
            ),
        };
        return Err(format!("no node ever has {key:?}; {hint}"));
    }
    if value.is_empty() {
        return Err(format!("the constraint {text:?} has no value"));
    }
    Ok(())
}

/// `node.labels` of `node.labels.zone`.
fn family(key: &str) -> &str {
    let second = key.match_indices('.').nth(1).map(|(at, _)| at);
    match second {
        Some(at) if !key.starts_with("node.platform") => &key[..at],
        _ => key,
    }
}
