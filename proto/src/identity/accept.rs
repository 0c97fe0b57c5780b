//! The accepting end: TCP in, authenticated connections out, for tonic's `serve_with_incoming_shutdown`.
//!
//! Handshakes run in tasks of their own, bounded in time and number, so that nobody who has not proved anything can hold
//! up anybody else.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::certificate::Certificate;
use super::clock;
use super::credentials::LiveCredentials;
use super::dial::refusal;
use super::peer::{Peer, Shown};

/// The bounds before anybody has proved anything.
#[derive(Debug, Clone, Copy)]
pub struct AcceptLimits {
    /// A handshake that takes longer is dropped.
    pub handshake: Duration,
    /// Handshakes at once; further connections wait in the kernel's queue.
    pub handshakes: usize,
    /// Open connections of one address; further ones are closed at once.
    pub per_address: usize,
    /// After this age the accepting end asks the other to connect anew, so that identities stay fresh. Given to tonic's
    /// `max_connection_age`.
    pub max_age: Duration,
}

impl Default for AcceptLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            handshakes: 256,
            per_address: 512,
            max_age: Duration::from_secs(3_600),
        }
    }
}

/// A connection that was not let in, for whoever keeps the log: the other end was told no more than a TLS alert.
#[derive(Debug, thiserror::Error)]
pub enum TurnedAway {
    /// Our verifier refused the certificate, the other end refused ours, or it does not speak TLS at all.
    #[error("no connection with {peer}: {cause}")]
    Handshake {
        /// Who called.
        peer: SocketAddr,
        /// The reason, in the words of whoever found it.
        cause: String,
    },
    /// Connected, and then said too little.
    #[error("no connection with {peer}: its handshake took more than {} s", .limit.as_secs())]
    TooSlow {
        /// Who called.
        peer: SocketAddr,
        /// See [`AcceptLimits::handshake`].
        limit: Duration,
    },
    /// Has too many connections.
    #[error("no connection with {peer}: that address has {limit} open, which is the limit")]
    TooMany {
        /// Who called.
        peer: SocketAddr,
        /// See [`AcceptLimits::per_address`].
        limit: usize,
    },
    /// The system gives no connection: no file descriptors, mostly.
    #[error("connections cannot be accepted: {0}")]
    System(#[from] io::Error),
}

impl TurnedAway {
    /// Who called, where that is known.
    #[must_use]
    pub const fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Handshake { peer, .. } | Self::TooSlow { peer, .. } | Self::TooMany { peer, .. } => {
                Some(*peer)
            }
            Self::System(_) => None,
        }
    }
}

/// Hears of every connection that was not let in. Must return at once.
pub type Watchman = Arc<dyn Fn(TurnedAway) + Send + Sync>;

/// Why accepting goes slowly: the wait after the system refuses a connection (no file descriptors, mostly).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Finished handshakes that wait for tonic.
const READY_QUEUE: usize = 64;

/// Starts accepting; `watchman` hears of who is turned away. The stream ends when `stop` completes; connections that are
/// open stay.
#[must_use]
pub fn accept(
    listener: TcpListener,
    live: &LiveCredentials,
    limits: AcceptLimits,
    watchman: Watchman,
    stop: impl Future<Output = ()> + Send + 'static,
) -> ReceiverStream<io::Result<Conn>> {
    let (ready, incoming) = mpsc::channel(READY_QUEUE);
    let door = Door {
        tls: TlsAcceptor::from(live.accept_config()),
        limits,
        handshakes: Arc::new(Semaphore::new(limits.handshakes)),
        open: Arc::default(),
        watchman,
        ready,
    };
    tokio::spawn(async move {
        tokio::select! {
            () = stop => {}
            () = door.run(listener) => {}
        }
    });
    ReceiverStream::new(incoming)
}

struct Door {
    tls: TlsAcceptor,
    limits: AcceptLimits,
    handshakes: Arc<Semaphore>,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    watchman: Watchman,
    ready: mpsc::Sender<io::Result<Conn>>,
}

impl Door {
    async fn run(&self, listener: TcpListener) {
        while !self.ready.is_closed() {
            let permit = self
                .handshakes
                .clone()
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    (self.watchman)(error.into());
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let limit = self.limits.per_address;
            match Guest::enter(&self.open, address.ip(), limit) {
                Some(guest) => self.let_in(stream, address, guest, permit),
                None => (self.watchman)(TurnedAway::TooMany { peer: address, limit }),
            }
        }
    }

    /// Shakes hands beside.
    fn let_in(&self, stream: TcpStream, peer: SocketAddr, guest: Guest, permit: OwnedSemaphorePermit) {
        let (tls, ready, watchman) = (self.tls.clone(), self.ready.clone(), self.watchman.clone());
        let limit = self.limits.handshake;
        tokio::spawn(async move {
            let handshake = tokio::time::timeout(limit, shake_hands(tls, stream, peer, guest)).await;
            drop(permit);
            match handshake {
                // Nobody takes it once the door closes.
                Ok(Ok(conn)) => drop(ready.send(Ok(conn)).await),
                Ok(Err(error)) => {
                    let cause = cause(&error);
                    watchman(TurnedAway::Handshake { peer, cause });
                }
                Err(_) => watchman(TurnedAway::TooSlow { peer, limit }),
            }
        });
    }
}

/// Why a handshake failed: our verifier's own words where it was that.
fn cause(error: &io::Error) -> String {
    if let Some(refused) = refusal(error) {
        return format!("its certificate is refused: {refused}");
    }
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(rustls::Error::AlertReceived(alert)) => {
            format!("it refuses this manager's certificate, or the clocks differ (TLS alert {alert:?})")
        }
        Some(rustls::Error::InvalidMessage(_)) => "it does not speak TLS".to_owned(),
        Some(other) => other.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "it hung up during the handshake".to_owned(),
        None => error.to_string(),
    }
}

async fn shake_hands(
    tls: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    guest: Guest,
) -> io::Result<Conn> {
    stream.set_nodelay(true)?;
    let stream = tls.accept(stream).await?;
    let shown = match stream.get_ref().1.peer_certificates().and_then(<[_]>::first) {
        None => None,
        Some(der) => {
            let certificate = Certificate::from_der(der).map_err(io::Error::other)?;
            Some(Shown::new(&certificate, clock::now()))
        }
    };
    Ok(Conn {
        stream,
        peer: Peer::Tls { address, shown },
        _guest: guest,
    })
}

/// Counts the open connections of an address, until it is dropped.
#[derive(Debug)]
struct Guest {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Guest {
    fn enter(open: &Arc<Mutex<HashMap<IpAddr, usize>>>, address: IpAddr, limit: usize) -> Option<Self> {
        let mut counts = open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Self {
            open: open.clone(),
            address,
        })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct Conn {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    _guest: Guest,
}

impl Connected for Conn {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[path = "accept_test.rs"]
mod tests;
