//! Property 11: What a task is made of never changes, and its node and addresses are given once; revisions never change,
//! nor do what a network is, a service's name and kind, and a node's number.

use std::mem::discriminant;

use shoal_proto::network::Network;

use super::{Transition, changed_services, changed_tasks};
use crate::state::Object;

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    for (before, after) in changed_tasks(transition) {
        let Some(before) = before.map(|task| &task.plan) else {
            continue;
        };
        let plan = &after.plan;
        if before.node.is_some() && before.node != plan.node {
            found.push(format!("task {} was given another node", after.id));
        }
        if before.node.is_some() && before.addresses != plan.addresses {
            found.push(format!("task {} was given other addresses", after.id));
        }
        let made_of = |plan: &shoal_proto::task::TaskPlan| (plan.service, plan.slot, plan.revision);
        if made_of(before) != made_of(plan) {
            found.push(format!(
                "task {} was given another service, slot or revision",
                after.id
            ));
        }
        if before.replaces != plan.replaces {
            found.push(format!("task {} was said to replace another task", after.id));
        }
    }
    for (before, after) in changed_services(transition) {
        let kind = |service: &shoal_proto::service::Service| discriminant(&service.settings.mode);
        if before.name != after.name || kind(before) != kind(after) {
            found.push(format!("service {} changed its name or kind", after.id));
        }
    }
    for event in transition.events {
        match (event.before(), event.after()) {
            (Some(Object::Revision(_)), Some(Object::Revision(after))) => {
                found.push(format!("revision {} was changed", after.id));
            }
            (Some(Object::Network(before)), Some(Object::Network(after))) => {
                let is = |network: &Network| (network.stack, network.subnet, network.spec.clone());
                if is(before) != is(after) {
                    found.push(format!("network {} was made another one", after.id));
                }
            }
            (Some(Object::Node(before)), Some(Object::Node(after)))
                if before.plan.overlay.is_some() && before.plan.overlay != after.plan.overlay =>
            {
                found.push(format!("node {} was given another number", after.id));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use shoal_proto::overlay::OverlayNumber;
    use shoal_proto::task::TaskState;

    use crate::fixture::Fixture;

    #[test]
    fn a_task_that_moves_to_another_node_is_found() {
        let mut fixture = Fixture::new();
        let (node, other) = (fixture.node(), fixture.node());
        let web = fixture.service("web", 1);
        let task = fixture.task(web, 1, Some(node), TaskState::Running);
        fixture.edit_task(task, |task| task.plan.node = Some(other));
        assert_eq!(fixture.violated(), ["fixed"]);
    }

    #[test]
    fn a_task_that_is_given_another_address_is_found() {
        let mut fixture = Fixture::new();
        let (node, network) = (fixture.node(), fixture.network("net", "10.1.0.0/24"));
        let web = fixture.service("web", 1);
        let address = |last| (network, Ipv4Addr::new(10, 1, 0, last));
        let task = fixture.task_with(web, 1, Some(node), |task| task.plan.addresses = vec![address(7)]);
        fixture.edit_task(task, |task| task.plan.addresses = vec![address(8)]);
        assert_eq!(fixture.violated(), ["fixed"]);
    }

    #[test]
    fn a_network_or_a_node_that_becomes_another_is_found() {
        let mut fixture = Fixture::new();
        let (node, network) = (fixture.node(), fixture.network("net", "10.1.0.0/24"));
        fixture.edit_network(network, |network| network.subnet = None);
        assert_eq!(fixture.violated(), ["fixed"]);
        let number = |number| OverlayNumber::new(number).ok();
        fixture.edit_node(node, |node| node.plan.overlay = number(1));
        assert!(fixture.violated().is_empty());
        fixture.edit_node(node, |node| node.plan.overlay = number(2));
        assert_eq!(fixture.violated(), ["fixed"]);
    }

    #[test]
    fn a_revision_that_is_written_again_is_found() {
        let mut fixture = Fixture::new();
        let (_, revision) = fixture.service("web", 1);
        let again = fixture.state.revision(revision).unwrap().clone();
        fixture.put(again);
        assert_eq!(fixture.violated(), ["fixed"]);
    }
}
