//! The restart policy by itself.

use shoal_proto::id::{RevisionId, ServiceId, TaskId};
use shoal_proto::object::Meta;
use shoal_proto::reason::Reason;
use shoal_proto::service::{RestartCondition, RestartPolicy, Slot, SlotKey};
use shoal_proto::task::{DesiredState, Fault, Task, TaskPlan, TaskState, TaskStatus};
use shoal_proto::time::Timestamp;

use super::{Verdict, hold_back, record, verdict};

fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn revision(number: u128) -> RevisionId {
    RevisionId::new(at(0), number)
}

fn slot() -> Slot {
    Slot {
        service: ServiceId::new(at(0), 1),
        key: SlotKey::Number(1),
        meta: Meta::default(),
        revision: revision(1),
        attempts: Vec::new(),
        attempts_total: 0,
        spent: None,
        home: None,
        update_failed_at: None,
    }
}

fn ended(state: TaskState, fault: Fault, ms: u64) -> Task {
    let service = ServiceId::new(at(0), 1);
    let plan = TaskPlan::new(service, SlotKey::Number(1), revision(1), DesiredState::Running);
    let status = TaskStatus {
        state,
        fault,
        since: at(ms),
        ..TaskStatus::default()
    };
    Task {
        id: TaskId::new(at(ms), 1),
        meta: Meta::default(),
        plan,
        status,
    }
}

fn restarts(policy: &RestartPolicy, ends_ms: &[u64]) -> Vec<bool> {
    let mut slot = slot();
    let judged = ends_ms.iter().map(|ms| {
        record(&mut slot, revision(1), at(*ms));
        verdict(
            policy,
            Some(&slot),
            &ended(TaskState::Failed, Fault::Own, *ms),
            at(*ms),
        ) == Verdict::Restart
    });
    judged.collect()
}

#[test]
fn the_condition_decides_first() {
    let judge = |condition, state| {
        let policy = RestartPolicy {
            condition,
            ..RestartPolicy::default()
        };
        verdict(&policy, None, &ended(state, Fault::Own, 0), at(0)) == Verdict::Restart
    };
    assert!(judge(RestartCondition::Any, TaskState::Complete));
    assert!(judge(RestartCondition::OnFailure, TaskState::Failed));
    assert!(judge(RestartCondition::OnFailure, TaskState::Rejected));
    assert!(!judge(RestartCondition::OnFailure, TaskState::Complete));
    assert!(!judge(RestartCondition::None, TaskState::Failed));
    let policy = RestartPolicy {
        condition: RestartCondition::None,
        ..RestartPolicy::default()
    };
    let rebooted = ended(TaskState::Failed, Fault::None, 0);
    assert_eq!(verdict(&policy, None, &rebooted, at(0)), Verdict::Restart);
}

#[test]
fn so_many_attempts_mean_so_many_restarts() {
    let policy = RestartPolicy {
        max_attempts: 2,
        ..RestartPolicy::default()
    };
    assert_eq!(restarts(&policy, &[0, 1, 2, 3]), [true, true, false, false]);
}

#[test]
fn attempts_outside_the_window_do_not_count() {
    let policy = RestartPolicy {
        max_attempts: 1,
        window_ms: 100,
        ..RestartPolicy::default()
    };
    assert_eq!(restarts(&policy, &[0, 50, 200, 301]), [true, false, true, true]);
}

#[test]
fn an_end_that_is_not_the_tasks_own_never_uses_an_attempt() {
    let policy = RestartPolicy {
        max_attempts: 1,
        ..RestartPolicy::default()
    };
    let mut slot = slot();
    record(&mut slot, revision(1), at(0));
    record(&mut slot, revision(1), at(1));
    let lost = ended(TaskState::Failed, Fault::None, 2);
    assert_eq!(verdict(&policy, Some(&slot), &lost, at(2)), Verdict::Restart);
}

#[test]
fn another_revision_begins_at_zero() {
    let policy = RestartPolicy {
        max_attempts: 1,
        ..RestartPolicy::default()
    };
    let mut slot = slot();
    record(&mut slot, revision(1), at(0));
    record(&mut slot, revision(1), at(1));
    let refused = verdict(
        &policy,
        Some(&slot),
        &ended(TaskState::Failed, Fault::Own, 1),
        at(1),
    );
    assert_eq!(
        refused,
        Verdict::Refuse(Reason::AttemptsExhausted {
            attempts: 1,
            max_attempts: 1
        })
    );
    record(&mut slot, revision(2), at(2));
    assert_eq!(slot.attempts_total, 1);
}

#[test]
fn the_delay_counts_from_the_end_of_the_last_task() {
    let policy = RestartPolicy {
        delay_ms: 5_000,
        ..RestartPolicy::default()
    };
    let mut slot = slot();
    record(&mut slot, revision(1), at(1_000));
    assert_eq!(
        hold_back(&policy, Some(&slot), at(2_000)),
        Some((at(1_000), 5_000))
    );
    assert_eq!(hold_back(&policy, Some(&slot), at(6_000)), None);
}
