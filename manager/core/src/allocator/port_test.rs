use shoal_proto::service::{HostPort, IngressPort, Mode, Protocol, TaskTemplate};

use super::{AUTOMATIC_FIRST, PortError, allocate, check_host_mode};
use crate::fixture::Fixture;

fn port(published_port: u16, container_port: u16) -> IngressPort {
    IngressPort {
        name: String::new(),
        protocol: Protocol::Tcp,
        container_port,
        published_port,
        host_ip: None,
        prefer: None,
    }
}

#[test]
fn automatic_ports_go_upward_and_skip_what_others_publish() {
    let mut fixture = Fixture::new();
    let (web, _) = fixture.service("web", 1);
    fixture.edit_service(web, |web| {
        web.settings.ingress_ports = vec![port(AUTOMATIC_FIRST, 80)]
    });
    let (api, _) = fixture.service("api", 1);
    let given = allocate(&fixture.state, api, &[port(0, 80), port(0, 81)], &[]).unwrap();
    assert_eq!(
        given.iter().map(|port| port.published_port).collect::<Vec<_>>(),
        [30_001, 30_002]
    );
}

#[test]
fn an_automatic_port_stays_when_the_service_changes() {
    let mut fixture = Fixture::new();
    let (web, _) = fixture.service("web", 1);
    let before = [port(30_007, 80)];
    let given = allocate(&fixture.state, web, &[port(0, 80)], &before).unwrap();
    assert_eq!(given[0].published_port, 30_007);
}

#[test]
fn a_port_of_another_service_is_refused_with_its_name() {
    let mut fixture = Fixture::new();
    let (web, _) = fixture.service("web", 1);
    fixture.edit_service(web, |web| web.settings.ingress_ports = vec![port(8080, 80)]);
    let (api, _) = fixture.service("api", 1);
    let error = allocate(&fixture.state, api, &[port(8080, 80)], &[]).unwrap_err();
    assert!(error.to_string().contains("service web"), "{error}");
    assert!(allocate(&fixture.state, web, &[port(8080, 80)], &[]).is_ok());
}

#[test]
fn a_port_named_twice_is_refused_and_the_other_protocol_is_not() {
    let mut fixture = Fixture::new();
    let (web, _) = fixture.service("web", 1);
    let twice = allocate(&fixture.state, web, &[port(80, 80), port(80, 81)], &[]);
    assert_eq!(
        twice,
        Err(PortError::Twice {
            port: 80,
            protocol: Protocol::Tcp
        })
    );
    let udp = IngressPort {
        protocol: Protocol::Udp,
        ..port(80, 80)
    };
    assert!(allocate(&fixture.state, web, &[port(80, 80), udp], &[]).is_ok());
}

#[test]
fn a_removed_service_gives_its_port_back_at_once() {
    let mut fixture = Fixture::new();
    let (web, _) = fixture.service("web", 1);
    let now = fixture.now;
    fixture.edit_service(web, |web| web.settings.ingress_ports = vec![port(8080, 80)]);
    fixture.edit_service(web, |web| web.removed_at = Some(now));
    let (api, _) = fixture.service("api", 1);
    assert!(allocate(&fixture.state, api, &[port(8080, 80)], &[]).is_ok());
}

#[test]
fn all_automatic_ports_taken_is_an_error_with_the_range() {
    let mut fixture = Fixture::new();
    let (web, _) = fixture.service("web", 1);
    let all = (30_000..=32_767).map(|number| port(number, 80)).collect();
    fixture.edit_service(web, |web| web.settings.ingress_ports = all);
    let (api, _) = fixture.service("api", 1);
    let error = allocate(&fixture.state, api, &[port(0, 80)], &[]).unwrap_err();
    assert_eq!(
        error,
        PortError::Exhausted {
            protocol: Protocol::Tcp
        }
    );
}

fn in_host_mode(published_port: u16, host_ip: Option<&str>) -> TaskTemplate {
    TaskTemplate {
        host_ports: vec![HostPort {
            protocol: Protocol::Tcp,
            container_port: 80,
            published_port,
            host_ip: host_ip.map(|address| address.parse().expect("an address")),
        }],
        ..TaskTemplate::default()
    }
}

#[test]
fn a_port_of_every_node_and_the_same_one_in_host_mode_are_refused_with_the_other_service() {
    let mut fixture = Fixture::new();
    let (web, _) = fixture.service("web", 1);
    fixture.edit_service(web, |web| web.settings.ingress_ports = vec![port(8080, 80)]);
    let (dns, _) = fixture.service_with("dns", Mode::Global, in_host_mode(53, Some("10.0.0.1")));
    let state = &fixture.state;
    let error = check_host_mode(state, dns, &[], &in_host_mode(8080, None)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "port 8080/tcp is published on every node by service web: a node has it once, so choose another number"
    );
    let none = TaskTemplate::default();
    let error = check_host_mode(state, web, &[port(53, 53)], &none).unwrap_err();
    assert!(
        error.to_string().contains("in host mode by service dns"),
        "{error}"
    );
    // Another number, another address, the service itself, and two in host mode are nobody's harm.
    assert_eq!(check_host_mode(state, web, &[port(54, 53)], &none), Ok(()));
    let elsewhere = IngressPort {
        host_ip: Some("10.0.0.2".parse().expect("an address")),
        ..port(53, 53)
    };
    assert_eq!(
        check_host_mode(state, web, std::slice::from_ref(&elsewhere), &none),
        Ok(())
    );
    let of_all = IngressPort {
        host_ip: Some("0.0.0.0".parse().expect("an address")),
        ..elsewhere
    };
    assert!(check_host_mode(state, web, &[of_all], &none).is_err());
    assert_eq!(
        check_host_mode(state, web, &[port(8080, 80)], &in_host_mode(8080, None)),
        Ok(())
    );
    assert_eq!(
        check_host_mode(state, web, &[port(8080, 80)], &in_host_mode(53, None)),
        Ok(())
    );
    let now = fixture.now;
    fixture.edit_service(web, |web| web.removed_at = Some(now));
    assert_eq!(
        check_host_mode(&fixture.state, dns, &[], &in_host_mode(8080, None)),
        Ok(())
    );
}
