//! Descriptors that a unit's program hands over to be kept while it restarts, as systemd's store of them. One for the
//! host: of its units only the agent's has one.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// Kept descriptors begin here, so that they are not among the numbers a program expects its own at.
const FIRST: i32 = 100;
/// The first number at which a program finds what was kept (sd_listen_fds).
const HANDED_FIRST: usize = 3;
const MESSAGE_MAX: usize = 4_096;

/// What is kept, by name.
#[derive(Debug, Default)]
pub(super) struct Store(Mutex<BTreeMap<String, OwnedFd>>);

impl Store {
    /// Waits for one message of a program. Whether it says that it is ready.
    pub(super) fn hear(&self, socket: &UnixDatagram) -> io::Result<bool> {
        let mut buffer = [0; MESSAGE_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let into = &mut [IoSliceMut::new(&mut buffer)];
        let got = recvmsg(socket, into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let text = String::from_utf8_lossy(&buffer[..got.bytes]).into_owned();
        let says = |word: &str| text.lines().any(|line| line == word);
        let name = text.lines().find_map(|line| line.strip_prefix("FDNAME="));
        let name = name.unwrap_or("stored").to_owned();
        for message in control.drain() {
            let RecvAncillaryMessage::ScmRights(handed) = message else {
                continue;
            };
            for fd in handed.filter(|_| says("FDSTORE=1")) {
                let kept = fcntl_dupfd_cloexec(&fd, FIRST)?;
                self.lock().insert(name.clone(), kept);
            }
        }
        if says("FDSTOREREMOVE=1") {
            self.lock().remove(&name);
        }
        Ok(says("READY=1"))
    }

    /// Nothing is kept any more.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// Lets the next child have what is kept, while `start` makes it. `start` gets the words of a shell that put each in
    /// its place, and say so in the environment; empty where nothing is kept.
    pub(super) fn lend<T>(&self, start: impl FnOnce(&str) -> io::Result<T>) -> io::Result<T> {
        let kept = self.lock();
        let mut script = String::new();
        for (at, fd) in kept.values().enumerate() {
            fcntl_setfd(fd, FdFlags::empty())?;
            let (from, to) = (fd.as_raw_fd(), HANDED_FIRST + at);
            script.push_str(&format!("exec {to}<&{from} {from}<&-; "));
        }
        if !kept.is_empty() {
            let names: Vec<&str> = kept.keys().map(String::as_str).collect();
            script.push_str(&format!(
                "export LISTEN_PID=$$ LISTEN_FDS={} LISTEN_FDNAMES={}; ",
                kept.len(),
                names.join(":")
            ));
        }
        let started = start(&script);
        for fd in kept.values() {
            fcntl_setfd(fd, FdFlags::CLOEXEC)?;
        }
        started
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, OwnedFd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
