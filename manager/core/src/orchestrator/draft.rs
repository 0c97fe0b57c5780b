//! A step's working copy: what the parts of one step have decided so far, read before the state itself.
//! Each object is written once, however many parts had a say. It turns into groups in `draft_groups`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shoal_proto::id::{NodeId, RevisionId, ServiceId, TaskId};
use shoal_proto::object::Meta;
use shoal_proto::reason::Reason;
use shoal_proto::service::{Revision, Service, Slot, SlotKey};
use shoal_proto::task::{DesiredState, Fault, Task, TaskPlan, TaskState, TaskStatus};
use shoal_proto::time::Timestamp;
use shoal_proto::volume::Volume;

use super::evict::Allowance;
use crate::allocator::pools::Pools;
use crate::dispatcher::seen::Seen;
use crate::ids::IdSource;
use crate::state::{ObjectKey, State};

/// Objects one step changes at most; what is left comes in the next, which follows at once.
pub const STEP_OBJECTS_MAX: usize = 500;

/// What a step has decided so far.
#[derive(Debug)]
pub struct Draft<'a> {
    /// What was there before the step.
    pub state: &'a State,
    /// Cluster time of the step.
    pub now: Timestamp,
    /// Whether tasks that wait for a place are tried again in this step.
    pub(crate) retries_waiting: bool,
    /// Tasks that may still be given up for lost nodes; counted when the first is.
    pub(super) evictions: Option<Allowance>,
    pub(super) ids: &'a mut IdSource,
    pub(super) tasks: BTreeMap<TaskId, Task>,
    pub(super) slots: BTreeMap<(ServiceId, SlotKey), Slot>,
    pub(super) services: BTreeMap<ServiceId, Service>,
    pub(super) revisions: BTreeMap<RevisionId, Arc<Revision>>,
    pub(super) volumes: BTreeMap<(String, NodeId), (Volume, SlotKey)>,
    pub(super) deleted: BTreeSet<ObjectKey>,
    pub(super) placed: BTreeMap<TaskId, NodeId>,
    /// What was heard of the nodes; none means: nothing.
    pub(crate) seen: Option<&'a Seen>,
    /// Tasks that were asked to go in this step and are being taken out of traffic first.
    pub(super) leaves: BTreeSet<TaskId>,
    /// Those of them that somebody may still send to.
    pub(crate) unheard: BTreeSet<TaskId>,
    /// Addresses on networks, as this step gives them out and takes them back.
    pub(crate) pools: Pools,
    stopped: Vec<(TaskId, NodeId)>,
    wake_at: Option<Timestamp>,
}

/// A task to be made.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Whose.
    pub service: ServiceId,
    /// Which place it fills.
    pub slot: SlotKey,
    /// What it is made of.
    pub revision: RevisionId,
    /// Where it should go.
    pub desired: DesiredState,
    /// The task it replaces, and why.
    pub replaces: Option<(TaskId, Reason)>,
    /// Held back until then, as since and duration.
    pub start_after: Option<(Timestamp, u64)>,
}

impl<'a> Draft<'a> {
    /// Nothing decided yet.
    #[must_use]
    pub fn new(state: &'a State, ids: &'a mut IdSource, now: Timestamp) -> Self {
        Self {
            state,
            now,
            retries_waiting: true,
            evictions: None,
            ids,
            tasks: BTreeMap::new(),
            slots: BTreeMap::new(),
            services: BTreeMap::new(),
            revisions: BTreeMap::new(),
            volumes: BTreeMap::new(),
            deleted: BTreeSet::new(),
            placed: BTreeMap::new(),
            seen: None,
            leaves: BTreeSet::new(),
            unheard: BTreeSet::new(),
            pools: Pools::default(),
            stopped: Vec::new(),
            wake_at: None,
        }
    }

