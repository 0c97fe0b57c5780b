//! UDP datagrams: each client keeps its task for as long as it talks and the task takes connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shoal_proto::id::TaskId;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::balancer::Port;

/// Clients one port remembers; a further one waits until one is idle.
const CLIENTS_MAX: usize = 1_024;
/// A client that is silent for so long is forgotten.
const IDLE_MS: u64 = 30_000;
/// Largest datagram.
const DATAGRAM_MAX: usize = 65_535;
/// Wait after the socket itself failed.
const PAUSE_MS: u64 = 50;

/// One client and the task that serves it.
struct Flow {
    task: TaskId,
    upstream: Arc<UdpSocket>,
    answers: JoinHandle<()>,
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

pub(super) async fn serve(socket: UdpSocket, port: Arc<Port>) {
    let socket = Arc::new(socket);
    let mut flows: BTreeMap<SocketAddr, Flow> = BTreeMap::new();
    let (idle_to, mut idle) = mpsc::channel(CLIENTS_MAX);
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        tokio::select! {
            Some(client) = idle.recv() => drop(flows.remove(&client)),
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, client)) => {
                    let flow = flow(&mut flows, client, &port, &socket, &idle_to).await;
                    if let Some(flow) = flow {
                        // A datagram may be lost anywhere, here too.
                        flow.upstream.send(&buffer[..length]).await.ok();
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "datagram could not be received");
                    tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
                }
            },
        }
    }
}

async fn flow<'a>(
    flows: &'a mut BTreeMap<SocketAddr, Flow>,
    client: SocketAddr,
    port: &Port,
    socket: &Arc<UdpSocket>,
    idle: &mpsc::Sender<SocketAddr>,
) -> Option<&'a Flow> {
    let backends = port.in_turn();
    let stays = flows
        .get(&client)
        .is_some_and(|flow| backends.iter().any(|backend| backend.task == flow.task));
    if !stays {
        flows.remove(&client);
        let backend = backends.first().filter(|_| flows.len() < CLIENTS_MAX)?;
        let any = if backend.addr.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let upstream = Arc::new(UdpSocket::bind(any).await.ok()?);
        upstream.connect(backend.addr).await.ok()?;
        let answers = tokio::spawn(answer(
            Arc::clone(&upstream),
            Arc::clone(socket),
            client,
            idle.clone(),
        ));
        flows.insert(
            client,
            Flow {
                task: backend.task,
                upstream,
                answers,
            },
        );
    }
    flows.get(&client)
}

async fn answer(
    upstream: Arc<UdpSocket>,
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    idle: mpsc::Sender<SocketAddr>,
) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    while let Ok(Ok(length)) = timeout(Duration::from_millis(IDLE_MS), upstream.recv(&mut buffer)).await {
        socket.send_to(&buffer[..length], client).await.ok();
    }
    idle.send(client).await.ok();
}
