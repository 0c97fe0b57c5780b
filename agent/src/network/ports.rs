//! Holds the ports of this node that published ports answer on, so that no other process gets one and whoever has one
//! already is named. Nothing is answered here: the ruleset leads packets away before they arrive, and a port listens only
//! once it does. Before, a connection would be taken that nobody ever answers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use shoal_proto::id::ServiceId;
use shoal_proto::service::{IngressPort, Protocol};

use super::holder::holder;
use super::view::{self, View};

/// A port of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    protocol: Protocol,
    port: u16,
    /// The address, or all of its kind.
    at: IpAddr,
}

/// Whether a service's ports answer in IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Six {
    /// They do.
    Yes,
    /// Its tasks have their way out on a network without it.
    No,
    /// There is no task yet.
    Unknown,
    /// No network of this node has it.
    Nowhere,
}

/// What keeps a port from others. Never read from.
#[derive(Debug)]
enum Hold {
    /// Others that ask for it are not stopped yet.
    Bound(OwnedFd),
    Listening {
        _socket: OwnedFd,
    },
    Udp {
        _socket: OwnedFd,
    },
    /// Nobody else serves this protocol from a socket.
    Free,
}

/// The ports that are held.
#[derive(Debug, Default)]
pub(super) struct Ports(BTreeMap<Key, Hold>);

impl Ports {
    /// Holds the ports of a view and lets go of all others. Those that are not to be had leave the view; why, by service.
    /// They are tried again at every call.
    pub(super) fn hold(&mut self, view: &mut View) -> BTreeMap<ServiceId, String> {
        let six = six(view);
        let all = view.services.iter();
        let all = all.flat_map(|(id, service)| service.ports.iter().map(|port| keys(port, six(*id))));
        let wanted: BTreeSet<Key> = all.flat_map(Result::unwrap_or_default).collect();
        self.0.retain(|key, _| wanted.contains(key));
        let mut problems = BTreeMap::new();
        for (id, service) in &mut view.services {
            service.ports.retain(|port| match self.hold_one(port, six(*id)) {
                Ok(()) => true,
                Err(problem) => {
                    problems.insert(*id, problem);
                    false
                }
            });
        }
        problems
    }

    /// Keeps others from ports that the ruleset leads away by now. One that somebody was quick to take is tried again.
    pub(super) fn listen(&mut self) {
        let all = std::mem::take(&mut self.0).into_iter();
        let held = all.filter_map(|(key, hold)| match hold {
            Hold::Bound(socket) => match listen(&socket, 0) {
                Ok(()) => Some((key, Hold::Listening { _socket: socket })),
                Err(error) => {
                    tracing::warn!(%error, port = key.port, "port was taken by another process meanwhile");
                    None
                }
            },
            other => Some((key, other)),
        });
        self.0 = held.collect();
    }

    /// Holds a port on all of its addresses, or on none.
    fn hold_one(&mut self, port: &IngressPort, six: Six) -> Result<(), String> {
        let keys = keys(port, six)?;
        let held = keys.iter().try_for_each(|key| self.hold_at(*key));
        if held.is_err() {
            self.0.retain(|key, _| !keys.contains(key));
        }
        held
    }

    fn hold_at(&mut self, key: Key) -> Result<(), String> {
        if key.port == 0 || self.0.contains_key(&key) {
            return Ok(());
        }
        let at = SocketAddr::new(key.at, key.port);
        let held = match key.protocol {
            Protocol::Tcp => bound(at, SocketType::STREAM).map(Hold::Bound),
            Protocol::Udp => bound(at, SocketType::DGRAM).map(|socket| Hold::Udp { _socket: socket }),
            Protocol::Sctp => Ok(Hold::Free),
        };
        match held {
            Ok(held) => drop(self.0.insert(key, held)),
            // The address is another node's, or comes later; it is tried again.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(error) => return Err(trouble(key, &error)),
        }
        Ok(())
    }
}