    /// Whether this step has decided enough.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.tasks.len() + self.slots.len() + self.deleted.len() >= STEP_OBJECTS_MAX
    }

    /// Asks for a look no later than `at`.
    pub fn wake_by(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// The earliest look asked for since the last call.
    pub fn take_wake(&mut self) -> Option<Timestamp> {
        self.wake_at.take()
    }

    /// A task as decided so far.
    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.tasks
            .get(&id)
            .or_else(|| self.state.task(id).map(Arc::as_ref))
    }

    /// A task to change.
    pub fn task_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        if !self.tasks.contains_key(&id) {
            let task = self.state.task(id)?;
            self.tasks.insert(id, Task::clone(task));
        }
        self.tasks.get_mut(&id)
    }

    /// A slot's memory as decided so far.
    #[must_use]
    pub fn slot(&self, service: ServiceId, key: SlotKey) -> Option<&Slot> {
        self.slots
            .get(&(service, key))
            .or_else(|| self.state.slot(service, key).map(Arc::as_ref))
    }

    /// A slot's memory to change; made when it is the first thing to remember.
    pub fn slot_mut(&mut self, service: ServiceId, key: SlotKey, revision: RevisionId) -> &mut Slot {
        let state = self.state;
        self.slots
            .entry((service, key))
            .or_insert_with(|| match state.slot(service, key) {
                Some(slot) => Slot::clone(slot),
                None => empty_slot(service, key, revision),
            })
    }

    /// A service as decided so far.
    #[must_use]
    pub fn service(&self, id: ServiceId) -> Option<Service> {
        self.services
            .get(&id)
            .cloned()
            .or_else(|| self.state.service(id).map(|s| Service::clone(s)))
    }

    /// Writes a service.
    pub fn put_service(&mut self, service: Service) {
        self.services.insert(service.id, service);
    }

    /// A revision, also one made in this step.
    #[must_use]
    pub fn revision(&self, id: RevisionId) -> Option<Arc<Revision>> {
        self.revisions
            .get(&id)
            .or_else(|| self.state.revision(id))
            .cloned()
    }

    /// Makes a revision with the content of an older one under the next number of its service.
    pub fn repeat_revision(&mut self, older: &Revision, number: u64) -> RevisionId {
        let id = self.ids.revision(self.now);
        let revision = Revision {
            id,
            meta: Meta::default(),
            number,
            ..older.clone()
        };
        self.revisions.insert(id, Arc::new(revision));
        id
    }

    /// Makes a task.
    pub fn create(&mut self, new: NewTask) -> TaskId {
        let id = self.ids.task(self.now);
        let plan = TaskPlan {
            replaces: new.replaces,
            start_after: new.start_after,
            ..TaskPlan::new(new.service, new.slot, new.revision, new.desired)
        };
        let status = TaskStatus {
            since: self.now,
            ..TaskStatus::default()
        };
        self.tasks.insert(
            id,
            Task {
                id,
                meta: Meta::default(),
                plan,
                status,
            },
        );
        id
    }

    /// Raises the desired state of a task that should end, once it is out of traffic: until then it is asked again in
    /// each step. One that no agent ever had ends here and now.
    pub fn stop(&mut self, id: TaskId, desired: DesiredState, reason: Reason) {
        if self.may_stop(id) {
            self.stop_at_once(id, desired, reason);
        }
    }

    /// The same, whoever may still send to it.
    pub fn stop_at_once(&mut self, id: TaskId, desired: DesiredState, reason: Reason) {
        let now = self.now;
        let Some(task) = self.task(id).filter(|task| task.plan.desired < desired) else {
            return;
        };
        if let Some(node) = task.plan.node.filter(|_| task.plan.desired.wants_to_run()) {
            self.stopped.push((id, node));
        }
        let Some(task) = self.task_mut(id) else {
            return;
        };
        task.plan.desired = desired;
        task.plan.pending = None;
        task.plan.stop_reason.get_or_insert(reason);
        task.plan.stop_since.get_or_insert(now);
        if task.plan.node.is_none() && !task.status.state.is_terminal() {
            end(task, TaskState::Shutdown, now);
        }
    }

    /// Lets a task run.
    pub fn promote(&mut self, id: TaskId) {
        if self
            .task(id)
            .is_some_and(|task| task.plan.desired == DesiredState::Ready)
            && let Some(task) = self.task_mut(id)
        {
            task.plan.desired = DesiredState::Running;
        }
    }

    /// Ends a task whose node is gone for good: nobody else will ever speak for it.
    pub fn orphan(&mut self, id: TaskId, reason: Reason) {
        let now = self.now;
        let open = self.task(id).is_some_and(|task| !task.status.state.is_terminal());
        if open && let Some(task) = self.task_mut(id) {
            end(task, TaskState::Orphaned, now);
            task.status.reason = Some(reason);
        }
    }

    /// Forgets an object.
    pub fn delete(&mut self, key: ObjectKey) {
        self.deleted.insert(key);
    }

    /// Notes that a task got this node in this step.
    pub(crate) fn placed(&mut self, task: TaskId, node: NodeId) {
        self.placed.insert(task, node);
    }

    /// Tasks that were told to stop since the last call, and where they are.
    pub fn take_stopped(&mut self) -> Vec<(TaskId, NodeId)> {
        std::mem::take(&mut self.stopped)
    }

    /// Nodes whose tasks this step changes.
    #[must_use]
    pub fn touched_nodes(&self) -> BTreeSet<NodeId> {
        self.tasks.values().filter_map(|task| task.plan.node).collect()
    }

    /// Services of which this step changes anything.
    #[must_use]
    pub fn touched_services(&self) -> BTreeSet<ServiceId> {
        let tasks = self.tasks.values().map(|task| task.plan.service);
        let slots = self.slots.keys().map(|(service, _)| *service);
        let deleted = self
            .deleted
            .iter()
            .filter_map(|key| self.state.object(key)?.service());
        tasks
            .chain(slots)
            .chain(self.services.keys().copied())
            .chain(deleted)
            .collect()
    }

    /// Tasks made in this step, in the order of their ids.
    #[must_use]
    pub fn created(&self) -> Vec<TaskId> {
        self.tasks
            .values()
            .filter(|task| task.meta.version == 0)
            .map(|task| task.id)
            .collect()
    }

    /// Nodes that hold a volume of this name, and the services it was made for.
    #[must_use]
    pub fn volumes_named(&self, name: &str) -> Vec<(NodeId, ServiceId)> {
        let stored = self
            .state
            .volumes_named(name)
            .map(|volume| (volume.node, volume.service));
        let made = self.volumes.values().filter(|(volume, _)| volume.name == name);
        stored
            .chain(made.map(|(volume, _)| (volume.node, volume.service)))
            .collect()
    }

    /// Nodes that some slot of the service calls its home.
    #[must_use]
    pub fn homes(&self, service: ServiceId) -> BTreeSet<NodeId> {
        let stored = self.state.slots_of(service).map(|slot| (slot.key, slot.home));
        let mut homes: BTreeMap<SlotKey, Option<NodeId>> = stored.collect();
        let first = (service, SlotKey::Number(0));
        for ((_, key), slot) in self
            .slots
            .range(first..)
            .take_while(|((of, _), _)| *of == service)
        {
            homes.insert(*key, slot.home);
        }
        homes.into_values().flatten().collect()
    }

    /// Records that the data of these volumes is on the node from now on, and that the slot belongs there.
    pub fn hold_volumes(&mut self, task: &Task, names: &[String], node: NodeId) {
        if names.is_empty() {
            return;
        }
        let (service, key) = (task.plan.service, task.plan.slot);
        for name in names {
            if self.volumes_named(name).iter().any(|(holder, _)| *holder == node) {
                continue;
            }
            let id = self.ids.volume(self.now);
            let volume = Volume {
                id,
                meta: Meta::default(),
                name: name.clone(),
                node,
                service,
            };
            self.volumes.insert((name.clone(), node), (volume, key));
        }
        let home = self.slot(service, key).and_then(|slot| slot.home);
        if home != Some(node) && matches!(key, SlotKey::Number(_)) {
            self.slot_mut(service, key, task.plan.revision).home = Some(node);
        }
    }
}

fn end(task: &mut Task, state: TaskState, now: Timestamp) {
    task.status.state = state;
    task.status.since = now;
    task.status.fault = Fault::None;
}

fn empty_slot(service: ServiceId, key: SlotKey, revision: RevisionId) -> Slot {
    Slot {
        service,
        key,
        meta: Meta::default(),
        revision,
        attempts: Vec::new(),
        attempts_total: 0,
        spent: None,
        home: None,
        update_failed_at: None,
    }
}
