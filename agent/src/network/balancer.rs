//! Owns the node's ports: opens and closes them as the routes say, and lets a task drain.
//! Which task takes connections is decided elsewhere.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shoal_proto::id::{ServiceId, TaskId};
use shoal_proto::service::Protocol;
use tokio::task::JoinHandle;

use super::holder::holder;
use super::port::{OpenConnections, Port};
use super::{PortKey, Route, tcp, udp};

/// Longest time a task that is to stop may finish its connections.
pub const DRAIN_MAX_MS: u64 = 2_000;

struct Owned {
    service: ServiceId,
    port: Arc<Port>,
    /// The listener, or why there is none.
    listener: Result<JoinHandle<()>, String>,
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Ok(listener) = &self.listener {
            listener.abort();
        }
    }
}

/// The node's ports. Cheap to clone.
#[derive(Clone, Default)]
pub struct Balancer {
    ports: Arc<Mutex<BTreeMap<PortKey, Owned>>>,
    open: Arc<OpenConnections>,
}

impl Balancer {
    /// Makes the ports be as the routes say. Ports that could not be opened are tried again at every call.
    pub fn apply(&self, routes: Vec<Route>) {
        let mut ports = self.lock();
        ports.retain(|key, owned| {
            routes
                .iter()
                .any(|route| route.key == *key && route.service == owned.service)
        });
        for route in routes {
            let owned = ports.entry(route.key).or_insert_with(|| self.own(&route));
            if owned.listener.is_err() {
                owned.listener = open(route.key, &owned.port);
            }
            owned.port.lead_to(route.backends);
        }
    }

    fn own(&self, route: &Route) -> Owned {
        Owned {
            service: route.service,
            port: Arc::new(Port::new(Arc::clone(&self.open))),
            listener: Err(String::new()),
        }
    }

    /// Why a port of the service is not ours; none while all are.
    #[must_use]
    pub fn problem(&self, service: ServiceId) -> Option<String> {
        let ports = self.lock();
        let mut of_service = ports.values().filter(|owned| owned.service == service);
        of_service.find_map(|owned| owned.listener.as_ref().err().cloned())
    }

    /// Every port that is not ours, with the reason.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.lock()
            .values()
            .filter_map(|owned| owned.listener.as_ref().err().cloned())
            .collect()
    }

    /// Waits until the task has no connection left, at most [`DRAIN_MAX_MS`].
    pub async fn drained(&self, task: TaskId) {
        let drained = self.open.none_left(task);
        // Whoever holds on longer is cut off by the stop.
        tokio::time::timeout(Duration::from_millis(DRAIN_MAX_MS), drained)
            .await
            .ok();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PortKey, Owned>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(key: PortKey, port: &Arc<Port>) -> Result<JoinHandle<()>, String> {
    let opened = match key.protocol {
        Protocol::Tcp => bind(key, std::net::TcpListener::bind).and_then(|socket| {
            socket.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(socket)?;
            Ok(tokio::spawn(tcp::serve(listener, Arc::clone(port))))
        }),
        Protocol::Udp => bind(key, std::net::UdpSocket::bind).and_then(|socket| {
            socket.set_nonblocking(true)?;
            let socket = tokio::net::UdpSocket::from_std(socket)?;
            Ok(tokio::spawn(udp::serve(socket, Arc::clone(port))))
        }),
        Protocol::Sctp => {
            return Err(format!(
                "port {}/sctp cannot be an ingress port: use mode host",
                key.port
            ));
        }
    };
    opened.map_err(|error| trouble(key, &error))
}

/// All addresses means IPv6 and IPv4 where the host has both.
fn bind<S>(key: PortKey, bind: impl Fn(SocketAddr) -> io::Result<S>) -> io::Result<S> {
    let at = |address: IpAddr| bind(SocketAddr::new(address, key.port));
    match key.host_ip {
        Some(address) => at(address),
        None => match at(Ipv6Addr::UNSPECIFIED.into()) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => at(Ipv4Addr::UNSPECIFIED.into()),
            other => other,
        },
    }
}

fn trouble(key: PortKey, error: &io::Error) -> String {
    let name = format!("port {}/{}", key.port, key.protocol);
    if error.kind() == io::ErrorKind::AddrInUse {
        return format!(
            "{name} of this node is taken by {}",
            holder(key.protocol, key.port)
        );
    }
    format!("{name} of this node cannot be opened: {error}")
}

#[cfg(test)]
#[path = "balancer_test.rs"]
mod tests;
