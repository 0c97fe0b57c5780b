use std::sync::Arc;

use shoal_proto::container::HealthCheck;
use shoal_proto::reason::Reason;
use shoal_proto::task::{DesiredState, Fault, TaskState};

use crate::engine::fake::Op;
use crate::engine::{EngineError, Health};
use crate::testing::{Bench, IMAGE, assigned, task_id};

fn running(bench: &mut Bench, n: u64) {
    bench.assign(vec![assigned(n, DesiredState::Running)]);
    bench.settle();
    assert_eq!(bench.status(n).state, TaskState::Running);
}

#[test]
fn a_task_goes_from_accepted_to_running_and_is_not_touched_again() {
    let mut bench = Bench::new();
    running(&mut bench, 1);
    let calls = bench.engine.calls.clone();
    assert_eq!(calls.len(), 2, "{calls:?}");
    bench.settle();
    assert_eq!(bench.engine.calls, calls);
}

#[test]
fn desired_ready_prepares_and_waits_for_the_word() {
    let mut bench = Bench::new();
    bench.assign(vec![assigned(1, DesiredState::Ready)]);
    bench.settle();
    assert_eq!(bench.status(1).state, TaskState::Ready);
    assert!(!bench.engine.calls.iter().any(|call| call.starts_with("start")));
    running(&mut bench, 1);
}

#[test]
fn a_health_check_decides_when_a_task_runs_and_ends_it_when_it_fails() {
    let mut bench = Bench::new();
    let mut task = assigned(1, DesiredState::Running);
    let template = Arc::make_mut(&mut task.template);
    template.container.health = Some(HealthCheck {
        test: vec!["CMD".into(), "true".into()],
        ..HealthCheck::default()
    });
    bench.assign(vec![task]);
    bench.settle();
    assert_eq!(bench.status(1).state, TaskState::Starting);
    let container = bench.container_of(1);
    bench.engine.set_health(&container, Health::Healthy);
    bench.settle();
    assert_eq!(bench.status(1).state, TaskState::Running);
    bench
        .engine
        .set_health(&container, Health::Unhealthy("no answer".into()));
    bench.settle();
    let status = bench.status(1);
    assert_eq!((status.state, status.fault), (TaskState::Failed, Fault::Own));
    assert!(status.message.contains("no answer"), "{}", status.message);
}

#[test]
fn an_image_nobody_has_rejects_the_task_with_the_registrys_words() {
    let mut bench = Bench::new();
    let mut task = assigned(1, DesiredState::Running);
    Arc::make_mut(&mut task.template).container.image = "absent:1".to_owned();
    bench.assign(vec![task]);
    bench.settle();
    let status = bench.status(1);
    assert_eq!((status.state, status.fault), (TaskState::Rejected, Fault::Own));
    assert!(status.message.contains("manifest unknown"), "{}", status.message);
}

#[test]
fn an_exit_ends_the_task_with_its_code() {
    for (code, state) in [(0, TaskState::Complete), (3, TaskState::Failed)] {
        let mut bench = Bench::new();
        running(&mut bench, 1);
        let container = bench.container_of(1);
        bench.engine.exit(&container, code);
        bench.settle();
        let status = bench.status(1);
        assert_eq!(
            (status.state, status.exit_code, status.fault),
            (state, Some(code), Fault::Own)
        );
    }
}

#[test]
fn a_stop_is_a_shutdown_whatever_the_exit_code() {
    let mut bench = Bench::new();
    running(&mut bench, 1);
    let mut task = assigned(1, DesiredState::Shutdown);
    task.stop_reason = Some(Reason::ScaledDown);
    bench.assign(vec![task]);
    bench.settle();
    let status = bench.status(1);
    assert_eq!((status.state, status.exit_code), (TaskState::Shutdown, Some(143)));
    assert_eq!(status.reason, Some(Reason::ScaledDown));
    assert_eq!(
        bench.engine.containers().len(),
        1,
        "the container stays for its logs"
    );
}

#[test]
fn ends_that_are_not_the_tasks_own_say_so() {
    let by_hand: fn(&mut Bench) = |bench| {
        let container = bench.container_of(1);
        bench.engine.remove(&container).expect("removed");
    };
    let reboot: fn(&mut Bench) = |bench| {
        bench.engine.reboot();
        bench.boot = "boot-2".to_owned();
    };
    let restart: fn(&mut Bench) = |bench| bench.engine.restart(false);
    let table = [
        (by_hand, Reason::ContainerGone),
        (reboot, Reason::HostRebooted),
        (restart, Reason::EngineRestarted),
    ];
    for (happens, reason) in table {
        let mut bench = Bench::new();
        running(&mut bench, 1);
        happens(&mut bench);
        bench.settle();
        let status = bench.status(1);
        assert_eq!(
            (status.state, status.fault),
            (TaskState::Failed, Fault::None),
            "{reason}"
        );
        assert_eq!(status.reason.as_ref(), Some(&reason));
        assert_eq!(
            bench
                .engine
                .calls
                .iter()
                .filter(|call| call.starts_with("start"))
                .count(),
            1
        );
    }
}

