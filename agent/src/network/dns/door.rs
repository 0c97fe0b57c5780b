//! The sockets of one gateway: UDP and TCP on a port of ours. They hand each question to `desk` and send back what it
//! says; they know no names.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use shoal_proto::service::Protocol;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::desk::{Desk, Reply};
use super::forward::{read_framed, write_framed};
use super::kept;
use super::limits::{Place, Places};
use super::message::{MESSAGE_MAX, Way};
use crate::network::holder;

/// Connections that wait to be taken.
const BACKLOG: u32 = 128;
/// How long a connection may be silent (RFC 7766 asks for seconds).
const IDLE_S: u64 = 10;
/// Wait after a socket itself failed.
const PAUSE_MS: u64 = 50;
/// Connections of all containers.
const CONNECTIONS_MAX: usize = 1_024;
/// Connections of one container.
const CONNECTIONS_EACH_MAX: usize = 32;

/// Why a gateway has no door.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Somebody else is there.
    #[error("port {port} of {gateway} ({protocol}) is held by {holder}: names are not answered there")]
    Taken {
        /// Of which network.
        gateway: Ipv4Addr,
        /// Ours.
        port: u16,
        /// UDP or TCP.
        protocol: &'static str,
        /// As far as it is known.
        holder: String,
    },
    /// Anything else.
    #[error("cannot listen on port {port} of {gateway}: {source}")]
    Failed {
        /// Of which network.
        gateway: Ipv4Addr,
        /// Ours.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
}

/// An open door; closed when dropped.
#[derive(Debug)]
pub(super) struct Door {
    _tasks: JoinSet<()>,
}

/// Places for connections through all doors.
pub(super) fn connections() -> Arc<Places> {
    Places::new(CONNECTIONS_MAX, CONNECTIONS_EACH_MAX)
}

impl Door {
    /// Opens the door of a gateway. Its address need not be there yet: it comes with the Engine's bridge.
    ///
    /// # Errors
    /// When a socket cannot be had.
    pub(super) fn open(
        gateway: Ipv4Addr,
        port: u16,
        desk: &Arc<Desk>,
        connections: &Arc<Places>,
    ) -> Result<Self, DoorError> {
        let at = SocketAddrV4::new(gateway, port);
        let failed = |protocol| move |error| door_error(at, protocol, error);
        let datagrams = datagrams(at).map_err(failed(Protocol::Udp))?;
        let streams = streams(at).map_err(failed(Protocol::Tcp))?;
        kept::keep(Protocol::Udp, gateway, datagrams.as_fd());
        kept::keep(Protocol::Tcp, gateway, streams.as_fd());
        let mut tasks = JoinSet::new();
        tasks.spawn(take_datagrams(Arc::new(datagrams), Arc::clone(desk)));
        tasks.spawn(take_streams(streams, Arc::clone(desk), Arc::clone(connections)));
        Ok(Self { _tasks: tasks })
    }
}

fn door_error(at: SocketAddrV4, protocol: Protocol, source: io::Error) -> DoorError {
    let (gateway, port) = (*at.ip(), at.port());
    if source.kind() != io::ErrorKind::AddrInUse {
        return DoorError::Failed {
            gateway,
            port,
            source,
        };
    }
    DoorError::Taken {
        gateway,
        port,
        protocol: if protocol == Protocol::Udp { "udp" } else { "tcp" },
        holder: holder(protocol, port),
    }
}

fn datagrams(at: SocketAddrV4) -> io::Result<UdpSocket> {
    if let Some(left) = kept::datagrams(at) {
        return UdpSocket::from_std(left);
    }
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    sockopt::set_ip_freebind(&socket, true)?;
    bind(&socket, &at)?;
    UdpSocket::from_std(socket.into())
}

fn streams(at: SocketAddrV4) -> io::Result<TcpListener> {
    if let Some(left) = kept::streams(at) {
        return TcpListener::from_std(left);
    }
    let socket = TcpSocket::new_v4()?;
    sockopt::set_ip_freebind(&socket, true)?;
    // Connections of an agent that was here before may still linger.
    socket.set_reuseaddr(true)?;
    socket.bind(at.into())?;
    socket.listen(BACKLOG)
}

async fn take_datagrams(socket: Arc<UdpSocket>, desk: Arc<Desk>) {
    let mut buffer = vec![0; MESSAGE_MAX];
    // Ends with the door, and all that it waits for with it.
    let mut asking = JoinSet::new();
    loop {
        let (length, asker) = match socket.recv_from(&mut buffer).await {
            Ok((length, SocketAddr::V4(asker))) => (length, asker),
            Ok((_, SocketAddr::V6(_))) => continue,
            Err(error) => {
                tracing::debug!(%error, "cannot take a question by UDP");
                sleep(Duration::from_millis(PAUSE_MS)).await;
                continue;
            }
        };
        while asking.try_join_next().is_some() {}
        match desk.take(&buffer[..length], *asker.ip(), Way::Datagram) {
            Reply::Now(reply) => send(&socket, &reply, asker).await,
            Reply::Later(later) => {
                let (socket, desk) = (Arc::clone(&socket), Arc::clone(&desk));
                asking.spawn(async move { send(&socket, &desk.ask(later).await, asker).await });
            }
            Reply::Never => {}
        }
    }
}

async fn send(socket: &UdpSocket, reply: &[u8], asker: SocketAddrV4) {
    if let Err(error) = socket.send_to(reply, asker).await {
        tracing::debug!(%asker, %error, "cannot send an answer");
    }
}

async fn take_streams(listener: TcpListener, desk: Arc<Desk>, connections: Arc<Places>) {
    let mut open = JoinSet::new();
    loop {
        let (stream, asker) = match listener.accept().await {
            Ok((stream, SocketAddr::V4(asker))) => (stream, asker),
            Ok((_, SocketAddr::V6(_))) => continue,
            Err(error) => {
                tracing::debug!(%error, "cannot take a question by TCP");
                sleep(Duration::from_millis(PAUSE_MS)).await;
                continue;
            }
        };
        while open.try_join_next().is_some() {}
        let Some(place) = connections.take(*asker.ip()) else {
            desk.turned_away();
            continue;
        };
        open.spawn(converse(stream, *asker.ip(), Arc::clone(&desk), place));
    }
}

/// Answers what comes on a connection, in its order, until it is closed or silent for long.
async fn converse(mut stream: TcpStream, asker: Ipv4Addr, desk: Arc<Desk>, _place: Place) {
    let idle = Duration::from_secs(IDLE_S);
    while let Ok(Ok(message)) = timeout(idle, read_framed(&mut stream)).await {
        let reply = match desk.take(&message, asker, Way::Stream) {
            Reply::Now(reply) => reply,
            Reply::Later(later) => desk.ask(later).await,
            Reply::Never => return,
        };
        let sent = timeout(idle, write_framed(&mut stream, &reply)).await;
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}
