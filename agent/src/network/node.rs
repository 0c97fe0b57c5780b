//! The network of this node as the agent's loop sees it: it shows what is assigned and what runs, and hears how far the
//! kernel is. It decides no more than which tasks of its own take connections.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use shoal_proto::id::{NetworkId, ServiceId, TaskId};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::beside::{self, Beside};
use super::dns::{self, Dns};
use super::ipv6::Ipv6;
use super::keeper::{Keeper, Kept, Pace, Wish};
use super::kernel::Kernel;
use super::probe::{Peers, Probes};
use super::view::{Secrecy, narrowed};
use super::way_out::astray;
use super::wireguard::{self, Means, Sealing};
use crate::reconcile::{Local, takes_connections};

/// The parts that carry a view out.
pub struct NodeNetwork {
    keeper: Keeper,
    kept: watch::Receiver<Kept>,
    names: Dns,
    beside: Beside,
    firewalls: watch::Receiver<beside::State>,
    sealing: Sealing,
    sealed: watch::Receiver<wireguard::Told>,
    ipv6: Ipv6,
    /// What of IPv6 is missing here, if anything that was asked for is.
    ipv4_only: Option<String>,
    probes: Probes,
    _probing: AbortOnDropHandle<()>,
    shown: Shown,
}

/// What of a node's network is worth telling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// All that is not as it should be: ports that are not ours, steps that the kernel refused, firewalls in the way.
    pub problems: Vec<String>,
    /// Rules of ours in the host's firewalls: where, and what they let through.
    pub in_firewalls: Vec<String>,
    /// Who seals what encrypted networks send.
    pub sealed_by: Option<Means>,
}

impl Told {
    /// What an operator may want to know and need not mend.
    #[must_use]
    pub fn note(&self) -> &'static str {
        match self.sealed_by {
            Some(Means::Program) => {
                "encrypted networks are sealed by a program: this kernel has no wireguard"
            }
            Some(Means::Kernel) | None => "",
        }
    }
}

/// What was shown last.
#[derive(PartialEq, Eq)]
enum Shown {
    Nothing,
    Set {
        index: u64,
        takes: BTreeSet<TaskId>,
        tunnel_mtu: u32,
    },
    Clear,
}

impl NodeNetwork {
    /// Starts with nothing known; `keys` is the file of the node's keys. Needs a tokio runtime.
    #[must_use]
    pub fn start(kernel: Arc<dyn Kernel>, keys: PathBuf, ipv6: Ipv6) -> Self {
        // It ends with the last handle.
        let (keeper, _running) = Keeper::start(Arc::clone(&kernel), Pace::default());
        let sealing = Sealing::start(Arc::clone(&kernel), keys);
        let beside = Beside::start(kernel);
        let probes = Probes::default();
        let probing = probes.clone();
        Self {
            firewalls: beside.state(),
            beside,
            sealed: sealing.told(),
            sealing,
            kept: keeper.kept(),
            keeper,
            ipv6,
            ipv4_only: None,
            names: Dns::start(dns::Config::default()),
            probes,
            _probing: AbortOnDropHandle::new(tokio::spawn(async move { probing.run().await })),
            shown: Shown::Nothing,
        }
    }

    /// Speaks to the keeper.
    #[must_use]
    pub fn keeper(&self) -> Keeper {
        self.keeper.clone()
    }

    /// How the other nodes are reached.
    #[must_use]
    pub fn probes(&self) -> Probes {
        self.probes.clone()
    }

    /// What the cluster is to know this node's end of encrypted networks by, and the changes of that.
    #[must_use]
    pub fn sealed(&self) -> watch::Receiver<wireguard::Told> {
        self.sealed.clone()
    }

    /// Shows what is assigned, and what of it runs.
    pub fn show(&mut self, local: &Local) {
        let Some(view) = &local.assignments.view else {
            return;
        };
        let shown = Shown::Set {
            index: local.assignments.index.index,
            takes: takes(local),
            tunnel_mtu: self.kept.borrow().mtu,
        };
        if self.shown == shown {
            return;
        }
        let Shown::Set {
            index,
            takes,
            tunnel_mtu,
        } = &shown
        else {
            return;
        };
        self.probes.show(Peers::of(view, *tunnel_mtu));
        self.ipv4_only = self.ipv6.problem(view);
        let view = self.ipv6.carried(narrowed(view, |task| takes.contains(&task)));
        let view = Arc::new(view);
        self.names.show(Arc::clone(&view));
        self.beside.show(&view);
        self.sealing.show(&view);
        self.keeper.wish(Wish::Keep { view, index: *index });
        self.shown = shown;
    }

    /// Nothing of a cluster stays in the kernel.
    pub fn clear(&mut self) {
        if self.shown != Shown::Clear {
            self.shown = Shown::Clear;
            self.ipv4_only = None;
            self.probes.show(Peers::default());
            self.keeper.wish(Wish::Clear);
            self.names.clear();
            self.beside.clear();
            self.sealing.clear();
        }
    }

    /// Returns when the kernel is elsewhere than before.
    pub async fn changed(&mut self) {
        let ended = tokio::select! {
            changed = self.kept.changed() => changed.is_err(),
            changed = self.firewalls.changed() => changed.is_err(),
            changed = self.sealed.changed() => changed.is_err(),
        };
        if ended {
            // Only the end of the program ends either.
            std::future::pending::<()>().await;
        }
    }

