//! What goes when no task needs it: secret and config files at once, networks of the cluster after a grace. It touches
//! nothing without the cluster's label.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use shoal_proto::id::{ClusterId, NetworkId, TaskId};
use shoal_proto::network::Network;
use shoal_proto::time::Timestamp;

use crate::engine::{Engine, EngineError};
use crate::secrets::SecretFiles;

/// How long a network that no task is on stays.
pub const NETWORK_GRACE_MS: u64 = 30_000;
/// Time between two looks for such networks.
const NETWORK_PERIOD_MS: u64 = 10_000;

/// Removes what is left over.
pub struct Sweeper {
    engine: Arc<dyn Engine>,
    files: SecretFiles,
    cluster: ClusterId,
    wanted: Option<BTreeSet<TaskId>>,
    networks_at: Timestamp,
    unused_since: Arc<Mutex<BTreeMap<String, Timestamp>>>,
    grace_ms: u64,
    /// No network of the cluster was left at the last look.
    no_networks: Arc<AtomicBool>,
}

impl Sweeper {
    /// A sweeper of one cluster's things.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, files: SecretFiles, cluster: ClusterId) -> Self {
        let unused_since = Arc::default();
        Self {
            engine,
            files,
            cluster,
            wanted: None,
            networks_at: Timestamp::ZERO,
            unused_since,
            grace_ms: NETWORK_GRACE_MS,
            no_networks: Arc::default(),
        }
    }

    /// From now on nothing has a grace: the membership ends.
    pub fn hurry(&mut self) {
        self.grace_ms = 0;
        self.networks_at = Timestamp::ZERO;
    }

    /// Whether nothing is left: no file and no network.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.wanted.as_ref().is_some_and(BTreeSet::is_empty) && self.no_networks.load(Ordering::Relaxed)
    }

    /// Removes what these tasks and networks do not need.
    pub fn sweep(
        &mut self,
        tasks: &BTreeSet<TaskId>,
        networks: &BTreeMap<NetworkId, Network>,
        now: Timestamp,
    ) {
        if self.wanted.as_ref() != Some(tasks) {
            match self.files.sweep(tasks) {
                Ok(_) => self.wanted = Some(tasks.clone()),
                Err(error) => tracing::error!(%error, "files of ended tasks could not be removed"),
            }
        }
        let period_ms = NETWORK_PERIOD_MS.min(self.grace_ms.max(200));
        if now.ms_since(self.networks_at) >= period_ms {
            self.networks_at = now;
            self.sweep_networks(networks.keys().map(ToString::to_string).collect(), now);
        }
    }

    fn sweep_networks(&self, wanted: BTreeSet<String>, now: Timestamp) {
        let (engine, cluster, grace_ms) = (Arc::clone(&self.engine), self.cluster, self.grace_ms);
        let (unused_since, no_networks) = (Arc::clone(&self.unused_since), Arc::clone(&self.no_networks));
        tokio::spawn(async move {
            let Ok(there) = engine.networks(cluster).await else {
                return;
            };
            no_networks.store(there.is_empty(), Ordering::Relaxed);
            let unused = there.into_iter().filter(|seen| !wanted.contains(&seen.network));
            let unused: BTreeSet<String> = unused.map(|seen| seen.name).collect();
            for name in due(&unused_since, &unused, now, grace_ms) {
                match engine.remove_network(&name).await {
                    // Somebody attached a container by hand.
                    Ok(()) | Err(EngineError::Conflict(_) | EngineError::Silent(_)) => {}
                    Err(EngineError::Refused(words)) if words.contains("active endpoints") => {}
                    Err(error) => tracing::warn!(name, %error, "unused network could not be removed"),
                }
            }
        });
    }
}

/// Unused networks whose grace is over.
fn due(
    unused_since: &Mutex<BTreeMap<String, Timestamp>>,
    unused: &BTreeSet<String>,
    now: Timestamp,
    grace_ms: u64,
) -> Vec<String> {
    let mut since = unused_since.lock().unwrap_or_else(PoisonError::into_inner);
    since.retain(|name, _| unused.contains(name));
    let due = unused.iter().filter(|name| {
        let first = *since.entry((*name).clone()).or_insert(now);
        now.ms_since(first) >= grace_ms
    });
    due.cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::{NETWORK_GRACE_MS, due};
    use crate::testing::at;

    #[test]
    fn a_network_goes_after_a_grace_that_begins_anew_with_every_use() {
        let since = Mutex::default();
        let unused = BTreeSet::from(["front".to_owned()]);
        let due = |unused: &BTreeSet<String>, s: u64| due(&since, unused, at(s * 1_000), NETWORK_GRACE_MS);
        assert!(due(&unused, 0).is_empty());
        assert!(due(&unused, 29).is_empty());
        assert_eq!(due(&unused, 30), ["front"]);
        assert!(due(&BTreeSet::new(), 31).is_empty(), "a task uses it");
        assert!(due(&unused, 32).is_empty());
        assert_eq!(due(&unused, 62), ["front"]);
    }
}
