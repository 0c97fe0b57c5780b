//! Sockets that outlive the program: the service manager keeps a copy of each, so that questions which come while the
//! agent restarts wait in them and are answered by the next one, not refused. Where nobody keeps them (systemd does,
//! `FileDescriptorStoreMax`) they are opened anew. Knows nothing of what is asked.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::BorrowedFd;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use listenfd::ListenFd;
use sd_notify::NotifyState;
use shoal_proto::service::Protocol;

/// Names of the descriptors that were handed over, in their order (sd_listen_fds_with_names).
const NAMES_VARIABLE: &str = "LISTEN_FDNAMES";

/// What the program before this one left, by name, until it is taken.
static LEFT: LazyLock<Mutex<BTreeMap<String, Socket>>> = LazyLock::new(|| Mutex::new(left()));

enum Socket {
    Datagrams(UdpSocket),
    Streams(TcpListener),
}

/// The socket for datagrams that was left for this address.
pub(super) fn datagrams(at: SocketAddrV4) -> Option<UdpSocket> {
    match take(&name(Protocol::Udp, *at.ip()))? {
        Socket::Datagrams(socket) if socket.local_addr().ok()? == at.into() => Some(socket),
        _ => None,
    }
}

/// The socket for connections that was left for this address.
pub(super) fn streams(at: SocketAddrV4) -> Option<TcpListener> {
    match take(&name(Protocol::Tcp, *at.ip()))? {
        Socket::Streams(socket) if socket.local_addr().ok()? == at.into() => Some(socket),
        _ => None,
    }
}

/// From now on a copy of this socket outlives the program.
pub(super) fn keep(protocol: Protocol, gateway: Ipv4Addr, socket: BorrowedFd<'_>) {
    let name = name(protocol, gateway);
    let words = [NotifyState::FdStore, NotifyState::FdName(&name)];
    said(sd_notify::notify_with_fds(&words, &[socket]));
}

/// The copies of this gateway's sockets go.
pub(super) fn forget(gateway: Ipv4Addr) {
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let name = name(protocol, gateway);
        lose(&name);
        take(&name);
    }
}

/// What was left for gateways that are none any more goes.
pub(super) fn forget_untaken() {
    for (name, _) in std::mem::take(&mut *lock()) {
        lose(&name);
    }
}

fn lose(name: &str) {
    said(sd_notify::notify(&[
        NotifyState::FdStoreRemove,
        NotifyState::FdName(name),
    ]));
}

/// Without a service manager there is nobody to tell.
fn said(told: io::Result<()>) {
    if let Err(error) = told {
        tracing::debug!(%error, "sockets of names do not outlive this program");
    }
}

fn name(protocol: Protocol, gateway: Ipv4Addr) -> String {
    format!("{protocol}-{gateway}")
}

fn take(name: &str) -> Option<Socket> {
    lock().remove(name)
}

fn lock() -> MutexGuard<'static, BTreeMap<String, Socket>> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn left() -> BTreeMap<String, Socket> {
    let names = std::env::var(NAMES_VARIABLE).unwrap_or_default();
    let mut handed = ListenFd::from_env();
    let names = names.split(':').enumerate();
    let found = names.filter_map(|(at, name)| {
        let socket = match name.split_once('-')?.0 {
            "udp" => handed.take_udp_socket(at).ok()?.map(Socket::Datagrams),
            "tcp" => handed.take_tcp_listener(at).ok()?.map(Socket::Streams),
            _ => None,
        };
        let socket = socket?;
        prepare(&socket).ok()?;
        Some((name.to_owned(), socket))
    });
    found.collect()
}

/// As if this program had opened it.
fn prepare(socket: &Socket) -> io::Result<()> {
    match socket {
        Socket::Datagrams(socket) => socket.set_nonblocking(true),
        Socket::Streams(socket) => socket.set_nonblocking(true),
    }
}
