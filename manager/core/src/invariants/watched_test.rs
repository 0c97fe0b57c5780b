//! Updates that are judged too early, and failures that are counted where they should not be or not at all.

use shoal_proto::id::{NodeId, RevisionId, ServiceId, TaskId};
use shoal_proto::reason::Reason;
use shoal_proto::service::{Slot, SlotKey, TaskTemplate};
use shoal_proto::task::{DesiredState, Fault, TaskState};
use shoal_proto::update::RolloutState;

use crate::fixture::Fixture;

/// A service under a rollout, and the task that the rollout made.
struct Bed {
    fixture: Fixture,
    node: NodeId,
    web: (ServiceId, RevisionId),
    task: TaskId,
}

const MONITOR_MS: u64 = 5_000;

fn bed() -> Bed {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    fixture.now = fixture.now + 60_000;
    let web = fixture.service("web", 1);
    fixture.edit_service(web.0, |web| web.settings.update.monitor_ms = MONITOR_MS);
    let old = fixture.task(web, 1, Some(node), TaskState::Assigned);
    fixture.report(old, node, TaskState::Running, 1);
    let new = fixture.revision(web.0, 2, TaskTemplate::default());
    fixture.begin_rollout(web.0, new);
    fixture.edit_task(old, |task| task.plan.desired = DesiredState::Shutdown);
    fixture.report(old, node, TaskState::Shutdown, 1);
    let task = fixture.task_with((web.0, new), 1, Some(node), |task| {
        task.plan.replaces = Some((old, Reason::Updated));
    });
    assert!(fixture.violated().is_empty());
    Bed {
        fixture,
        node,
        web: (web.0, new),
        task,
    }
}

impl Bed {
    fn completes(&mut self) -> Vec<&'static str> {
        let now = self.fixture.now;
        self.fixture.edit_service(self.web.0, |web| {
            let rollout = web.rollout.as_mut().unwrap();
            rollout.state = RolloutState::Completed;
            rollout.ended_at = Some(now);
        });
        self.fixture.violated()
    }

    fn is_good(&mut self) -> Vec<&'static str> {
        let content = self.web.1;
        self.fixture
            .edit_service(self.web.0, |web| web.good_revision = Some(content));
        self.fixture.violated()
    }

    /// The task fails so long after it began to run, and is answered, counted or not.
    fn fails(&mut self, ran_ms: u64, counts: Option<()>) -> Vec<&'static str> {
        self.fixture.report(self.task, self.node, TaskState::Running, 1);
        self.fixture.now = self.fixture.now + ran_ms;
        let now = self.fixture.now;
        self.fixture.edit_task(self.task, |task| {
            task.status.state = TaskState::Failed;
            task.status.since = now;
            task.status.fault = Fault::Own;
        });
        let mut task = self.fixture.read(self.task);
        task.plan.desired = DesiredState::Shutdown;
        task.plan.stop_reason = Some(Reason::TaskEnded {
            exit_code: Some(1),
            message: String::new(),
        });
        let slot = Slot {
            service: self.web.0,
            key: SlotKey::Number(1),
            meta: Default::default(),
            revision: self.web.1,
            attempts: vec![now],
            attempts_total: 1,
            spent: None,
            home: None,
            update_failed_at: counts.map(|()| now),
        };
        let answered = self.fixture.group(|group| {
            group.put(task).put(slot);
        });
        answered.unwrap();
        self.fixture.violated()
    }
}

#[test]
fn an_update_that_is_complete_before_its_tasks_were_watched_is_found() {
    let mut bed = bed();
    bed.fixture.report(bed.task, bed.node, TaskState::Running, 1);
    bed.fixture.now = bed.fixture.now + (MONITOR_MS - 1);
    assert_eq!(bed.completes(), ["watched"]);
}

#[test]
fn an_update_that_is_complete_when_its_tasks_were_watched_is_fine() {
    let mut bed = bed();
    bed.fixture.report(bed.task, bed.node, TaskState::Running, 1);
    bed.fixture.now = bed.fixture.now + MONITOR_MS;
    assert!(bed.completes().is_empty());
}

#[test]
fn content_that_is_called_good_while_a_task_is_only_ready_is_found() {
    let mut bed = bed();
    bed.fixture.report(bed.task, bed.node, TaskState::Ready, 1);
    bed.fixture.now = bed.fixture.now + 10 * MONITOR_MS;
    assert_eq!(bed.is_good(), ["watched"]);
}

#[test]
fn content_that_ran_for_the_monitor_time_is_good() {
    let mut bed = bed();
    bed.fixture.report(bed.task, bed.node, TaskState::Running, 1);
    bed.fixture.now = bed.fixture.now + MONITOR_MS;
    assert!(bed.is_good().is_empty());
}

#[test]
fn a_failure_after_the_monitor_time_that_counts_is_found() {
    assert_eq!(bed().fails(MONITOR_MS + 1, Some(())), ["watched"]);
    assert!(bed().fails(MONITOR_MS + 1, None).is_empty());
}

#[test]
fn a_failure_within_the_monitor_time_that_does_not_count_is_found() {
    assert_eq!(bed().fails(MONITOR_MS, None), ["watched"]);
    assert!(bed().fails(MONITOR_MS, Some(())).is_empty());
}
