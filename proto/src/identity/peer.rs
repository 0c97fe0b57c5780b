//! Who is calling: facts of the connection, and of the request that came over it.
//!
//! A handler finds a [`Caller`] in every request's extensions; the call table has let it through already.

use std::net::SocketAddr;

use tonic::Status;
use tonic::transport::server::Connected;

use super::certificate::Certificate;
use super::name::{Identity, Role, Subject};
use crate::digest::Digest;
use crate::id::NodeId;
use crate::object::Actor;

/// What the connection proved. Put into every request's extensions by tonic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Over TLS.
    Tls {
        /// Where from.
        address: SocketAddr,
        /// What was shown, chain and cluster checked.
        shown: Option<Shown>,
    },
    /// Over the daemon's own socket: whoever the file's mode lets in.
    Local {
        /// The other process's user.
        uid: Option<u32>,
    },
}

/// A certificate as the handshake found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Who.
    pub identity: Identity,
    /// SHA-256 of the public key.
    pub key: Digest,
    /// In its time or past it, when the connection was made.
    pub validity: Validity,
}

/// Whether a certificate was in its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// In its time.
    Valid,
    /// Past it: the call table lets it do two things, if its key is the recorded one.
    Expired,
}

impl Shown {
    pub(super) fn new(certificate: &Certificate, now: crate::time::Timestamp) -> Self {
        let validity = if now > certificate.not_after() {
            Validity::Expired
        } else {
            Validity::Valid
        };
        Self {
            identity: certificate.identity(),
            key: certificate.key(),
            validity,
        }
    }
}

/// Who is asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Somebody without a certificate.
    Anonymous,
    /// Somebody with a certificate of this cluster.
    Member(Identity),
    /// A process on the manager's own host, through its socket.
    Local {
        /// Its user, where the system tells.
        uid: Option<u32>,
    },
}

/// Who is asking, and how they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub who: Who,
    /// SHA-256 of the public key of the certificate shown.
    pub key: Option<Digest>,
    /// Whether that certificate was in its time.
    pub validity: Validity,
    /// Where from, over TLS. For a forwarded call: the forwarding manager's address.
    pub address: Option<SocketAddr>,
    /// The manager that passed the call on.
    pub via: Option<NodeId>,
}

impl Caller {
    /// The caller as the connection shows it.
    #[must_use]
    pub fn of(peer: &Peer) -> Self {
        let mut caller = Self {
            who: Who::Anonymous,
            key: None,
            validity: Validity::Valid,
            address: None,
            via: None,
        };
        match peer {
            Peer::Local { uid } => caller.who = Who::Local { uid: *uid },
            Peer::Tls { address, shown } => {
                caller.address = Some(*address);
                if let Some(shown) = shown {
                    caller.who = Who::Member(shown.identity);
                    caller.key = Some(shown.key);
                    caller.validity = shown.validity;
                }
            }
        }
        caller
    }

    /// The caller of a request that went through the call table.
    ///
    /// # Errors
    /// `Internal` when the request did not: the service was mounted without the layer.
    pub fn from_request<T>(request: &tonic::Request<T>) -> Result<&Self, Status> {
        request
            .extensions()
            .get::<Self>()
            .ok_or_else(|| Status::internal("the call did not pass the call table: nobody is let through"))
    }

    /// The certificate's identity.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        match &self.who {
            Who::Member(identity) => Some(identity),
            _ => None,
        }
    }

    /// The role in the certificate.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        self.identity().map(Identity::role)
    }

    /// The node that speaks. A worker speaks only of this one.
    ///
    /// # Errors
    /// `PermissionDenied` when the caller is no node.
    pub fn node(&self) -> Result<NodeId, Status> {
        self.identity()
            .and_then(Identity::node)
            .ok_or_else(|| Status::permission_denied("only a node may call this"))
    }

    /// Checks that a node speaks of itself.
    ///
    /// # Errors
    /// `PermissionDenied`, naming both nodes.
    pub fn must_be(&self, node: NodeId) -> Result<(), Status> {
        let caller = self.node()?;
        if caller == node {
            return Ok(());
        }
        Err(Status::permission_denied(format!(
            "node {caller} may speak only of itself, not of node {node}"
        )))
    }

    /// Who caused what this call changes, for the object's `cause`.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match &self.who {
            Who::Local { .. } => Actor::Operator("local".to_owned()),
            Who::Anonymous => Actor::Operator("anonymous".to_owned()),
            Who::Member(identity) => match identity.subject {
                Subject::Operator(id) => Actor::Operator(id.to_string()),
                Subject::Worker(node) | Subject::Manager(node) => Actor::Node(node),
            },
        }
    }
}

/// A unix socket's connection, for the daemon's local API.
#[cfg(unix)]
#[derive(Debug)]
pub struct LocalConn(tokio::net::UnixStream);

#[cfg(unix)]
impl LocalConn {
    /// Takes an accepted connection.
    #[must_use]
    pub const fn new(stream: tokio::net::UnixStream) -> Self {
        Self(stream)
    }
}

#[cfg(unix)]
impl Connected for LocalConn {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer::Local {
            uid: self.0.peer_cred().ok().map(|cred| cred.uid()),
        }
    }
}

#[cfg(unix)]
mod io {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::LocalConn;

    impl AsyncRead for LocalConn {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for LocalConn {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }
}
