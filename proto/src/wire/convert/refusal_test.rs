//! What is wrong with a message is said with the field's path and what would be right.

use super::arbitrary_spec::{Gen, service_spec};
use crate::cluster::ClusterSpec;
use crate::service::ServiceSpec;
use crate::wire;

/// A valid message with one thing changed, and what is said about it.
fn refusal(change: impl FnOnce(&mut wire::ServiceSpec)) -> String {
    let mut spec = service_spec(&mut Gen(1));
    spec.template.container.mounts.clear();
    let mut message = wire::ServiceSpec::from(&spec);
    change(&mut message);
    ServiceSpec::try_from(message).unwrap_err().to_string()
}

fn container(spec: &mut wire::ServiceSpec) -> &mut wire::ContainerSpec {
    spec.template.as_mut().unwrap().container.as_mut().unwrap()
}

#[test]
fn a_relative_mount_destination_is_refused_with_its_path() {
    let text = refusal(|spec| {
        let tmpfs = wire::mount::Kind::Tmpfs(wire::TmpfsMount::default());
        let destination = "data".to_owned();
        container(spec).mounts = vec![wire::Mount {
            destination,
            read_only: false,
            kind: Some(tmpfs),
        }];
    });
    assert!(
        text.starts_with("template.container.mounts[0].destination: \"data\" is not an absolute path"),
        "{text}"
    );
}

#[test]
fn a_mount_of_no_kind_is_refused() {
    let text = refusal(|spec| container(spec).mounts = vec![wire::Mount::default()]);
    assert!(
        text.starts_with("template.container.mounts[0].kind: is missing"),
        "{text}"
    );
}

#[test]
fn an_enum_value_of_a_newer_version_is_refused() {
    let text = refusal(|spec| container(spec).pull = 77);
    assert!(
        text.starts_with("template.container.pull: 77 is not a value this version knows"),
        "{text}"
    );
}

#[test]
fn a_service_name_that_no_resolver_takes_is_refused() {
    for name in ["", "-web", "web-", "my stack", &"a".repeat(64)] {
        let text = refusal(|spec| spec.name = name.to_owned());
        assert!(
            text.starts_with("name: ") && text.contains("1 to 63 letters"),
            "{text}"
        );
    }
}

#[test]
fn a_service_without_an_image_is_refused() {
    let text = refusal(|spec| container(spec).image.clear());
    assert!(text.starts_with("template.container.image: "), "{text}");
}

#[test]
fn port_zero_in_a_container_and_a_port_above_the_last_are_refused() {
    for port in [0, 65_536] {
        let text = refusal(|spec| {
            let ingress = wire::IngressPort {
                container_port: port,
                ..Default::default()
            };
            spec.settings.as_mut().unwrap().ingress_ports = vec![ingress];
        });
        assert!(text.contains("ingress_ports[0].container_port: "), "{text}");
    }
}

#[test]
fn a_rollback_that_would_roll_back_is_refused() {
    let text = refusal(|spec| {
        let rollback = spec.settings.as_mut().unwrap().rollback.as_mut().unwrap();
        rollback.failure_action = wire::FailureAction::Rollback.into();
    });
    assert!(text.starts_with("settings.rollback.failure_action: "), "{text}");
}

#[test]
fn an_absent_policy_is_the_default_and_one_with_zeros_is_zeros() {
    let mut message = wire::ServiceSpec::from(&service_spec(&mut Gen(1)));
    let settings = message.settings.as_mut().unwrap();
    settings.update = None;
    settings.rollback = Some(wire::UpdatePolicy::default());
    let spec = ServiceSpec::try_from(message).unwrap();
    assert_eq!(spec.settings.update.monitor_ms, 5_000);
    assert_eq!(spec.settings.rollback.monitor_ms, 0);
    assert_eq!(spec.settings.rollback.parallelism, 0);
}

#[test]
fn cluster_rules_out_of_range_are_refused_with_the_range() {
    let mut message = wire::ClusterSpec::from(&ClusterSpec::default());
    message.heartbeat_misses = 0;
    let text = ClusterSpec::try_from(message).unwrap_err().to_string();
    assert_eq!(text, "heartbeat_misses: 0 is out of range: 1 to 100");
}

#[test]
fn rules_of_addresses_that_do_not_fit_together_are_refused() {
    let refusal = |change: fn(&mut wire::ClusterSpec)| {
        let mut message = wire::ClusterSpec::from(&ClusterSpec::default());
        change(&mut message);
        ClusterSpec::try_from(message).unwrap_err().to_string()
    };
    let text = refusal(|spec| spec.address_pools = vec!["10.0.0.0/24".to_owned()]);
    assert_eq!(
        text,
        "address_pools[0]: 10.0.0.0/24 holds no /20, the length of address_pool_prefix"
    );
    let text = refusal(|spec| spec.address_pools = vec!["10.0.0.0/8".to_owned(), "10.1.0.0/16".to_owned()]);
    assert_eq!(
        text,
        "address_pools[1]: 10.1.0.0/16 overlaps 10.0.0.0/8: name each address once"
    );
    let text = refusal(|spec| spec.address_pool_prefix = 28);
    assert_eq!(text, "address_pool_prefix: 28 is out of range: 16 to 26");
    let text = refusal(|spec| spec.overlay_subnet = "10.255.0.0/30".to_owned());
    assert_eq!(text, "overlay_subnet: 10.255.0.0/30 is out of range: /8 to /24");
}

#[test]
fn rules_of_addresses_that_an_older_client_leaves_out_are_the_default() {
    let mut message = wire::ClusterSpec::from(&ClusterSpec::default());
    message.address_pools.clear();
    message.address_pool_prefix = 0;
    message.overlay_subnet.clear();
    assert_eq!(ClusterSpec::try_from(message).unwrap(), ClusterSpec::default());
}
