//! Who is put on the cluster's own network, and that nobody asks for it.

use shoal_proto::id::NetworkId;
use shoal_proto::network::ingress_network;
use shoal_proto::service::{IngressPort, NetworkTarget, NetworkUse, Protocol, ServiceSettings, TaskTemplate};

use super::{ResolveError, resolve};
use crate::allocator::address::networks_of;
use crate::allocator::subnet;
use crate::fixture::Fixture;

/// With the cluster's own network, one with a way out, and an internal one.
fn house() -> (Fixture, NetworkId, NetworkId) {
    let mut fixture = Fixture::new();
    let own = subnet::ingress(&fixture.state.cluster_spec()).unwrap();
    fixture.put(own);
    let front = fixture.network("front", "");
    fixture.now = fixture.now + 1;
    let inner = fixture.network_with("inner", "", |spec| spec.internal = true);
    (fixture, front, inner)
}

fn on(networks: &[NetworkTarget]) -> TaskTemplate {
    let used = networks.iter().map(|network| NetworkUse {
        network: network.clone(),
        aliases: Vec::new(),
    });
    TaskTemplate {
        networks: used.collect(),
        ..TaskTemplate::default()
    }
}

fn publishing() -> ServiceSettings {
    ServiceSettings {
        ingress_ports: vec![IngressPort {
            name: String::new(),
            protocol: Protocol::Tcp,
            container_port: 80,
            published_port: 8080,
            host_ip: None,
            prefer: None,
        }],
        ..ServiceSettings::default()
    }
}

#[test]
fn on_the_clusters_own_network_are_those_on_no_other_and_those_that_publish_from_internal_ones() {
    let (fixture, front, inner) = house();
    let own = ingress_network();
    let silent = ServiceSettings::default();
    let cluster = NetworkTarget::Cluster;
    for (networks, settings, expected) in [
        (vec![], &silent, vec![own]),
        (vec![cluster(own)], &silent, vec![own]),
        (vec![cluster(front)], &publishing(), vec![front]),
        (vec![cluster(front), cluster(own)], &silent, vec![front]),
        (vec![cluster(inner)], &silent, vec![inner]),
        (vec![cluster(inner)], &publishing(), vec![own, inner]),
        (
            vec![cluster(inner), cluster(front)],
            &publishing(),
            vec![front, inner],
        ),
        (vec![NetworkTarget::Host], &silent, vec![]),
        (vec![NetworkTarget::None], &silent, vec![]),
    ] {
        let mut template = on(&networks);
        resolve(&fixture.state, &mut template, settings).unwrap();
        let found: Vec<_> = networks_of(&template).into_iter().collect();
        assert_eq!(found, expected, "{networks:?}");
    }
}

#[test]
fn nobody_asks_for_the_clusters_own_network_by_its_name() {
    let (fixture, ..) = house();
    let mut template = on(&[NetworkTarget::Named("Ingress".to_owned())]);
    let refused = resolve(&fixture.state, &mut template, &ServiceSettings::default());
    assert_eq!(refused, Err(ResolveError::Ingress));
}
