//! The leader's look at a state: what is dirty, the parts that look at it, one after the other, and when to
//! look again. Nothing that matters lives only here: a new leader finds everything dirty and goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shoal_proto::id::{NetworkId, NodeId, ServiceId, TaskId};
use shoal_proto::node::Node;
use shoal_proto::reason::Reason;
use shoal_proto::service::Mode;
use shoal_proto::task::Task;
use shoal_proto::time::Timestamp;

use crate::allocator::overlay;
use crate::dispatcher::liveness;
use crate::dispatcher::seen::Seen;
use crate::ids::IdSource;
use crate::orchestrator::draft::Draft;
use crate::orchestrator::{promote_placed, reconcile, traffic};
use crate::scheduler::{self, Nodes};
use crate::state::{ObjectKey, State};
use crate::step::Step;

/// Decides for the whole cluster, one step at a time. Caches only: dropping it loses nothing.
#[derive(Debug)]
pub struct Leader {
    ids: IdSource,
    looked_at: State,
    services: BTreeSet<ServiceId>,
    changed_nodes: BTreeSet<NodeId>,
    unplaced: BTreeSet<TaskId>,
    newly_unplaced: BTreeSet<TaskId>,
    waits: BTreeMap<ServiceId, Timestamp>,
    nodes: Nodes,
    /// Nodes without a number in the overlay.
    unnumbered: BTreeSet<NodeId>,
    networks: BTreeSet<NetworkId>,
    network_waits: BTreeMap<NetworkId, Timestamp>,
    /// Tasks on their way out that somebody may still send to, and whose they are.
    unheard: BTreeMap<TaskId, ServiceId>,
    /// When an address is free again that some task waits for.
    addresses_at: Option<Timestamp>,
}

/// Whether a step left dirty services to the next.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    Some,
}

/// Whether a node is to tasks what it was: a session that begins anew changes its epoch, and nothing that a task could
/// be placed, moved or given up for.
fn is_same_to_tasks(was: Option<&Arc<Node>>, is: Option<&Arc<Node>>) -> bool {
    let (Some(was), Some(is)) = (was, is) else {
        return false;
    };
    was.plan == is.plan
        && was.status.state == is.status.state
        && was.status.addr == is.status.addr
        && was.status.description == is.status.description
}

impl Leader {
    /// A leader that has looked at nothing yet: everything is dirty to it.
    #[must_use]
    pub fn new(ids: IdSource) -> Self {
        Self {
            ids,
            looked_at: State::default(),
            services: BTreeSet::new(),
            changed_nodes: BTreeSet::new(),
            unplaced: BTreeSet::new(),
            newly_unplaced: BTreeSet::new(),
            waits: BTreeMap::new(),
            nodes: Nodes::default(),
            unnumbered: BTreeSet::new(),
            networks: BTreeSet::new(),
            network_waits: BTreeMap::new(),
            unheard: BTreeMap::new(),
            addresses_at: None,
        }
    }

    /// Looks at the state and decides. One step is in flight at a time: the next looks at a state in which this
    /// one's groups were applied, or met a conflict and are decided anew.
    pub fn step(&mut self, state: &State, seen: &Seen, now: Timestamp) -> Step {
        self.notice(state);
        self.wake(now);
        let mut step = liveness::decide(state, seen, now);
        if !step.groups.is_empty() {
            // What follows from it is decided on the state in which it is true.
            step.wake_by(now);
            return step;
        }
        let mut ids = std::mem::replace(&mut self.ids, IdSource::from_seed(0));
        self.hear(state, seen);
        let mut draft = Draft::new(state, &mut ids, now);
        draft.seen = Some(seen);
        draft.retries_waiting = self.tries_all_waiting(now) || !self.newly_unplaced.is_empty();
        if self.orchestrate(&mut draft) == Left::Some {
            step.wake_by(now);
        }
        self.schedule(&mut draft);
        promote_placed(&mut draft);
        self.keep_blocks(&mut draft);
        self.remember(&mut draft);
        for group in draft.into_groups() {
            step.push(group);
        }
        self.ids = ids;
        self.number_nodes(state, &mut step);
        if let Some(at) = self.next_look(now) {
            step.wake_by(at);
        }
        step
    }

    /// Marks what changed since the last look.
    fn notice(&mut self, state: &State) {
        let older = std::mem::replace(&mut self.looked_at, state.clone());
        for (was, is) in state.nodes_since(&older) {
            if !is_same_to_tasks(was, is) {
                self.notice_node(state, was.or(is).map(|node| &**node));
            }
        }
        for (was, is) in state.services_since(&older) {
            self.services.extend(was.or(is).map(|service| service.id));
        }
        for (was, is) in state.revisions_since(&older) {
            self.services.extend(was.or(is).map(|revision| revision.service));
        }
        for (was, is) in state.slots_since(&older) {
            self.services.extend(was.or(is).map(|slot| slot.service));
        }
        for (was, is) in state.tasks_since(&older) {
            self.notice_task(was.map(|task| &**task), is.map(|task| &**task));
        }
        for (was, is) in state.networks_since(&older) {
            self.networks.extend(was.or(is).map(|network| network.id));
        }
        for (was, is) in state.volumes_since(&older) {
            self.changed_nodes.extend(was.or(is).map(|volume| volume.node));
        }
        self.nodes.renew(state, &self.changed_nodes);
    }

