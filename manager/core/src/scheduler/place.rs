//! One round of placement: the tasks of a draft that need a node, group by group.
//! Writes into the draft and counts in the views; nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use shoal_proto::id::{NetworkId, NodeId, RevisionId, ServiceId, TaskId};
use shoal_proto::reason::{Obstacle, Reason};
use shoal_proto::service::{Revision, SlotKey};
use shoal_proto::task::{Task, TaskState};

use super::filter::{Binding, Request};
use super::heir::Heir;
use super::spread::{Tree, Whose};
use super::{Nodes, explain, volumes};
use crate::allocator::address::networks_of;
use crate::orchestrator::draft::Draft;

/// Places what can be placed of these tasks; the others get the reason. Tasks that have a node stay.
pub fn place(draft: &mut Draft<'_>, nodes: &mut Nodes, unplaced: &[TaskId]) {
    let mut groups: BTreeMap<(bool, ServiceId, RevisionId), Vec<TaskId>> = BTreeMap::new();
    for id in unplaced {
        let Some(task) = draft.task(*id).filter(|task| needs_node(task)) else {
            continue;
        };
        // Tasks that can only be on one node take their room before those that have a choice.
        let has_choice = !matches!(task.plan.slot, SlotKey::Node(_));
        groups
            .entry((has_choice, task.plan.service, task.plan.revision))
            .or_default()
            .push(*id);
    }
    for ((_, service, revision), mut tasks) in groups {
        tasks.sort_by_key(|id| draft.task(*id).map(|task| (task.plan.slot, task.id)));
        if let Some(revision) = draft.revision(revision) {
            Round::new(draft, nodes, service, &revision).run(&tasks);
        }
    }
}

/// Whether the scheduler should look at a task.
#[must_use]
pub fn needs_node(task: &Task) -> bool {
    task.plan.node.is_none() && task.plan.desired.wants_to_run() && !task.status.state.is_terminal()
}

struct Round<'r, 'd> {
    draft: &'r mut Draft<'d>,
    nodes: &'r mut Nodes,
    request: Request<'r>,
    networks: BTreeSet<NetworkId>,
    tree: Option<Tree>,
    whose: Whose,
}

impl<'r, 'd> Round<'r, 'd> {
    fn new(
        draft: &'r mut Draft<'d>,
        nodes: &'r mut Nodes,
        service: ServiceId,
        of: &'r Arc<Revision>,
    ) -> Self {
        let whose = Whose {
            service,
            content: of.digest,
            now: draft.now,
        };
        let request = Request::of(service, of.digest, &of.template);
        Self {
            draft,
            nodes,
            request,
            networks: networks_of(&of.template),
            tree: None,
            whose,
        }
    }

    fn run(&mut self, tasks: &[TaskId]) {
        let mut explained: Option<Reason> = None;
        for id in tasks {
            let Some(task) = self.draft.task(*id).cloned() else {
                continue;
            };
            let binding = volumes::binding(self.draft, self.request.template, &task);
            let heir = Heir::of(self.draft, self.request.template, &task);
            match self.find(&task, &binding, heir) {
                Some(place) => self.settle(task, place),
                None if binding == Binding::Free && heir == Heir::No && has_choice(&task) => {
                    let reason = explained.get_or_insert_with(|| {
                        explain::no_suitable_node(&self.request, &binding, None, self.nodes.iter())
                    });
                    wait(self.draft, &task, reason.clone());
                }
                None => {
                    let reason = self.explain(&task, &binding, heir);
                    wait(self.draft, &task, reason);
                }
            }
        }
    }

    fn find(&mut self, task: &Task, binding: &Binding, heir: Heir) -> Option<(NodeId, Option<TaskId>)> {
        if let SlotKey::Node(node) = task.plan.slot {
            return match heir {
                Heir::No => self.on(node, binding, None),
                Heir::First(old, _) => self.on(node, binding, Some(old)),
                Heir::Last(old, _) => self
                    .on(node, binding, None)
                    .or_else(|| self.on(node, binding, Some(old))),
            };
        }
        if let Heir::First(old, node) = heir
            && let Some(found) = self.on(node, binding, Some(old))
        {
            return Some(found);
        }
        if let Some(node) = self.same_node(task)
            && let Some(found) = self.on(node, binding, None)
        {
            // The tree has not counted this choice and would be stale.
            self.tree = None;
            return Some(found);
        }
        if let Some(node) = self.best(binding) {
            return Some((node, None));
        }
        match heir {
            Heir::Last(old, node) => self.on(node, binding, Some(old)),
            _ => None,
        }
    }

