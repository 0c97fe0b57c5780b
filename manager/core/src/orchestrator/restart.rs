//! The restart policy as arithmetic: does an end ask for another task, and when may it start.
//! Attempts live in the slot, so a new leader counts on where the last one stopped.

use shoal_proto::id::RevisionId;
use shoal_proto::reason::Reason;
use shoal_proto::service::{RestartCondition, RestartPolicy, SLOT_ATTEMPTS_MAX, Slot};
use shoal_proto::task::{Fault, Task, TaskState};
use shoal_proto::time::Timestamp;

/// Whether an end asks for another task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Restart,
    /// It does not, and why.
    Refuse(Reason),
}

/// Judges the end of a task whose attempt, where it counts, is already among the slot's.
#[must_use]
pub fn verdict(policy: &RestartPolicy, slot: Option<&Slot>, ended: &Task, now: Timestamp) -> Verdict {
    // The policy speaks of what a task does itself. What a host, an Engine or a hand did to it is not held against it: as
    // after the loss of a node, the service has what was asked for.
    if ended.status.fault == Fault::None {
        return Verdict::Restart;
    }
    let asked = match policy.condition {
        RestartCondition::None => false,
        RestartCondition::OnFailure => ended.status.state != TaskState::Complete,
        RestartCondition::Any => true,
    };
    if !asked {
        return Verdict::Refuse(Reason::ConditionMet);
    }
    if policy.max_attempts == 0 {
        return Verdict::Restart;
    }
    let ends = slot.map_or(0, |slot| own_ends(policy, slot, now));
    if ends <= policy.max_attempts {
        return Verdict::Restart;
    }
    Verdict::Refuse(Reason::AttemptsExhausted {
        attempts: ends - 1,
        max_attempts: policy.max_attempts,
    })
}

/// Ends that count, the one at `at` included: those within the window before it.
fn own_ends(policy: &RestartPolicy, slot: &Slot, at: Timestamp) -> u64 {
    if policy.window_ms == 0 {
        return slot.attempts_total;
    }
    slot.attempts
        .iter()
        .filter(|end| **end <= at && at.ms_since(**end) < policy.window_ms)
        .count() as u64
}

/// Notes an end that was the task's own doing. Another revision begins at zero.
pub fn record(slot: &mut Slot, revision: RevisionId, at: Timestamp) {
    if slot.revision != revision {
        forget(slot, revision);
    }
    if slot.attempts.len() == SLOT_ATTEMPTS_MAX {
        slot.attempts.remove(0);
    }
    slot.attempts.push(at);
    slot.attempts_total += 1;
}

/// Begins at zero for a revision.
pub fn forget(slot: &mut Slot, revision: RevisionId) {
    slot.revision = revision;
    slot.attempts.clear();
    slot.attempts_total = 0;
    slot.spent = None;
}

/// Whether the slot stays empty under the policy as it is now.
#[must_use]
pub fn is_spent(policy: &RestartPolicy, slot: &Slot) -> bool {
    match &slot.spent {
        None => false,
        Some(Reason::AttemptsExhausted { .. }) => {
            policy.max_attempts > 0 && slot.attempts_total > policy.max_attempts
        }
        Some(_) => policy.condition != RestartCondition::Any,
    }
}

/// How long the next task of a slot is held back, as since and duration: none when its delay is over.
#[must_use]
pub fn hold_back(policy: &RestartPolicy, slot: Option<&Slot>, now: Timestamp) -> Option<(Timestamp, u64)> {
    let last = *slot?.attempts.last()?;
    (last + policy.delay_ms > now).then_some((last, policy.delay_ms))
}

/// Until when a task is held back, while it is.
#[must_use]
pub fn held_until(task: &Task, now: Timestamp) -> Option<Timestamp> {
    let (since, delay_ms) = task.plan.start_after?;
    Some(since + delay_ms).filter(|until| *until > now)
}

/// Why a task ended, in the best words there are.
#[must_use]
pub fn end_reason(task: &Task) -> Reason {
    task.status.reason.clone().unwrap_or_else(|| Reason::TaskEnded {
        exit_code: task.status.exit_code,
        message: task.status.message.clone(),
    })
}

#[cfg(test)]
#[path = "restart_test.rs"]
mod tests;
