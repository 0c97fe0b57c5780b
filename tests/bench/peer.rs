//! The two that are compared, behind the few verbs the shapes need. Every verb returns at once: what happens then is seen
//! at the Engines, in the same way for both.

use std::time::Duration;

use anyhow::{Context as _, Result};
use shoal_tests::bed::{Bed, Host, wait_for};

/// How long a cluster may take to form, or to be whole again.
pub(crate) const FORM_WITHIN: Duration = Duration::from_secs(90);
/// The network that services with one are on.
pub(crate) const NETWORK: &str = "bench-net";
/// Managers of a bed with as many hosts or more.
pub(crate) const MANAGERS: usize = 3;

/// A service to make, of tasks that do nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewService {
    /// Its name.
    pub(crate) name: &'static str,
    /// How many.
    pub(crate) replicas: usize,
    /// Whether its tasks are on [`NETWORK`].
    pub(crate) reach: Reach,
    /// How soon a task follows another.
    pub(crate) pace: Pace,
}

impl NewService {
    /// Flags that both peers have.
    pub(crate) fn flags(self) -> String {
        let network = match self.reach {
            Reach::Default => String::new(),
            Reach::Network => format!("--network {NETWORK}"),
        };
        let delay = match self.pace {
            Pace::Default => "",
            Pace::Tuned => "--restart-delay 0s",
        };
        format!(
            "{network} {delay} --name {} --replicas {}",
            self.name, self.replicas
        )
    }
}

/// How soon a lost node is found and its tasks are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As each peer is without a word.
    Default,
    /// A heartbeat a second and no delay, for both.
    Tuned,
}

/// What the tasks of a service are connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The Engine's own default.
    Default,
    /// One network of the cluster.
    Network,
}

/// One of the two.
pub(crate) trait Peer {
    /// For the table.
    fn name(&self) -> &'static str;
    /// The command that sets how often nodes say that they live; none: as the peer does without a word.
    fn heartbeat(&self, period: Option<&str>) -> String;
    /// The command that makes a service, without waiting.
    fn create(&self, service: NewService) -> String;
    /// The command that sets the replicas, without waiting.
    fn scale(&self, service: &str, replicas: usize) -> String;
    /// The command that replaces all tasks in fives, stop-first, without delay and without monitoring.
    fn update(&self, service: &str) -> String;
    /// The command that removes services, without waiting.
    fn remove(&self, services: &str) -> String;
    /// The command that deploys a Compose file as a stack, without waiting.
    fn deploy(&self, file: &str, stack: &str) -> String;
    /// The command that removes a stack.
    fn remove_stack(&self, stack: &str) -> String;
    /// A command that is one write.
    fn write(&self, service: &str) -> String;
    /// Whether this host's manager says that it leads.
    fn leads(&self, host: &Host) -> Result<bool>;
    /// How many nodes are ready, as this host's manager says.
    fn ready(&self, host: &Host) -> Result<usize>;
    /// The unit whose process leads.
    fn manager_unit(&self) -> &'static str;
    /// The units that are there for the cluster, apart from an Engine that would be there without it.
    fn own_units(&self) -> &'static [&'static str];
}

/// Whether a host is one of the managers.
pub(crate) fn manages(host: &Host) -> bool {
    host.number() <= MANAGERS
}

/// The hosts with managers that have power.
pub(crate) fn managers(bed: &Bed) -> impl Iterator<Item = &Host> {
    bed.hosts().iter().filter(|host| manages(host) && host.is_on())
}

/// The host whose manager leads.
pub(crate) fn leader<'a>(peer: &dyn Peer, bed: &'a Bed) -> Result<&'a Host> {
    let found = wait_for("a leader", FORM_WITHIN, || {
        let mut hosts = managers(bed);
        let leader = hosts.find(|host| peer.leads(host).unwrap_or(false));
        leader
            .map(Host::number)
            .ok_or_else(|| "no manager says that it leads".to_owned())
    })?;
    Ok(bed.host(found))
}

/// Waits until every host is a ready node.
pub(crate) fn whole(peer: &dyn Peer, bed: &Bed) -> Result<()> {
    let wanted = bed.hosts().len();
    wait_for("all nodes to be ready", FORM_WITHIN, || {
        let seen = managers(bed).find_map(|host| peer.ready(host).ok()).unwrap_or(0);
        if seen == wanted {
            Ok(())
        } else {
            Err(format!("{seen} of {wanted}"))
        }
    })
    .with_context(|| format!("{} is not whole", peer.name()))
}
