use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shoal_proto::id::{NetworkId, NodeId, ServiceId, TaskId};
use shoal_proto::network::{ENCRYPTED_OPTION, INGRESS_NAME, Network, NetworkSpec, ingress_network};
use shoal_proto::node::{Node, NodeState};
use shoal_proto::overlay::OverlayNumber;
use shoal_proto::service::{EndpointMode, IngressPort, NetworkTarget, NetworkUse, Protocol, TaskTemplate};
use shoal_proto::task::{DesiredState, TaskState};
use shoal_proto::tunnel_key::TunnelKey;
use shoal_proto::view::{EndpointState, Inside, Secrecy, View};

use super::{is_concerned, view_for};
use crate::fixture::Fixture;
use crate::state::Change;

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, last)
}

/// A node with a number and an address, as one has whose agent has spoken.
fn node(fixture: &mut Fixture) -> NodeId {
    let id = fixture.node();
    let number = u16::try_from(fixture.state.nodes().count()).unwrap();
    fixture.edit_node(id, |node| node.plan.overlay = OverlayNumber::new(number).ok());
    status(fixture, id, |node| {
        node.status.addr = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, number as u8)));
    });
    id
}

fn status(fixture: &mut Fixture, id: NodeId, edit: impl FnOnce(&mut Node)) {
    let mut node = Node::clone(fixture.state.node(id).unwrap());
    edit(&mut node);
    node.status.version += 1;
    fixture.change(Change::NodeStatus {
        node: id,
        status: Box::new(node.status),
    });
}

/// A running task with this address on a network.
fn task(
    fixture: &mut Fixture,
    web: (ServiceId, shoal_proto::id::RevisionId),
    node: NodeId,
    on: (NetworkId, u8),
) -> TaskId {
    fixture.task_with(web, on.1.into(), Some(node), |task| {
        task.status.state = TaskState::Running;
        task.plan.addresses = vec![(on.0, address(on.1))];
    })
}

fn publish(fixture: &mut Fixture, service: ServiceId) {
    fixture.edit_service(service, |service| {
        service.settings.ingress_ports = vec![IngressPort {
            name: String::new(),
            protocol: Protocol::Tcp,
            container_port: 80,
            published_port: 8080,
            host_ip: None,
            prefer: None,
        }];
    });
}

fn ready(view: &View, task: TaskId) -> Option<bool> {
    let endpoint = view.endpoints.get(&task)?;
    Some(endpoint.state == EndpointState::Ready)
}

#[test]
fn a_node_sees_all_of_the_networks_it_carries_and_nothing_of_others() {
    let mut fixture = Fixture::new();
    let (here, there) = (node(&mut fixture), node(&mut fixture));
    let (net, other) = (
        fixture.network("net", "10.1.0.0/24"),
        fixture.network("other", "10.2.0.0/24"),
    );
    let (web, api) = (
        fixture.service_on("web", 2, &[net]),
        fixture.service_on("api", 1, &[other]),
    );
    let mine = task(&mut fixture, web, here, (net, 1));
    let theirs = task(&mut fixture, web, there, (net, 2));
    let hidden = fixture.task_with(api, 1, Some(there), |task| {
        task.plan.addresses = vec![(other, Ipv4Addr::new(10, 2, 0, 1))];
    });
    let view = view_for(&fixture.state, here);
    assert_eq!(
        view.peers.keys().copied().collect::<BTreeSet<_>>(),
        [here, there].into()
    );
    assert_eq!(view.networks.keys().copied().collect::<Vec<_>>(), [net]);
    assert_eq!(view.services.keys().copied().collect::<Vec<_>>(), [web.0]);
    assert_eq!(
        view.endpoints.keys().copied().collect::<BTreeSet<_>>(),
        [mine, theirs].into()
    );
    assert_eq!(view.endpoints[&theirs].addresses[&net], address(2));
    assert!(
        view_for(&fixture.state, there).endpoints.contains_key(&hidden),
        "its own node sees it"
    );
}

