//! A node as the scheduler sees it: what it has, what is taken, and what failed there lately.
//! Derived from the state and from what was placed in this round; never stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shoal_proto::digest::Digest;
use shoal_proto::id::{NodeId, ServiceId, TaskId};
use shoal_proto::node::Node;
use shoal_proto::resources::Resources;
use shoal_proto::service::{HostPort, TaskTemplate, share_an_address};
use shoal_proto::task::{Fault, Task, TaskState};
use shoal_proto::time::Timestamp;

use crate::state::State;

/// How long a failure on a node counts against it. Swarm's number.
pub const FAILURE_WINDOW_MS: u64 = 5 * 60 * 1_000;

/// Failures of one service within the window from which on a node is chosen last. Swarm's number.
pub const FAILURES_MANY: usize = 5;

/// What one task takes of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// Reserved amounts.
    pub resources: Resources,
    /// Ports of the node.
    pub ports: BTreeSet<HostPort>,
}

/// Tasks that share one place: one that runs, and those that inherit from it. Counted once.
#[derive(Debug, Clone)]
struct Place {
    service: ServiceId,
    members: BTreeMap<TaskId, Member>,
}

#[derive(Debug, Clone)]
struct Member {
    demand: Demand,
    wanted: bool,
}

/// A node and what is taken of it.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// The node itself.
    pub node: Arc<Node>,
    used: Resources,
    places: BTreeMap<TaskId, Place>,
    place_of: BTreeMap<TaskId, TaskId>,
    active_total: u32,
    active_by_service: BTreeMap<ServiceId, u32>,
    failures: BTreeMap<(ServiceId, Digest), Vec<Timestamp>>,
}

impl Demand {
    /// What a task of this template takes. Ports that the Engine chooses are never in anybody's way.
    #[must_use]
    pub fn of(template: &TaskTemplate) -> Self {
        let fixed = template.host_ports.iter().filter(|port| port.published_port != 0);
        Self {
            resources: template.resources.reservations,
            ports: fixed.cloned().collect(),
        }
    }

    fn join(&mut self, other: &Self) {
        let (mine, theirs) = (&mut self.resources, &other.resources);
        mine.nano_cpus = mine.nano_cpus.max(theirs.nano_cpus);
        mine.memory_bytes = mine.memory_bytes.max(theirs.memory_bytes);
        mine.pids = mine.pids.max(theirs.pids);
        self.ports.extend(other.ports.iter().cloned());
    }
}

impl Place {
    fn demand(&self) -> Demand {
        let mut all = Demand::default();
        for member in self.members.values() {
            all.join(&member.demand);
        }
        all
    }

    fn is_wanted(&self) -> bool {
        self.members.values().any(|member| member.wanted)
    }
}

impl NodeView {
    /// The node with all tasks the state says are on it.
    #[must_use]
    pub fn of(state: &State, node: &Arc<Node>) -> Self {
        let mut view = Self {
            node: Arc::clone(node),
            used: Resources::default(),
            places: BTreeMap::new(),
            place_of: BTreeMap::new(),
            active_total: 0,
            active_by_service: BTreeMap::new(),
            failures: BTreeMap::new(),
        };
        for task in state.tasks_on_node(node.id) {
            view.remember(state, task);
        }
        view
    }

    fn remember(&mut self, state: &State, task: &Task) {
        let Some(revision) = state.revision(task.plan.revision) else {
            return;
        };
        if !task.status.state.is_terminal() {
            self.add_at(root_of(state, task), task, &Demand::of(&revision.template));
            return;
        }
        let failed = matches!(task.status.state, TaskState::Failed | TaskState::Rejected);
        if failed && task.status.fault == Fault::Own {
            let key = (task.plan.service, revision.digest);
            self.failures.entry(key).or_default().push(task.status.since);
        }
    }

    /// Counts a task; one that inherits from a task that is still here shares its place.
    pub fn add(&mut self, task: &Task, demand: &Demand) {
        let root = task
            .plan
            .inherits
            .and_then(|old| self.place_of.get(&old).copied())
            .unwrap_or(task.id);
        self.add_at(root, task, demand);
    }

    fn add_at(&mut self, root: TaskId, task: &Task, demand: &Demand) {
        let mut place = self.take_out(root).unwrap_or_else(|| Place {
            service: task.plan.service,
            members: BTreeMap::new(),
        });
        let wanted = task.plan.desired.wants_to_run();
        place.members.insert(
            task.id,
            Member {
                demand: demand.clone(),
                wanted,
            },
        );
        self.place_of.insert(task.id, root);
        self.put_in(root, place);
    }

    /// Notes that a task should stop: it keeps its amounts until it has, but is no longer counted as a copy.
    pub fn stop_wanting(&mut self, task: TaskId) {
        let Some(root) = self.place_of.get(&task).copied() else {
            return;
        };
        if let Some(mut place) = self.take_out(root) {
            if let Some(member) = place.members.get_mut(&task) {
                member.wanted = false;
            }
            self.put_in(root, place);
        }
    }

    fn take_out(&mut self, root: TaskId) -> Option<Place> {
        let place = self.places.remove(&root)?;
        let demand = place.demand().resources;
        self.used.nano_cpus -= demand.nano_cpus;
        self.used.memory_bytes -= demand.memory_bytes;
        self.used.pids -= demand.pids;
        if place.is_wanted() {
            self.active_total -= 1;
            if let Some(count) = self.active_by_service.get_mut(&place.service) {
                *count -= 1;
            }
        }
        Some(place)
    }

