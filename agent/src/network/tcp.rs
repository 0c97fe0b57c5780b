//! TCP connections, passed on byte by byte. Whoever cannot be connected is passed over; a connection that finds nobody
//! is held for a moment, so that an update of a single task refuses nobody.

use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::port::{Counted, Port};

/// Connections one port holds at once; further ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 8_192;
/// Longest wait for a task to accept.
const CONNECT_TIMEOUT_MS: u64 = 1_000;
/// Longest time a connection is held while no task takes it.
const HOLD_MAX_MS: u64 = 5_000;
/// Wait before tasks that refused are asked again.
const RETRY_MS: u64 = 100;
/// Silence after which a client is asked whether it is still there.
const KEEPALIVE_IDLE_S: u64 = 60;
/// Time between two such questions; the kernel asks nine times.
const KEEPALIVE_INTERVAL_S: u64 = 15;
/// Wait after the listener itself failed, such as for lack of file descriptors.
const ACCEPT_PAUSE_MS: u64 = 50;

pub(super) async fn serve(listener: TcpListener, port: Arc<Port>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => {
                tracing::warn!(%error, "connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                continue;
            }
        };
        let port = Arc::clone(&port);
        tokio::spawn(async move {
            pass(client, &port).await;
            drop(place);
        });
    }
}

async fn pass(mut client: TcpStream, port: &Port) {
    let Some((mut task, counted)) = connect(port).await else {
        return;
    };
    // Delay would add to delay; both ends have their own.
    client.set_nodelay(true).ok();
    task.set_nodelay(true).ok();
    watch_for_death(&client).ok();
    // How a connection ends is between its two ends.
    copy_bidirectional(&mut client, &mut task).await.ok();
    drop(counted);
}

/// A client that is gone without a word would hold its place for ever.
fn watch_for_death(client: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_tcp_keepidle(client, Duration::from_secs(KEEPALIVE_IDLE_S))?;
    sockopt::set_tcp_keepintvl(client, Duration::from_secs(KEEPALIVE_INTERVAL_S))?;
    sockopt::set_socket_keepalive(client, true)
}

async fn connect(port: &Port) -> Option<(TcpStream, Counted)> {
    let mut changes = port.changes();
    let until = Instant::now() + Duration::from_millis(HOLD_MAX_MS);
    loop {
        changes.mark_unchanged();
        for backend in port.in_turn() {
            let Some(counted) = port.count(backend) else {
                continue;
            };
            let connected = timeout(
                Duration::from_millis(CONNECT_TIMEOUT_MS),
                TcpStream::connect(backend.addr),
            )
            .await;
            if let Ok(Ok(stream)) = connected {
                return Some((stream, counted));
            }
        }
        if Instant::now() >= until {
            return None;
        }
        // A change, or a moment for a task that is not listening yet.
        timeout(Duration::from_millis(RETRY_MS), changes.changed())
            .await
            .ok();
    }
}
