//! Turns a draft into groups: one per slot, so that a conflict in one slot does not touch the others,
//! each guarded by what it relied upon; then one per service. It decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use shoal_proto::id::ServiceId;
use shoal_proto::node::Node;
use shoal_proto::reason::Reason;
use shoal_proto::service::SlotKey;
use shoal_proto::task::{DesiredState, Task};

use super::draft::Draft;
use super::evict::is_lost;
use super::slot::is_open;
use crate::state::{Group, Guard, ObjectKey};

impl Draft<'_> {
    /// The groups of everything decided. Networks come first: tasks rely on what they are given there. Services come
    /// last: what their slots relied upon still stands then.
    #[must_use]
    pub fn into_groups(mut self) -> Vec<Group> {
        self.release_addresses();
        let mut groups = BTreeMap::new();
        self.task_changes(&mut groups);
        for ((service, key), slot) in &self.slots {
            if !self.deleted.contains(&ObjectKey::Slot(*service, *key)) {
                group_of(&mut groups, *service, *key).put(slot.clone());
            }
        }
        for (volume, key) in self.volumes.values() {
            group_of(&mut groups, volume.service, *key).put(volume.clone());
        }
        for ((service, _), group) in &mut groups {
            if let Some(service) = self.state.service(*service) {
                group.rely_on(service.clone());
            }
        }
        let mut all = self.pools.groups();
        all.extend(groups.into_values());
        all.extend(self.deletions());
        all.extend(self.service_changes());
        all.retain(|group| !group.is_empty());
        all
    }

    /// The addresses of what is forgotten in this step.
    fn release_addresses(&mut self) {
        let (state, now) = (self.state, self.now);
        for object in self.deleted.iter().filter_map(|key| state.object(key)) {
            self.pools.release(state, now, &object);
        }
    }

    fn task_changes(&self, groups: &mut BTreeMap<(ServiceId, SlotKey), Group>) {
        for task in self.tasks.values() {
            if self.deleted.contains(&ObjectKey::Task(task.id)) {
                continue;
            }
            let group = group_of(groups, task.plan.service, task.plan.slot);
            group.put(task.clone());
            if task.meta.version == 0 {
                group.guard(Guard::Exists(ObjectKey::Revision(task.plan.revision)));
            }
            if let Some(node) = self.placed.get(&task.id).and_then(|node| self.state.node(*node)) {
                group.rely_on(node.clone()).rely_on_status(node);
                self.pools.rely_on(group, task);
            }
            let lost = [self.lost_to(task), self.passed_over(task)];
            if let Some(node) = lost.into_iter().flatten().next() {
                group.rely_on_status(node);
            }
        }
    }

    /// The node whose loss is why a task is given up in this step: if it comes back first, it is not.
    fn lost_to(&self, task: &Task) -> Option<&Arc<Node>> {
        let before = self.state.task(task.id)?;
        match task.plan.stop_reason {
            Some(Reason::NodeDown(node)) if before.plan.stop_reason.is_none() => self.state.node(node),
            _ => None,
        }
    }

    /// The lost node of a predecessor that is not waited for any longer: if it comes back first, it is.
    fn passed_over(&self, task: &Task) -> Option<&Arc<Node>> {
        let before = self.state.task(task.id)?;
        let let_go = before.plan.desired == DesiredState::Ready && task.plan.desired == DesiredState::Running;
        let (older, _) = task.plan.replaces.as_ref().filter(|_| let_go)?;
        let older = self.task(*older).filter(|older| is_open(older))?;
        let node = older.plan.node.and_then(|node| self.state.node(node))?;
        is_lost(node).then_some(node)
    }

    /// Each on its own: to forget one thing never waits for another.
    fn deletions(&self) -> impl Iterator<Item = Group> {
        let known = self.deleted.iter().filter_map(|key| self.state.object(key));
        known.map(|object| {
            let mut group = Group::new();
            group.delete(object);
            group
        })
    }

    fn service_changes(&self) -> impl Iterator<Item = Group> {
        self.services.values().map(|service| {
            let mut group = Group::new();
            for revision in self
                .revisions
                .values()
                .filter(|revision| revision.service == service.id)
            {
                group.put(revision.clone());
            }
            group.put(service.clone());
            group
        })
    }
}

fn group_of(
    groups: &mut BTreeMap<(ServiceId, SlotKey), Group>,
    service: ServiceId,
    key: SlotKey,
) -> &mut Group {
    groups.entry((service, key)).or_default()
}