#[test]
fn a_service_is_known_on_its_networks_before_it_has_a_task() {
    let mut fixture = Fixture::new();
    let here = node(&mut fixture);
    let net = fixture.network("net", "10.1.0.0/24");
    let (web, empty, robin) = (
        fixture.service_on("web", 1, &[net]),
        fixture.service_on("empty", 1, &[net]),
        fixture.service_on("robin", 1, &[net]),
    );
    fixture.edit_service(empty.0, |empty| empty.addresses = vec![(net, address(9))]);
    fixture.edit_service(robin.0, |robin| {
        robin.addresses = vec![(net, address(10))];
        robin.settings.endpoint = EndpointMode::DnsRoundRobin;
    });
    task(&mut fixture, web, here, (net, 1));
    let view = view_for(&fixture.state, here);
    assert_eq!(view.services[&empty.0].addresses[&net], address(9));
    assert!(view.services[&robin.0].addresses.is_empty());
    for service in [web.0, empty.0, robin.0] {
        assert_eq!(view.services[&service].aliases[&net], Vec::<String>::new());
    }
}

#[test]
fn an_endpoint_is_ready_while_its_task_runs_is_wanted_and_its_node_answers() {
    let mut fixture = Fixture::new();
    let (here, there) = (node(&mut fixture), node(&mut fixture));
    let net = fixture.network("net", "10.1.0.0/24");
    let web = fixture.service_on("web", 3, &[net]);
    task(&mut fixture, web, here, (net, 1));
    let starts = fixture.task_with(web, 2, Some(there), |task| {
        task.plan.addresses = vec![(net, address(2))];
    });
    let goes = task(&mut fixture, web, there, (net, 3));
    let now = |fixture: &Fixture| {
        let view = view_for(&fixture.state, here);
        [starts, goes].map(|task| ready(&view, task))
    };
    assert_eq!(now(&fixture), [Some(false), Some(true)]);
    fixture.report(starts, there, TaskState::Running, 1);
    fixture.edit_task(goes, |task| task.plan.desired = DesiredState::Shutdown);
    assert_eq!(now(&fixture), [Some(true), Some(false)]);
    status(&mut fixture, there, |node| node.status.state = NodeState::Down);
    assert_eq!(now(&fixture), [Some(false), Some(false)]);
    fixture.report(goes, there, TaskState::Shutdown, 1);
    assert_eq!(now(&fixture), [Some(false), None]);
}

#[test]
fn every_node_knows_who_answers_a_published_port_by_the_network_with_the_way_out() {
    let mut fixture = Fixture::new();
    let (here, there) = (node(&mut fixture), node(&mut fixture));
    let inner = fixture.network_with("a-inner", "10.3.0.0/24", |spec| spec.internal = true);
    let (second, first) = (
        fixture.network("c", "10.2.0.0/24"),
        fixture.network("b", "10.1.0.0/24"),
    );
    let web = fixture.service_on("web", 1, &[inner, second, first]);
    let on = [
        (inner, Ipv4Addr::new(10, 3, 0, 1)),
        (first, address(1)),
        (second, Ipv4Addr::new(10, 2, 0, 1)),
    ];
    let serves = fixture.task_with(web, 1, Some(there), |task| {
        task.status.state = TaskState::Running;
        task.plan.addresses = on.to_vec();
    });
    assert!(view_for(&fixture.state, here).services.is_empty());
    publish(&mut fixture, web.0);
    let view = view_for(&fixture.state, here);
    let service = &view.services[&web.0];
    assert_eq!(
        (view.endpoints[&serves].mesh, service.ports.len()),
        (Some(first), 1)
    );
    assert!(service.aliases.is_empty(), "no name is known here");
    assert_eq!(view.networks.keys().copied().collect::<Vec<_>>(), [first]);
    let seen: Vec<_> = view.endpoints[&serves].addresses.clone().into_iter().collect();
    assert_eq!(seen, [(first, address(1))]);
    let removed_at = fixture.now;
    fixture.edit_service(web.0, |web| web.removed_at = Some(removed_at));
    assert!(view_for(&fixture.state, here).services.is_empty());
}