/// What is known of a view's services.
fn six(view: &View) -> impl Fn(ServiceId) -> Six + use<> {
    let anywhere = view.networks.values().any(|network| network.prefix.is_some());
    let answers = view::answers_in_ipv6(view);
    move |service| match answers.get(&service) {
        _ if !anywhere => Six::Nowhere,
        Some(true) => Six::Yes,
        Some(false) => Six::No,
        None => Six::Unknown,
    }
}

/// Where a port is to be held; why it is not to be had.
fn keys(port: &IngressPort, six: Six) -> Result<Vec<Key>, String> {
    let key = |at| Key {
        protocol: port.protocol,
        port: port.published_port,
        at,
    };
    let why = match (port.host_ip, six) {
        (None, Six::Yes) => {
            let both: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
            return Ok(both.map(key).into());
        }
        (None, _) => return Ok(vec![key(Ipv4Addr::UNSPECIFIED.into())]),
        (Some(IpAddr::V6(_)), Six::Nowhere) => "no network of this node has IPv6",
        (Some(IpAddr::V6(at)), _) if at.is_loopback() => "published ports answer on 127.0.0.1 and not on ::1",
        (Some(IpAddr::V6(_)), Six::No) => "the network through which its tasks reach the outside has no IPv6",
        (Some(at), _) => return Ok(vec![key(at)]),
    };
    let (number, protocol) = (port.published_port, port.protocol);
    let at = port.host_ip.map(|at| format!(" on [{at}]"));
    let at = at.unwrap_or_default();
    Err(format!("port {number}/{protocol}{at}: {why}"))
}

