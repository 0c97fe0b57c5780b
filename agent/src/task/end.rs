//! How a task ended, and whose doing that was.

use shoal_proto::limits::MESSAGE_BYTES_MAX;
use shoal_proto::reason::Reason;
use shoal_proto::task::{Fault, TaskState};

use crate::engine::Observed;

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
    let message = if seen.oom_killed {
        "killed: out of memory".to_owned()
    } else if seen.error.is_empty() {
        format!("task: non-zero exit ({code})")
    } else {
        seen.error.clone()
    };
    (TaskState::Failed, End::exit(Some(code), message))
}

/// Other people's words may be long; a report's may not.
pub(super) fn cut(words: &str) -> String {
    words[..words.floor_char_boundary(MESSAGE_BYTES_MAX)].to_owned()
}
