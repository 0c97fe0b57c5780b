use shoal_proto::node::{NodeState, NodeStatus};
use shoal_proto::task::{Fault, TaskState, TaskStatus};

use crate::fixture::Fixture;
use crate::state::Change;

#[test]
fn a_report_moves_a_task_on_and_never_back() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let web = fixture.service("web", 1);
    let task = fixture.task(web, 1, Some(node), TaskState::Assigned);
    fixture.report(task, node, TaskState::Running, 1);
    fixture.report(task, node, TaskState::Ready, 1);
    assert_eq!(fixture.read(task).status.state, TaskState::Running);
    fixture.report(task, node, TaskState::Failed, 1);
    fixture.report(task, node, TaskState::Orphaned, 1);
    let status = fixture.read(task).status;
    assert_eq!((status.state, status.version), (TaskState::Failed, 3));
}

#[test]
fn a_report_of_an_older_epoch_or_of_another_node_is_ignored() {
    let mut fixture = Fixture::new();
    let (node, other) = (fixture.node(), fixture.node());
    let web = fixture.service("web", 1);
    let task = fixture.task(web, 1, Some(node), TaskState::Assigned);
    fixture.report(task, other, TaskState::Running, 9);
    assert_eq!(fixture.read(task).status.state, TaskState::Assigned);
    fixture.report(task, node, TaskState::Ready, 3);
    fixture.report(task, node, TaskState::Running, 2);
    assert_eq!(fixture.read(task).status.state, TaskState::Ready);
    let status = Box::new(NodeStatus {
        epoch: 7,
        state: NodeState::Ready,
        ..NodeStatus::default()
    });
    fixture.change(Change::NodeStatus { node, status });
    fixture.report(task, node, TaskState::Running, 6);
    assert_eq!(fixture.read(task).status.state, TaskState::Ready);
    fixture.report(task, node, TaskState::Running, 7);
    assert_eq!(fixture.read(task).status.state, TaskState::Running);
}

#[test]
fn a_report_that_says_nothing_new_is_not_a_change() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let web = fixture.service("web", 1);
    let task = fixture.task(web, 1, Some(node), TaskState::Assigned);
    fixture.report(task, node, TaskState::Running, 1);
    let before = fixture.read(task);
    fixture.now = fixture.now + 1_000;
    fixture.report(task, node, TaskState::Running, 1);
    assert_eq!(fixture.read(task), before);
}

#[test]
fn what_was_said_once_outlives_the_state_it_was_said_in() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let web = fixture.service("web", 1);
    let task = fixture.task(web, 1, Some(node), TaskState::Assigned);
    let started = fixture.now;
    let status = TaskStatus {
        state: TaskState::Running,
        since: started,
        epoch: 1,
        container: Some("c1".to_owned()),
        ..TaskStatus::default()
    };
    fixture.change(Change::TaskStatus {
        task,
        node,
        status: Box::new(status),
    });
    fixture.now = fixture.now + 1_000;
    fixture.report(task, node, TaskState::Failed, 1);
    let status = fixture.read(task).status;
    assert_eq!(
        (status.container.as_deref(), status.running_since),
        (Some("c1"), Some(started))
    );
    assert_eq!(status.since, fixture.now);
}

#[test]
fn a_plan_made_from_an_old_look_does_not_undo_a_report() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let web = fixture.service("web", 1);
    let task = fixture.task(web, 1, Some(node), TaskState::Assigned);
    let old = fixture.read(task);
    fixture.report(task, node, TaskState::Running, 1);
    fixture.put(old);
    let stored = fixture.read(task);
    assert_eq!(
        (stored.status.state, stored.meta.version),
        (TaskState::Running, 2)
    );
}

#[test]
fn managers_end_a_task_whose_agent_is_gone() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let web = fixture.service("web", 1);
    let task = fixture.task(web, 1, Some(node), TaskState::Running);
    fixture.edit_task(task, |task| {
        task.status.state = TaskState::Orphaned;
        task.status.fault = Fault::None;
    });
    let status = fixture.read(task).status;
    assert_eq!((status.state, status.fault), (TaskState::Orphaned, Fault::None));
    fixture.edit_task(task, |task| task.status.state = TaskState::Failed);
    assert_eq!(fixture.read(task).status.state, TaskState::Orphaned);
}

#[test]
fn a_node_keeps_what_a_report_leaves_empty_and_ignores_older_epochs() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let down = |epoch, state| NodeStatus {
        epoch,
        state,
        ..NodeStatus::default()
    };
    let change = |status| Change::NodeStatus {
        node,
        status: Box::new(status),
    };
    fixture.change(change(down(2, NodeState::Down)));
    let stored = fixture.state.node(node).unwrap().clone();
    assert_eq!(stored.name(), "n1");
    assert_eq!((stored.status.state, stored.status.version), (NodeState::Down, 2));
    fixture.change(change(down(1, NodeState::Ready)));
    assert_eq!(*fixture.state.node(node).unwrap(), stored);
    assert_eq!(stored.meta.version, 1);
}

#[test]
fn a_plan_of_a_node_leaves_its_status_alone() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    fixture.edit_node(node, |node| node.status = NodeStatus::default());
    assert_eq!(fixture.state.node(node).unwrap().status.state, NodeState::Ready);
}
