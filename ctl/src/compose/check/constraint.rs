//! The form of placement constraints and preferences, as the scheduler reads them. Whether any node fits is the
//! scheduler's business.

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
    let operators = ["==", "!="]
        .into_iter()
        .filter_map(|operator| text.find(operator));
    let Some(at) = operators.min() else {
        return Err(format!(
            "{text:?} is not a constraint; expected KEY==VALUE or KEY!=VALUE"
        ));
    };
    let (key, value) = (text[..at].trim(), text[at + 2..].trim());
    if !KEYS.iter().any(|known| is(known, key)) {
        return Err(unknown(key));
    }
    let signs = |c: char| c.is_ascii_alphanumeric() || " :-_.*()?+[]\\^$|/".contains(c);
    if value.is_empty() || !value.chars().all(signs) {
        return Err(format!(
            "the constraint {text:?} has no value, or one with a character that no node has"
        ));
    }
    if key.eq_ignore_ascii_case("node.role")
        && !["worker", "manager"].contains(&value.to_ascii_lowercase().as_str())
    {
        return Err(format!("{value:?} is not a role; expected worker or manager"));
    }
    if key.eq_ignore_ascii_case("node.ip") && !is_address(value) {
        return Err(format!(
            "{value:?} is not an address; expected one, or a block such as 10.0.0.0/8"
        ));
    }
    Ok(())
}

/// Whether a text names something to spread over.
pub(super) fn check_spread(text: &str) -> Result<(), String> {
    let known = ["node.labels.", "engine.labels."]
        .iter()
        .any(|known| is(known, text.trim()));
    if known {
        Ok(())
    } else {
        Err(format!(
            "{text:?} is nothing to spread over; expected node.labels.NAME"
        ))
    }
}

fn is(known: &str, key: &str) -> bool {
    if !known.ends_with('.') {
        return key.eq_ignore_ascii_case(known);
    }
    let start = key
        .get(..known.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(known));
    let name = key.get(known.len()..).unwrap_or_default();
    let signs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    start && !name.is_empty() && name.chars().all(signs)
}

fn is_address(text: &str) -> bool {
    let (address, bits) = text.split_once('/').unwrap_or((text, "0"));
    address.parse::<std::net::IpAddr>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| bits <= 128)
}

fn unknown(key: &str) -> String {
    let near = super::unknown::nearest(family(key), KEYS.iter().map(|known| known.trim_end_matches('.')));
    let hint = match near {
        Some(near) => format!("did you mean {near}?"),
        None => format!(
            "expected one of {}",
            KEYS.join(", ").replace("labels.", "labels.NAME")
        ),
    };
    format!("no node ever has {key:?}; {hint}")
}

/// `node.labels` of `node.labels.zone`.
fn family(key: &str) -> &str {
    let second = key.match_indices('.').nth(1).map(|(at, _)| at);
    match second {
        Some(at) if !key.starts_with("node.platform") => &key[..at],
        _ => key,
    }
}