    fn put_in(&mut self, root: TaskId, place: Place) {
        let demand = place.demand().resources;
        self.used.nano_cpus += demand.nano_cpus;
        self.used.memory_bytes += demand.memory_bytes;
        self.used.pids += demand.pids;
        if place.is_wanted() {
            self.active_total += 1;
            *self.active_by_service.entry(place.service).or_default() += 1;
        }
        self.places.insert(root, place);
    }

    /// This node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.node.id
    }

    /// What would be used beyond what the node has if this demand came: per amount, zero where it fits.
    /// With `inherits`, the place of that task is counted once for both.
    #[must_use]
    pub fn shortfall(&self, demand: &Demand, inherits: Option<TaskId>) -> Resources {
        let (has, held) = (self.has(), self.held(inherits));
        let missing = |asked: u64, used: u64, held: u64, has: u64| match asked {
            0 => 0,
            asked => (used - held + held.max(asked)).saturating_sub(has),
        };
        let asked = demand.resources;
        Resources {
            nano_cpus: missing(
                asked.nano_cpus,
                self.used.nano_cpus,
                held.nano_cpus,
                has.nano_cpus,
            ),
            memory_bytes: missing(
                asked.memory_bytes,
                self.used.memory_bytes,
                held.memory_bytes,
                has.memory_bytes,
            ),
            // A node that does not say how many processes it can hold has no bound of its own.
            pids: match has.pids {
                0 => 0,
                has => missing(asked.pids, self.used.pids, held.pids, has),
            },
        }
    }

    /// What of the node is free for a task: all that no other place holds.
    #[must_use]
    pub fn free(&self, inherits: Option<TaskId>) -> Resources {
        let (has, held) = (self.has(), self.held(inherits));
        let free = |has: u64, used: u64, held: u64| has.saturating_sub(used - held);
        Resources {
            nano_cpus: free(has.nano_cpus, self.used.nano_cpus, held.nano_cpus),
            memory_bytes: free(has.memory_bytes, self.used.memory_bytes, held.memory_bytes),
            pids: free(has.pids, self.used.pids, held.pids),
        }
    }

    /// What the node has in all.
    #[must_use]
    pub fn has(&self) -> Resources {
        let known = self.node.status.description.as_ref();
        known.map(|known| known.resources).unwrap_or_default()
    }

    /// What the place holds that is inherited.
    #[must_use]
    pub fn held(&self, inherits: Option<TaskId>) -> Resources {
        let place = inherits
            .and_then(|old| self.place_of.get(&old))
            .and_then(|root| self.places.get(root));
        place.map(|place| place.demand().resources).unwrap_or_default()
    }

    /// The wanted ports that are taken, and by whom. Ports of the place that is inherited are free.
    pub fn taken_ports<'v>(
        &'v self,
        demand: &'v Demand,
        inherits: Option<TaskId>,
    ) -> impl Iterator<Item = (u16, TaskId)> + 'v {
        let own_root = inherits.and_then(|old| self.place_of.get(&old));
        // Most tasks ask for none, and a node may have many places.
        let asks = !demand.ports.is_empty();
        let others = self
            .places
            .iter()
            .filter(move |(root, _)| asks && Some(*root) != own_root);
        let members = others.flat_map(|(_, place)| &place.members);
        members.flat_map(|(task, member)| {
            let clashes = |port: &&HostPort| member.demand.ports.iter().any(|taken| clash(taken, port));
            let taken = demand.ports.iter().filter(clashes);
            taken.map(|port| (port.published_port, *task))
        })
    }

    /// Copies of this service that are wanted here; a pair that shares a place is one.
    #[must_use]
    pub fn copies(&self, service: ServiceId) -> u32 {
        self.active_by_service.get(&service).copied().unwrap_or_default()
    }

    /// Whether this task's place is counted as a copy here.
    #[must_use]
    pub fn holds_wanted(&self, task: TaskId) -> bool {
        let place = self.place_of.get(&task).and_then(|root| self.places.get(root));
        place.is_some_and(Place::is_wanted)
    }

    /// Tasks of all services that are wanted here.
    #[must_use]
    pub fn copies_of_all(&self) -> u32 {
        self.active_total
    }

    /// Failures of this content of a service here within the window, or zero while they are few.
    #[must_use]
    pub fn many_failures(&self, service: ServiceId, content: Digest, now: Timestamp) -> usize {
        let recent = self.failures.get(&(service, content)).map_or(0, |times| {
            times
                .iter()
                .filter(|time| now.ms_since(**time) < FAILURE_WINDOW_MS)
                .count()
        });
        if recent >= FAILURES_MANY { recent } else { 0 }
    }
}

/// The task whose place this one shares, through however many that were to inherit from each other. Ids of one
/// moment have no order, so this cannot be told from the order of the tasks.
fn root_of(state: &State, task: &Task) -> TaskId {
    let mut root = task;
    while let Some(before) = root.plan.inherits.and_then(|before| state.task(before)) {
        if before.status.state.is_terminal() || before.plan.node != task.plan.node {
            break;
        }
        root = before;
    }
    root.id
}

/// Whether two published ports cannot be had at once.
fn clash(one: &HostPort, other: &HostPort) -> bool {
    let same = one.protocol == other.protocol && one.published_port == other.published_port;
    same && share_an_address(one.host_ip, other.host_ip)
}

#[cfg(test)]
#[path = "node_view_test.rs"]
mod tests;
