//! A group of managers in one process, over loopback, for tests: started, stopped, restarted, cut off.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint};

use super::*;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps every entry; answers with how many there are.
#[derive(Default)]
pub(crate) struct Ledger {
    entries: Mutex<Vec<(u64, Vec<u8>)>>,
}

impl Ledger {
    pub(crate) fn texts(&self) -> Vec<String> {
        self.entries
            .lock()
            .unwrap()
            .iter()
            .map(|(_, e)| String::from_utf8(e.clone()).unwrap())
            .collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.entries.lock().unwrap().len()
    }
}

impl Machine for Ledger {
    fn apply(&self, index: u64, entry: &[u8]) -> Result<Vec<u8>, MachineError> {
        if entry == b"from the future" {
            return Err(MachineError(
                "an entry of level 9, this program knows levels up to 1".into(),
            ));
        }
        let mut entries = self.entries.lock().unwrap();
        assert!(
            entries.last().is_none_or(|(last, _)| *last < index),
            "entry {index} was applied twice"
        );
        entries.push((index, entry.to_vec()));
        Ok(entries.len().to_string().into_bytes())
    }

    fn snapshot(&self) -> Frozen {
        let entries = self.entries.lock().unwrap().clone();
        Box::new(move || serde_json::to_vec(&entries).unwrap())
    }

    fn restore(&self, bytes: &[u8]) -> Result<(), MachineError> {
        *self.entries.lock().unwrap() =
            serde_json::from_slice(bytes).map_err(|e| MachineError(e.to_string()))?;
        Ok(())
    }

    fn level(&self) -> u32 {
        1
    }
}

/// Which managers cannot reach which, by address.
pub(crate) type Cuts = Arc<Mutex<HashSet<(String, String)>>>;

/// Plain loopback; a cut pair gets no new connections and its old ones go silent.
struct Loopback {
    from: String,
    cuts: Cuts,
}

#[async_trait::async_trait]
impl Dial for Loopback {
    async fn channel(&self, to: &Manager) -> Result<Channel, DialError> {
        let (from, to, cuts) = (self.from.clone(), to.address.clone(), self.cuts.clone());
        let connect = tower::service_fn(move |_: http::Uri| {
            let (from, to, cuts) = (from.clone(), to.clone(), cuts.clone());
            async move {
                if is_cut(&cuts, &from, &to) {
                    return Err(std::io::Error::other("cut"));
                }
                let far = tokio::net::TcpStream::connect(&to).await?;
                let (near, relayed) = tokio::io::duplex(256 * 1024);
                tokio::spawn(relay(relayed, far, from, to, cuts));
                Ok(hyper_util::rt::TokioIo::new(near))
            }
        });
        Ok(Endpoint::from_static("http://manager").connect_with_connector_lazy(connect))
    }
}

fn is_cut(cuts: &Cuts, a: &str, b: &str) -> bool {
    let cuts = cuts.lock().unwrap();
    cuts.contains(&(a.to_owned(), b.to_owned())) || cuts.contains(&(b.to_owned(), a.to_owned()))
}

// Bytes pass until the pair is cut; from then on the connection is as dead as a pulled cable leaves it.
async fn relay(
    near: tokio::io::DuplexStream,
    far: tokio::net::TcpStream,
    from: String,
    to: String,
    cuts: Cuts,
) {
    let (mut near, mut far) = (near, far);
    let copy = tokio::io::copy_bidirectional(&mut near, &mut far);
    let cut = async {
        while !is_cut(&cuts, &from, &to) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = copy => {}
        () = cut => {
            // Held open, silent, for as long as anybody may wait.
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
    }
}

/// One manager.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) config: RaftConfig,
    cuts: Cuts,
    running: Option<Running>,
}

struct Running {
    raft: RaftHandle,
    ledger: Arc<Ledger>,
    serving: tokio::task::JoinHandle<()>,
}

