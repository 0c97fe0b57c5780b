use shoal_proto::id::{ClusterId, NodeId};
use shoal_proto::overlay::{OVERLAY_IDENTIFIER, OVERLAY_PORT, OverlayNumber};
use shoal_proto::task::DesiredState;
use shoal_proto::view::{Overlay, Peer, View, ViewChange};

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

#[test]
fn a_view_of_networks_comes_whole_and_changes_by_what_is_named() {
    let node = |number: u16| NodeId::new(at(1), number.into());
    let peer = |number: u16| Peer {
        key: None,
        ipv6: None,
        number: OverlayNumber::new(number).unwrap(),
        host: [192, 0, 2, 1].into(),
        name: format!("n{number}"),
    };
    let overlay = Overlay {
        subnet: "10.255.0.0/16".parse().unwrap(),
        identifier: OVERLAY_IDENTIFIER,
        port: OVERLAY_PORT,
        prefix: None,
    };
    let mut view = View::new(node(1), overlay);
    view.peers = [1, 2].map(|number| (node(number), peer(number))).into();
    let mut set = with_two_tasks();
    let mut next = update(11, vec![]);
    next.view = Some(ViewChange::whole(&view));
    assert_eq!(set.apply(next), Applied::Yes);
    assert_eq!(set.view.as_ref(), Some(&view));
    let mut later = view.clone();
    later.peers.remove(&node(2));
    later.peers.insert(node(3), peer(3));
    for (index, change) in [(12, None), (13, Some(view.change_to(&later)))] {
        let mut next = update(index, vec![]);
        next.extent = Extent::Increment;
        next.view = change;
        assert_eq!(set.apply(next), Applied::Yes);
    }
    assert_eq!(set.view, Some(later));
}
