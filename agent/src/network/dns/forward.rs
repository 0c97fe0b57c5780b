//! Names that are not the cluster's: asked of the host's resolvers, bytes in and bytes out. Nothing is kept; the host's
//! resolver does that. It never asks one of our own gateways.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::limits::{Place, Places};
use super::message::{MESSAGE_MAX, Way, answers, is_refusal};
use super::resolvers::{RESOLVERS_MAX, Resolvers};

/// How long a resolver may be silent before the next is asked, too.
const STEP_MS: u64 = 1_300;
/// When nobody answered by then, nobody will. Shorter than what waits for us: Docker's own resolver 4 s, musl and glibc 5 s.
const PATIENCE_MS: u64 = 3_900;
/// Times that resolvers are asked about one question.
const ATTEMPTS_MAX: usize = RESOLVERS_MAX;
/// Questions under way.
const UNDER_WAY_MAX: usize = 1_024;
/// Questions under way of one container.
const UNDER_WAY_EACH_MAX: usize = 128;
/// For so long a resolver that was silent is asked after the others.
const SILENT_S: u64 = 30;

/// Why a name stays without an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// Of one container, or of all.
    #[error("too many questions about outside names are under way")]
    Busy,
    /// The list.
    #[error("cannot read the host's resolvers: {0}")]
    List(#[source] io::Error),
    /// None to ask.
    #[error("the host names no resolver that is not this agent")]
    Nobody,
    /// All of them.
    #[error("no answer from {}", listed(.0))]
    Silent(Vec<SocketAddr>),
}

fn listed(resolvers: &[SocketAddr]) -> String {
    let all: Vec<_> = resolvers.iter().map(ToString::to_string).collect();
    all.join(", ")
}

/// Asks the host's resolvers.
#[derive(Debug)]
pub(super) struct Forwarder {
    resolvers: Resolvers,
    places: Arc<Places>,
    /// Those that were silent lately, until when.
    silent: Mutex<BTreeMap<SocketAddr, Instant>>,
}

/// What came of asking one resolver.
type Attempt<'a> = BoxFuture<'a, (SocketAddr, io::Result<Vec<u8>>)>;

impl Forwarder {
    /// With the resolvers of a file, asked at a port (53, but for tests).
    pub(super) fn new(resolv_conf: PathBuf, port: u16) -> Self {
        Self {
            resolvers: Resolvers::new(resolv_conf, port),
            places: Places::new(UNDER_WAY_MAX, UNDER_WAY_EACH_MAX),
            silent: Mutex::default(),
        }
    }

    /// A place for one more question of a container.
    ///
    /// # Errors
    /// `Busy`.
    pub(super) fn place(&self, asker: Ipv4Addr) -> Result<Place, Unanswered> {
        self.places.take(asker).ok_or(Unanswered::Busy)
    }

    /// The answer to a question, as a resolver gave it. `query` is the whole message, which was read; it is asked by the
    /// way that it came, so that the answer is as large as who asks takes it.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn ask(
        &self,
        query: &[u8],
        way: Way,
        ours: &BTreeSet<Ipv4Addr>,
    ) -> Result<Vec<u8>, Unanswered> {
        let list = self
            .resolvers
            .list(Instant::now(), ours)
            .map_err(Unanswered::List)?;
        if list.is_empty() {
            return Err(Unanswered::Nobody);
        }
        let order = self.in_order(list.clone());
        let patience = Duration::from_millis(PATIENCE_MS);
        let answer = timeout(patience, self.first_answer(query, way, &order)).await;
        answer.ok().flatten().ok_or(Unanswered::Silent(list))
    }

    /// Who answers first, asked one after the other. A refusal is taken when nobody knows better.
    async fn first_answer(&self, query: &[u8], way: Way, order: &[SocketAddr]) -> Option<Vec<u8>> {
        let mut turns = order.iter().copied().cycle().take(ATTEMPTS_MAX);
        let mut under_way: FuturesUnordered<Attempt<'_>> = FuturesUnordered::new();
        let mut said_no = BTreeSet::new();
        let mut refusal = None;
        loop {
            let next = turns.find(|resolver| !said_no.contains(resolver));
            under_way.extend(next.map(|resolver| attempt(resolver, query, way).boxed()));
            let step = Duration::from_millis(STEP_MS);
            let (resolver, answer) = match timeout(step, under_way.next()).await {
                Ok(Some(came)) => came,
                Ok(None) => return refusal,
                Err(_) if next.is_none() && refusal.is_some() => return refusal,
                Err(_) => {
                    self.was_silent(next);
                    continue;
                }
            };
            match answer {
                Ok(answer) if !is_refusal(&answer) => {
                    self.answered(resolver);
                    return Some(answer);
                }
                Ok(answer) => refusal = Some(answer),
                // Nobody listens there, for example.
                Err(_) => self.was_silent(Some(resolver)),
            }
            said_no.insert(resolver);
        }
    }

    /// Those that were silent lately come last.
    fn in_order(&self, mut list: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let now = Instant::now();
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.retain(|resolver, until| *until > now && list.contains(resolver));
        list.sort_by_key(|resolver| silent.contains_key(resolver));
        list
    }

    fn was_silent(&self, resolver: Option<SocketAddr>) {
        let until = Instant::now() + Duration::from_secs(SILENT_S);
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.extend(resolver.map(|resolver| (resolver, until)));
    }

    fn answered(&self, resolver: SocketAddr) {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.remove(&resolver);
    }
}

/// Asks one resolver, with a number and a port that nobody can guess.
async fn attempt(resolver: SocketAddr, query: &[u8], way: Way) -> (SocketAddr, io::Result<Vec<u8>>) {
    let mut query = query.to_vec();
    let number = [query[0], query[1]];
    query[..2].copy_from_slice(&rand::random::<[u8; 2]>());
    let answer = match way {
        Way::Datagram => by_datagram(resolver, &query).await,
        Way::Stream => by_stream(resolver, &query).await,
    };
    let answer = answer.map(|mut answer| {
        answer[..2].copy_from_slice(&number);
        answer
    });
    (resolver, answer)
}

async fn by_datagram(resolver: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match resolver {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(resolver).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; MESSAGE_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if answers(query, &buffer[..length]) {
            return Ok(buffer[..length].to_vec());
        }
    }
}

async fn by_stream(resolver: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    write_framed(&mut stream, query).await?;
    let answer = read_framed(&mut stream).await?;
    if !answers(query, &answer) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(answer)
}

/// One message of a connection: its length in two bytes, and then itself.
pub(super) async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// The same, out.
pub(super) async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await
}
