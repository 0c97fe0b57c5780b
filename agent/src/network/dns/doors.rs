//! The running whole: takes views, keeps the tables of names and one door for each gateway in step with them, and tries
//! again where a door could not be opened.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::PORT;
use super::desk::{Desk, Known};
use super::door::{Door, connections};
use super::forward::Forwarder;
use super::kept;
use super::limits::Places;
use super::names::Names;
use super::resolvers::RESOLV_CONF;
use crate::network::view::{View, carried};

/// Between two tries to open a door.
const RETRY_S: u64 = 2;

/// Where names are answered, and whom to ask for others.
#[derive(Debug, Clone)]
pub struct Config {
    /// Port of each gateway on which questions arrive.
    pub port: u16,
    /// Names the host's resolvers.
    pub resolv_conf: PathBuf,
    /// Port on which they are asked: 53, but for tests.
    pub resolver_port: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: PORT,
            resolv_conf: RESOLV_CONF.into(),
            resolver_port: 53,
        }
    }
}

/// Gateways where names are not answered, and why. Empty when all is well.
pub type Problems = BTreeMap<Ipv4Addr, String>;

/// Answers names until it is dropped.
#[derive(Debug)]
pub struct Dns {
    views: watch::Sender<Option<Arc<View>>>,
    problems: watch::Receiver<Problems>,
    job: JoinHandle<()>,
}

impl Dns {
    /// Begins, with no network yet. Needs a tokio runtime.
    #[must_use]
    pub fn start(config: Config) -> Self {
        let (views, shown) = watch::channel(None);
        let (said, problems) = watch::channel(Problems::new());
        let forwarder = Forwarder::new(config.resolv_conf, config.resolver_port);
        let doors = Doors {
            port: config.port,
            desk: Arc::new(Desk::new(forwarder)),
            connections: connections(),
            wanted: BTreeSet::new(),
            open: BTreeMap::new(),
            problems: said,
        };
        Self {
            views,
            problems,
            job: tokio::spawn(doors.run(shown)),
        }
    }

    /// Answers by this view from now on; tasks of this node that take no connections are aside in it already. While
    /// tables are made of one view, of all that come only the last counts.
    pub fn show(&self, view: Arc<View>) {
        self.views.send_replace(Some(view));
    }

    /// Answers nobody from now on: the node leaves.
    pub fn clear(&self) {
        self.views.send_replace(None);
    }

    /// Where names are not answered, now and later.
    #[must_use]
    pub fn problems(&self) -> watch::Receiver<Problems> {
        self.problems.clone()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.job.abort();
    }
}

struct Doors {
    port: u16,
    desk: Arc<Desk>,
    connections: Arc<Places>,
    wanted: BTreeSet<Ipv4Addr>,
    open: BTreeMap<Ipv4Addr, Door>,
    problems: watch::Sender<Problems>,
}

impl Doors {
    async fn run(mut self, mut shown: watch::Receiver<Option<Arc<View>>>) {
        let mut again = interval(Duration::from_secs(RETRY_S));
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = shown.changed() => {
                    let Ok(()) = changed else { return };
                    let view = shown.borrow_and_update().clone();
                    match view {
                        Some(view) => self.take(view).await,
                        None => self.wanted.clear(),
                    }
                    self.open_doors();
                    kept::forget_untaken();
                }
                _ = again.tick() => self.open_doors(),
            }
        }
    }

    async fn take(&mut self, view: Arc<View>) {
        self.wanted = gateways(&view);
        let gateways = Arc::new(self.wanted.clone());
        // Milliseconds where tasks are counted in thousands.
        let names = tokio::task::spawn_blocking(move || Names::of(&view)).await;
        match names {
            Ok(names) => self.desk.know(Known {
                names: Arc::new(names),
                gateways,
            }),
            Err(error) => tracing::error!(%error, "names stay as they were"),
        }
    }

    fn open_doors(&mut self) {
        self.open.retain(|gateway, _| {
            let stays = self.wanted.contains(gateway);
            if !stays {
                kept::forget(*gateway);
            }
            stays
        });
        let mut problems = Problems::new();
        for gateway in &self.wanted {
            if self.open.contains_key(gateway) {
                continue;
            }
            match Door::open(*gateway, self.port, &self.desk, &self.connections) {
                Ok(door) => {
                    self.open.insert(*gateway, door);
                }
                Err(error) => {
                    problems.insert(*gateway, error.to_string());
                }
            }
        }
        self.say(problems);
    }

    /// Each trouble once.
    fn say(&self, problems: Problems) {
        self.problems.send_if_modified(|said| {
            for (gateway, problem) in &problems {
                if said.get(gateway) != Some(problem) {
                    tracing::warn!("{problem}");
                }
            }
            let differs = *said != problems;
            *said = problems;
            differs
        });
    }
}

/// This node's gateway on each network that it carries: the first address of its block.
fn gateways(view: &View) -> BTreeSet<Ipv4Addr> {
    let blocks = carried(view).filter_map(|(_, network)| network.blocks.get(&view.node));
    blocks.map(|block| block.first()).collect()
}

#[cfg(test)]
#[path = "doors_test.rs"]
mod tests;