impl Host {
    pub(crate) async fn new(name: &str, cuts: &Cuts, adjust: impl FnOnce(&mut RaftConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut config = RaftConfig::new(dir.path().join("raft"));
        config.room = Room {
            reserve_bytes: 1024 * 1024,
            floor_bytes: 64 * 1024,
        };
        adjust(&mut config);
        let mut host = Host {
            name: name.into(),
            address,
            dir,
            config,
            cuts: cuts.clone(),
            running: None,
        };
        host.start_on(listener).await.unwrap();
        host
    }

    pub(crate) async fn start(&mut self) -> Result<(), OpenError> {
        let address: SocketAddr = self.address.parse().unwrap();
        let until = Instant::now() + PATIENCE;
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(e) if Instant::now() > until => panic!("{address}: {e}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        self.start_on(listener).await
    }

    async fn start_on(&mut self, listener: TcpListener) -> Result<(), OpenError> {
        let ledger = Arc::new(Ledger::default());
        let dial = Arc::new(Loopback {
            from: self.address.clone(),
            cuts: self.cuts.clone(),
        });
        let raft = super::start(self.config.clone(), ledger.clone(), dial).await?;
        let server = tonic::transport::Server::builder().add_service(raft.service().into_server());
        let serving = tokio::spawn(async move {
            server
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .unwrap();
        });
        self.running = Some(Running {
            raft,
            ledger,
            serving,
        });
        Ok(())
    }

    /// Stops answering and ends.
    pub(crate) async fn stop(&mut self) {
        self.fall().await;
    }

    /// Stops answering at once; ends when the future is awaited.
    pub(crate) fn fall(&mut self) -> impl Future<Output = ()> + use<> {
        let running = self.running.take();
        running.iter().for_each(|r| r.serving.abort());
        async move {
            if let Some(running) = running {
                running.raft.shutdown().await;
            }
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(crate) fn raft(&self) -> &RaftHandle {
        &self.running.as_ref().expect("the host runs").raft
    }

    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.running.as_ref().expect("the host runs").ledger
    }

    pub(crate) fn manager(&self) -> Manager {
        Manager {
            raft_id: self.raft().id(),
            node: self.name.clone(),
            address: self.address.clone(),
        }
    }
}

/// Several managers.
pub(crate) struct Group {
    pub(crate) hosts: Vec<Host>,
    pub(crate) cuts: Cuts,
}

impl Group {
    /// Founds a group on the first and adds the others.
    pub(crate) async fn of(count: usize, adjust: impl Fn(&mut RaftConfig)) -> Self {
        let mut group = Group {
            hosts: Vec::new(),
            cuts: Cuts::default(),
        };
        for n in 0..count {
            group
                .hosts
                .push(Host::new(&format!("host{n}"), &group.cuts, &adjust).await);
        }
        let first = &group.hosts[0];
        first
            .raft()
            .initialize(&first.name, &first.address)
            .await
            .unwrap();
        eventually("the first manager leads", || {
            group.hosts[0].raft().leadership().borrow().may_decide()
        })
        .await;
        for n in 1..count {
            let manager = group.hosts[n].manager();
            group.hosts[0]
                .raft()
                .add_manager(manager, PATIENCE)
                .await
                .unwrap();
        }
        group
    }

    /// The manager that may decide, once there is one that all who run agree on.
    pub(crate) async fn leader(&self) -> usize {
        let until = Instant::now() + PATIENCE;
        loop {
            // One that was cut off believes in its own term for a while.
            let term = self.running().map(|n| self.now(n).term).max();
            let decides = |n: &usize| self.now(*n).may_decide() && Some(self.now(*n).term) == term;
            let deciding: Vec<usize> = self.running().filter(decides).collect();
            if let [leader] = deciding[..] {
                return leader;
            }
            assert!(
                Instant::now() < until,
                "no single leader: {:?}",
                self.running().map(|n| self.now(n)).collect::<Vec<_>>()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn now(&self, n: usize) -> Leadership {
        self.hosts[n].raft().leadership().borrow().clone()
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.hosts.len()).filter(|n| self.hosts[*n].is_running())
    }

    /// Proposes through whoever leads until it is accepted.
    pub(crate) async fn write(&self, text: &str) -> u64 {
        let until = Instant::now() + PATIENCE;
        loop {
            for n in self.running() {
                match self.hosts[n].raft().propose(text.as_bytes().to_vec()).await {
                    Ok((index, _)) => return index,
                    Err(ProposeError::NotLeader { .. } | ProposeError::NoQuorum { .. }) => {}
                    Err(e) => panic!("{text}: {e}"),
                }
            }
            assert!(Instant::now() < until, "{text} was never accepted");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until every running manager holds the same entries as the leader, and returns them.
    pub(crate) async fn agreed(&self) -> Vec<String> {
        let leader = self.leader().await;
        self.hosts[leader].raft().read_barrier().await.unwrap();
        let wanted = self.hosts[leader].ledger().texts();
        for n in self.running() {
            eventually(&format!("host{n} has everything"), || {
                self.hosts[n].ledger().count() >= wanted.len()
            })
            .await;
            assert_eq!(self.hosts[n].ledger().texts(), wanted, "host{n} differs");
        }
        wanted
    }

    pub(crate) fn cut_off(&self, n: usize) {
        let mut cuts = self.cuts.lock().unwrap();
        for other in self.hosts.iter().filter(|h| h.address != self.hosts[n].address) {
            cuts.insert((self.hosts[n].address.clone(), other.address.clone()));
        }
    }

    pub(crate) fn reconnect(&self) {
        self.cuts.lock().unwrap().clear();
    }

    pub(crate) async fn stop(&mut self) {
        for host in &mut self.hosts {
            host.stop().await;
        }
    }
}

/// Waits for a condition, with a deadline.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "it never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