#[test]
fn a_live_restore_touches_nothing() {
    let mut bench = Bench::new();
    running(&mut bench, 1);
    bench.engine.restart(true);
    bench.settle();
    assert_eq!(bench.status(1).state, TaskState::Running);
}

#[test]
fn a_silent_engine_ends_no_task_and_failed_tries_are_repeated() {
    let mut bench = Bench::new();
    running(&mut bench, 1);
    bench.engine.set_silent(true);
    bench.assign(vec![
        assigned(1, DesiredState::Running),
        assigned(2, DesiredState::Running),
    ]);
    bench.settle();
    assert_eq!(bench.status(1).state, TaskState::Running);
    assert_eq!(bench.status(2).state, TaskState::Accepted);
    bench.engine.set_silent(false);
    bench.engine.fail(Op::Create, EngineError::Silent("busy".into()));
    bench.settle();
    assert_eq!(bench.status(2).state, TaskState::Preparing);
    bench.now += 60_000;
    bench.settle();
    assert_eq!(bench.status(2).state, TaskState::Running);
}

#[test]
fn a_lost_create_reply_makes_no_second_container() {
    let mut bench = Bench::new();
    bench
        .engine
        .fail(Op::CreateAnswer, EngineError::Silent("reply lost".into()));
    bench.assign(vec![assigned(1, DesiredState::Running)]);
    bench.settle();
    bench.now += 60_000;
    bench.settle();
    assert_eq!(bench.engine.containers().len(), 1);
    assert_eq!(bench.status(1).state, TaskState::Running);
}

#[test]
fn an_agent_that_lost_its_memory_adopts_and_never_restarts() {
    let mut bench = Bench::new();
    running(&mut bench, 1);
    bench.local.records.clear();
    bench.settle();
    assert_eq!(bench.status(1).state, TaskState::Running);
    assert_eq!(bench.engine.calls.len(), 2, "{:?}", bench.engine.calls);
}

#[test]
fn an_heir_starts_only_when_its_predecessor_is_gone() {
    let mut bench = Bench::new();
    running(&mut bench, 1);
    let mut heir = assigned(2, DesiredState::Running);
    heir.inherits = Some(task_id(1));
    bench.assign(vec![assigned(1, DesiredState::Running), heir.clone()]);
    bench.settle();
    assert_eq!(bench.status(2).state, TaskState::Ready);
    assert!(
        bench.status(2).message.contains(task_id(1).as_str()),
        "{}",
        bench.status(2).message
    );
    bench.assign(vec![assigned(1, DesiredState::Shutdown), heir]);
    bench.settle();
    assert_eq!(bench.status(2).state, TaskState::Running);
    let calls = &bench.engine.calls;
    let place = |what: &str| {
        calls
            .iter()
            .position(|call| call.starts_with(what))
            .expect("called")
    };
    let stop = place("stop");
    let last_start = calls
        .iter()
        .rposition(|call| call.starts_with("start"))
        .expect("called");
    assert!(stop < last_start, "{calls:?}");
}

#[test]
fn a_start_the_engine_refuses_fails_the_task_with_its_words() {
    let mut bench = Bench::new();
    bench.engine.fail(
        Op::Start,
        EngineError::Refused("port is already allocated".into()),
    );
    bench.assign(vec![assigned(1, DesiredState::Running)]);
    bench.settle();
    let status = bench.status(1);
    assert_eq!(status.state, TaskState::Failed);
    assert_eq!(status.message, "port is already allocated");
}

#[test]
fn a_container_removed_by_hand_before_its_start_is_made_again() {
    let mut bench = Bench::new();
    bench.assign(vec![assigned(1, DesiredState::Ready)]);
    bench.settle();
    let container = bench.container_of(1);
    bench.engine.remove(&container).expect("removed");
    bench.settle();
    running(&mut bench, 1);
    assert_eq!(
        bench.engine.plan_of(&bench.container_of(1)).expect("plan").image,
        IMAGE
    );
}

#[test]
fn a_task_the_managers_saw_end_or_run_is_not_run_again() {
    for (known, then) in [
        (TaskState::Failed, TaskState::Failed),
        (TaskState::Running, TaskState::Failed),
    ] {
        let mut bench = Bench::new();
        let mut task = assigned(1, DesiredState::Running);
        task.status.state = known;
        bench.assign(vec![task]);
        bench.settle();
        assert_eq!(bench.status(1).state, then);
        assert!(bench.engine.calls.is_empty(), "{:?}", bench.engine.calls);
    }
}

#[test]
fn a_kill_is_the_tasks_own_end_unless_a_removal_follows() {
    for removed in [false, true] {
        let mut bench = Bench::new();
        running(&mut bench, 1);
        let container = bench.container_of(1);
        bench.engine.exit(&container, 137);
        assert!(bench.settle().wake_at.is_some());
        assert_eq!(bench.status(1).state, TaskState::Running);
        if removed {
            bench.engine.remove(&container).expect("removed");
        }
        bench.now += 1_000;
        bench.settle();
        let status = bench.status(1);
        assert_eq!(status.fault, if removed { Fault::None } else { Fault::Own });
        assert_eq!(status.reason == Some(Reason::ContainerGone), removed);
    }
}
