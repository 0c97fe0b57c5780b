//! What a node holds, while tasks come and go.

use shoal_proto::resources::Resources;
use shoal_proto::service::{HostPort, Mode, Protocol, TaskTemplate};
use shoal_proto::task::{DesiredState, TaskState};

use super::{Demand, NodeView};
use crate::fixture::Fixture;

fn template() -> TaskTemplate {
    let mut template = TaskTemplate::default();
    template.resources.reservations = Resources {
        nano_cpus: 3_000_000_000,
        memory_bytes: 5 << 30,
        pids: 0,
    };
    template.host_ports.push(HostPort {
        protocol: Protocol::Tcp,
        container_port: 80,
        published_port: 80,
        host_ip: None,
    });
    template
}

#[test]
fn what_a_task_takes_is_held_until_it_has_ended_though_it_no_longer_counts_as_a_copy() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let service = fixture.service_with("web", Mode::Replicated { replicas: 1 }, template());
    let task = fixture.task(service, 1, Some(node), TaskState::Running);
    let demand = Demand::of(&template());
    let look = |fixture: &Fixture| NodeView::of(&fixture.state, fixture.state.node(node).unwrap());

    let full = look(&fixture);
    assert_eq!((full.copies(service.0), full.copies_of_all()), (1, 1));
    assert_eq!(full.shortfall(&demand, None).nano_cpus, 2_000_000_000);
    assert_eq!(full.shortfall(&demand, None).memory_bytes, 2 << 30);
    assert_eq!(full.taken_ports(&demand, None).next(), Some((80, task)));

    fixture.edit_task(task, |task| task.plan.desired = DesiredState::Shutdown);
    let stopping = look(&fixture);
    assert_eq!((stopping.copies(service.0), stopping.copies_of_all()), (0, 0));
    assert_eq!(stopping.shortfall(&demand, None).nano_cpus, 2_000_000_000);
    assert_eq!(stopping.taken_ports(&demand, None).next(), Some((80, task)));

    fixture.report(task, node, TaskState::Shutdown, 1);
    let empty = look(&fixture);
    assert_eq!(empty.shortfall(&demand, None), Resources::default());
    assert_eq!(empty.taken_ports(&demand, None).next(), None);
}

#[test]
fn a_task_that_is_counted_twice_is_counted_once() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let service = fixture.service_with("web", Mode::Replicated { replicas: 1 }, template());
    let task = fixture.task(service, 1, Some(node), TaskState::Running);
    let demand = Demand::of(&template());
    let mut view = NodeView::of(&fixture.state, fixture.state.node(node).unwrap());
    view.add(&fixture.read(task), &demand);
    view.add(&fixture.read(task), &demand);
    assert_eq!((view.copies(service.0), view.copies_of_all()), (1, 1));
    assert_eq!(view.shortfall(&demand, None).nano_cpus, 2_000_000_000);
    view.stop_wanting(task);
    view.stop_wanting(task);
    assert_eq!((view.copies(service.0), view.copies_of_all()), (0, 0));
}
