//! Whether the loss of any one node would leave something without a place. The scheduler is asked for the tasks of one
//! node after the other, on its own views of the others; bounded, so that a status can ask it each time.

use std::collections::BTreeSet;
use std::sync::Arc;

use shoal_proto::id::{NodeId, ServiceId, TaskId};
use shoal_proto::node::{Node, NodeState};
use shoal_proto::reason::{Obstacle, Reason};
use shoal_proto::service::SlotKey;
use shoal_proto::task::{DesiredState, Task};
use shoal_proto::time::Timestamp;

use crate::ids::IdSource;
use crate::orchestrator::draft::{Draft, NewTask};
use crate::orchestrator::slot::is_open;
use crate::scheduler::{self, Nodes};
use crate::state::State;
use crate::why::Look;

/// What one answer may cost: looks at one node for one service.
pub const LOOKS_MAX: u64 = 1_000_000;

/// What the loss of one node leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spare {
    /// Nodes that have tasks which would have to move.
    pub nodes: usize,
    /// Those that were asked about, the fullest first.
    pub checked: usize,
    /// The first loss that leaves something without a place.
    pub loss: Option<Loss>,
}

/// A loss that would leave a task without a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Of this node.
    pub node: NodeId,
    /// Its name.
    pub node_name: String,
    /// Whose task.
    pub service: ServiceId,
    /// `web.1`.
    pub task_name: String,
    /// Why it would have no place.
    pub reason: String,
    /// Its data is on that node: no room elsewhere would help.
    pub is_bound: bool,
}

/// Asks about one node after the other until one cannot be spared. Tasks that their data binds to their node count only
/// where no other task is in danger.
#[must_use]
pub fn spare(state: &State, now: Timestamp) -> Spare {
    let mut nodes = full_nodes(state);
    nodes.sort_by(|a, b| (b.1.len(), a.0.name(), a.0.id).cmp(&(a.1.len(), b.0.name(), b.0.id)));
    let mut found = Spare {
        nodes: nodes.len(),
        ..Spare::default()
    };
    let mut views = Nodes::of(state);
    let (look, all) = (Look::at(state, now), state.nodes().count() as u64);
    let mut looks = 0;
    for (node, tasks) in &nodes {
        let services: BTreeSet<ServiceId> = tasks.iter().map(|task| task.plan.service).collect();
        looks += services.len() as u64 * all + tasks.len() as u64;
        if looks > LOOKS_MAX && found.checked > 0 {
            break;
        }
        found.checked += 1;
        let loss = without(&look, &mut views, node, tasks);
        let worse = loss.as_ref().is_some_and(|loss| !loss.is_bound);
        if found.loss.is_none() || worse {
            found.loss = loss;
        }
        if worse {
            break;
        }
    }
    found
}

/// Ready nodes with the tasks that would have to move, one for each slot.
fn full_nodes(state: &State) -> Vec<(&Arc<Node>, Vec<&Arc<Task>>)> {
    let ready = state.nodes().filter(|node| node.status.state == NodeState::Ready);
    let with_tasks = ready.map(|node| {
        let mut slots = BTreeSet::new();
        let moves = state.tasks_on_node(node.id).filter(|task| {
            let counts = task.plan.desired.wants_to_run() && is_open(task);
            let numbered = matches!(task.plan.slot, SlotKey::Number(_));
            counts && numbered && slots.insert((task.plan.service, task.plan.slot))
        });
        (node, moves.collect::<Vec<_>>())
    });
    with_tasks.filter(|(_, tasks)| !tasks.is_empty()).collect()
}

/// The first task that would have no place without this node; the views are as before afterwards.
fn without(look: &Look<'_>, views: &mut Nodes, node: &Arc<Node>, tasks: &[&Arc<Task>]) -> Option<Loss> {
    let state = look.state();
    let mut ids = IdSource::from_seed(0);
    let mut draft = Draft::new(state, &mut ids, look.now());
    if let Some(view) = views.get_mut(node.id) {
        Arc::make_mut(&mut view.node).status.state = NodeState::Down;
    }
    let mut made: Vec<TaskId> = Vec::new();
    for task in tasks {
        made.push(draft.create(NewTask {
            service: task.plan.service,
            slot: task.plan.slot,
            revision: task.plan.revision,
            desired: DesiredState::Ready,
            replaces: Some((task.id, Reason::NodeDown(node.id))),
            start_after: None,
        }));
    }
    scheduler::place(&mut draft, views, &made);
    let waiting = made
        .iter()
        .filter_map(|id| draft.task(*id))
        .filter(|task| task.plan.node.is_none());
    let losses = waiting.map(|task| Loss {
        node: node.id,
        node_name: node.name().to_owned(),
        service: task.plan.service,
        task_name: look.task_name(task),
        reason: task
            .plan
            .pending
            .as_ref()
            .map(|reason| look.reason(reason))
            .unwrap_or_default(),
        is_bound: task.plan.pending.as_ref().is_some_and(is_bound),
    });
    let first = losses.min_by_key(|loss| loss.is_bound);
    let mut touched = draft.touched_nodes();
    touched.insert(node.id);
    views.renew(state, &touched);
    first
}

