//! Which port leads to which tasks of this node: pure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use shoal_proto::id::{ServiceId, TaskId};
use shoal_proto::service::{NetworkTarget, Protocol};

use crate::assignments::Assigned;
use crate::engine::Observed;
use crate::reconcile::{Local, takes_connections};

/// A port of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortKey {
    /// Protocol.
    pub protocol: Protocol,
    /// Number.
    pub port: u16,
    /// Address of the node; none means all.
    pub host_ip: Option<IpAddr>,
}

/// A task that takes connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    /// Which.
    pub task: TaskId,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// A port and the tasks behind it, maybe none at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Which port.
    pub key: PortKey,
    /// Whose.
    pub service: ServiceId,
    /// The service's name.
    pub service_name: String,
    /// Tasks in the order of their ids.
    pub backends: Vec<Backend>,
}

/// The ports of this node as they should be now.
#[must_use]
pub fn routes(local: &Local) -> Vec<Route> {
    let ports = local.assignments.ingress.iter().map(|ingress| {
        let port = &ingress.port;
        let tasks = local
            .assignments
            .tasks
            .values()
            .filter(|task| task.service == ingress.service);
        Route {
            key: PortKey {
                protocol: port.protocol,
                port: port.published_port,
                host_ip: port.host_ip,
            },
            service: ingress.service,
            service_name: ingress.service_name.clone(),
            backends: tasks
                .filter_map(|task| backend(local, task, port.container_port))
                .collect(),
        }
    });
    ports.filter(|route| route.key.port != 0).collect()
}

fn backend(local: &Local, assigned: &Assigned, port: u16) -> Option<Backend> {
    let record = local.records.get(&assigned.task)?;
    if !assigned.desired.wants_to_run() || !takes_connections(record) {
        return None;
    }
    let seen = local.containers.get(record.status.container.as_ref()?)?;
    Some(Backend {
        task: assigned.task,
        addr: SocketAddr::new(address(assigned, seen)?, port),
    })
}

fn address(assigned: &Assigned, seen: &Observed) -> Option<IpAddr> {
    let on_host = assigned
        .template
        .networks
        .iter()
        .any(|used| used.network == NetworkTarget::Host);
    if on_host {
        return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    seen.addresses.values().next().copied()
}

#[cfg(test)]
mod tests {
    use shoal_proto::service::{IngressPort, Protocol};
    use shoal_proto::task::DesiredState;

    use super::routes;
    use crate::assignments::Ingress;
    use crate::testing::{Bench, assigned, task_id};

    fn bench() -> Bench {
        let mut bench = Bench::new();
        let tasks = vec![
            assigned(1, DesiredState::Running),
            assigned(2, DesiredState::Running),
        ];
        let port = IngressPort {
            name: String::new(),
            protocol: Protocol::Tcp,
            container_port: 80,
            published_port: 8080,
            host_ip: None,
        };
        let ingress = Ingress {
            service: tasks[0].service,
            service_name: "web".to_owned(),
            port,
        };
        bench.assign(tasks);
        bench.local.assignments.ingress = vec![ingress];
        bench
    }

    fn behind(bench: &Bench) -> Vec<shoal_proto::id::TaskId> {
        let all = routes(&bench.local);
        assert_eq!(all.len(), 1, "the port is owned whatever runs");
        all[0].backends.iter().map(|backend| backend.task).collect()
    }

    #[test]
    fn a_port_leads_to_running_tasks_only() {
        let mut bench = bench();
        assert!(behind(&bench).is_empty());
        bench.settle();
        assert_eq!(behind(&bench), vec![task_id(1), task_id(2)]);
    }

    #[test]
    fn a_task_that_is_to_stop_is_taken_out_before_its_container_is_touched() {
        let mut bench = bench();
        bench.settle();
        let ingress = bench.local.assignments.ingress.clone();
        bench.assign(vec![
            assigned(1, DesiredState::Shutdown),
            assigned(2, DesiredState::Running),
        ]);
        bench.local.assignments.ingress = ingress;
        assert_eq!(behind(&bench), vec![task_id(2)]);
        assert!(bench.engine.calls.iter().all(|call| !call.starts_with("stop")));
    }
}
