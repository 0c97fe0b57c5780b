//! The program that seals where the kernel cannot: `shoal-agent tunnel`, started by the agent, which it outlives. It knows
//! its device and its socket and is told all else over that. It ends when its device is removed.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gotatun::device::uapi::{UapiClient, UapiServer};
use gotatun::tun::tun;
use gotatun::tun::tun_async_device::{self, TunDevice};
use rustix::net::netdevice::name_to_index;
use tokio::net::UnixListener;

use super::datagrams::Datagrams;

/// What a burst of packets may fill while the program is not scheduled, bytes.
const BUFFER_BYTES: usize = 4 << 20;

/// How long the kernel gathers what was opened, nanoseconds: that of one connection goes on to its task as one, and is
/// acknowledged once. Measured: 20 us gain less, 200 us no more; what ends a request or an answer does not wait.
const GATHER_NS: u32 = 50_000;

/// How often it looks whether its device is still there.
const LOOK: Duration = Duration::from_millis(500);

/// Why it cannot seal.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// No device.
    #[error("device {name} cannot be made: a program needs root, /dev/net/tun and the kernel's `tun` for it")]
    Device {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: gotatun::device::Error,
    },
    /// Nobody could tell it anything.
    #[error("the socket {path}")]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Seals until the device is removed.
///
/// # Errors
/// When there is no device, or no socket.
pub async fn run(name: &str, path: &Path) -> Result<(), ProgramError> {
    let device = |source| ProgramError::Device {
        name: name.to_owned(),
        source,
    };
    let (client, server) = UapiServer::new();
    let build = gotatun::device::build().with_udp(Datagrams::with_buffers(BUFFER_BYTES));
    let build = build.with_uapi(server).with_ip(gathering(name).map_err(device)?);
    let mut sealing = build.build().await.map_err(device)?;
    // Only who has the device listens.
    let listener = listen(path).map_err(|source| ProgramError::Socket {
        path: path.to_owned(),
        source,
    })?;
    tokio::select! {
        () = sealing.wait() => tracing::info!(name, "the device cannot be used any more"),
        () = gone(name) => tracing::info!(name, "the device is gone"),
        () = answer(&listener, &client) => {}
    }
    sealing.stop().await;
    Ok(())
}

/// The device, which gathers.
fn gathering(name: &str) -> Result<TunDevice, gotatun::device::Error> {
    let mut wanted = tun::Configuration::default();
    wanted.tun_name(name).platform_config(|linux| {
        linux.napi(true);
    });
    let made = tun::create_as_async(&wanted).map_err(tun_async_device::Error::OpenTun)?;
    let setting = format!("/sys/class/net/{name}/gro_flush_timeout");
    if let Err(error) = std::fs::write(&setting, GATHER_NS.to_string()) {
        tracing::warn!(%error, setting, "encrypted networks are slower than they could be");
    }
    Ok(TunDevice::from_tun_device(made)?)
}

/// Returns when the device is removed. The kernel tells that in a way that the runtime does not hear.
async fn gone(name: &str) {
    let Ok(socket) = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)) else {
        return std::future::pending().await;
    };
    let first = name_to_index(&socket, name);
    while first.is_ok() && name_to_index(&socket, name) == first {
        tokio::time::sleep(LOOK).await;
    }
}

/// The keys pass here: nobody but root may look.
fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        let mut make = std::fs::DirBuilder::new();
        make.recursive(true).mode(0o700).create(folder)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn answer(listener: &UnixListener, client: &UapiClient) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream.into_std(),
            Err(error) => Err(error),
        };
        match stream.and_then(|stream| stream.set_nonblocking(false).map(|()| stream)) {
            // A thread of its own reads it to its end.
            Ok(stream) => client.clone().wrap_read_write(stream),
            Err(error) => {
                tracing::warn!(%error, "nobody could be heard");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