    fn on(&self, node: NodeId, binding: &Binding, old: Option<TaskId>) -> Option<(NodeId, Option<TaskId>)> {
        let view = self.nodes.get(node)?;
        self.request
            .obstacle(view, binding, old)
            .is_none()
            .then_some((node, old))
    }

    fn best(&mut self, binding: &Binding) -> Option<NodeId> {
        let (request, nodes) = (&self.request, &*self.nodes);
        let mut fits = |node: NodeId| {
            nodes
                .get(node)
                .is_some_and(|view| request.obstacle(view, binding, None).is_none())
        };
        let grow = || Tree::of(&request.template.placement.spread, self.whose, nodes.iter());
        if *binding == Binding::Free {
            return self.tree.get_or_insert_with(grow).choose(&mut fits);
        }
        // A bound task drops nodes from the tree that are good for others: it gets one of its own.
        self.tree = None;
        grow().choose(&mut fits)
    }

    /// A task has its place once it has an address on each of its networks.
    fn settle(&mut self, task: Task, (node, inherits): (NodeId, Option<TaskId>)) {
        let moment = (self.draft.state, self.draft.now);
        match self.draft.pools.take(moment, &self.networks, node) {
            Ok(addresses) => self.assign(task, node, inherits, addresses),
            Err(full) => {
                // The tree has counted a choice that came to nothing.
                self.tree = None;
                wait(self.draft, &task, full.reason());
            }
        }
    }

    fn assign(
        &mut self,
        task: Task,
        node: NodeId,
        inherits: Option<TaskId>,
        addresses: Vec<(NetworkId, Ipv4Addr)>,
    ) {
        if inherits.is_some() || !has_choice(&task) {
            self.tree = None;
        }
        let names: Vec<String> = volumes::node_bound(self.request.template)
            .map(str::to_owned)
            .collect();
        self.draft.hold_volumes(&task, &names, node);
        let now = self.draft.now;
        let Some(task) = self.draft.task_mut(task.id) else {
            return;
        };
        task.plan.node = Some(node);
        task.plan.inherits = inherits;
        task.plan.addresses = addresses;
        task.plan.pending = None;
        task.status.state = TaskState::Assigned;
        task.status.since = now;
        if let Some(view) = self.nodes.get_mut(node) {
            view.add(task, &self.request.demand);
        }
        let id = task.id;
        self.draft.placed(id, node);
    }

    /// The node of a task that ended there through no fault of its own: image and cache are there.
    fn same_node(&self, task: &Task) -> Option<NodeId> {
        let (old, reason) = task.plan.replaces.as_ref()?;
        let stays = matches!(
            reason,
            Reason::HostRebooted | Reason::EngineRestarted | Reason::ContainerGone
        );
        stays.then(|| self.draft.task(*old)).flatten()?.plan.node
    }

    fn explain(&self, task: &Task, binding: &Binding, heir: Heir) -> Reason {
        let old = heir.old();
        let SlotKey::Node(node) = task.plan.slot else {
            return explain::no_suitable_node(&self.request, binding, old, self.nodes.iter());
        };
        let obstacle = self
            .nodes
            .get(node)
            .and_then(|view| self.request.obstacle(view, binding, old));
        Reason::NoSuitableNode(vec![(obstacle.unwrap_or(Obstacle::NotReady), 1)])
    }
}

fn has_choice(task: &Task) -> bool {
    !matches!(task.plan.slot, SlotKey::Node(_))
}

/// Stores why a task waits, only where that is new: a reason that stands is not written again.
fn wait(draft: &mut Draft<'_>, task: &Task, reason: Reason) {
    if task.plan.pending.as_ref() == Some(&reason) && task.status.state == TaskState::Pending {
        return;
    }
    let now = draft.now;
    let Some(task) = draft.task_mut(task.id) else {
        return;
    };
    task.plan.pending = Some(reason);
    if task.status.state < TaskState::Pending {
        task.status.state = TaskState::Pending;
        task.status.since = now;
    }
}
