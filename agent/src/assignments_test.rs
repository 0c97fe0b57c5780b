use shoal_proto::id::ClusterId;
use shoal_proto::task::DesiredState;

use super::{Applied, Assignments, Extent, SetIndex};
use crate::testing::{assigned, at, task_id, update};

fn with_two_tasks() -> Assignments {
    let mut set = Assignments::default();
    let tasks = vec![
        assigned(1, DesiredState::Running),
        assigned(2, DesiredState::Running),
    ];
    assert_eq!(set.apply(update(10, tasks)), Applied::Yes);
    set
}

#[test]
fn an_older_set_changes_nothing() {
    let mut set = with_two_tasks();
    let before = set.clone();
    let mut older = update(9, vec![]);
    older.removed = vec![task_id(1)];
    assert_eq!(set.apply(older), Applied::Older);
    assert_eq!(set, before);
}

#[test]
fn a_later_incarnation_outranks_a_higher_index_and_removes_nothing_by_absence() {
    let mut set = with_two_tasks();
    let mut restored = update(0, vec![assigned(1, DesiredState::Running)]);
    restored.index = SetIndex {
        incarnation: 1,
        index: 3,
    };
    assert_eq!(set.apply(restored), Applied::Yes);
    assert!(set.removed.is_empty());
    let mut lower = update(50, vec![]);
    lower.removed = vec![task_id(1)];
    assert_eq!(set.apply(lower), Applied::Older);
    assert!(set.tasks.contains_key(&task_id(1)));
}

#[test]
fn another_clusters_set_is_refused() {
    let mut set = with_two_tasks();
    let mut foreign = update(11, vec![]);
    foreign.cluster = Some(ClusterId::new(at(9), 9));
    assert_eq!(set.apply(foreign), Applied::Foreign);
    assert_eq!(set.tasks.len(), 2);
}

#[test]
fn an_increment_adds_changes_and_removes_by_name() {
    let mut set = with_two_tasks();
    let mut step = update(
        11,
        vec![
            assigned(3, DesiredState::Ready),
            assigned(2, DesiredState::Shutdown),
        ],
    );
    step.extent = Extent::Increment;
    step.removed = vec![task_id(1)];
    assert_eq!(set.apply(step), Applied::Yes);
    let tasks: Vec<_> = set.tasks.iter().map(|(id, task)| (*id, task.desired)).collect();
    assert_eq!(
        tasks,
        vec![
            (task_id(2), DesiredState::Shutdown),
            (task_id(3), DesiredState::Ready)
        ]
    );
    assert!(set.removed.contains(&task_id(1)));
}
