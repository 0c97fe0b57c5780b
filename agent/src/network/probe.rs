//! Asks all peers all the time whether packets pass, on the path that tasks use, and answers theirs. What follows from it
//! is decided elsewhere.

mod book;
mod packet;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shoal_proto::id::NodeId;
use shoal_proto::reach::{PROBE_PORT, Reach, Way};
use tokio::net::UdpSocket;
use tokio::sync::watch;

use super::desired::sealed_mtu;
use super::ours;
use super::view::{self, Peer, View};
use book::Book;
use packet::{AROUND_LEN, Packet, SMALL_LEN};

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// Every so many rounds full packets are sent, too.
const FULL_EVERY: u64 = 2;
/// Peers asked in one round; with more of them they take turns.
const ASKED_MAX: usize = 64;
/// How long the port may be taken before it is tried again.
const BIND_EVERY: Duration = Duration::from_secs(5);
/// Largest packet taken in: that of a tunnel over jumbo frames.
const PACKET_MAX: usize = 9_216;

/// Whom to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peers {
    /// All nodes but this one.
    pub others: BTreeMap<NodeId, PeerAddresses>,
    /// Largest packet that the tunnel takes, bytes; 0 while there is none.
    pub tunnel_mtu: u32,
}

/// Where a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddresses {
    /// Its host's.
    pub host: Ipv4Addr,
    /// In the overlay.
    pub overlay: Ipv4Addr,
    /// Inside of WireGuard; none unless both have a key there.
    pub sealed: Option<Ipv4Addr>,
}

/// What the probes found so far. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Probes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    peers: watch::Sender<Peers>,
    book: Mutex<Book>,
    since: Instant,
    problem: Mutex<Option<String>>,
}

impl Default for Probes {
    fn default() -> Self {
        Self(Arc::new(Shared {
            peers: watch::Sender::default(),
            book: Mutex::default(),
            since: Instant::now(),
            problem: Mutex::default(),
        }))
    }
}

impl Peers {
    /// All nodes of a view but its own.
    #[must_use]
    pub fn of(view: &View, tunnel_mtu: u32) -> Self {
        let own = view.this().and_then(|this| this.key);
        let addresses = |(id, peer, overlay): (NodeId, &Peer, Ipv4Addr)| {
            let sealed = own.and(peer.key);
            let sealed = sealed.and_then(|_| peer.number.sealed_address_in(view.overlay.subnet));
            let host = peer.host;
            (
                id,
                PeerAddresses {
                    host,
                    overlay,
                    sealed,
                },
            )
        };
        Self {
            others: view::others(view).map(addresses).collect(),
            tunnel_mtu,
        }
    }
}

impl Probes {
    /// How every peer is reached now.
    #[must_use]
    pub fn reaches(&self) -> Vec<Reach> {
        self.book().reaches(self.now_us())
    }

