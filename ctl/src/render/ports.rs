//! Published ports as Docker writes them: `*:8080->80/tcp`.

use std::net::IpAddr;

use shoal_proto::service::{HostPort, IngressPort};

/// As it is written before a port.
fn address(of: Option<IpAddr>) -> String {
    match of {
        None => "*".to_owned(),
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("[{address}]"),
    }
}

/// Ports every node answers on.
#[must_use]
pub fn ingress(ports: &[IngressPort]) -> String {
    let show = |p: &IngressPort| {
        let on = address(p.host_ip);
        format!("{on}:{}->{}/{}", p.published_port, p.container_port, p.protocol)
    };
    ports.iter().map(show).collect::<Vec<_>>().join(",")
}

/// Ports the Engine publishes for one task; those it chose itself are in `chosen` as container port and node port.
#[must_use]
pub fn host(ports: &[HostPort], chosen: &[(u16, u16)]) -> String {
    let show = |p: &HostPort| {
        let on = address(p.host_ip);
        let engine = chosen
            .iter()
            .find(|(container, _)| *container == p.container_port)
            .map(|(_, node)| *node);
        let published = if p.published_port == 0 {
            engine.unwrap_or(0)
        } else {
            p.published_port
        };
        format!("{on}:{published}->{}/{}", p.container_port, p.protocol)
    };
    ports.iter().map(show).collect::<Vec<_>>().join(",")
}