/// Whether nothing but its data keeps a task from all other nodes.
fn is_bound(reason: &Reason) -> bool {
    let Reason::NoSuitableNode(obstacles) = reason else {
        return false;
    };
    obstacles
        .iter()
        .any(|(obstacle, _)| matches!(obstacle, Obstacle::VolumeElsewhere { .. }))
}

#[cfg(test)]
mod tests {
    use shoal_proto::service::{Mode, Slot, SlotKey, TaskTemplate};
    use shoal_proto::task::TaskState;

    use super::spare;
    use crate::fixture::{Fixture, data};

    /// Services of one task each, with so many gigabytes, on two nodes of eight in turn.
    fn filled(gib: &[u64]) -> Fixture {
        let mut fixture = Fixture::new();
        let nodes = [fixture.node(), fixture.node()];
        for (number, gib) in gib.iter().enumerate() {
            let mut template = TaskTemplate::default();
            template.resources.reservations.memory_bytes = gib << 30;
            let service =
                fixture.service_with(&format!("s{number}"), Mode::Replicated { replicas: 1 }, template);
            fixture.task(service, 1, Some(nodes[number % 2]), TaskState::Running);
        }
        fixture
    }

    #[test]
    fn a_cluster_with_room_can_spare_any_node() {
        let fixture = filled(&[3, 3, 2]);
        let found = spare(&fixture.state, fixture.now);
        assert_eq!((found.nodes, found.checked, &found.loss), (2, 2, &None));
    }

    #[test]
    fn the_first_node_that_cannot_be_spared_is_named_with_the_task() {
        let fixture = filled(&[3, 4, 2]);
        let loss = spare(&fixture.state, fixture.now).loss.unwrap();
        assert_eq!((loss.node_name.as_str(), loss.is_bound), ("n1", false));
        assert!(
            loss.reason.contains("1024 MiB memory missing on 1 node"),
            "{loss:?}"
        );
        assert!(["s0.1", "s2.1"].contains(&loss.task_name.as_str()), "{loss:?}");
    }

    #[test]
    fn what_follows_one_loss_is_not_held_against_the_next() {
        // Each fits alone; both at once would not.
        let fixture = filled(&[4, 4]);
        assert_eq!(spare(&fixture.state, fixture.now).loss, None);
    }

    #[test]
    fn data_on_one_node_is_told_only_where_nothing_else_is_in_danger() {
        let mut fixture = filled(&[4, 4]);
        let node = fixture.state.nodes().next().unwrap().id;
        let mut template = TaskTemplate::default();
        template.container.mounts.push(data("db"));
        let db = fixture.service_with("db", Mode::Replicated { replicas: 1 }, template);
        fixture.put(Slot {
            service: db.0,
            key: SlotKey::Number(1),
            meta: Default::default(),
            revision: db.1,
            attempts: Vec::new(),
            attempts_total: 0,
            spent: None,
            home: Some(node),
            update_failed_at: None,
        });
        fixture.task(db, 1, Some(node), TaskState::Running);
        let loss = spare(&fixture.state, fixture.now).loss.unwrap();
        assert_eq!((loss.task_name.as_str(), loss.is_bound), ("db.1", true));
        let mut big = TaskTemplate::default();
        big.resources.reservations.memory_bytes = 1 << 30;
        let big = fixture.service_with("big", Mode::Replicated { replicas: 1 }, big);
        let other = fixture.state.nodes().last().unwrap().id;
        fixture.task(big, 1, Some(other), TaskState::Running);
        let loss = spare(&fixture.state, fixture.now).loss.unwrap();
        assert!(!loss.is_bound, "{loss:?}");
    }

    #[test]
    fn global_tasks_and_a_cluster_without_tasks_need_no_room() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let log = fixture.service_with("log", Mode::Global, TaskTemplate::default());
        fixture.task_with(log, 1, Some(node), |task| {
            task.plan.slot = SlotKey::Node(node);
            task.status.state = TaskState::Running;
        });
        let found = spare(&fixture.state, fixture.now);
        assert_eq!((found.nodes, found.loss), (0, None));
    }
}