    /// Why nothing is asked; none when all is well.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.0
            .problem
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Largest packet that this node's tunnel takes, bytes; 0 while there is none.
    #[must_use]
    pub fn tunnel_mtu(&self) -> u32 {
        self.0.peers.borrow().tunnel_mtu
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.0.since.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn set_problem(&self, words: Option<String>) {
        *self.0.problem.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }

    /// Says whom to ask from now on.
    pub fn show(&self, peers: Peers) {
        self.0.peers.send_if_modified(|known| {
            let changed = *known != peers;
            *known = peers;
            changed
        });
    }

    /// Asks and answers for as long as the future lives. A port that is taken is tried again.
    pub async fn run(&self) {
        self.run_at(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PROBE_PORT)))
            .await;
    }

    async fn run_at(&self, at: SocketAddr) {
        loop {
            match UdpSocket::bind(at).await {
                Ok(socket) => {
                    self.set_problem(None);
                    self.serve(&socket).await;
                }
                Err(error) => {
                    let words = format!("udp port {} for probes between the nodes: {error}", at.port());
                    if self.problem().as_ref() != Some(&words) {
                        tracing::warn!("{words}");
                    }
                    self.set_problem(Some(words));
                }
            }
            tokio::time::sleep(BIND_EVERY).await;
        }
    }

    /// Until the socket fails.
    async fn serve(&self, socket: &UdpSocket) {
        let port = socket.local_addr().map_or(PROBE_PORT, |at| at.port());
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut round, mut buffer) = (0_u64, vec![0; PACKET_MAX]);
        loop {
            tokio::select! {
                _ = rounds.tick() => {
                    let now = self.0.peers.borrow().clone();
                    self.ask_all(socket, port, &now, round).await;
                    round += 1;
                }
                came = socket.recv_from(&mut buffer) => {
                    // The kernel's word about an earlier packet that found nobody is no reason to stop.
                    let Ok((length, from)) = came else { continue };
                    let known = allowed(&self.0.peers.borrow());
                    self.take(socket, &known, &buffer[..length], from).await;
                }
            }
        }
    }

    async fn ask_all(&self, socket: &UdpSocket, port: u16, peers: &Peers, round: u64) {
        self.book().keep(|id, way| {
            let peer = peers.others.get(id);
            peer.is_some_and(|peer| way != Way::Sealed || peer.sealed.is_some())
        });
        for (id, peer) in in_turn(peers, round) {
            self.ask(socket, (*id, Way::Host), (peer.host, port), SMALL_LEN)
                .await;
            if peers.tunnel_mtu == 0 {
                continue;
            }
            self.ask(socket, (*id, Way::Overlay), (peer.overlay, port), SMALL_LEN)
                .await;
            if let Some(sealed) = peer.sealed {
                let full = fits(sealed_mtu(peers.tunnel_mtu) + ours::ENCAPSULATION);
                self.ask(socket, (*id, Way::Sealed), (sealed, port), full).await;
            }
            if round.is_multiple_of(FULL_EVERY) {
                let full = fits(peers.tunnel_mtu);
                self.ask(socket, (*id, Way::OverlayFull), (peer.overlay, port), full)
                    .await;
            }
        }
    }

    async fn ask(&self, socket: &UdpSocket, (id, way): (NodeId, Way), to: (Ipv4Addr, u16), len: usize) {
        let number = self.book().ask(id, way, self.now_us());
        // One that cannot be sent is one without an answer.
        socket
            .send_to(&Packet::Question(number).bytes(len), to)
            .await
            .ok();
    }

    async fn take(&self, socket: &UdpSocket, known: &BTreeSet<IpAddr>, bytes: &[u8], from: SocketAddr) {
        if !known.contains(&from.ip()) {
            return;
        }
        match Packet::read(bytes) {
            Some(Packet::Question(number)) => {
                // Whoever asked asks again.
                socket
                    .send_to(&Packet::Answer(number).bytes(bytes.len()), from)
                    .await
                    .ok();
            }
            Some(Packet::Answer(number)) => self.book().answered(number, self.now_us()),
            None => {}
        }
    }
}

/// Bytes of a probe that fill a packet of that size.
fn fits(mtu: u32) -> usize {
    usize::try_from(mtu).unwrap_or(0).saturating_sub(AROUND_LEN)
}

/// The peers of a round.
fn in_turn(peers: &Peers, round: u64) -> impl Iterator<Item = (&NodeId, &PeerAddresses)> {
    let rounds = peers.others.len().div_ceil(ASKED_MAX).max(1);
    let first = usize::try_from(round).unwrap_or(0) % rounds * ASKED_MAX;
    peers.others.iter().skip(first).take(ASKED_MAX)
}

/// Who is answered: nobody else learns that there is something, or has it send packets.
fn allowed(peers: &Peers) -> BTreeSet<IpAddr> {
    let addresses = peers.others.values();
    let addresses = addresses.flat_map(|peer| [Some(peer.host), Some(peer.overlay), peer.sealed]);
    addresses.flatten().map(IpAddr::V4).collect()
}

#[cfg(test)]
#[path = "probe_test.rs"]
mod tests;