    fn notice_node(&mut self, state: &State, node: Option<&Node>) {
        let Some(node) = node else {
            return;
        };
        self.changed_nodes.insert(node.id);
        match state.node(node.id) {
            Some(node) if node.plan.overlay.is_none() => self.unnumbered.insert(node.id),
            Some(_) => self.unnumbered.remove(&node.id),
            None => {
                self.networks.extend(state.networks().map(|network| network.id));
                self.unnumbered.remove(&node.id)
            }
        };
        self.services
            .extend(state.tasks_on_node(node.id).map(|task| task.plan.service));
        let global = state
            .services()
            .filter(|service| matches!(service.settings.mode, Mode::Global));
        self.services.extend(global.map(|service| service.id));
    }

    fn notice_task(&mut self, was: Option<&Task>, is: Option<&Task>) {
        for task in [was, is].into_iter().flatten() {
            self.services.insert(task.plan.service);
            self.changed_nodes.extend(task.plan.node);
        }
        let carried = |task: &Task| !task.status.state.is_terminal() && task.plan.node.is_some();
        if was.is_some_and(carried) != is.is_some_and(carried) {
            let addresses = was.into_iter().chain(is).flat_map(|task| &task.plan.addresses);
            self.networks.extend(addresses.map(|(network, _)| *network));
        }
        let Some(id) = was.or(is).map(|task| task.id) else {
            return;
        };
        if is.is_some_and(scheduler::needs_node) {
            if self.unplaced.insert(id) {
                self.newly_unplaced.insert(id);
            }
        } else {
            self.unplaced.remove(&id);
        }
    }

    /// Marks services whose wait is over.
    fn wake(&mut self, now: Timestamp) {
        let due = self
            .waits
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(service, _)| *service);
        self.services.extend(due);
        let due = self.network_waits.iter().filter(|(_, at)| **at <= now);
        self.networks.extend(due.map(|(network, _)| *network));
    }

    /// Marks services of tasks of which everybody who could send to them knows now that they leave.
    fn hear(&mut self, state: &State, seen: &Seen) {
        let known = |id: &TaskId| {
            state
                .task(*id)
                .is_none_or(|task| traffic::is_known(state, seen, task))
        };
        let heard = self.unheard.extract_if(.., |id, _| known(id));
        self.services.extend(heard.map(|(_, service)| service));
    }

    fn orchestrate(&mut self, draft: &mut Draft<'_>) -> Left {
        while let Some(service) = self.services.pop_first() {
            if draft.is_full() {
                self.services.insert(service);
                return Left::Some;
            }
            reconcile(draft, service);
            match draft.take_wake() {
                Some(at) => self.waits.insert(service, at),
                None => self.waits.remove(&service),
            };
        }
        Left::Nothing
    }

    /// Whether something changed that may help a task which waits for a place.
    fn tries_all_waiting(&self, now: Timestamp) -> bool {
        !self.changed_nodes.is_empty() || self.addresses_at.is_some_and(|at| at <= now)
    }

    /// Tries the new tasks, and all that wait when a node changed or an address is free again: nothing else could help
    /// them.
    fn schedule(&mut self, draft: &mut Draft<'_>) {
        for (task, node) in draft.take_stopped() {
            if let Some(view) = self.nodes.get_mut(node) {
                view.stop_wanting(task);
            }
        }
        let all = self.tries_all_waiting(draft.now);
        let waiting = if all { &self.unplaced } else { &self.newly_unplaced };
        let mut tasks: Vec<TaskId> = waiting.iter().copied().collect();
        tasks.extend(draft.created());
        scheduler::place(draft, &mut self.nodes, &tasks);
        self.newly_unplaced.clear();
        let before = self.addresses_at.filter(|_| !all);
        self.addresses_at = before.into_iter().chain(draft.pools.frees_at()).min();
    }

    /// Nodes that carry a network have their part of it, others give theirs back after a while.
    fn keep_blocks(&mut self, draft: &mut Draft<'_>) {
        for network in std::mem::take(&mut self.networks) {
            match draft.pools.keep_blocks(draft.state, draft.now, network) {
                Some(at) => self.network_waits.insert(network, at),
                None => self.network_waits.remove(&network),
            };
        }
    }

    /// Comes last: whatever relied on a node as it was is applied before.
    fn number_nodes(&self, state: &State, step: &mut Step) {
        match overlay::give(state, &self.unnumbered) {
            Ok(group) => step.push(group),
            Err(full) => step.note(ObjectKey::Node(full.node), Reason::Other(full.to_string())),
        }
    }

    /// What this step means to change is looked at again: a group may meet a conflict.
    fn remember(&mut self, draft: &mut Draft<'_>) {
        self.changed_nodes = draft.touched_nodes();
        self.services.extend(draft.touched_services());
        self.networks.extend(draft.pools.changed());
        let unheard = std::mem::take(&mut draft.unheard).into_iter();
        self.unheard
            .extend(unheard.filter_map(|id| Some((id, draft.state.task(id)?.plan.service))));
    }

    /// When to look again for what is decided here; when a node would be missed is not part of it.
    pub(crate) fn next_look(&self, now: Timestamp) -> Option<Timestamp> {
        let waits = self.waits.values().chain(self.network_waits.values());
        let wait = waits.copied().chain(self.addresses_at).min();
        // Waits that are over were looked at in this step.
        wait.map(|at| at.max(now))
    }
}
