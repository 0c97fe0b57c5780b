//! Keeps this node's end of WireGuard as the newest view says, while any encrypted network concerns the node: keys made
//! and followed, the device there, the other nodes known to it. Looks every second meanwhile, because nobody tells.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shoal_proto::overlay::{SEALED_PREFIX_MAX, WIREGUARD_PORT};
use shoal_proto::tunnel_key::TunnelKey;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Keyring, Means, Peer, State, Wish};
use crate::clock;
use crate::network::kernel::Kernel;
use crate::network::model::Interface;
use crate::network::view::{self, View};

/// Between two looks.
const LOOK_MS: u64 = 1_000;

/// What the node should be.
#[derive(Debug, Clone, Default)]
enum Shown {
    /// Nothing is known yet: all stays as it is.
    #[default]
    Nothing,
    /// A part of this cluster.
    View(Arc<View>),
    /// Without a trace of a cluster.
    Clear,
}

/// How far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// What the cluster is to know this node by; none while it seals nothing.
    pub key: Option<TunnelKey>,
    /// Who seals; none while nobody does.
    pub means: Option<Means>,
    /// Why nothing can be sealed.
    pub problem: Option<String>,
    /// Nothing of it is left.
    pub cleared: bool,
}

/// Sees to it until it is dropped. The device stays when it ends: traffic goes on.
#[derive(Debug)]
pub struct Sealing {
    shown: watch::Sender<Shown>,
    told: watch::Receiver<Told>,
    job: JoinHandle<()>,
}

impl Sealing {
    /// Begins with nothing known; `keys` is the file of the node's keys. Needs a tokio runtime.
    #[must_use]
    pub fn start(kernel: Arc<dyn Kernel>, keys: PathBuf) -> Self {
        let (shown, seen) = watch::channel(Shown::default());
        // An agent that starts again says nothing else than before: without a key the others would let go of this node.
        let (told_to, told) = watch::channel(Told {
            key: Keyring::told(&keys),
            ..Told::default()
        });
        let work = Work {
            kernel,
            path: keys,
            keys: None,
            before: None,
            told: told_to,
        };
        let job = tokio::spawn(work.run(seen));
        Self { shown, told, job }
    }

    /// From now on seals what this view says.
    pub fn show(&self, view: &Arc<View>) {
        self.shown.send_replace(Shown::View(Arc::clone(view)));
    }

    /// From now on seals nothing, and forgets the keys.
    pub fn clear(&self) {
        self.shown.send_replace(Shown::Clear);
    }

    /// How far it is, and the changes of that.
    #[must_use]
    pub fn told(&self) -> watch::Receiver<Told> {
        self.told.clone()
    }
}

impl Drop for Sealing {
    fn drop(&mut self) {
        self.job.abort();
    }
}

struct Work {
    kernel: Arc<dyn Kernel>,
    path: PathBuf,
    keys: Option<Keyring>,
    /// What was carried out last.
    before: Option<Wish>,
    told: watch::Sender<Told>,
}

impl Work {
    async fn run(mut self, mut shown: watch::Receiver<Shown>) {
        loop {
            let now = shown.borrow_and_update().clone();
            let told = self.round(&now).await;
            if let Some(told) = told {
                self.tell(told);
            }
            // Where nothing is sealed there is nothing to look at.
            let idle = matches!(now, Shown::Nothing) || self.told.borrow().cleared;
            let pause = if idle {
                Duration::MAX
            } else {
                Duration::from_millis(LOOK_MS)
            };
            if let Ok(Err(_)) = tokio::time::timeout(pause, shown.changed()).await {
                return;
            }
        }
    }

    async fn round(&mut self, shown: &Shown) -> Option<Told> {
        let wish = match shown {
            Shown::Nothing => return None,
            Shown::View(view) if view::seals(view) => self.wish(view),
            Shown::View(_) | Shown::Clear => return Some(self.end().await),
        };
        let State { means, problem } = match wish {
            Ok(wish) => {
                let state = self.kernel.seal(Some(&wish), self.before.as_ref()).await;
                self.before = state.problem.is_none().then_some(wish);
                state
            }
            Err(problem) => State {
                means: None,
                problem: Some(problem),
            },
        };
        Some(Told {
            // It stays while nothing can be sealed: the others would have to meet this node anew for every hitch.
            key: self.keys.as_ref().map(Keyring::newest),
            means,
            problem,
            cleared: false,
        })
    }

    /// Nothing is to be sealed here.
    async fn end(&mut self) -> Told {
        let is = self.told.borrow().clone();
        if is.cleared {
            return is;
        }
        (self.keys, self.before) = (None, None);
        let forgotten = Keyring::forget(&self.path).map_err(|error| error.to_string());
        let state = self.kernel.seal(None, None).await;
        let problem = forgotten.err().or(state.problem);
        Told {
            key: None,
            means: None,
            cleared: problem.is_none(),
            problem,
        }
    }

    fn wish(&mut self, view: &View) -> Result<Wish, String> {
        let this = view
            .this()
            .ok_or("encrypted networks: this node has no number yet")?;
        let subnet = view.overlay.subnet;
        let address = this.number.sealed_address_in(subnet).ok_or_else(|| {
            format!("encrypted networks: overlay subnet {subnet} is too small, it must be a /{SEALED_PREFIX_MAX} or larger")
        })?;
        let told = this.key;
        let keys = self.keys(told)?;
        let peers = view::sealed_others(view).filter_map(|(_, peer, address)| {
            let endpoint = SocketAddrV4::new(peer.host, WIREGUARD_PORT);
            Some((peer.key?, Peer { endpoint, address }))
        });
        Ok(Wish {
            key: keys.in_force(told),
            host: this.host,
            address: Interface {
                address: address.into(),
                length: subnet.prefix() + 1,
            },
            port: WIREGUARD_PORT,
            peers: peers.collect(),
        })
    }

    /// The keys, a new one among them when it is time.
    fn keys(&mut self, told: Option<TunnelKey>) -> Result<&Keyring, String> {
        let now = clock::wall();
        let words = |error: &dyn std::error::Error| {
            let why = error.source().map(|why| format!(": {why}")).unwrap_or_default();
            format!("encrypted networks: {error}{why}")
        };
        let mut keys = match self.keys.take() {
            Some(keys) => keys,
            None => Keyring::open(self.path.clone(), now).map_err(|error| words(&error))?,
        };
        let turned = keys.turn(told, now);
        let keys = self.keys.insert(keys);
        turned.map_err(|error| words(&error))?;
        Ok(keys)
    }

    fn tell(&self, now: Told) {
        self.told.send_if_modified(|told| {
            if let Some(problem) = now.problem.as_ref().filter(|_| told.problem != now.problem) {
                tracing::warn!("{problem}");
            }
            if now.key.is_some() && now.key != told.key {
                tracing::info!("encrypted networks: this node seals with a new key");
            }
            if let Some(means) = now.means.filter(|_| now.means != told.means) {
                tracing::info!("encrypted networks: sealed by the {}", means.name());
            }
            let changed = *told != now;
            *told = now;
            changed
        });
    }
}

#[cfg(test)]
#[path = "keep_test.rs"]
mod tests;
