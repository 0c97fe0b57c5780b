//! Sets as the leader makes them, in the words of the agent: what the wire does between real ones.

use shoal_agent::assignments::{Assigned, Extent, SetIndex, Update};
use shoal_core::dispatcher::assignment::{Assignment, AssignmentSet};
use shoal_core::dispatcher::difference::Difference;
use shoal_proto::network::Network;
use shoal_proto::view::ViewChange;

/// The whole set.
pub(crate) fn complete(set: &AssignmentSet) -> Update {
    Update {
        extent: Extent::Complete,
        cluster: set.cluster,
        index: SetIndex {
            incarnation: set.incarnation,
            index: set.index,
        },
        tasks: set.tasks.values().map(assigned).collect(),
        carried: set
            .networks
            .values()
            .map(|network| Network::clone(network))
            .collect(),
        view: Some(ViewChange::whole(&set.view)),
        ..Update::default()
    }
}

/// What changed.
pub(crate) fn increment(difference: &Difference) -> Update {
    Update {
        extent: Extent::Increment,
        cluster: difference.cluster,
        index: SetIndex {
            incarnation: difference.incarnation,
            index: difference.index,
        },
        tasks: difference.tasks.iter().map(assigned).collect(),
        removed: difference.removed_tasks.clone(),
        carried: difference
            .networks
            .iter()
            .map(|network| Network::clone(network))
            .collect(),
        removed_networks: difference.removed_networks.clone(),
        view: (!difference.view.is_empty()).then(|| difference.view.clone()),
    }
}

fn assigned(assignment: &Assignment) -> Assigned {
    let plan = &assignment.task.plan;
    Assigned {
        task: assignment.task.id,
        service: plan.service,
        service_name: assignment.service_name.clone(),
        service_labels: assignment.service_labels.clone(),
        stack: assignment.stack_name.clone(),
        slot: plan.slot,
        revision: plan.revision,
        desired: plan.desired,
        inherits: plan.inherits,
        stop_reason: plan.stop_reason.clone(),
        template: assignment.template.clone(),
        revision_number: assignment.revision_number,
        contents: assignment
            .contents
            .iter()
            .map(|content| (content.version, content.digest))
            .collect(),
        credential: None,
        default_log: Some(assignment.default_log_driver.clone()),
        spares: assignment.spares.iter().map(|spare| spare.task.id).collect(),
        addresses: plan.addresses.iter().copied().collect(),
        status: assignment.task.status.clone(),
    }
}
