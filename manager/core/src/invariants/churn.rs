//! Property 17: No churn: a task that replaces one that ended by its own fault is held back for the restart delay, is not
//! let go earlier, and is not made at all once the attempts are used up.

use shoal_proto::reason::Reason;
use shoal_proto::service::RestartPolicy;
use shoal_proto::task::{DesiredState, Fault, Task};

use super::{Transition, changed_tasks};

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    for (before, after) in changed_tasks(transition) {
        if before.is_none() {
            check_new(transition, after, found);
        }
        let was_held = before.is_none_or(|task| task.plan.desired == DesiredState::Ready);
        let let_go = was_held && matches!(after.plan.desired, DesiredState::Running | DesiredState::Complete);
        if let (true, Some((since, delay_ms))) = (let_go, after.plan.start_after)
            && after.meta.updated_at < since + delay_ms
        {
            found.push(format!(
                "task {} was let go before its delay of {delay_ms} ms was over",
                after.id
            ));
        }
    }
}

fn check_new(transition: &Transition<'_>, task: &Task, found: &mut Vec<String>) {
    let ended = task
        .plan
        .replaces
        .as_ref()
        .filter(|(_, reason)| matches!(reason, Reason::TaskEnded { .. }));
    let ended = ended.and_then(|(id, _)| transition.before.task(*id));
    let service = transition.before.service(task.plan.service);
    let (Some(ended), Some(service)) = (ended, service) else {
        return;
    };
    if ended.status.fault != Fault::Own || !ended.status.state.is_terminal() {
        return;
    }
    let policy = &service.settings.restart;
    if policy.delay_ms > 0 && task.plan.start_after.is_none() {
        found.push(format!(
            "task {} replaces {} without the restart delay",
            task.id, ended.id
        ));
    }
    let made = attempts(transition, task, policy);
    if policy.max_attempts > 0 && made > policy.max_attempts {
        found.push(format!(
            "task {} is attempt {made} of at most {}",
            task.id, policy.max_attempts
        ));
    }
}

/// Attempts of the slot that count: all, or those in the window before the last.
fn attempts(transition: &Transition<'_>, task: &Task, policy: &RestartPolicy) -> u64 {
    let Some(slot) = transition.after.slot(task.plan.service, task.plan.slot) else {
        return 0;
    };
    if policy.window_ms == 0 {
        return slot.attempts_total;
    }
    let last = slot.attempts.last().copied().unwrap_or_default();
    slot.attempts
        .iter()
        .filter(|at| last.ms_since(**at) < policy.window_ms)
        .count() as u64
}

#[cfg(test)]
mod tests {
    use shoal_proto::id::{RevisionId, ServiceId};
    use shoal_proto::reason::Reason;
    use shoal_proto::service::{Slot, SlotKey};
    use shoal_proto::task::{DesiredState, TaskState};
    use shoal_proto::time::Timestamp;

    use crate::fixture::Fixture;

    fn ended() -> Reason {
        Reason::TaskEnded {
            exit_code: Some(1),
            message: String::new(),
        }
    }

    /// What slot 1 remembers after ends at these times.
    fn attempts((service, revision): (ServiceId, RevisionId), attempts: Vec<Timestamp>) -> Slot {
        Slot {
            service,
            key: SlotKey::Number(1),
            meta: Default::default(),
            revision,
            attempts_total: attempts.len() as u64,
            attempts,
            spent: None,
            home: None,
            update_failed_at: None,
        }
    }

    #[test]
    fn a_replacement_without_the_delay_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        let old = fixture.task(web, 1, Some(node), TaskState::Failed);
        fixture.task_with(web, 1, Some(node), |task| {
            task.plan.replaces = Some((old, ended()))
        });
        assert_eq!(fixture.violated(), ["churn"]);
    }

    #[test]
    fn a_task_that_is_let_go_before_its_delay_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        let since = fixture.now;
        fixture.put(attempts(web, vec![since]));
        let task = fixture.task_with(web, 1, Some(node), |task| {
            task.plan.start_after = Some((since, 5_000));
            task.plan.desired = DesiredState::Ready;
        });
        assert!(fixture.violated().is_empty());
        fixture.now = since + 4_999;
        fixture.edit_task(task, |task| task.plan.desired = DesiredState::Running);
        assert_eq!(fixture.violated(), ["churn"]);
    }

    #[test]
    fn an_attempt_beyond_the_allowed_ones_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        fixture.edit_service(web.0, |web| web.settings.restart.max_attempts = 2);
        fixture.put(attempts(web, vec![fixture.now; 3]));
        let old = fixture.task(web, 1, Some(node), TaskState::Failed);
        let since = fixture.now;
        fixture.task_with(web, 1, Some(node), |task| {
            task.plan.replaces = Some((old, ended()));
            task.plan.start_after = Some((since, 5_000));
            task.plan.desired = DesiredState::Ready;
        });
        assert_eq!(fixture.violated(), ["churn"]);
    }
}
