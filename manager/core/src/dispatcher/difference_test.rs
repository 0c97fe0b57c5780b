use shoal_proto::task::{DesiredState, TaskState};

use super::Difference;
use crate::dispatcher::assignment::{AssignmentSet, assignments_for};
use crate::fixture::Fixture;
use crate::state::Group;

/// Whether an agent that carries the difference out asks of itself what the newer set asks.
fn leads_to(old: &AssignmentSet, new: &AssignmentSet) {
    let advanced = old.clone().advanced(Difference::between(old, new)).unwrap();
    assert_eq!(
        advanced.tasks.keys().collect::<Vec<_>>(),
        new.tasks.keys().collect::<Vec<_>>()
    );
    assert!(
        advanced
            .tasks
            .values()
            .all(|task| task.asks_the_same(&new.tasks[&task.task.id]))
    );
    assert_eq!(
        (advanced.networks, advanced.view),
        (new.networks.clone(), new.view.clone())
    );
    assert_eq!(advanced.index, new.index);
}

#[test]
fn changes_of_others_make_an_empty_difference_that_still_moves_the_index() {
    let mut fixture = Fixture::new();
    let (node, other) = (fixture.node(), fixture.node());
    let web = fixture.service("web", 1);
    fixture.task(web, 1, Some(node), TaskState::Assigned);
    let old = assignments_for(&fixture.state, node);
    fixture.task(web, 2, Some(other), TaskState::Assigned);
    let new = assignments_for(&fixture.state, node);
    let difference = Difference::between(&old, &new);
    assert!(difference.is_empty());
    assert_eq!((difference.from_index, difference.index), (old.index, new.index));
    leads_to(&old, &new);
}

#[test]
fn new_changed_and_forgotten_tasks_are_named() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let web = fixture.service("web", 1);
    let goes = fixture.task(web, 1, Some(node), TaskState::Failed);
    let stops = fixture.task(web, 2, Some(node), TaskState::Running);
    let stays = fixture.task(web, 3, Some(node), TaskState::Running);
    let old = assignments_for(&fixture.state, node);
    fixture.edit_task(stops, |task| task.plan.desired = DesiredState::Shutdown);
    let comes = fixture.task(web, 4, Some(node), TaskState::Assigned);
    let read = fixture.read(goes);
    let mut group = Group::new();
    group.delete(read);
    fixture.groups(vec![group]);
    let new = assignments_for(&fixture.state, node);
    let difference = Difference::between(&old, &new);
    let changed: Vec<_> = difference.tasks.iter().map(|task| task.task.id).collect();
    assert_eq!(changed, [stops, comes]);
    assert!(!changed.contains(&stays));
    assert_eq!(difference.removed_tasks, [goes]);
    leads_to(&old, &new);
}

#[test]
fn a_difference_does_not_stand_on_another_set() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let old = assignments_for(&fixture.state, node);
    fixture.node();
    let new = assignments_for(&fixture.state, node);
    let difference = Difference::between(&old, &new);
    assert!(new.advanced(difference).is_none());
}
