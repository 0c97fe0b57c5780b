//! The life of the program that seals where the kernel cannot: it outlives us, is found again by its socket, and whoever
//! listens there ends before another one begins.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::network::ours::WIREGUARD_DEVICE;
use crate::network::wireguard::{self, UapiError, ask};

/// Longest wait until it listens, or until it is gone.
const LIMIT: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(20);
/// What it needs of the host.
pub(super) const TUN: &str = "/dev/net/tun";

/// Where the program is, and where it listens.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its file.
    pub file: PathBuf,
    /// Its socket.
    pub socket: PathBuf,
}

impl Default for Program {
    /// Our own file, also where an upgrade has put another in its place.
    fn default() -> Self {
        Self {
            file: PathBuf::from("/proc/self/exe"),
            socket: wireguard::socket(),
        }
    }
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    /// It cannot be started.
    #[error("the program that seals cannot be started")]
    Start(#[source] io::Error),
    /// It does not do as it is told.
    #[error(transparent)]
    Talk(#[from] UapiError),
    /// It would keep the port, or the device.
    #[error("the program that seals is hung and cannot be ended")]
    Hung,
}

impl Program {
    /// Starts it and waits until it listens. No other may run.
    pub(super) async fn start(&self) -> Result<(), ProgramError> {
        let mut command = Command::new(&self.file);
        command
            .arg0("shoal-agent")
            .args(["tunnel", WIREGUARD_DEVICE])
            .arg(&self.socket);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.process_group(0).kill_on_drop(false);
        // It is not us whom the supervisor waits for.
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
        let mut child = command.spawn().map_err(ProgramError::Start)?;
        let listens = async {
            while ask(&self.socket, None).await.is_err() {
                if let Ok(Some(status)) = child.try_wait() {
                    let words = format!("it ended with {status}; its last words are in the agent's log");
                    return Err(ProgramError::Start(io::Error::other(words)));
                }
                sleep(LOOK).await;
            }
            Ok(())
        };
        timeout(LIMIT, listens).await.map_err(|_| UapiError::Slow)?
    }

    /// Ends whoever listens, also when it is hung, and waits until it is gone.
    pub(super) async fn end(&self) -> Result<(), ProgramError> {
        let gone = async {
            while let Some(pid) = listener(&self.socket).await {
                kill_process(pid, Signal::KILL).ok();
                sleep(LOOK).await;
            }
        };
        timeout(LIMIT, gone).await.map_err(|_| ProgramError::Hung)
    }
}

/// The process that listens at a socket; its folder lets nobody but root be that.
async fn listener(socket: &Path) -> Option<Pid> {
    let stream = UnixStream::connect(socket).await.ok()?;
    let pid = Pid::from_raw(stream.peer_cred().ok()?.pid()?)?;
    (pid != rustix::process::getpid()).then_some(pid)
}
