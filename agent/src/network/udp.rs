//! UDP datagrams: each client keeps its task for as long as it talks and the task takes connections. A task that leaves
//! still has a moment for the answers it owes.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shoal_proto::id::TaskId;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::{Mutex, mpsc};

use super::Backend;
use super::port::{Counted, Port};

/// Clients one port remembers; a further one waits until one is idle.
const CLIENTS_MAX: usize = 1_024;
/// A client that is silent for so long, and is not answered, is forgotten.
const IDLE_MS: u64 = 30_000;
/// How long a task that is to stop owes an answer.
const ANSWER_MAX_MS: u64 = 1_000;
/// Largest datagram that is kept for another task.
const KEPT_MAX: usize = 4_096;
/// Largest datagram.
const DATAGRAM_MAX: usize = 65_535;
/// Wait after the socket itself failed.
const PAUSE_MS: u64 = 50;

/// One client and the task that serves it. Its answers end a moment after it.
struct Flow {
    number: u64,
    task: TaskId,
    upstream: Arc<UdpSocket>,
    asked: mpsc::Sender<Counted>,
    /// The newest datagram, for another task should this one not listen; empty when it is too large to be kept.
    newest: Vec<u8>,
}

/// How the way back from a task to a client ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing to pass on for long.
    Idle,
    /// Nobody listens there.
    Refused,
}

/// Why a datagram was not sent.
enum Unsent {
    /// There is no (other) task, or no place for a further client.
    NoTask,
    /// This one did not listen.
    Refused(TaskId),
}

/// A datagram that is to find its task.
struct Datagram<'a> {
    client: SocketAddr,
    bytes: &'a [u8],
    /// The task that did not listen.
    not: Option<TaskId>,
}

/// A port's clients.
struct Flows {
    port: Arc<Port>,
    socket: Arc<UdpSocket>,
    by_client: BTreeMap<SocketAddr, Flow>,
    started: u64,
    ended: mpsc::Sender<(SocketAddr, u64, End)>,
    /// One for all answers: a buffer for each would be memory for nothing.
    buffer: Arc<Mutex<Vec<u8>>>,
}

pub(super) async fn serve(socket: UdpSocket, port: Arc<Port>) {
    let socket = Arc::new(socket);
    let (ended_to, mut ended) = mpsc::channel(CLIENTS_MAX);
    let mut flows = Flows {
        port,
        socket: Arc::clone(&socket),
        by_client: BTreeMap::new(),
        started: 0,
        ended: ended_to,
        buffer: Arc::new(Mutex::new(vec![0; DATAGRAM_MAX])),
    };
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        tokio::select! {
            Some((client, number, end)) = ended.recv() => flows.ended(client, number, end).await,
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, client)) => {
                    let bytes = &buffer[..length];
                    flows.pass_on(Datagram { client, bytes, not: None }).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "datagram could not be received");
                    tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
                }
            },
        }
    }
}

impl Flows {
    async fn ended(&mut self, client: SocketAddr, number: u64, end: End) {
        // The client may have got another task since.
        let same = self
            .by_client
            .get(&client)
            .is_some_and(|flow| flow.number == number);
        let Some(flow) = same.then(|| self.by_client.remove(&client)).flatten() else {
            return;
        };
        if end == End::Refused && !flow.newest.is_empty() {
            let not = Some(flow.task);
            let bytes = &flow.newest;
            self.pass_on(Datagram { client, bytes, not }).await;
        }
    }

    async fn pass_on(&mut self, mut datagram: Datagram<'_>) {
        let mut sent = self.send(&datagram).await;
        if let Err(Unsent::Refused(task)) = sent
            && datagram.not.is_none()
        {
            self.by_client.remove(&datagram.client);
            datagram.not = Some(task);
            sent = self.send(&datagram).await;
        }
        if sent.is_err() {
            // A datagram may be lost anywhere, here too; how many is told.
            metrics::counter!("shoal_agent_datagrams_dropped").increment(1);
        }
    }

