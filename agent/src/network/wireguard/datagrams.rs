//! How sealed packets leave: those of one length that go to one node pass through the kernel as one, which cuts them apart
//! as late as it can. What cannot go so goes as gotatun sends it.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gotatun::packet::Packet;
use gotatun::udp::socket::{UdpSocket, UdpSocketFactory};
use gotatun::udp::{UdpSend, UdpTransportFactory, UdpTransportFactoryParams};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force};
use tokio::io::Interest;

/// Datagrams that kernels cut from one (64 before 6.9).
const PARTS_MAX: usize = 64;
/// Bytes of one packet of IPv4 without its head and UDP's.
const BYTES_MAX: usize = 65_535 - 20 - 8;

/// Opens the sockets.
#[derive(Debug)]
pub(super) struct Datagrams {
    /// Bytes for bursts, each way.
    buffers: usize,
}

impl Datagrams {
    /// With so many bytes for bursts, each way, whatever the host's limit for programs is.
    #[must_use]
    pub(super) const fn with_buffers(bytes: usize) -> Self {
        Self { buffers: bytes }
    }
}

impl UdpTransportFactory for Datagrams {
    type Send = Sender;
    type Recv = UdpSocket;

    async fn bind(&mut self, params: &UdpTransportFactoryParams) -> io::Result<(Sender, UdpSocket)> {
        let (socket, receiver) = UdpSocketFactory::default().bind(params).await?;
        let enlarged = set_socket_recv_buffer_size_force(&socket, self.buffers)
            .and_then(|()| set_socket_send_buffer_size_force(&socket, self.buffers));
        if let Err(error) = enlarged {
            tracing::warn!(%error, "encrypted networks lose packets in bursts: their buffers are the host's default");
        }
        let joins = Arc::new(AtomicBool::new(true));
        Ok((Sender { socket, joins }, receiver))
    }
}

/// Sends.
#[derive(Clone)]
pub(super) struct Sender {
    socket: UdpSocket,
    /// The kernel has not yet said that it cannot cut.
    joins: Arc<AtomicBool>,
}

type Addressed = (Packet, SocketAddr);

impl UdpSend for Sender {
    type SendManyBuf = <UdpSocket as UdpSend>::SendManyBuf;

    async fn send_to(&self, packet: Packet, to: SocketAddr) -> io::Result<()> {
        self.socket.send_to(packet, to).await
    }

    fn max_number_of_packets_to_send(&self) -> usize {
        self.socket.max_number_of_packets_to_send()
    }

    async fn send_many_to(
        &self,
        buffer: &mut Self::SendManyBuf,
        packets: &mut Vec<Addressed>,
    ) -> io::Result<()> {
        while !packets.is_empty() {
            let joins = self.joins.load(Ordering::Relaxed);
            let lone = if joins { lone(packets) } else { packets.len() };
            let together = if lone == 0 { joint(packets) } else { 0 };
            if together > 0 && self.send_joint(&packets[..together]).await? {
                packets.drain(..together);
                continue;
            }
            let mut apart = packets.drain(..lone.max(together)).collect();
            self.socket.send_many_to(buffer, &mut apart).await?;
        }
        Ok(())
    }

    fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        UdpSend::local_addr(&self.socket)
    }

    fn set_fwmark(&self, mark: u32) -> io::Result<()> {
        self.socket.set_fwmark(mark)
    }
}

impl Sender {
    /// Sends as one what [`joint`] counted; false when the kernel cannot, and nothing was sent.
    async fn send_joint(&self, packets: &[Addressed]) -> io::Result<bool> {
        let (first, to) = &packets[0];
        let length = u16::try_from(first.len()).map_err(io::Error::other)?;
        let parts: Vec<IoSlice<'_>> = packets.iter().map(|(packet, _)| IoSlice::new(packet)).collect();
        let to = SockaddrStorage::from(*to);
        let socket = self.socket.socket();
        let send = || {
            let cut = [ControlMessage::UdpGsoSegments(&length)];
            let sent = sendmsg(
                socket.as_raw_fd(),
                &parts,
                &cut,
                MsgFlags::MSG_DONTWAIT,
                Some(&to),
            );
            sent.map_err(io::Error::from)
        };
        let Err(error) = socket.async_io(Interest::WRITABLE, send).await else {
            return Ok(true);
        };
        match error.raw_os_error().map(Errno::from_raw) {
            // A device on the way cannot add up checksums, or the kernel is too old.
            Some(Errno::EIO | Errno::ENOPROTOOPT | Errno::EOPNOTSUPP) => {
                self.joins.store(false, Ordering::Relaxed);
                Ok(false)
            }
            // A packet is larger than the way to that node lets through.
            Some(Errno::EINVAL | Errno::EMSGSIZE) => Ok(false),
            _ => Err(error),
        }
    }
}

/// How many of the first packets have none that could go with them.
fn lone(packets: &[Addressed]) -> usize {
    let mut starts = 0..packets.len();
    starts
        .find(|at| joint(&packets[*at..]) > 1)
        .unwrap_or(packets.len())
}

/// How many of the first packets can go as one: to one place, of one length, a shorter one last.
fn joint(packets: &[Addressed]) -> usize {
    let (first, to) = &packets[0];
    let mut bytes = 0;
    for (at, (packet, other)) in packets.iter().take(PARTS_MAX).enumerate() {
        bytes += packet.len();
        if other != to || packet.len() > first.len() || bytes > BYTES_MAX {
            return at.max(1);
        }
        if packet.len() < first.len() {
            return at + 1;
        }
    }
    packets.len().min(PARTS_MAX)
}

#[cfg(test)]
#[path = "datagrams_test.rs"]
mod tests;
