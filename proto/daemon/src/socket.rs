//! The daemon's own socket on disk, for root and its group. Several services take connections from it, one after the other.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use shoal_proto::identity::LocalConn;
use tokio::net::UnixListener;

/// The socket is for root and its group.
const SOCKET_MODE: u32 = 0o660;

/// The socket.
#[derive(Debug, Clone)]
pub struct Socket {
    listener: Arc<UnixListener>,
    path: PathBuf,
}

impl Socket {
    /// Makes it, in place of one that a daemon left behind. The caller has made sure that no other daemon runs.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
        Ok(Self {
            listener: Arc::new(listener),
            path: path.to_owned(),
        })
    }

    /// Connections, for tonic.
    #[must_use]
    pub fn incoming(&self) -> LocalIncoming {
        LocalIncoming(self.listener.clone())
    }

    /// Takes the file away at the end.
    pub fn remove(&self) {
        // Whoever comes next removes what is left.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Connections through the socket.
#[derive(Debug)]
pub struct LocalIncoming(Arc<UnixListener>);

impl Stream for LocalIncoming {
    type Item = io::Result<LocalConn>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<LocalConn>>> {
        self.0
            .poll_accept(cx)
            .map(|accepted| Some(accepted.map(|(stream, _)| LocalConn::new(stream))))
    }
}
