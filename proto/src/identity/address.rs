//! Where managers are, as people write it. Resolves nothing and connects nowhere.

use std::net::{IpAddr, SocketAddr};

/// The port of a manager where none is given.
pub const DEFAULT_PORT: u16 = 4600;

/// Adds the usual port to an address without one.
#[must_use]
pub fn with_port(address: &str) -> String {
    if address.parse::<SocketAddr>().is_ok() {
        return address.to_owned();
    }
    if let Ok(ip) = address.parse::<IpAddr>() {
        return SocketAddr::new(ip, DEFAULT_PORT).to_string();
    }
    match address.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => address.to_owned(),
        _ => format!("{address}:{DEFAULT_PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::with_port;

    #[test]
    fn an_address_without_a_port_gets_the_usual_one() {
        assert_eq!(with_port("10.0.0.1"), "10.0.0.1:4600");
        assert_eq!(with_port("10.0.0.1:1"), "10.0.0.1:1");
        assert_eq!(with_port("host"), "host:4600");
        assert_eq!(with_port("host:9"), "host:9");
        assert_eq!(with_port("fd00::1"), "[fd00::1]:4600");
        assert_eq!(with_port("[fd00::1]:7"), "[fd00::1]:7");
    }
}
