use std::collections::BTreeMap;

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use shoal_proto::task::{DesiredState, TaskState};

use super::{LEFTOVER_GRACE_MS, UnknownState, files_wanted};
use crate::engine::ContainerState;
use crate::testing::{Bench, assigned, task_id};

#[test]
fn an_absent_assignment_stops_nothing_and_is_reported() {
    let mut bench = Bench::new();
    bench.assign(vec![assigned(1, DesiredState::Running)]);
    bench.settle();
    bench.assign(vec![]);
    let plan = bench.settle();
    assert_eq!(plan.unknown.len(), 1);
    assert_eq!(
        (plan.unknown[0].task, plan.unknown[0].state),
        (task_id(1), UnknownState::Running)
    );
    bench.now += 10 * LEFTOVER_GRACE_MS;
    bench.settle();
    assert!(
        bench
            .engine
            .containers()
            .values()
            .all(|seen| seen.state == ContainerState::Running)
    );
}

#[test]
fn the_managers_word_about_an_unknown_task_is_obeyed() {
    let mut bench = Bench::new();
    bench.assign(vec![
        assigned(1, DesiredState::Running),
        assigned(2, DesiredState::Running),
    ]);
    bench.settle();
    bench.assign(vec![]);
    bench.local.assignments.word_keep(task_id(1));
    bench.local.assignments.word_remove(task_id(2));
    let plan = bench.settle();
    assert!(plan.unknown.is_empty(), "{:?}", plan.unknown);
    let left: Vec<_> = bench.engine.containers().values().map(|seen| seen.task).collect();
    assert_eq!(left, vec![task_id(1)]);
    assert!(
        !bench.local.assignments.removed.contains(&task_id(2)),
        "the word is forgotten once it is done"
    );
}

#[test]
fn an_ended_container_nobody_names_goes_after_a_grace_and_only_once_a_set_came() {
    let mut bench = Bench::new();
    bench.assign(vec![assigned(1, DesiredState::Running)]);
    bench.settle();
    let container = bench.container_of(1);
    bench.engine.exit(&container, 1);
    bench.settle();
    bench.local.confirmed = false;
    bench.assign(vec![]);
    bench.settle();
    bench.now += 2 * LEFTOVER_GRACE_MS;
    bench.settle();
    assert_eq!(bench.engine.containers().len(), 1, "no complete set came yet");
    bench.local.confirmed = true;
    assert!(bench.settle().wake_at.is_some());
    assert_eq!(bench.engine.containers().len(), 1, "the grace runs");
    bench.now += 2 * LEFTOVER_GRACE_MS;
    bench.settle();
    assert!(bench.engine.containers().is_empty());
    assert!(bench.local.records.is_empty());
}

#[test]
fn files_go_with_their_task() {
    let mut bench = Bench::new();
    bench.assign(vec![assigned(1, DesiredState::Running)]);
    bench.settle();
    assert!(files_wanted(&bench.local).contains(&task_id(1)));
    bench.assign(vec![assigned(1, DesiredState::Shutdown)]);
    bench.settle();
    assert!(files_wanted(&bench.local).is_empty());
}

#[test]
fn files_of_an_unknown_running_container_stay() {
    let mut bench = Bench::new();
    bench.assign(vec![assigned(1, DesiredState::Running)]);
    bench.settle();
    bench.assign(vec![]);
    bench.local.records.clear();
    bench.settle();
    assert!(files_wanted(&bench.local).contains(&task_id(1)));
}

/// Something that happens to a node.
#[derive(Debug, Clone)]
enum Event {
    Assign(Vec<(u64, DesiredState)>),
    Exit(u64, i64),
    RemoveByHand(u64),
    EngineRestart(bool),
    Silence(bool),
    AgentRestart,
    Reboot,
    Rounds(u8),
}