fn bound(at: SocketAddr, of: SocketType) -> io::Result<OwnedFd> {
    let family = if at.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket_with(family, of, SocketFlags::CLOEXEC, None)?;
    if at.is_ipv6() {
        // The same port of IPv4 may be another's.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if of == SocketType::STREAM {
        // Connections of a program that was here before may still linger.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &at)?;
    Ok(socket)
}

fn trouble(key: Key, error: &io::Error) -> String {
    let name = format!("port {}/{}", key.port, key.protocol);
    if error.kind() == io::ErrorKind::AddrInUse {
        let holder = holder(key.protocol, key.port);
        return format!("{name} of this node is taken by {holder}");
    }
    format!("{name} of this node cannot be opened: {error}")
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};

    use rustix::net::SocketType;
    use shoal_proto::service::Protocol;

    use super::Ports;
    use crate::network::testing::{port, publish, put, served, service, view, widen};
    use crate::network::view::{EndpointState, View};

    fn published(number: u16, protocol: Protocol) -> View {
        let mut with = view(1, 1);
        let mut port = port(number);
        port.protocol = protocol;
        port.host_ip = Some(Ipv4Addr::LOCALHOST.into());
        publish(&mut with, 1, 1, port);
        with
    }

    #[test]
    fn a_port_that_a_process_has_is_named_with_it_and_had_once_it_is_free() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = other.local_addr().unwrap().port();
        let mut ports = Ports::default();
        let mut with = published(number, Protocol::Tcp);
        let problems = ports.hold(&mut with);
        let words = &problems[&service(1)];
        let process = format!("(pid {})", std::process::id());
        assert!(
            words.starts_with(&format!("port {number}/tcp of this node is taken by")),
            "{words}"
        );
        assert!(words.contains(&process), "{words}");
        assert!(served(&mut with, 1).ports.is_empty());
        drop(other);
        let mut with = published(number, Protocol::Tcp);
        assert!(ports.hold(&mut with).is_empty() && !served(&mut with, 1).ports.is_empty());
        let refused = TcpStream::connect(("127.0.0.1", number)).unwrap_err();
        assert_eq!(
            refused.kind(),
            ErrorKind::ConnectionRefused,
            "no rule leads it yet"
        );
        ports.listen();
        assert!(
            TcpListener::bind(("127.0.0.1", number)).is_err(),
            "nobody else gets it"
        );
    }

    #[test]
    fn a_port_of_an_ipv6_address_is_held_where_a_network_has_ipv6_and_never_on_the_loopback() {
        let mut with = published(8_080, Protocol::Tcp);
        let mut ports = Ports::default();
        let mut words = |with: &View, at: Ipv6Addr| {
            let mut with = with.clone();
            served(&mut with, 1).ports[0].host_ip = Some(at.into());
            ports.hold(&mut with).remove(&service(1))
        };
        let other: Ipv6Addr = "2001:db8::5".parse().unwrap();
        let refused = words(&with, other).expect("there is no IPv6");
        assert!(refused.contains("no network of this node has IPv6"), "{refused}");
        widen(&mut with, 1);
        assert_eq!(words(&with, other), None);
        let refused = words(&with, Ipv6Addr::LOCALHOST).expect("it does not answer there");
        assert!(refused.contains("127.0.0.1"), "{refused}");
    }

    /// Whether others get a port: on all of IPv4, and on all of IPv6.
    fn free(number: u16) -> (bool, bool) {
        let get = |at: IpAddr| super::bound((at, number).into(), SocketType::STREAM).is_ok();
        (
            get(Ipv4Addr::UNSPECIFIED.into()),
            get(Ipv6Addr::UNSPECIFIED.into()),
        )
    }

    #[test]
    fn all_addresses_of_a_kind_are_held_and_without_one_those_of_both_kinds() {
        let number = TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port();
        let mut with = published(number, Protocol::Tcp);
        put(&mut with, (1, 1, 1, 1), EndpointState::Ready);
        let mut ports = Ports::default();
        let mut left = |with: &View, at: Option<IpAddr>| {
            let mut with = with.clone();
            for port in &mut served(&mut with, 1).ports {
                port.host_ip = at;
            }
            let problem = ports.hold(&mut with).remove(&service(1));
            ports.listen();
            (problem.is_none(), free(number))
        };
        let four = Some(Ipv4Addr::UNSPECIFIED.into());
        let six = Some(Ipv6Addr::UNSPECIFIED.into());
        assert_eq!(left(&with, None), (true, (false, true)), "of IPv4 alone");
        assert_eq!(left(&with, six), (false, (true, true)));
        widen(&mut with, 1);
        assert_eq!(left(&with, None), (true, (false, false)));
        assert_eq!(left(&with, four), (true, (false, true)));
        assert_eq!(left(&with, six), (true, (true, false)));
        // Of one that another process has in either kind nothing is held.
        assert_eq!(left(&view(1, 1), None), (true, (true, true)));
        let other = super::bound((Ipv6Addr::UNSPECIFIED, number).into(), SocketType::STREAM).unwrap();
        rustix::net::listen(&other, 1).unwrap();
        assert_eq!(left(&with, None), (false, (true, false)));
        drop(other);
        assert_eq!(left(&with, None), (true, (false, false)));
    }

    #[test]
    fn a_port_of_ipv6_is_refused_where_its_tasks_have_their_way_out_without() {
        let mut with = view(1, 2);
        publish(&mut with, 1, 2, port(8_080));
        put(&mut with, (1, 1, 2, 1), EndpointState::Ready);
        served(&mut with, 1).ports[0].host_ip = Some(Ipv6Addr::UNSPECIFIED.into());
        widen(&mut with, 1);
        let problems = Ports::default().hold(&mut with);
        let words = &problems[&service(1)];
        assert!(words.starts_with("port 8080/tcp on [::]: the network"), "{words}");
    }

    #[test]
    fn a_port_is_let_go_when_nobody_publishes_it() {
        let number = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut ports = Ports::default();
        assert!(ports.hold(&mut published(number, Protocol::Udp)).is_empty());
        assert!(UdpSocket::bind(("127.0.0.1", number)).is_err());
        assert!(ports.hold(&mut view(1, 1)).is_empty());
        assert!(UdpSocket::bind(("127.0.0.1", number)).is_ok());
    }
}
