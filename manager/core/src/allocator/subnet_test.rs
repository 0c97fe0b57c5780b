use shoal_proto::cluster::Cluster;
use shoal_proto::network::NetworkSpec;

use super::{SubnetError, choose, ingress};
use crate::fixture::Fixture;

fn spec(subnet: &str) -> NetworkSpec {
    NetworkSpec {
        name: "new".to_owned(),
        subnet: subnet.to_owned(),
        ..NetworkSpec::default()
    }
}

fn chosen(fixture: &Fixture, subnet: &str) -> String {
    match choose(&fixture.state, &spec(subnet)) {
        Ok(subnet) => subnet.to_string(),
        Err(error) => error.to_string(),
    }
}

fn rules(fixture: &mut Fixture, pool: &str, prefix: u8) {
    let mut cluster = Cluster::clone(fixture.state.cluster().unwrap());
    cluster.spec.address_pools = vec![pool.parse().unwrap()];
    cluster.spec.address_pool_prefix = prefix;
    fixture.put(cluster);
}

fn route(fixture: &mut Fixture, route: &str) {
    let node = fixture.node();
    let mut changed = shoal_proto::node::Node::clone(fixture.state.node(node).unwrap());
    changed.status.version = 2;
    changed.status.description.as_mut().unwrap().routes = vec![route.parse().unwrap()];
    fixture.change(crate::state::Change::NodeStatus {
        node,
        status: Box::new(changed.status),
    });
}

#[test]
fn a_network_that_asks_for_none_gets_the_next_subnet_after_the_newest() {
    let mut fixture = Fixture::new();
    for expected in ["10.128.0.0/20", "10.128.16.0/20", "10.128.32.0/20"] {
        assert_eq!(chosen(&fixture, ""), expected);
        fixture.now = fixture.now + 1;
        fixture.network(expected, "");
    }
    let second = fixture.state.network_named("10.128.16.0/20").unwrap().clone();
    fixture
        .group(|group| {
            group.delete(second);
        })
        .unwrap();
    assert_eq!(chosen(&fixture, ""), "10.128.48.0/20");
}

#[test]
fn subnets_go_round_and_skip_networks_routes_and_the_overlay() {
    let mut fixture = Fixture::new();
    rules(&mut fixture, "10.254.0.0/15", 16);
    assert_eq!(chosen(&fixture, ""), "10.254.0.0/16");
    rules(&mut fixture, "10.1.0.0/24", 26);
    route(&mut fixture, "10.1.0.0/26");
    route(&mut fixture, "0.0.0.0/0");
    for expected in ["10.1.0.64/26", "10.1.0.128/26", "10.1.0.192/26"] {
        assert_eq!(chosen(&fixture, ""), expected);
        fixture.now = fixture.now + 1;
        fixture.network(expected, "");
    }
    let error = chosen(&fixture, "");
    assert!(
        error.contains("no /26 is free in the address pools (10.1.0.0/24) for network new: 3 of 4 are taken"),
        "{error}"
    );
    assert!(
        error.contains("1 overlap such as the route to 10.1.0.0/26 on node n1"),
        "{error}"
    );
}

#[test]
fn a_subnet_in_use_is_refused_with_whose_it_is() {
    let mut fixture = Fixture::new();
    fixture.network("front", "10.1.0.0/24");
    route(&mut fixture, "192.168.7.0/24");
    assert_eq!(chosen(&fixture, "10.2.0.0/24"), "10.2.0.0/24");
    for (subnet, whose) in [
        ("10.1.0.0/16", "overlaps 10.1.0.0/24 of network front"),
        (
            "10.255.7.0/24",
            "overlaps the cluster's overlay subnet 10.255.0.0/16",
        ),
        (
            "192.168.0.0/16",
            "overlaps the route to 192.168.7.0/24 on node n1",
        ),
    ] {
        let error = chosen(&fixture, subnet);
        assert!(error.contains(whose), "{error}");
    }
}

#[test]
fn a_subnet_that_is_none_or_too_small_is_refused_with_what_would_be_right() {
    let fixture = Fixture::new();
    for (subnet, why) in [
        (
            "10.1.0.0/27",
            "10.1.0.0/27 of network new is out of range: /8 to /26",
        ),
        ("10.1.0.7/24", "write 10.1.0.0/24"),
        ("fd00::/64", "leave the subnet out and ask for them with --ipv6"),
    ] {
        let error = chosen(&fixture, subnet);
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_gateway_outside_of_the_subnet_is_refused() {
    let fixture = Fixture::new();
    let with = |subnet: &str, gateway: &str| NetworkSpec {
        gateway: gateway.to_owned(),
        ..spec(subnet)
    };
    assert!(choose(&fixture.state, &with("10.1.0.0/24", "10.1.0.1")).is_ok());
    let outside = choose(&fixture.state, &with("10.1.0.0/24", "10.1.1.1"));
    assert!(matches!(outside, Err(SubnetError::Gateway { .. })));
    let alone = choose(&fixture.state, &with("", "10.1.1.1"));
    assert!(matches!(alone, Err(SubnetError::GatewayAlone { .. })));
}

#[test]
fn of_two_networks_with_one_subnet_the_second_meets_a_guard() {
    let mut fixture = Fixture::new();
    let read = fixture.state.clone();
    fixture.network("first", "");
    let subnet = choose(&read, &spec("")).unwrap();
    let id = fixture.ids.network(fixture.now);
    let second = shoal_proto::network::Network {
        subnet: Some(subnet),
        ..shoal_proto::network::Network::new(id, None, spec(""))
    };
    let conflict = fixture
        .group(|group| {
            group.put(second);
        })
        .unwrap_err();
    assert!(
        conflict.to_string().contains("subnet 10.128.0.0/20 overlaps"),
        "{conflict}"
    );
}

#[test]
fn the_clusters_own_network_has_the_first_part_of_the_pool_and_others_come_after_it() {
    let mut fixture = Fixture::new();
    let own = ingress(&fixture.state.cluster_spec()).unwrap();
    assert_eq!(own.subnet.unwrap().to_string(), "10.128.0.0/16");
    fixture.put(own);
    assert_eq!(chosen(&fixture, ""), "10.129.0.0/20");
    rules(&mut fixture, "10.1.0.0/24", 26);
    let small = ingress(&fixture.state.cluster_spec()).unwrap();
    assert_eq!(small.subnet.unwrap().to_string(), "10.1.0.0/24");
}
