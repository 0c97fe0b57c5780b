//! Who refers to an object: the meaning of the guard "nothing refers to this".

use std::collections::BTreeSet;
use std::sync::Arc;

use shoal_proto::container::MountKind;
use shoal_proto::digest::Digest;
use shoal_proto::id::RevisionId;
use shoal_proto::service::{Revision, Service};
use shoal_proto::stack::StackRevision;
use shoal_proto::task::Task;
use shoal_proto::update::RolloutState;
use shoal_proto::volume::Volume;

use super::State;
use super::object::ObjectKey;

impl State {
    /// The first object that refers to this one, so that it cannot go.
    ///
    /// - secret, config, network: a service whose wanted, last good or rolled-out revision names it, or a task that
    ///   has not ended. An older revision in the history does not hold it: rotation would never end otherwise.
    /// - revision: a service that wants or remembers it, any task made of it, or a stack whose history names it.
    /// - node: a task that has not ended. Service: any task. Slot: a task that has not ended.
    /// - stack: any member. Volume: a task of its service and node that mounts it and has not ended.
    #[must_use]
    pub fn referrer(&self, key: &ObjectKey) -> Option<ObjectKey> {
        match key {
            ObjectKey::Secret(_) | ObjectKey::Config(_) | ObjectKey::Network(_) => self
                .indexes
                .uses
                .of(key)
                .find_map(|revision| self.revision_in_use(*revision)),
            ObjectKey::Revision(id) => self.revision_remembered(*id),
            ObjectKey::Node(id) => first_alive(self.tasks_on_node(*id)),
            ObjectKey::Service(id) => self
                .tasks_of_service(*id)
                .next()
                .map(|task| ObjectKey::Task(task.id)),
            ObjectKey::Slot(service, slot) => first_alive(self.tasks_of_slot(*service, *slot)),
            ObjectKey::Stack(id) => self.stack_members(*id).next().cloned(),
            ObjectKey::Volume(id) => self.volume(*id).and_then(|volume| self.volume_user(volume)),
            ObjectKey::Task(_) | ObjectKey::Cluster | ObjectKey::Registry(_) => None,
        }
    }

    /// The first secret or config that has these bytes as a version.
    #[must_use]
    pub fn blob_holder(&self, digest: &Digest) -> Option<&ObjectKey> {
        self.indexes.blob_holders.of(digest).next()
    }

    /// Who needs this revision to be carried out: a service that goes to it, or a task that has not ended.
    #[must_use]
    pub fn revision_in_use(&self, id: RevisionId) -> Option<ObjectKey> {
        let revision: &Revision = self.revision(id)?;
        let service = self
            .service(revision.service)
            .filter(|service| goes_to(service, id));
        match service {
            Some(service) => Some(ObjectKey::Service(service.id)),
            None => first_alive(self.tasks_of_revision(id)),
        }
    }

    /// Revisions of services that are gone, which only the deployments that are dropped still name: nobody else forgets
    /// them.
    #[must_use]
    pub fn only_named_by(&self, dropped: &[StackRevision], kept: &[StackRevision]) -> Vec<Arc<Revision>> {
        let named = |deployments: &[StackRevision]| -> BTreeSet<RevisionId> {
            let all = deployments.iter().flat_map(|one| one.services.values());
            all.copied().collect()
        };
        let kept = named(kept);
        let free = named(dropped).into_iter().filter(|id| !kept.contains(id));
        let found = free.filter_map(|id| self.revision(id));
        found
            .filter(|revision| self.service(revision.service).is_none())
            .cloned()
            .collect()
    }

    fn revision_remembered(&self, id: RevisionId) -> Option<ObjectKey> {
        let service = self
            .revision(id)
            .and_then(|revision| self.service(revision.service));
        match service.filter(|service| goes_to(service, id) || service.previous_revision == Some(id)) {
            Some(service) => Some(ObjectKey::Service(service.id)),
            None => self
                .tasks_of_revision(id)
                .next()
                .map(|task| ObjectKey::Task(task.id))
                .or_else(|| self.stack_remembering(id).map(ObjectKey::Stack)),
        }
    }

    fn volume_user(&self, volume: &Volume) -> Option<ObjectKey> {
        let mounts_it = |task: &&Arc<Task>| {
            task.plan.node == Some(volume.node)
                && self.template_of(task).is_some_and(|template| {
                    template.container.mounts.iter().any(
                        |mount| matches!(&mount.kind, MountKind::Volume { name, .. } if *name == volume.name),
                    )
                })
        };
        first_alive(self.tasks_of_service(volume.service).filter(mounts_it))
    }
}

/// Whether a service that was not removed wants this revision, may go back to it, or is on its way.
fn goes_to(service: &Service, id: RevisionId) -> bool {
    let under_way = service
        .rollout
        .as_ref()
        .filter(|rollout| rollout.state != RolloutState::Completed);
    service.removed_at.is_none()
        && (service.revision == id
            || service.good_revision == Some(id)
            || under_way.is_some_and(|rollout| rollout.from == id || rollout.to == id))
}

fn first_alive<'a>(mut tasks: impl Iterator<Item = &'a Arc<Task>>) -> Option<ObjectKey> {
    tasks
        .find(|task| !task.status.state.is_terminal())
        .map(|task| ObjectKey::Task(task.id))
}

#[cfg(test)]
#[path = "reference_test.rs"]
mod tests;
