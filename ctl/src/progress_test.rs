//! Where a service stands, from what the cluster says of it.

use shoal_proto::id::{NodeId, RevisionId, ServiceId, TaskId};
use shoal_proto::object::Meta;
use shoal_proto::reason::Reason;
use shoal_proto::service::{Mode, Service, ServiceSettings, SlotKey};
use shoal_proto::task::{DesiredState, Task, TaskPlan, TaskState, TaskStatus};
use shoal_proto::time::Timestamp;
use shoal_proto::update::{Direction, Rollout, RolloutState};

use super::{Verdict, look};
use crate::client::{ServiceRow, TaskRow};

const OLD: u128 = 1;
const NEW: u128 = 2;

fn revision(which: u128) -> RevisionId {
    RevisionId::new(Timestamp::ZERO, which)
}

fn service(replicas: u64, rollout: Option<(Direction, RolloutState)>) -> ServiceRow {
    let reason = Reason::Other("2 of 3 slots failed".to_owned());
    let rollout = rollout.map(|(direction, state)| Rollout {
        direction,
        state,
        reason: Some(reason),
        ..crate::progress::progress_test::running_rollout()
    });
    let service = Service {
        id: ServiceId::new(Timestamp::ZERO, 1),
        name: "web".to_owned(),
        settings: ServiceSettings {
            mode: Mode::Replicated { replicas },
            ..ServiceSettings::default()
        },
        revision: revision(NEW),
        rollout,
        ..blank_service()
    };
    ServiceRow {
        service,
        running: 0,
        desired: replicas,
        completed: 0,
        image: String::new(),
        stack: String::new(),
        ipv6_addresses: Default::default(),
    }
}

fn blank_service() -> Service {
    serde_json::from_value(serde_json::json!({
        "id": ServiceId::new(Timestamp::ZERO, 1).to_string(),
        "meta": Meta::default(),
        "name": "web",
        "stack": null,
        "settings": ServiceSettings::default(),
        "setting_writers": {},
        "revision": revision(NEW).to_string(),
        "previous_revision": null,
        "good_revision": null,
        "last_revision_number": 1,
        "previous_settings": null,
        "rollout": null,
        "removed_at": null,
    }))
    .unwrap()
}

fn running_rollout() -> Rollout {
    serde_json::from_value(serde_json::json!({
        "direction": "Update",
        "state": "Running",
        "from": revision(OLD).to_string(),
        "to": revision(NEW).to_string(),
        "started_at": 0,
        "ended_at": null,
        "batch_done_at": null,
        "failed_slots": 0,
        "reason": null,
    }))
    .unwrap()
}

fn task(id: u128, slot: u64, which: u128, desired: DesiredState, state: TaskState) -> TaskRow {
    let plan: TaskPlan = serde_json::from_value(serde_json::json!({
        "service": ServiceId::new(Timestamp::ZERO, 1).to_string(),
        "slot": SlotKey::Number(slot),
        "revision": revision(which).to_string(),
        "node": NodeId::new(Timestamp::ZERO, 1).to_string(),
        "desired": desired,
        "inherits": null,
        "replaces": null,
        "start_after": null,
        "pending": null,
        "stop_reason": null,
        "stop_since": null,
    }))
    .unwrap();
    let status = TaskStatus {
        state,
        ..TaskStatus::default()
    };
    TaskRow {
        task: Task {
            id: TaskId::new(Timestamp::ZERO, id),
            meta: Meta::default(),
            plan,
            status,
        },
        service: "web".to_owned(),
        node: "h1".to_owned(),
        image: String::new(),
        revision: 1,
        up_to_date: which == NEW,
        unheard: Vec::new(),
        progress: String::new(),
        host_ports: Vec::new(),
    }
}

#[test]
fn a_service_has_converged_when_every_slot_runs_the_wanted_revision_and_nothing_else_is_left() {
    let mut tasks = vec![
        task(1, 1, NEW, DesiredState::Running, TaskState::Running),
        task(2, 2, NEW, DesiredState::Running, TaskState::Running),
    ];
    assert_eq!(look(&service(2, None), &tasks).verdict, Verdict::Converged);
    tasks.push(task(0, 3, OLD, DesiredState::Shutdown, TaskState::Running));
    assert_eq!(look(&service(2, None), &tasks).verdict, Verdict::Going);
}

#[test]
fn a_task_that_runs_on_beside_its_failed_successor_counts() {
    let old = task(1, 1, NEW, DesiredState::Running, TaskState::Running);
    let failed = task(2, 1, OLD, DesiredState::Shutdown, TaskState::Failed);
    let progress = look(&service(1, None), &[old, failed]);
    assert_eq!(progress.verdict, Verdict::Converged);
    assert_eq!(progress.done, 1);
}

#[test]
fn a_task_of_an_older_revision_does_not_count() {
    let tasks = [task(1, 1, OLD, DesiredState::Running, TaskState::Running)];
    let progress = look(&service(1, None), &tasks);
    assert_eq!((progress.done, progress.verdict), (0, Verdict::Going));
}

#[test]
fn a_running_rollout_is_never_done_even_if_all_tasks_run() {
    let tasks = [task(1, 1, NEW, DesiredState::Running, TaskState::Running)];
    let row = service(1, Some((Direction::Update, RolloutState::Running)));
    assert_eq!(look(&row, &tasks).verdict, Verdict::Going);
}

#[test]
fn a_paused_update_and_a_completed_rollback_say_why() {
    let tasks = [task(1, 1, NEW, DesiredState::Running, TaskState::Running)];
    let why = "2 of 3 slots failed".to_owned();
    let paused = service(1, Some((Direction::Update, RolloutState::Paused)));
    assert_eq!(look(&paused, &tasks).verdict, Verdict::Paused(why.clone()));
    let back = service(1, Some((Direction::Rollback, RolloutState::Completed)));
    assert_eq!(look(&back, &tasks).verdict, Verdict::RolledBack(why));
}

#[test]
fn a_slot_without_attempts_left_ends_the_waiting() {
    let mut failed = task(1, 1, NEW, DesiredState::Shutdown, TaskState::Failed);
    failed.task.plan.stop_reason = Some(Reason::AttemptsExhausted {
        attempts: 3,
        max_attempts: 3,
    });
    let verdict = look(&service(1, None), &[failed]).verdict;
    assert!(
        matches!(&verdict, Verdict::GivenUp(why) if why.contains("3 of 3")),
        "{verdict:?}"
    );
}

#[test]
fn only_the_newest_task_of_a_slot_is_shown() {
    let tasks = [
        task(1, 1, NEW, DesiredState::Shutdown, TaskState::Failed),
        task(2, 1, NEW, DesiredState::Running, TaskState::Starting),
    ];
    let progress = look(&service(1, None), &tasks);
    assert_eq!(progress.slots.len(), 1);
    assert_eq!(progress.slots[0].state, TaskState::Starting);
}
