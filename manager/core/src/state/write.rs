//! Writes one change whose group was found good: versions, times, indexes, and the event of it.

use std::sync::Arc;

use shoal_proto::digest::Digest;
use shoal_proto::id::{NodeId, TaskId};
use shoal_proto::node::NodeStatus;
use shoal_proto::object::Meta;
use shoal_proto::task::TaskStatus;
use shoal_proto::time::Timestamp;

use super::State;
use super::answer::{Effect, Written};
use super::apply::Entry;
use super::change::Change;
use super::event::Event;
use super::merge;
use super::object::{Object, ObjectKey};

impl State {
    /// Writes a change; bytes have no row in the result.
    pub(super) fn write(
        &mut self,
        entry: &Entry<'_>,
        change: &Change,
        events: &mut Vec<Event>,
    ) -> Option<Written> {
        match change {
            Change::Put(object) => Some(self.write_put(entry, object, events)),
            Change::Delete(key) => Some(self.write_delete(entry, key, events)),
            Change::TaskStatus { task, node, status } => {
                Some(self.write_task_status(*task, *node, status, events))
            }
            Change::NodeStatus { node, status } => Some(self.write_node_status(*node, status, events)),
            Change::BlobChunk(chunk) => {
                self.write_chunk(chunk, entry.now);
                None
            }
            Change::BlobDelete(digest) => {
                self.blobs.delete(digest);
                None
            }
        }
    }

    fn write_put(&mut self, entry: &Entry<'_>, object: &Object, events: &mut Vec<Event>) -> Written {
        let key = object.key();
        let before = self.object(&key);
        let old = before.as_ref().map(Object::meta);
        let version = old.map_or(1, |meta| meta.version + 1);
        let meta = Meta {
            version,
            changed_at: entry.index,
            created_at: old.map_or(entry.now, |meta| meta.created_at),
            updated_at: entry.now,
            cause: entry.cause.clone(),
        };
        let after = keep_status_half(before.as_ref(), object.clone()).with_meta(meta);
        self.touch_blobs(before.as_ref(), entry.now);
        self.touch_blobs(Some(&after), entry.now);
        self.replace(before.as_ref(), after.clone());
        events.push(Event::Put { before, after });
        Written {
            key,
            version,
            effect: Effect::Written,
        }
    }

    fn write_delete(&mut self, entry: &Entry<'_>, key: &ObjectKey, events: &mut Vec<Event>) -> Written {
        if let Some(before) = self.object(key) {
            self.touch_blobs(Some(&before), entry.now);
            self.indexes.remove(&before);
            self.remove_row(key);
            events.push(Event::Delete { before });
        }
        Written {
            key: key.clone(),
            version: 0,
            effect: Effect::Written,
        }
    }

    fn write_task_status(
        &mut self,
        id: TaskId,
        node: NodeId,
        report: &TaskStatus,
        events: &mut Vec<Event>,
    ) -> Written {
        let key = ObjectKey::Task(id);
        let Some(task) = self.task(id).cloned() else {
            return Written {
                key,
                version: 0,
                effect: Effect::Ignored,
            };
        };
        let node_epoch = self.node(node).map_or(0, |node| node.status.epoch);
        let Some(status) = merge::task_report(&task, node, node_epoch, report) else {
            return Written {
                key,
                version: task.status.version,
                effect: Effect::Ignored,
            };
        };
        let version = status.version;
        let mut after = Arc::unwrap_or_clone(task.clone());
        after.status = status;
        self.replace_and_tell(Object::Task(task), after.into(), events);
        Written {
            key,
            version,
            effect: Effect::Written,
        }
    }

    fn write_node_status(&mut self, id: NodeId, report: &NodeStatus, events: &mut Vec<Event>) -> Written {
        let key = ObjectKey::Node(id);
        let Some(node) = self.node(id).cloned() else {
            return Written {
                key,
                version: 0,
                effect: Effect::Ignored,
            };
        };
        let Some(status) = merge::node_report(&node, report) else {
            return Written {
                key,
                version: node.status.version,
                effect: Effect::Ignored,
            };
        };
        let version = status.version;
        let mut after = Arc::unwrap_or_clone(node.clone());
        after.status = status;
        self.replace_and_tell(Object::Node(node), after.into(), events);
        Written {
            key,
            version,
            effect: Effect::Written,
        }
    }

