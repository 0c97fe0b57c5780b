use shoal_proto::service::{IngressPort, Protocol};

use super::{AUTOMATIC_FIRST, PortError, allocate};
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
