use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use shoal_proto::id::NetworkId;
use shoal_proto::network::resting_max;
use shoal_proto::service::{EndpointMode, Service};
use shoal_proto::task::TaskState;

use super::{REST_MS, cursor, next_free, rest, resting, usage, virtual_ips};
use crate::fixture::Fixture;

fn at(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, last)
}

/// The last byte of what would be given.
fn next(fixture: &Fixture, network: NetworkId) -> Option<u8> {
    let found = fixture.state.network(network).unwrap();
    let (kept, _) = resting(&fixture.state, found, fixture.now);
    let next = next_free(&fixture.state, found, &kept, cursor(&fixture.state, network));
    next.ok().flatten().map(|address| address.octets()[3])
}

#[test]
fn addresses_go_round_from_the_newest_task_and_skip_what_is_held() {
    let mut fixture = Fixture::new();
    let (node, network) = (fixture.node(), fixture.network("net", "10.1.0.0/26"));
    let web = fixture.service_on("web", 9, &[network]);
    assert_eq!(next(&fixture, network), Some(1));
    for (last, then) in [(1, 2), (30, 31), (31, 2), (2, 3)] {
        fixture.now = fixture.now + 1;
        fixture.task_with(web, last.into(), Some(node), |task| {
            task.plan.addresses = vec![(network, at(last))];
        });
        assert_eq!(next(&fixture, network), Some(then));
    }
}

#[test]
fn an_address_of_a_task_that_ended_rests_and_is_then_free_though_the_task_is_remembered() {
    let mut fixture = Fixture::new();
    let (node, network) = (fixture.node(), fixture.network("net", "10.1.0.0/26"));
    let web = fixture.service_on("web", 1, &[network]);
    let task = fixture.task_with(web, 1, Some(node), |task| {
        task.plan.addresses = vec![(network, at(7))];
    });
    fixture.report(task, node, TaskState::Failed, 1);
    let rests = |fixture: &Fixture| {
        let found = fixture.state.network(network).unwrap();
        resting(&fixture.state, found, fixture.now)
    };
    let until = fixture.now + REST_MS;
    assert_eq!(rests(&fixture), (BTreeSet::from([at(7)]), Some(until)));
    assert_eq!(fixture.state.held_addresses(network).count(), 0);
    fixture.now = until;
    assert_eq!(rests(&fixture), (BTreeSet::new(), None));
}

#[test]
fn a_gateway_that_was_named_is_given_to_nobody() {
    let mut fixture = Fixture::new();
    let network = fixture.network_with("net", "10.1.0.0/26", |spec| spec.gateway = "10.1.0.1".to_owned());
    assert_eq!(next(&fixture, network), Some(2));
}

#[test]
fn a_full_network_says_so_with_numbers() {
    let mut fixture = Fixture::new();
    let (node, network) = (fixture.node(), fixture.network("net", "10.1.0.0/26"));
    let web = fixture.service_on("web", 31, &[network]);
    for last in 1..=31 {
        fixture.task_with(web, last.into(), Some(node), |task| {
            task.plan.addresses = vec![(network, at(last))];
        });
        let tight = usage(&fixture.state, fixture.state.network(network).unwrap()).unwrap();
        assert_eq!(tight.is_tight(), last >= 25, "{tight:?}");
    }
    let found = fixture.state.network(network).unwrap();
    let full = next_free(&fixture.state, found, &BTreeSet::new(), None).unwrap_err();
    let text = full.to_string();
    assert!(
        text.contains("network net has no address for tasks left, 31 of 31 are used"),
        "{text}"
    );
}

#[test]
fn what_rests_is_bounded_and_the_oldest_go_first() {
    let mut fixture = Fixture::new();
    let id = fixture.network("net", "10.1.0.0/26");
    let now = fixture.now;
    let mut network = shoal_proto::network::Network::clone(fixture.state.network(id).unwrap());
    for last in 1..=20 {
        rest(&mut network, at(last), now + u64::from(last), now);
    }
    let max = resting_max(network.subnet.unwrap());
    assert_eq!(max, 8);
    let left: Vec<_> = network.resting.iter().map(|one| one.address).collect();
    assert_eq!(left, (13..=20).map(at).collect::<Vec<_>>());
    rest(&mut network, at(21), now + 100, now + 15);
    assert_eq!(network.resting.len(), 6, "those that have rested go");
}

#[test]
fn a_service_has_a_virtual_ip_on_each_network_and_keeps_it() {
    let mut fixture = Fixture::new();
    let front = fixture.network("front", "10.1.0.0/26");
    fixture.now = fixture.now + 1;
    let back = fixture.network("back", "10.2.0.0/26");
    let (web, revision) = fixture.service_on("web", 1, &[front, back]);
    let template = fixture.state.revision(revision).unwrap().template.clone();
    let ips = |fixture: &Fixture, service: &Service| {
        virtual_ips(&fixture.state, service, &template, fixture.now).unwrap()
    };
    let service = Service::clone(fixture.state.service(web).unwrap());
    let given = ips(&fixture, &service);
    assert_eq!(given, [(front, at(1)), (back, Ipv4Addr::new(10, 2, 0, 1))]);
    fixture.edit_service(web, |web| web.addresses = given[..1].to_vec());
    let service = Service::clone(fixture.state.service(web).unwrap());
    assert_eq!(ips(&fixture, &service), given);
    let mut round_robin = service.clone();
    round_robin.addresses.clear();
    round_robin.settings.endpoint = EndpointMode::DnsRoundRobin;
    assert!(ips(&fixture, &round_robin).is_empty());
}

#[test]
fn of_two_holders_of_one_address_the_second_meets_a_guard() {
    let mut fixture = Fixture::new();
    let network = fixture.network("net", "10.1.0.0/26");
    let (web, _) = fixture.service("web", 1);
    let (api, _) = fixture.service("api", 1);
    fixture.edit_service(web, |web| web.addresses = vec![(network, at(1))]);
    let mut second = Service::clone(fixture.state.service(api).unwrap());
    second.addresses = vec![(network, at(1))];
    let conflict = fixture
        .group(|group| {
            group.put(second);
        })
        .unwrap_err();
    assert!(
        conflict
            .to_string()
            .contains(&format!("held already by service {web}")),
        "{conflict}"
    );
}

#[test]
fn the_index_of_addresses_is_the_same_after_a_snapshot() {
    let mut fixture = Fixture::new();
    let (node, network) = (fixture.node(), fixture.network("net", "10.1.0.0/26"));
    let web = fixture.service_on("web", 2, &[network]);
    fixture.edit_service(web.0, |web| web.addresses = vec![(network, at(1))]);
    for last in [2, 3] {
        let task = fixture.task_with(web, last.into(), Some(node), |task| {
            task.plan.addresses = vec![(network, at(last))];
        });
        if last == 3 {
            fixture.report(task, node, TaskState::Failed, 1);
        }
    }
    let read = crate::state::State::from_snapshot(&fixture.state.to_snapshot().unwrap()).unwrap();
    assert_eq!(read, fixture.state);
    let held: Vec<_> = read.held_addresses(network).collect();
    assert_eq!(held, [at(1), at(2)]);
    assert!(read.carries(network, node));
}