    fn replace_and_tell(&mut self, before: Object, after: Object, events: &mut Vec<Event>) {
        self.replace(Some(&before), after.clone());
        events.push(Event::Put {
            before: Some(before),
            after,
        });
    }

    fn replace(&mut self, before: Option<&Object>, after: Object) {
        if let Some(before) = before {
            self.indexes.remove(before);
        }
        self.insert_row(after);
    }

    /// Puts an object as it is, with its indexes: also how a snapshot is read.
    pub(super) fn insert_row(&mut self, object: Object) {
        self.indexes.insert(&object);
        match object {
            Object::Cluster(cluster) => self.cluster = Some(cluster),
            Object::Node(node) => drop(self.nodes.put(node.id, node)),
            Object::Service(service) => drop(self.services.put(service.id, service)),
            Object::Revision(revision) => drop(self.revisions.put(revision.id, revision)),
            Object::Slot(slot) => drop(self.slots.put((slot.service, slot.key), slot)),
            Object::Task(task) => drop(self.tasks.put(task.id, task)),
            Object::Network(network) => drop(self.networks.put(network.id, network)),
            Object::Secret(secret) => drop(self.secrets.put(secret.id, secret)),
            Object::Config(config) => drop(self.configs.put(config.id, config)),
            Object::Volume(volume) => drop(self.volumes.put(volume.id, volume)),
            Object::Stack(stack) => drop(self.stacks.put(stack.id, stack)),
            Object::Registry(registry) => drop(self.registries.put(registry.host.clone(), registry)),
        }
    }

    fn remove_row(&mut self, key: &ObjectKey) {
        match key {
            ObjectKey::Cluster => self.cluster = None,
            ObjectKey::Node(id) => drop(self.nodes.delete(id)),
            ObjectKey::Service(id) => drop(self.services.delete(id)),
            ObjectKey::Revision(id) => drop(self.revisions.delete(id)),
            ObjectKey::Slot(service, key) => drop(self.slots.delete(&(*service, *key))),
            ObjectKey::Task(id) => drop(self.tasks.delete(id)),
            ObjectKey::Network(id) => drop(self.networks.delete(id)),
            ObjectKey::Secret(id) => drop(self.secrets.delete(id)),
            ObjectKey::Config(id) => drop(self.configs.delete(id)),
            ObjectKey::Volume(id) => drop(self.volumes.delete(id)),
            ObjectKey::Stack(id) => drop(self.stacks.delete(id)),
            ObjectKey::Registry(host) => drop(self.registries.delete(host)),
        }
    }

    /// The hour of bytes that nothing uses counts from the last change of their users.
    fn touch_blobs(&mut self, object: Option<&Object>, now: Timestamp) {
        let versions = match object {
            Some(Object::Secret(secret)) => &secret.versions,
            Some(Object::Config(config)) => &config.versions,
            _ => return,
        };
        for version in versions {
            self.touch_blob(&version.digest, now);
        }
    }

    fn touch_blob(&mut self, digest: &Digest, now: Timestamp) {
        if let Some(blob) = self.blobs.get(digest).cloned() {
            let mut blob = Arc::unwrap_or_clone(blob);
            blob.touched_at = now;
            self.blobs.put(*digest, Arc::new(blob));
        }
    }
}

/// A task or node that is planned anew keeps what is known of it.
fn keep_status_half(before: Option<&Object>, object: Object) -> Object {
    match (before, object) {
        (Some(Object::Task(stored)), Object::Task(mut task)) => {
            Arc::make_mut(&mut task).status = merge::task_plan(&stored.status, &task.status);
            Object::Task(task)
        }
        (Some(Object::Node(stored)), Object::Node(mut node)) => {
            Arc::make_mut(&mut node).status = stored.status.clone();
            Object::Node(node)
        }
        (None, Object::Task(mut task)) => {
            Arc::make_mut(&mut task).status.version = 1;
            Object::Task(task)
        }
        (None, Object::Node(mut node)) => {
            Arc::make_mut(&mut node).status.version = 1;
            Object::Node(node)
        }
        (_, other) => other,
    }
}
