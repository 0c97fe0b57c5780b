//! The addresses of this host, and which of them the other hosts should use.
//!
//! Asked of the kernel through netlink; bridges and pairs that belong to containers do not count.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};
use shoal_proto::overlay::DEVICE_PREFIX;

/// Asks for all addresses.
const RTM_GETADDR: u16 = 22;
const RTM_NEWADDR: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const HEADER_LEN: usize = 16;
const IFADDRMSG_LEN: usize = 8;
const BUFFER_LEN: usize = 64 * 1_024;
const AF_INET: u8 = 2;

/// One address of one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAddress {
    /// The interface's name.
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
}

/// No address to advertise.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The kernel did not say.
    #[error("the addresses of this host cannot be read")]
    Kernel(#[from] io::Error),
    /// What was given is neither.
    #[error("--advertise {given}: neither an address nor an interface of this host; it has {found}")]
    Unknown {
        /// As given.
        given: String,
        /// The host's addresses.
        found: String,
    },
    /// More than one would do.
    #[error("this host has several addresses, say which one the others should use with --advertise: {0}")]
    Ambiguous(String),
    /// None would do.
    #[error("this host has no address that others could use: give one with --advertise")]
    None,
}

/// Where the others should reach a daemon that listens on `listen`: what was given (an address, an address with a port, or
/// an interface), else the address listened on, else the only one the host has.
///
/// # Errors
/// When that is not one address.
pub fn advertised(given: Option<&str>, listen: SocketAddr) -> Result<SocketAddr, AddressError> {
    choose(given, listen, &host_addresses()?)
}

fn choose(given: Option<&str>, listen: SocketAddr, all: &[HostAddress]) -> Result<SocketAddr, AddressError> {
    let port = listen.port();
    let Some(given) = given else {
        if !listen.ip().is_unspecified() {
            return Ok(listen);
        }
        let usable: Vec<&HostAddress> = all.iter().filter(|address| is_usable(address)).collect();
        return only(&usable).map(|ip| SocketAddr::new(ip, port));
    };
    if let Ok(address) = given.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Ok(ip) = given.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let named: Vec<&HostAddress> = all.iter().filter(|address| address.interface == given).collect();
    if named.is_empty() {
        return Err(AddressError::Unknown {
            given: given.to_owned(),
            found: list(&all.iter().collect::<Vec<_>>()),
        });
    }
    only(&named).map(|ip| SocketAddr::new(ip, port))
}

/// The only IPv4 address, else the only IPv6 one.
fn only(addresses: &[&HostAddress]) -> Result<IpAddr, AddressError> {
    for wanted in [IpAddr::is_ipv4 as fn(&IpAddr) -> bool, IpAddr::is_ipv6] {
        let found: Vec<&&HostAddress> = addresses.iter().filter(|address| wanted(&address.ip)).collect();
        match found.as_slice() {
            [] => {}
            [one] => return Ok(one.ip),
            _ => return Err(AddressError::Ambiguous(list(addresses))),
        }
    }
    Err(AddressError::None)
}

fn list(addresses: &[&HostAddress]) -> String {
    let words: Vec<String> = addresses
        .iter()
        .map(|address| format!("{} ({})", address.ip, address.interface))
        .collect();
    words.join(", ")
}

fn is_usable(address: &HostAddress) -> bool {
    let containers = ["docker", "br-", "veth", DEVICE_PREFIX, "cni", "virbr"];
    let link_local = match address.ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !address.ip.is_loopback()
        && !link_local
        && !containers.iter().any(|word| address.interface.starts_with(word))
}

/// All addresses of this host's interfaces.
///
/// # Errors
/// When the kernel does not answer.
pub fn host_addresses() -> io::Result<Vec<HostAddress>> {
    // Protocol 0 of netlink is the one for links and addresses.
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let mut request = Vec::with_capacity(HEADER_LEN + IFADDRMSG_LEN);
    request.extend(
        u32::try_from(HEADER_LEN + IFADDRMSG_LEN)
            .expect("a small constant")
            .to_ne_bytes(),
    );
    request.extend(RTM_GETADDR.to_ne_bytes());
    request.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    request.extend(1_u32.to_ne_bytes());
    request.extend(0_u32.to_ne_bytes());
    request.extend([0; IFADDRMSG_LEN]);
    sendto(
        &socket,
        &request,
        SendFlags::empty(),
        &SocketAddrNetlink::new(0, 0),
    )?;
    let mut found = Vec::new();
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let (received, _) = recv(&socket, &mut *buffer, RecvFlags::empty())?;
        if received == 0 || read_messages(&buffer[..received], &mut found)? == Reading::Done {
            return Ok(found);
        }
    }
}

#[derive(PartialEq, Eq)]
enum Reading {
    More,
    Done,
}