    /// The newest set that the kernel holds, of those up to `seen`.
    #[must_use]
    pub fn applied(&self, seen: u64) -> u64 {
        match self.shown {
            // There is nothing to apply.
            Shown::Nothing => seen,
            _ => self.kept.borrow().applied,
        }
    }

    /// Whether nothing of a cluster is left in the kernel.
    #[must_use]
    pub fn is_cleared(&self) -> bool {
        let gone = self.kept.borrow().cleared && self.firewalls.borrow().cleared;
        self.shown == Shown::Clear && gone && self.sealed.borrow().cleared
    }

    /// What is worth telling now.
    #[must_use]
    pub fn told(&self) -> Told {
        Told {
            problems: self.problems(),
            in_firewalls: self.firewalls.borrow().kept.clone(),
            sealed_by: self.sealed.borrow().means,
        }
    }

    fn problems(&self) -> Vec<String> {
        let kept = self.kept.borrow();
        let names = self.names.problems();
        let names = names.borrow();
        let firewalls = &self.firewalls.borrow().problems;
        let all = kept.ports.values().chain(&kept.problems).chain(names.values());
        let probes = self.probes.problem();
        let sealed = &self.sealed.borrow().problem;
        all.chain(firewalls)
            .chain(&probes)
            .chain(sealed)
            .chain(&self.ipv4_only)
            .cloned()
            .collect()
    }

    /// What is not as it should be is told with each task that cannot be reached for it.
    pub fn warn(&self, local: &mut Local) {
        let view = local.assignments.view.as_ref();
        let encrypted = |network: &NetworkId| {
            let network = view.and_then(|view| view.networks.get(network));
            network.is_some_and(|network| network.secrecy == Secrecy::Encrypted)
        };
        let asks_for_ipv6 = |network: &NetworkId| {
            let network = view.and_then(|view| view.networks.get(network));
            network.is_some_and(|network| network.prefix.is_some())
        };
        let unsealed = self.sealed.borrow().problem.clone();
        let astray = view.map(|view| astray(&local.assignments, view, local.containers.values()));
        let astray = astray.unwrap_or_default();
        for (task, assigned) in &local.assignments.tasks {
            if let Some(record) = local.records.get_mut(task) {
                record.warning = match (&unsealed, astray.get(task)) {
                    (Some(problem), _) if assigned.addresses.keys().any(encrypted) => problem.clone(),
                    (_, Some(problem)) => problem.clone(),
                    _ => self.warning(assigned.service),
                };
                if let (true, Some(problem)) = (record.warning.is_empty(), &self.ipv4_only)
                    && assigned.addresses.keys().any(asks_for_ipv6)
                {
                    record.warning.clone_from(problem);
                }
            }
        }
    }

    fn warning(&self, service: ServiceId) -> String {
        let kept = self.kept.borrow();
        let own = kept.ports.get(&service).cloned();
        let all = || {
            kept.problems
                .first()
                .map(|words| format!("network of this node: {words}"))
        };
        own.or_else(all).unwrap_or_default()
    }
}

/// Tasks of this node that take connections.
fn takes(local: &Local) -> BTreeSet<TaskId> {
    let tasks = local.assignments.tasks.iter();
    let running = tasks.filter(|(id, assigned)| {
        assigned.desired.wants_to_run() && local.records.get(id).is_some_and(takes_connections)
    });
    running.map(|(id, _)| *id).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use shoal_proto::task::DesiredState;

    use super::{NodeNetwork, takes};
    use crate::network::ipv6::Ipv6;
    use crate::network::kernel::fake::FakeKernel;
    use crate::testing::{Bench, assigned, task_id};

    #[test]
    fn a_task_takes_connections_while_it_runs_and_shall() {
        let mut bench = Bench::new();
        bench.assign(vec![
            assigned(1, DesiredState::Running),
            assigned(2, DesiredState::Running),
        ]);
        assert!(takes(&bench.local).is_empty());
        bench.settle();
        assert!(takes(&bench.local).iter().eq([&task_id(1), &task_id(2)]));
    }

    #[test]
    fn a_task_that_is_to_stop_is_taken_out_before_its_container_is_touched() {
        let mut bench = Bench::new();
        bench.assign(vec![
            assigned(1, DesiredState::Running),
            assigned(2, DesiredState::Running),
        ]);
        bench.settle();
        bench.assign(vec![
            assigned(1, DesiredState::Shutdown),
            assigned(2, DesiredState::Running),
        ]);
        assert!(takes(&bench.local).iter().eq([&task_id(2)]));
        assert!(bench.engine.calls.iter().all(|call| !call.starts_with("stop")));
    }

    #[tokio::test]
    async fn a_set_without_networks_is_applied_at_once_and_a_node_that_leaves_is_cleared() {
        let mut network = NodeNetwork::start(
            Arc::new(FakeKernel::default()),
            PathBuf::from("/nowhere/keys"),
            Ipv6::There,
        );
        network.show(&Bench::new().local);
        assert_eq!(network.applied(7), 7);
        assert!(!network.is_cleared());
        network.clear();
        let cleared = async {
            while !network.is_cleared() {
                network.changed().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), cleared)
            .await
            .expect("in time");
        assert!(network.problems().is_empty());
    }
}
