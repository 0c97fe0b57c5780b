//! Property 17: What is counted against a slot: ends that were a task's own fault, each once, and nothing else. The loss
//! of a node, a reboot, an Engine's restart or a drain use up no attempt and delay nothing.

use shoal_proto::reason::Reason;
use shoal_proto::service::Slot;
use shoal_proto::task::{Fault, Task};

use super::{Transition, changed_slots, changed_tasks};

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    for (before, after) in changed_slots(transition) {
        let known = before.filter(|slot| slot.revision == after.revision);
        let counted = after
            .attempts_total
            .saturating_sub(known.map_or(0, |slot| slot.attempts_total));
        let ended = own_ends(transition, after);
        if counted > ended {
            found.push(format!(
                "{counted} attempts are counted in slot {} of service {}, where {ended} tasks ended by their own fault",
                after.key, after.service
            ));
        }
    }
    for (before, after) in changed_tasks(transition) {
        match before {
            None => check_delay(transition, after, found),
            Some(before) => check_refusal(before, after, found),
        }
    }
}

/// Tasks of the slot whose end by their own fault is answered in this entry: they are told to stop, or, where no history
/// is kept, forgotten at once.
fn own_ends(transition: &Transition<'_>, slot: &Slot) -> u64 {
    let wanted = transition.before.tasks_of_service(slot.service).filter(|before| {
        before.plan.slot == slot.key && before.plan.desired.wants_to_run() && ended_by_itself(before)
    });
    let answered = wanted.filter(|before| {
        let after = transition.after.task(before.id);
        after.is_none_or(|after| is_told(before, after))
    });
    answered.count() as u64
}

fn check_delay(transition: &Transition<'_>, task: &Task, found: &mut Vec<String>) {
    let Some((since, _)) = task.plan.start_after else {
        return;
    };
    let sides = [transition.before, transition.after];
    let counted = sides
        .iter()
        .filter_map(|state| state.slot(task.plan.service, task.plan.slot))
        .any(|slot| slot.attempts.contains(&since));
    let older = task.plan.replaces.as_ref().map(|(older, _)| *older);
    let older = older.and_then(|older| transition.before.task(older));
    let taken_over = older.is_some_and(|older| older.plan.start_after == task.plan.start_after);
    if !counted && !taken_over {
        found.push(format!(
            "task {} is held back although no task of its slot was at fault",
            task.id
        ));
    }
}

fn check_refusal(before: &Task, after: &Task, found: &mut Vec<String>) {
    let refused = matches!(after.plan.stop_reason, Some(Reason::AttemptsExhausted { .. }));
    if refused && is_told(before, after) && !ended_by_itself(after) {
        found.push(format!(
            "task {} is not replaced for its slot's attempts, and was not at fault",
            after.id
        ));
    }
}

fn is_told(before: &Task, after: &Task) -> bool {
    before.plan.desired.wants_to_run() && !after.plan.desired.wants_to_run()
}

fn ended_by_itself(task: &Task) -> bool {
    task.status.state.is_terminal() && task.status.fault == Fault::Own
}

#[cfg(test)]
mod tests {
    use shoal_proto::id::{NodeId, RevisionId, ServiceId};
    use shoal_proto::reason::Reason;
    use shoal_proto::service::{Slot, SlotKey};
    use shoal_proto::task::{DesiredState, Fault, Task, TaskState};

    use crate::fixture::Fixture;

    fn failed(fixture: &mut Fixture, web: (ServiceId, RevisionId), node: NodeId, fault: Fault) -> Task {
        let task = fixture.task_with(web, 1, Some(node), |task| {
            task.status.state = TaskState::Failed;
            task.status.fault = fault;
        });
        let mut task = fixture.read(task);
        task.plan.desired = DesiredState::Shutdown;
        task
    }

    fn counted(fixture: &Fixture, web: (ServiceId, RevisionId)) -> Slot {
        Slot {
            service: web.0,
            key: SlotKey::Number(1),
            meta: Default::default(),
            revision: web.1,
            attempts: vec![fixture.now],
            attempts_total: 1,
            spent: None,
            home: None,
            update_failed_at: None,
        }
    }

    #[test]
    fn an_attempt_that_is_counted_for_the_loss_of_a_node_is_found() {
        for (fault, expected) in [(Fault::Own, None), (Fault::None, Some("attempts"))] {
            let mut fixture = Fixture::new();
            let node = fixture.node();
            let web = fixture.service("web", 1);
            let task = failed(&mut fixture, web, node, fault);
            let slot = counted(&fixture, web);
            let answered = fixture.group(|group| {
                group.put(task).put(slot);
            });
            answered.unwrap();
            assert_eq!(fixture.violated().first().copied(), expected);
        }
    }

    #[test]
    fn a_delay_for_a_task_that_was_not_at_fault_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        let since = fixture.now;
        let held = |task: &mut Task| {
            task.plan.start_after = Some((since, 5_000));
            task.plan.desired = DesiredState::Ready;
        };
        fixture.task_with(web, 1, Some(node), held);
        assert_eq!(fixture.violated(), ["attempts"]);
    }

    #[test]
    fn attempts_that_are_used_up_by_another_hand_are_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        let mut task = failed(&mut fixture, web, node, Fault::None);
        task.plan.stop_reason = Some(Reason::AttemptsExhausted {
            attempts: 1,
            max_attempts: 1,
        });
        fixture.put(task);
        assert_eq!(fixture.violated(), ["attempts"]);
    }
}