#[test]
fn tasks_of_both_sides_of_an_update_that_changes_networks_answer_published_ports() {
    let mut fixture = Fixture::new();
    let (here, there) = (node(&mut fixture), node(&mut fixture));
    let (before, after) = (
        fixture.network("before", "10.1.0.0/24"),
        fixture.network("after", "10.2.0.0/24"),
    );
    let web = fixture.service_on("web", 2, &[before]);
    publish(&mut fixture, web.0);
    let old = task(&mut fixture, web, there, (before, 1));
    let use_of = |id| NetworkUse {
        network: NetworkTarget::Cluster(id),
        aliases: Vec::new(),
    };
    let template = TaskTemplate {
        networks: vec![use_of(after)],
        ..TaskTemplate::default()
    };
    let revision = fixture.revision(web.0, 2, template);
    fixture.edit_service(web.0, |web| web.revision = revision);
    let new = fixture.task_with((web.0, revision), 2, Some(there), |task| {
        task.status.state = TaskState::Running;
        task.plan.addresses = vec![(after, Ipv4Addr::new(10, 2, 0, 1))];
    });
    let view = view_for(&fixture.state, here);
    let mesh = |task| view.endpoints.get(&task).and_then(|end| end.mesh);
    assert_eq!((mesh(old), mesh(new)), (Some(before), Some(after)));
    assert_eq!(
        view.networks.keys().copied().collect::<BTreeSet<_>>(),
        [before, after].into()
    );
}

#[test]
fn on_the_network_of_those_that_share_none_nobody_has_a_name() {
    let mut fixture = Fixture::new();
    let here = node(&mut fixture);
    let spec = NetworkSpec {
        name: INGRESS_NAME.to_owned(),
        ..NetworkSpec::default()
    };
    let ingress = ingress_network();
    fixture.put(Network {
        subnet: "10.1.0.0/16".parse().ok(),
        ..Network::new(ingress, None, spec)
    });
    let web = fixture.service_on("web", 1, &[ingress]);
    fixture.edit_service(web.0, |web| web.addresses = vec![(ingress, address(9))]);
    let serves = task(&mut fixture, web, here, (ingress, 1));
    publish(&mut fixture, web.0);
    let view = view_for(&fixture.state, here);
    assert_eq!(view.networks[&ingress].inside, Inside::Apart);
    let service = &view.services[&web.0];
    assert_eq!(view.endpoints[&serves].mesh, Some(ingress));
    assert!(service.addresses.is_empty() && service.aliases.is_empty());
    assert!(view.endpoints[&serves].aliases.is_empty());
    assert_eq!(view.endpoints[&serves].addresses[&ingress], address(1));
}

#[test]
fn where_containers_may_join_by_hand_all_blocks_are_seen_else_the_own_one() {
    let mut fixture = Fixture::new();
    let (here, there) = (node(&mut fixture), node(&mut fixture));
    for (attachable, count) in [(false, 1), (true, 2)] {
        let name = format!("net{count}");
        let net = fixture.network_with(&name, "", |spec| spec.attachable = attachable);
        let web = fixture.service_on(&format!("web{count}"), 1, &[net]);
        let first = fixture
            .state
            .network(net)
            .unwrap()
            .subnet
            .unwrap()
            .nth(1)
            .unwrap();
        fixture.task_with(web, 1, Some(here), |task| {
            task.plan.addresses = vec![(net, first)];
        });
        fixture.edit_network(net, |network| {
            for node in [here, there] {
                crate::allocator::block::give(network, node).unwrap();
            }
        });
        let view = view_for(&fixture.state, here);
        assert_eq!(view.networks[&net].blocks.len(), count, "{attachable}");
        assert!(view.networks[&net].blocks.contains_key(&here));
    }
}

/// Whether the last entry is looked at by a node, and whether its view is another afterwards.
fn looked(fixture: &mut Fixture, here: NodeId, change: impl FnOnce(&mut Fixture)) -> (bool, bool) {
    let before = view_for(&fixture.state, here);
    change(fixture);
    let concerned = is_concerned(&before, &fixture.state, fixture.last_events());
    (concerned, before != view_for(&fixture.state, here))
}

