//! The table of keys, and how unknown ones are met.

use super::*;

#[test]
fn the_table_names_each_key_once_and_every_parent() {
    let mut seen = std::collections::HashSet::new();
    for (pattern, _) in KEYS {
        assert!(seen.insert(*pattern), "{pattern} is given twice");
        let parent = pattern
            .rsplit_once('.')
            .map(|(parent, _)| parent.trim_end_matches("[]"));
        assert!(
            parent.is_none_or(|parent| TABLE.contains_key(parent)),
            "{pattern} has no parent in the table"
        );
    }
}

#[test]
fn reasons_say_what_to_do_in_one_line() {
    for (pattern, verdict) in KEYS {
        let reason = match verdict {
            Verdict::Honoured => continue,
            Verdict::NoEffect(why) | Verdict::Warned(why) | Verdict::Refused(why) | Verdict::ByValue(why) => {
                why
            }
        };
        assert!(
            reason.len() > 10 && !reason.ends_with('.') && !reason.contains("  "),
            "{pattern}: {reason}"
        );
    }
}
