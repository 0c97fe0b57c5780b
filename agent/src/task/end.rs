//! How a task ended, and whose doing that was.

use shoal_proto::limits::MESSAGE_BYTES_MAX;
use shoal_proto::reason::Reason;
use shoal_proto::task::{Fault, TaskState};

use crate::engine::Observed;

/// What a process's exit code has on top of the signal that ended it.
const SIGNAL_BASE: i64 = 128;
const MIB: u64 = 1 << 20;

/// How a task ended.
pub(super) struct End {
    pub(super) exit_code: Option<i64>,
    pub(super) fault: Fault,
    pub(super) message: String,
    pub(super) reason: Option<Reason>,
}

impl End {
    /// Nobody's fault in the task: somebody else's doing, with its reason.
    pub(super) fn of_others(exit_code: Option<i64>, reason: Reason) -> Self {
        Self {
            exit_code,
            fault: Fault::None,
            message: reason.to_string(),
            reason: Some(reason),
        }
    }

    pub(super) fn own(message: String) -> Self {
        Self::exit(None, message)
    }

    pub(super) fn exit(exit_code: Option<i64>, message: String) -> Self {
        let reason = Some(Reason::TaskEnded {
            exit_code,
            message: message.clone(),
        });
        Self {
            exit_code,
            fault: Fault::Own,
            message,
            reason,
        }
    }
}

/// The end of a container that nobody stopped.
pub(super) fn own_end(seen: &Observed) -> (TaskState, End) {
    let code = seen.exit_code.unwrap_or(-1);
    if code == 0 && seen.error.is_empty() {
        let mut end = End::exit(Some(0), "finished".to_owned());
        end.reason = Some(Reason::TaskEnded {
            exit_code: Some(0),
            message: String::new(),
        });
        return (TaskState::Complete, end);
    }
    let message = if seen.error.is_empty() {
        exit_words(seen, code)
    } else {
        seen.error.clone()
    };
    (TaskState::Failed, End::exit(Some(code), message))
}

fn exit_words(seen: &Observed, code: i64) -> String {
    let signal = u8::try_from(code - SIGNAL_BASE).ok().and_then(signal_name);
    match (seen.oom_killed, signal) {
        (true, Some("SIGKILL")) => format!("killed: out of memory ({})", memory_words(seen)),
        (true, _) => format!(
            "task: non-zero exit ({code}) after one of its processes was killed: out of memory ({})",
            memory_words(seen)
        ),
        (false, Some(signal)) => format!("task: non-zero exit ({code}: {signal})"),
        (false, None) => format!("task: non-zero exit ({code})"),
    }
}

fn memory_words(seen: &Observed) -> String {
    match seen.memory_limit_bytes {
        0 => "the node has no more".to_owned(),
        limit if limit % MIB == 0 => format!("its limit is {} MiB", limit / MIB),
        limit => format!("its limit is {limit} bytes"),
    }
}

/// Signals that end a process which does not handle them, as x86-64 and ARM number them.
fn signal_name(number: u8) -> Option<&'static str> {
    Some(match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return None,
    })
}

/// Other people's words may be long; a report's may not.
pub(super) fn cut(words: &str) -> String {
    words[..words.floor_char_boundary(MESSAGE_BYTES_MAX)].to_owned()
}
