//! Ids as people know them, and spans of time. Text only.

use shoal_proto::id::NodeId;
use shoal_proto::object::{Actor, Cause};
use shoal_proto::reason::{Obstacle, Reason};
use shoal_proto::time::Timestamp;

use crate::state::State;

/// The host's name; its id where it has none yet, or is gone.
pub(super) fn node_name(state: &State, id: NodeId) -> String {
    state
        .node(id)
        .map_or_else(|| id.to_string(), |node| node.name().to_owned())
}

/// A node as a command takes it: by its name, or by its id where another node has the same name.
pub(super) fn node_for_command(state: &State, id: NodeId) -> String {
    let name = node_name(state, id);
    let same = state.nodes().filter(|node| node.name() == name).count();
    if same > 1 { id.to_string() } else { name }
}

/// The end of an id, as tables show it.
pub(super) fn short(id: &str) -> &str {
    id.get(13..).unwrap_or(id)
}

/// A reason with the names of nodes in place of their ids.
pub(super) fn reason(state: &State, reason: &Reason) -> String {
    let ids: Vec<NodeId> = match reason {
        Reason::NodeDown(id) | Reason::NodeRemoved(id) | Reason::NodeDrained(id) => vec![*id],
        Reason::NodeUnsuitable(id, obstacle) => {
            [Some(*id), elsewhere(obstacle)].into_iter().flatten().collect()
        }
        Reason::NoSuitableNode(all) => all
            .iter()
            .filter_map(|(obstacle, _)| elsewhere(obstacle))
            .collect(),
        // Words of the managers speak of nodes by their ids.
        Reason::Other(text) => text
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect(),
        _ => Vec::new(),
    };
    let named = |text: String, id: NodeId| text.replace(id.as_str(), &node_name(state, id));
    ids.into_iter().fold(reason.to_string(), named)
}

fn elsewhere(obstacle: &Obstacle) -> Option<NodeId> {
    match obstacle {
        Obstacle::VolumeElsewhere { node, .. } => Some(*node),
        _ => None,
    }
}

/// Who did it, and what: `stack deploy shop by ann`.
pub(super) fn cause(cause: &Cause) -> String {
    let what = cause.action.as_str();
    let by = match &cause.actor {
        Actor::Leader => String::new(),
        Actor::Operator(name) => format!("by {name}"),
        Actor::Node(id) => format!("by node {id}"),
    };
    let words = [what, &by].into_iter().filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// How long: `35 s`, `4 min`, `2 h`, `3 d`.
pub(super) fn since(now: Timestamp, at: Timestamp) -> String {
    span(now.ms_since(at))
}

/// The same of a number of milliseconds; what is left of a wait is never told as nothing.
pub(super) fn span(ms: u64) -> String {
    let seconds = ms.div_ceil(1_000);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A word of a command line, quoted where a shell would read more than itself in it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::{quoted, span};

    #[test]
    fn spans_are_told_in_one_unit() {
        for (ms, text) in [
            (0, "0 s"),
            (1, "1 s"),
            (119_000, "119 s"),
            (120_000, "2 min"),
            (7_200_000, "2 h"),
        ] {
            assert_eq!(span(ms), text);
        }
        assert_eq!(span(86_400_000 * 3), "3 d");
    }

    #[test]
    fn what_a_shell_would_read_is_quoted() {
        assert_eq!(quoted("node.labels.zone==a"), "node.labels.zone==a");
        assert_eq!(quoted("node.role!=manager"), "'node.role!=manager'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