    async fn send(&mut self, datagram: &Datagram<'_>) -> Result<(), Unsent> {
        let Datagram { client, bytes, not } = *datagram;
        let mut backends = self.port.in_turn();
        backends.retain(|backend| Some(backend.task) != not);
        let task = self.by_client.get(&client).map(|flow| flow.task);
        let stays = backends.iter().find(|backend| Some(backend.task) == task);
        let backend = *stays.or(backends.first()).ok_or(Unsent::NoTask)?;
        // Counted before it is sent: a task that is to stop waits for the answer.
        let counted = self.port.count(backend).ok_or(Unsent::NoTask)?;
        if task != Some(backend.task) {
            self.by_client.remove(&client);
            let flow = self.start(client, backend).await.ok_or(Unsent::NoTask)?;
            self.by_client.insert(client, flow);
        }
        let flow = self.by_client.get_mut(&client).ok_or(Unsent::NoTask)?;
        flow.newest.clear();
        // Sent on once only: what the second task refuses is lost.
        if bytes.len() <= KEPT_MAX && not.is_none() {
            flow.newest.extend_from_slice(bytes);
        }
        // One that is not taken in yet counts as well as this one.
        flow.asked.try_send(counted).ok();
        let sent = flow.upstream.send(bytes).await;
        sent.map(drop).map_err(|_| Unsent::Refused(backend.task))
    }

    async fn start(&mut self, client: SocketAddr, backend: Backend) -> Option<Flow> {
        if self.by_client.len() >= CLIENTS_MAX {
            return None;
        }
        let any = if backend.addr.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let upstream = Arc::new(UdpSocket::bind(any).await.ok()?);
        upstream.connect(backend.addr).await.ok()?;
        let (asked, questions) = mpsc::channel(1);
        self.started += 1;
        let answers = Answers {
            client,
            upstream: Arc::clone(&upstream),
            socket: Arc::clone(&self.socket),
            buffer: Arc::clone(&self.buffer),
        };
        let (ended, number) = (self.ended.clone(), self.started);
        tokio::spawn(async move {
            if let Some(end) = answers.pass_on(questions).await {
                ended.send((client, number, end)).await.ok();
            }
        });
        Some(Flow {
            number,
            task: backend.task,
            upstream,
            asked,
            newest: Vec::new(),
        })
    }
}

/// The way back from a task to a client.
struct Answers {
    client: SocketAddr,
    upstream: Arc<UdpSocket>,
    socket: Arc<UdpSocket>,
    buffer: Arc<Mutex<Vec<u8>>>,
}

impl Answers {
    /// Until the flow has nothing to pass on; none when it ended otherwise and owes nothing more.
    async fn pass_on(self, mut questions: mpsc::Receiver<Counted>) -> Option<End> {
        let mut owed = None;
        loop {
            let wait_ms = if owed.is_some() { ANSWER_MAX_MS } else { IDLE_MS };
            tokio::select! {
                answered = self.one() => match answered {
                    Ok(()) => owed = None,
                    Err(_) => return Some(End::Refused),
                },
                question = questions.recv() => match question {
                    Some(counted) => owed = Some(counted),
                    None => break,
                },
                () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {
                    if owed.take().is_none() {
                        return Some(End::Idle);
                    }
                }
            }
        }
        // The client has gone on to another task, or the port was closed.
        if owed.is_some() {
            let last = tokio::time::timeout(Duration::from_millis(ANSWER_MAX_MS), self.one());
            last.await.ok();
        }
        None
    }

    /// One answer, as soon as there is one.
    async fn one(&self) -> io::Result<()> {
        loop {
            let ready = self.upstream.ready(Interest::READABLE | Interest::ERROR).await?;
            if ready.is_error() {
                self.refusal()?;
            }
            // Held from the answer to its end: two of them share it.
            let mut buffer = self.buffer.lock().await;
            let length = match self.upstream.try_recv(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                received => received?,
            };
            // The client may be gone, which is no fault of the task.
            self.socket.send_to(&buffer[..length], self.client).await.ok();
            return Ok(());
        }
    }

    /// The kernel's word that nobody listens there, unless a sender has heard it already.
    fn refusal(&self) -> io::Result<()> {
        if let Some(error) = self.upstream.take_error()? {
            return Err(error);
        }
        let heard = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        match self.upstream.try_io(Interest::ERROR, heard) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}
