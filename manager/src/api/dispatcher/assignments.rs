//! Sets of assignments as messages, and which events can change one.

use std::collections::BTreeSet;

use shoal_core::dispatcher::assignment::{Assignment, AssignmentSet};
use shoal_core::dispatcher::difference::Difference;
use shoal_core::state::{Event, Object};
use shoal_proto::id::{NodeId, ServiceId};
use shoal_proto::view::ViewChange;
use shoal_proto::wire;

/// The whole set: it replaces what the agent has.
pub(super) fn complete(set: &AssignmentSet) -> wire::Assignments {
    wire::Assignments {
        cluster_id: set.cluster.map(|cluster| cluster.to_string()).unwrap_or_default(),
        incarnation: set.incarnation,
        index: set.index,
        complete: true,
        tasks: set.tasks.values().map(task).collect(),
        removed_tasks: Vec::new(),
        networks: set
            .networks
            .values()
            .map(|network| network.as_ref().into())
            .collect(),
        removed_networks: Vec::new(),
        view: Some((&ViewChange::whole(&set.view)).into()),
    }
}

/// What changed.
pub(super) fn increment(difference: &Difference) -> wire::Assignments {
    wire::Assignments {
        cluster_id: difference
            .cluster
            .map(|cluster| cluster.to_string())
            .unwrap_or_default(),
        incarnation: difference.incarnation,
        index: difference.index,
        complete: false,
        tasks: difference.tasks.iter().map(task).collect(),
        removed_tasks: difference.removed_tasks.iter().map(ToString::to_string).collect(),
        networks: difference
            .networks
            .iter()
            .map(|network| network.as_ref().into())
            .collect(),
        removed_networks: difference
            .removed_networks
            .iter()
            .map(ToString::to_string)
            .collect(),
        view: (!difference.view.is_empty()).then(|| (&difference.view).into()),
    }
}

fn task(assignment: &Assignment) -> wire::TaskAssignment {
    let contents = assignment.contents.iter().map(|content| wire::ContentRef {
        version_id: content.version.to_string(),
        digest: content.digest.to_string(),
        size_bytes: content.size_bytes,
    });
    wire::TaskAssignment {
        task: Some(assignment.task.as_ref().into()),
        template: Some(assignment.template.as_ref().into()),
        service_name: assignment.service_name.clone(),
        service_labels: assignment.service_labels.clone(),
        stack_name: assignment.stack_name.clone().unwrap_or_default(),
        revision_number: assignment.revision_number,
        contents: contents.collect(),
        credential: assignment
            .credential
            .as_ref()
            .map(|registry| wire::RegistryCredential {
                host: registry.host.clone(),
                username: registry.username.clone(),
                password: registry.password.clone(),
            }),
        default_log_driver: Some((&assignment.default_log_driver).into()),
        spares: assignment.spares.iter().map(task).collect(),
    }
}

/// The services whose tasks are in a set.
pub(super) fn services_of(set: &AssignmentSet) -> BTreeSet<ServiceId> {
    set.tasks
        .values()
        .map(|assignment| assignment.task.plan.service)
        .collect()
}

/// Whether an event can change the set of a node whose tasks are of these services, its view of networks apart: whether
/// it can change that is asked of the view. Content of a version never changes; it comes with the task.
pub(super) fn concerns(event: &Event, node: NodeId, services: &BTreeSet<ServiceId>) -> bool {
    match event.object() {
        Object::Task(_) => [event.before(), event.after()]
            .into_iter()
            .flatten()
            .any(|object| object.node() == Some(node)),
        Object::Service(service) => services.contains(&service.id),
        Object::Registry(_) | Object::Cluster(_) => true,
        Object::Node(_)
        | Object::Revision(_)
        | Object::Slot(_)
        | Object::Network(_)
        | Object::Secret(_)
        | Object::Config(_)
        | Object::Volume(_)
        | Object::Stack(_) => false,
    }
}
