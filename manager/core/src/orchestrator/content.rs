//! Whether a task has what its service wants: the same content, or one that differs in nothing but where tasks may run,
//! on a node where they may run now, too. Such a task need not be replaced. Looks only.

use shoal_proto::node::Node;
use shoal_proto::service::{Placement, TaskTemplate};
use shoal_proto::task::Task;

use crate::scheduler::filter::Request;
use crate::state::State;

/// Whether a task is made of what its service wants, or may stay all the same.
#[must_use]
pub fn is_up_to_date(state: &State, task: &Task) -> bool {
    let wanted = state
        .service(task.plan.service)
        .and_then(|service| state.revision(service.revision));
    let has = state.revision(task.plan.revision);
    let Some((wanted, has)) = wanted.zip(has) else {
        return false;
    };
    if wanted.digest == has.digest {
        return true;
    }
    let node = task.plan.node.and_then(|node| state.node(node));
    differs_in_placement_alone(&has.template, &wanted.template)
        && node.is_some_and(|node| {
            let request = Request::of(wanted.service, wanted.digest, &wanted.template);
            may_stay(&request, node)
        })
}

/// Whether a node takes tasks of the wanted content, whatever else runs there.
#[must_use]
pub fn may_stay(wanted: &Request<'_>, node: &Node) -> bool {
    wanted.suitability(node).is_none()
}

/// Whether two contents are the same but for their constraints, platforms and preferences, or a limit per node that was
/// raised. A lower limit is carried out: tasks beyond it move.
#[must_use]
pub fn differs_in_placement_alone(was: &TaskTemplate, is: &TaskTemplate) -> bool {
    // A new field of a template must be thought of here.
    let TaskTemplate {
        container,
        resources,
        placement,
        networks,
        host_ports,
        log_driver,
        force_update,
    } = was;
    let same = *force_update == is.force_update
        && *resources == is.resources
        && *networks == is.networks
        && *host_ports == is.host_ports
        && *log_driver == is.log_driver
        && *container == is.container;
    same && is_as_wide(placement, &is.placement)
}

fn is_as_wide(was: &Placement, is: &Placement) -> bool {
    let Placement {
        // What these ask of a node is asked of the task's own; a preference is about tasks that are placed.
        constraints: _,
        platforms: _,
        spread: _,
        max_replicas_per_node,
    } = was;
    match (*max_replicas_per_node, is.max_replicas_per_node) {
        (_, 0) => true,
        (was, is) => was != 0 && was <= is,
    }
}