#[test]
fn what_happens_on_a_network_concerns_only_the_nodes_that_use_it() {
    let mut fixture = Fixture::new();
    let (here, there) = (node(&mut fixture), node(&mut fixture));
    let (net, other) = (
        fixture.network("net", "10.1.0.0/24"),
        fixture.network("other", "10.1.1.0/24"),
    );
    let (web, api) = (
        fixture.service_on("web", 2, &[net]),
        fixture.service_on("api", 2, &[other]),
    );
    task(&mut fixture, web, here, (net, 1));
    let near = task(&mut fixture, web, there, (net, 2));
    let far = task(&mut fixture, api, there, (other, 3));
    let stop = |task: TaskId| {
        move |fixture: &mut Fixture| {
            fixture.edit_task(task, |task| task.plan.desired = DesiredState::Shutdown);
        }
    };
    assert_eq!(looked(&mut fixture, here, stop(far)), (false, false));
    assert_eq!(looked(&mut fixture, here, stop(near)), (true, true));
    let block = |network: NetworkId| {
        move |fixture: &mut Fixture| {
            fixture.edit_network(network, |network| {
                crate::allocator::block::give(network, here).unwrap();
            });
        }
    };
    assert_eq!(looked(&mut fixture, here, block(other)), (false, false));
    assert_eq!(looked(&mut fixture, here, block(net)), (true, true));
    let beat = |fixture: &mut Fixture| status(fixture, there, |node| node.status.epoch += 1);
    assert_eq!(looked(&mut fixture, here, beat), (false, false));
    let lost = |fixture: &mut Fixture| {
        status(fixture, there, |node| node.status.state = NodeState::Down);
    };
    assert!(looked(&mut fixture, here, lost).0);
    let more = |fixture: &mut Fixture| {
        task(fixture, api, there, (other, 4));
    };
    assert_eq!(looked(&mut fixture, here, more), (false, false));
    let opens = |fixture: &mut Fixture| publish(fixture, api.0);
    assert_eq!(looked(&mut fixture, here, opens), (true, true));
    let more = |fixture: &mut Fixture| {
        task(fixture, api, there, (other, 5));
    };
    assert_eq!(looked(&mut fixture, here, more), (true, true));
}

#[test]
fn one_endpoint_that_changes_is_one_item_of_the_change() {
    let mut fixture = Fixture::new();
    let (here, there) = (node(&mut fixture), node(&mut fixture));
    let net = fixture.network("net", "10.1.0.0/24");
    let web = fixture.service_on("web", 20, &[net]);
    task(&mut fixture, web, here, (net, 1));
    let tasks: Vec<TaskId> = (2..20)
        .map(|n| task(&mut fixture, web, there, (net, n)))
        .collect();
    let before = view_for(&fixture.state, here);
    fixture.edit_task(tasks[4], |task| task.plan.desired = DesiredState::Shutdown);
    let change = before.change_to(&view_for(&fixture.state, here));
    let changed: Vec<_> = change.endpoints.changed.keys().copied().collect();
    assert_eq!(changed, [tasks[4]]);
    assert!(change.peers.is_empty() && change.networks.is_empty() && change.services.is_empty());
    assert!(change.endpoints.removed.is_empty());
}

#[test]
fn a_nodes_own_ipv6_addresses_are_told_and_others_are_told_alone() {
    let mut fixture = Fixture::new();
    let (here, there) = (node(&mut fixture), node(&mut fixture));
    let before = view_for(&fixture.state, here);
    assert_eq!(
        before.peers[&there].ipv6, None,
        "its agent did not say that it has any"
    );
    let own: BTreeSet<Ipv6Addr> = ["2001:db8::7".parse().unwrap()].into();
    status(&mut fixture, there, |node| {
        let about = node.status.description.get_or_insert_default();
        about.ipv6 = Some(own.clone());
    });
    let after = view_for(&fixture.state, here);
    assert_eq!(after.peers[&there].ipv6, Some(own));
    assert!(before.change_to(&after).peers.changed.keys().eq([&there]));
}

#[test]
fn a_nodes_key_and_a_networks_secrecy_are_told_and_a_new_key_is_told_alone() {
    let mut fixture = Fixture::new();
    let (here, there) = (node(&mut fixture), node(&mut fixture));
    let net = fixture.network_with("net", "10.1.0.0/24", |spec| {
        let option = (ENCRYPTED_OPTION.to_owned(), String::new());
        spec.driver_options.extend([option]);
    });
    let web = fixture.service_on("web", 1, &[net]);
    task(&mut fixture, web, here, (net, 5));
    let before = view_for(&fixture.state, here);
    assert_eq!(before.networks[&net].secrecy, Secrecy::Encrypted);
    assert_eq!(before.peers[&there].key, None);
    let key = TunnelKey::from_bytes([1; 32]);
    status(&mut fixture, there, |node| {
        let about = node.status.description.get_or_insert_default();
        about.tunnel_key = key;
    });
    let after = view_for(&fixture.state, here);
    assert_eq!(after.peers[&there].key, key);
    let change = before.change_to(&after);
    assert!(change.peers.changed.keys().eq([&there]) && change.networks.is_empty());
}
