//! The dialling end: an address, and whom we mean to reach there, into a tonic channel.
//!
//! The address only finds the host; who answers is decided by its certificate. A channel reconnects by itself and checks
//! anew each time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::certificate::Root;
use super::credentials::{LiveCredentials, anonymous_config, pin};
use super::name::Expect;
use super::verify::VerifyError;
use crate::digest::Digest;
use crate::id::ClusterId;

/// Reaching the host and shaking hands together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that carries a call is probed this often, and given up after one more.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Nobody, or somebody else, answers.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The address is reached, and the one who answers is refused.
    #[error("{address}: {source}")]
    Refused {
        /// host:port.
        address: String,
        /// Why.
        source: VerifyError,
    },
    /// Nobody is reached, or the other end hangs up.
    #[error("{address} is not reached: {cause}")]
    Unreachable {
        /// host:port.
        address: String,
        /// The innermost reason.
        cause: String,
        /// All of it.
        #[source]
        source: tonic::transport::Error,
    },
}

/// Connects to `address` (host:port) as whoever `live` says we are.
///
/// # Errors
/// When nobody answers within [`CONNECT_TIMEOUT`], or not whom we expect.
pub async fn dial(address: &str, expect: Expect, live: &LiveCredentials) -> Result<Channel, DialError> {
    connect(address, live.dial_config(expect)).await
}

/// As [`dial`], but connects at the first call. The first call's error names what is wrong.
#[must_use]
pub fn dial_lazy(address: &str, expect: Expect, live: &LiveCredentials) -> Channel {
    let tls = TlsConnector::from(live.dial_config(expect));
    let address = address.to_owned();
    endpoint().connect_with_connector_lazy(service_fn(move |_: http::Uri| {
        let (address, tls) = (address.clone(), tls.clone());
        async move {
            let opened = open(address, tls).await;
            if opened.is_err() {
                tokio::time::sleep(FAILED_PAUSE).await;
            }
            opened
        }
    }))
}

/// A lazy channel that fails to connect says so only after this: a host that refuses connections at once must not make
/// its callers spin.
const FAILED_PAUSE: Duration = Duration::from_millis(50);

/// A manager's channel for somebody who holds a join token, and what the handshake proved.
#[derive(Debug)]
pub struct Pinned {
    /// To a manager of the token's cluster.
    pub channel: Channel,
    /// The root whose digest the token carries.
    pub root: Root,
    /// The cluster.
    pub cluster: ClusterId,
}

/// Connects to a manager whose root certificate has this digest. Until the handshake is done, nothing is sent; when the
/// digest does not match, nothing ever is. `sibling` are the credentials of the host's other daemon, if it has any.
///
/// # Errors
/// As [`dial`].
pub async fn dial_pinned(
    address: &str,
    digest: Digest,
    sibling: Option<&LiveCredentials>,
) -> Result<Pinned, DialError> {
    let verifier = pin(digest);
    let config = match sibling {
        Some(live) => live.pinned_config(verifier.clone()),
        None => anonymous_config(verifier.clone()),
    };
    let channel = connect(address, config).await?;
    let (root, cluster) = verifier
        .found
        .get()
        .cloned()
        .expect("a finished handshake has found the root");
    Ok(Pinned {
        channel,
        root,
        cluster,
    })
}

/// A daemon's own socket.
///
/// # Errors
/// When nobody listens on it.
#[cfg(unix)]
pub async fn dial_local(socket: &Path) -> Result<Channel, DialError> {
    let path = socket.to_owned();
    let connector = service_fn(move |_: http::Uri| open_local(path.clone()));
    endpoint()
        .connect_with_connector(connector)
        .await
        .map_err(|source| explain(&socket.display().to_string(), source))
}

#[cfg(unix)]
async fn open_local(path: PathBuf) -> io::Result<TokioIo<tokio::net::UnixStream>> {
    Ok(TokioIo::new(tokio::net::UnixStream::connect(path).await?))
}

async fn connect(address: &str, config: Arc<ClientConfig>) -> Result<Channel, DialError> {
    let tls = TlsConnector::from(config);
    let to = address.to_owned();
    let connector = service_fn(move |_: http::Uri| open(to.clone(), tls.clone()));
    endpoint()
        .connect_with_connector(connector)
        .await
        .map_err(|source| explain(address, source))
}

fn endpoint() -> Endpoint {
    // The scheme is plain because TLS is ours, not tonic's; the name is never resolved.
    Endpoint::from_static("http://shoal")
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .tcp_nodelay(true)
}

async fn open(address: String, tls: TlsConnector) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("shoal.invalid").expect("a constant name is valid");
    Ok(TokioIo::new(tls.connect(name, stream).await?))
}

/// Finds our own verifier's word in what tonic wraps around it.
fn explain(address: &str, error: tonic::transport::Error) -> DialError {
    let address = address.to_owned();
    match refusal(&error) {
        Some(source) => DialError::Refused { address, source },
        None => DialError::Unreachable {
            address,
            cause: innermost(&error),
            source: error,
        },
    }
}

/// The reason our verifier gave for refusing the other end, wherever in the chain of causes it is.
#[must_use]
pub fn refusal(error: &(dyn std::error::Error + 'static)) -> Option<VerifyError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = as_refusal(error) {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn as_refusal(error: &(dyn std::error::Error + 'static)) -> Option<VerifyError> {
    match error.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => {
            other.0.downcast_ref::<VerifyError>().cloned()
        }
        _ => None,
    }
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