fn read_messages(mut bytes: &[u8], found: &mut Vec<HostAddress>) -> io::Result<Reading> {
    while bytes.len() >= HEADER_LEN {
        let length = u32::from_ne_bytes(array(bytes)) as usize;
        let kind = u16::from_ne_bytes(array(&bytes[4..]));
        if length < HEADER_LEN || length > bytes.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match kind {
            NLMSG_DONE => return Ok(Reading::Done),
            NLMSG_ERROR => return Err(io::ErrorKind::Other.into()),
            RTM_NEWADDR => found.extend(read_address(&bytes[HEADER_LEN..length])),
            _ => {}
        }
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    Ok(Reading::More)
}

fn read_address(message: &[u8]) -> Option<HostAddress> {
    let family = *message.first()?;
    let index = u32::from_ne_bytes(array(message.get(4..8)?));
    let (mut address, mut local, mut label) = (None, None, None);
    let mut rest = message.get(IFADDRMSG_LEN..)?;
    while rest.len() >= 4 {
        let length = u16::from_ne_bytes(array(rest)) as usize;
        let kind = u16::from_ne_bytes(array(&rest[2..]));
        let value = rest.get(4..length)?;
        match kind {
            IFA_ADDRESS => address = read_ip(family, value),
            IFA_LOCAL => local = read_ip(family, value),
            IFA_LABEL => {
                label = std::str::from_utf8(value)
                    .ok()
                    .map(|text| text.trim_end_matches('\0').to_owned())
            }
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    let interface = label.or_else(|| interface_name(index))?;
    Some(HostAddress {
        interface,
        ip: local.or(address)?,
    })
}

/// IPv6 addresses come without a label.
fn interface_name(index: u32) -> Option<String> {
    for entry in std::fs::read_dir("/sys/class/net").ok()?.flatten() {
        let found = std::fs::read_to_string(entry.path().join("ifindex")).ok()?;
        if found.trim() == index.to_string() {
            return entry.file_name().into_string().ok();
        }
    }
    None
}

fn read_ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    if family == AF_INET {
        return <[u8; 4]>::try_from(value)
            .ok()
            .map(|bytes| Ipv4Addr::from(bytes).into());
    }
    <[u8; 16]>::try_from(value)
        .ok()
        .map(|bytes| Ipv6Addr::from(bytes).into())
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes[..N].try_into().expect("the length was checked")
}

#[cfg(test)]
mod tests {
    use super::{AddressError, HostAddress, choose, host_addresses};

    fn address(interface: &str, ip: &str) -> HostAddress {
        HostAddress {
            interface: interface.to_owned(),
            ip: ip.parse().unwrap(),
        }
    }

    fn house() -> Vec<HostAddress> {
        vec![
            address("lo", "127.0.0.1"),
            address("docker0", "172.17.0.1"),
            address("shlvx", "10.255.0.1"),
            address("eth0", "10.0.0.1"),
            address("eth0", "fe80::1"),
            address("eth0", "fd00::1"),
        ]
    }

    #[test]
    fn the_only_address_is_found_beside_loopback_and_bridges() {
        let any = "0.0.0.0:4600".parse().unwrap();
        assert_eq!(choose(None, any, &house()).unwrap().to_string(), "10.0.0.1:4600");
    }

    #[test]
    fn two_candidates_are_refused_and_listed() {
        let mut two = house();
        two.push(address("eth1", "192.168.0.5"));
        let error = choose(None, "0.0.0.0:4600".parse().unwrap(), &two).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, AddressError::Ambiguous(_)));
        assert!(
            text.contains("10.0.0.1 (eth0)") && text.contains("192.168.0.5 (eth1)"),
            "{text}"
        );
        assert!(!text.contains("docker0") && !text.contains("shlvx"));
    }

    #[test]
    fn an_address_a_port_or_an_interface_may_be_given() {
        let any = "0.0.0.0:4600".parse().unwrap();
        let chosen = |given| choose(Some(given), any, &house()).unwrap().to_string();
        assert_eq!(chosen("192.0.2.1"), "192.0.2.1:4600");
        assert_eq!(chosen("192.0.2.1:99"), "192.0.2.1:99");
        assert_eq!(chosen("docker0"), "172.17.0.1:4600");
        let text = choose(Some("eth9"), any, &house()).unwrap_err().to_string();
        assert!(
            text.contains("eth9") && text.contains("10.0.0.1 (eth0)"),
            "{text}"
        );
    }

    #[test]
    fn an_address_that_is_listened_on_is_the_one_to_advertise() {
        let chosen = choose(None, "10.9.9.9:4600".parse().unwrap(), &[]).unwrap();
        assert_eq!(chosen.to_string(), "10.9.9.9:4600");
    }

    #[test]
    fn the_kernel_tells_at_least_of_the_loopback_address() {
        let found = host_addresses().unwrap();
        assert!(
            found
                .iter()
                .any(|address| address.ip.is_loopback() && address.interface == "lo"),
            "{found:?}"
        );
    }
}