fn events() -> impl Strategy<Value = Event> {
    let desired = prop_oneof![
        Just(DesiredState::Ready),
        Just(DesiredState::Running),
        Just(DesiredState::Running),
        Just(DesiredState::Shutdown),
        Just(DesiredState::Remove)
    ];
    let task = 1..5_u64;
    prop_oneof![
        4 => proptest::collection::vec((task.clone(), desired), 0..4).prop_map(Event::Assign),
        2 => (task.clone(), 0..3_i64).prop_map(|(task, code)| Event::Exit(task, code)),
        1 => task.prop_map(Event::RemoveByHand),
        1 => any::<bool>().prop_map(Event::EngineRestart),
        1 => any::<bool>().prop_map(Event::Silence),
        1 => Just(Event::AgentRestart),
        1 => Just(Event::Reboot),
        4 => (1..4_u8).prop_map(Event::Rounds),
    ]
}

fn happen(bench: &mut Bench, wanted: &mut BTreeMap<u64, DesiredState>, event: Event) {
    let id = |bench: &Bench, n: u64| {
        let all = bench.engine.containers();
        all.values()
            .find(|seen| seen.task == task_id(n))
            .map(|seen| (seen.id.clone(), seen.state))
    };
    match event {
        Event::Assign(list) => {
            for (task, desired) in list {
                // Managers never take a word back.
                let now = wanted.entry(task).or_insert(desired);
                *now = (*now).max(desired);
            }
            let tasks = wanted
                .iter()
                .map(|(task, desired)| assigned(*task, *desired))
                .collect();
            bench.assign(tasks);
        }
        Event::Exit(task, code) => {
            if let Some((container, ContainerState::Running)) = id(bench, task) {
                bench.engine.exit(&container, code);
            }
        }
        Event::RemoveByHand(task) => {
            if let Some((container, _)) = id(bench, task) {
                bench.engine.remove(&container).ok();
            }
        }
        Event::EngineRestart(live) => bench.engine.restart(live),
        Event::Silence(silent) => bench.engine.set_silent(silent),
        Event::AgentRestart => {
            for record in bench.local.records.values_mut() {
                (record.job, record.tries, record.not_before) = (None, 0, None);
            }
        }
        Event::Reboot => {
            bench.engine.reboot();
            bench.boot.push('x');
        }
        Event::Rounds(rounds) => (0..rounds).for_each(|_| drop(bench.round())),
    }
}

/// Never two containers of a task, never a second start, never a step back, and at rest what was asked is so.
fn check(bench: &mut Bench, before: &BTreeMap<u64, TaskState>) {
    let containers = bench.engine.containers();
    for n in 1..5 {
        assert!(containers.values().filter(|seen| seen.task == task_id(n)).count() <= 1);
        let start = format!("start {}", assigned(n, DesiredState::Running).task_name());
        assert!(
            bench.engine.calls.iter().filter(|call| **call == start).count() <= 1,
            "{:?}",
            bench.engine.calls
        );
        if let (Some(record), Some(then)) = (bench.local.records.get(&task_id(n)), before.get(&n)) {
            assert!(record.status.state >= *then);
            assert!(!then.is_terminal() || record.status.state == *then);
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_tasks_run_once_and_only_forward(story in proptest::collection::vec(events(), 1..40)) {
        let mut bench = Bench::new();
        let mut wanted = BTreeMap::new();
        for event in story {
            let states = (1..5).filter_map(|n| Some((n, bench.local.records.get(&task_id(n))?.status.state)));
            let before = states.collect();
            happen(&mut bench, &mut wanted, event);
            check(&mut bench, &before);
        }
        bench.engine.set_silent(false);
        for _ in 0..3 {
            bench.now += 60_000;
            bench.settle();
        }
        for (task, desired) in wanted {
            let state = bench.status(task).state;
            assert!(state.is_terminal() || desired.wants_to_run(), "task {task} is {state}, wanted {desired}");
            assert!(state >= TaskState::Ready, "task {task} is {state}");
        }
    }
}
