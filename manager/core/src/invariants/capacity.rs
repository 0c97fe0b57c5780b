//! Property 19: A node is never promised beyond what it has, and a port of a node has one holder. A replacement that
//! inherits its predecessor's place is counted once with it.

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::id::{NodeId, TaskId};
use shoal_proto::resources::Resources;
use shoal_proto::service::{HostPort, Protocol, share_an_address};
use shoal_proto::task::Task;

use super::{Transition, newly_placed};
use crate::state::State;

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    let nodes: BTreeSet<NodeId> = newly_placed(transition)
        .filter_map(|task| task.plan.node)
        .collect();
    for node in nodes {
        check_reservations(transition.after, node, found);
        check_ports(transition.after, node, found);
    }
}

type Amount = fn(&Resources) -> u64;

/// Tasks on a node that have not ended.
fn open_tasks(state: &State, node: NodeId) -> impl Iterator<Item = &Task> {
    state
        .tasks_on_node(node)
        .map(AsRef::as_ref)
        .filter(|task| !task.status.state.is_terminal())
}

fn check_reservations(state: &State, node: NodeId, found: &mut Vec<String>) {
    let Some(description) = state.node(node).and_then(|node| node.status.description.as_ref()) else {
        return;
    };
    let mut places = BTreeMap::<TaskId, Resources>::new();
    for task in open_tasks(state, node) {
        let reserved = state
            .template_of(task)
            .map(|t| t.resources.reservations)
            .unwrap_or_default();
        let place = places.entry(place_of(state, task)).or_default();
        place.nano_cpus = place.nano_cpus.max(reserved.nano_cpus);
        place.memory_bytes = place.memory_bytes.max(reserved.memory_bytes);
        place.pids = place.pids.max(reserved.pids);
    }
    let total = |amount: Amount| places.values().map(amount).sum::<u64>();
    let has = description.resources;
    let parts: [(&str, Amount); 3] = [
        ("nano CPUs", |r| r.nano_cpus),
        ("bytes of memory", |r| r.memory_bytes),
        ("pids", |r| r.pids),
    ];
    for (what, amount) in parts {
        let (promised, limit) = (total(amount), amount(&has));
        if limit > 0 && promised > limit {
            found.push(format!("node {node} has {limit} {what} and promised {promised}"));
        }
    }
}

/// Heirs of heirs that are followed at most.
const HEIRS_MAX: usize = 100;

/// The task whose place this one has: the first of those that inherit one from another on one node, ended or not.
fn place_of(state: &State, task: &Task) -> TaskId {
    let mut place = task;
    for _ in 0..HEIRS_MAX {
        let Some(id) = place.plan.inherits else {
            break;
        };
        match state.task(id) {
            Some(older) if older.plan.node == place.plan.node => place = older,
            Some(_) => break,
            None => return id,
        }
    }
    place.id
}

fn check_ports(state: &State, node: NodeId, found: &mut Vec<String>) {
    let mut holders = BTreeMap::<(Protocol, u16), (TaskId, &HostPort)>::new();
    for task in open_tasks(state, node) {
        let ports = state
            .template_of(task)
            .map(|template| template.host_ports.as_slice())
            .unwrap_or_default();
        for port in ports.iter().filter(|port| port.published_port != 0) {
            let place = place_of(state, task);
            let before = holders.insert((port.protocol, port.published_port), (place, port));
            if let Some((other, held)) = before
                && other != place
                && share_an_address(held.host_ip, port.host_ip)
            {
                let number = port.published_port;
                found.push(format!(
                    "port {number} of node {node} is given to {other} and {place}"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::resources::{ResourceSpec, Resources};
    use shoal_proto::service::{HostPort, Mode, Protocol, TaskTemplate};
    use shoal_proto::task::TaskState;

    use crate::fixture::Fixture;

    #[test]
    fn a_node_that_is_promised_beyond_its_memory_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let reservations = Resources {
            memory_bytes: 5 << 30,
            ..Resources::default()
        };
        let resources = ResourceSpec {
            reservations,
            ..ResourceSpec::default()
        };
        let template = TaskTemplate {
            resources,
            ..TaskTemplate::default()
        };
        let web = fixture.service_with("web", Mode::default(), template);
        let first = fixture.task(web, 1, Some(node), TaskState::Running);
        assert!(fixture.violated().is_empty());
        let heir = |task: &mut shoal_proto::task::Task| {
            task.plan.inherits = Some(first);
            task.plan.replaces = Some((first, shoal_proto::reason::Reason::Updated));
        };
        fixture.task_with(web, 1, Some(node), heir);
        assert!(fixture.violated().is_empty(), "the pair counts once");
        fixture.task(web, 2, Some(node), TaskState::Assigned);
        assert_eq!(fixture.violated(), ["capacity"]);
    }

    #[test]
    fn a_host_port_that_is_given_twice_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let port = HostPort {
            protocol: Protocol::Tcp,
            container_port: 80,
            published_port: 80,
            host_ip: None,
        };
        let template = TaskTemplate {
            host_ports: vec![port],
            ..TaskTemplate::default()
        };
        let web = fixture.service_with("web", Mode::default(), template);
        fixture.task(web, 1, Some(node), TaskState::Running);
        fixture.task(web, 2, Some(node), TaskState::Assigned);
        assert_eq!(fixture.violated(), ["capacity"]);
    }
}
