//! Keeps this node's kernel as the newest view says: looks at it, carries out what is missing, and looks again when
//! something of ours was touched. It remembers what it did, because looking at all of it takes long.
//! What a view asks for is decided in `desired`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use shoal_proto::id::{ServiceId, TaskId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::desired::desired;
use super::difference::difference;
use super::kernel::{Ended, Kernel, KernelError, Led, Sight, apply_all};
use super::led::{ended, led_to, open};
use super::model::{Desired, Found};
use super::ports::Ports;
use super::view::View;

/// How often the kernel is looked at and asked again.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Longest time between two looks at everything.
    pub look_ms: u64,
    /// Least time between two such looks, whatever is told.
    pub pause_ms: u64,
    /// Wait after a step that was refused; doubled with each further one.
    pub retry_ms: u64,
    /// Longest such wait.
    pub retry_max_ms: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look_ms: 30_000,
            pause_ms: 500,
            retry_ms: 250,
            retry_max_ms: 8_000,
        }
    }
}

/// Longest wait until no connection is led to a task any more.
const ASIDE_MAX_MS: u64 = 5_000;
/// Longest time a task that is to stop may finish its connections from outside, and time between two looks at them.
const DRAIN_MAX_MS: u64 = 2_000;
const DRAIN_LOOK_MS: u64 = 50;
/// Longest wait until a bridge is set up.
const SETUP_MAX_MS: u64 = 3_000;
/// Sights taken in before the next round.
const SIGHTS_MAX: usize = 1_024;

/// What the node should be.
#[derive(Debug, Clone, Default)]
pub enum Wish {
    /// Nothing is known yet: all stays as it is.
    #[default]
    Unknown,
    /// A part of this cluster.
    Keep {
        /// What it is told, and knows better itself.
        view: Arc<View>,
        /// The set of assignments that it is from.
        index: u64,
    },
    /// Without a trace of a cluster.
    Clear,
}

/// How far the kernel is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The newest set that the kernel holds whole.
    pub applied: u64,
    /// The set whose ports were last asked for.
    pub held: u64,
    /// What could not be done.
    pub problems: Vec<String>,
    /// Ports that are not to be had, by service.
    pub ports: BTreeMap<ServiceId, String>,
    /// Tasks of this node that connections may be led to.
    pub open: BTreeSet<TaskId>,
    /// Bridges of ours that are set up.
    pub bridges: BTreeSet<String>,
    /// Largest packet that fits through the tunnel, in bytes; 0 while that is not known.
    pub mtu: u32,
    /// The same of the sealed tunnel; 0 while there is none.
    pub sealed_mtu: u32,
    /// Nothing of ours is left.
    pub cleared: bool,
}

/// Speaks to the keeper, which ends with the last of these. Cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    kernel: Arc<dyn Kernel>,
    wishes: watch::Sender<Wish>,
    kept: watch::Receiver<Kept>,
}

impl Keeper {
    /// Starts to keep a kernel.
    #[must_use]
    pub fn start(kernel: Arc<dyn Kernel>, pace: Pace) -> (Self, JoinHandle<()>) {
        let (wishes, wishes_seen) = watch::channel(Wish::default());
        let (kept, kept_seen) = watch::channel(Kept::default());
        let work = Work {
            kernel: Arc::clone(&kernel),
            wishes: wishes_seen,
            kept,
            ports: Ports::default(),
            found: None,
            before: None,
            looked: None,
            due: Due::Nothing,
            retry_ms: pace.retry_ms,
            pace,
        };
        let keeper = Self {
            kernel,
            wishes,
            kept: kept_seen,
        };
        (keeper, tokio::spawn(work.run()))
    }

    /// Says what the node should be from now on.
    pub fn wish(&self, wish: Wish) {
        self.wishes.send_replace(wish);
    }

    /// How far the kernel is, and the changes of that.
    #[must_use]
    pub fn kept(&self) -> watch::Receiver<Kept> {
        self.kept.clone()
    }

    /// Why a port of the service is not to be had on this node; none while all are.
    pub async fn port_problem(&self, service: ServiceId) -> Option<String> {
        let wished = match &*self.wishes.borrow() {
            Wish::Keep { index, .. } => *index,
            _ => return None,
        };
        let kept = self.until(|kept| kept.held >= wished).await?;
        kept.ports.get(&service).cloned()
    }

    /// The largest packet of the cluster's networks, in bytes, as soon as it is known; none when that lasts too long, or
    /// while nothing is to be kept.
    pub async fn mtu(&self) -> Option<u32> {
        let known = self.until(|kept| kept.mtu > 0).await;
        known.map(|kept| kept.mtu)
    }

    /// Waits until this node sends what is encrypted; whether it does.
    pub async fn seals(&self) -> bool {
        self.until(|kept| kept.sealed_mtu > 0).await.is_some()
    }

    /// Waits until bridges of these names are set up, so that their tasks find the network as it should be.
    pub async fn carries(&self, bridges: &BTreeSet<String>) {
        let there = self.until(|kept| kept.bridges.is_superset(bridges)).await;
        if there.is_none() && self.keeps() {
            tracing::warn!(?bridges, "bridges are not set up yet");
        }
    }

    fn keeps(&self) -> bool {
        matches!(*self.wishes.borrow(), Wish::Keep { .. })
    }

    /// What is kept, once that holds; none after a while, and at once while nothing is to be kept.
    async fn until(&self, holds: impl FnMut(&Kept) -> bool) -> Option<Kept> {
        if !self.keeps() {
            return None;
        }
        let mut kept = self.kept.clone();
        let waited = tokio::time::timeout(Duration::from_millis(SETUP_MAX_MS), kept.wait_for(holds));
        Some(waited.await.ok()?.ok()?.clone())
    }

    /// Waits until no connection is led to the task any more, at most five seconds, and then until those from outside
    /// that it has have ended, at most two.
    pub async fn is_aside(&self, task: TaskId) {
        let mut kept = self.kept.clone();
        let aside = kept.wait_for(|kept| !kept.open.contains(&task));
        // A kernel that does not obey must not keep a task running.
        let most = Duration::from_millis(ASIDE_MAX_MS);
        let waited = tokio::time::timeout(most, aside).await.is_ok();
        if !waited {
            tracing::warn!(%task, "connections may still be led to a task that is stopped");
        }
        let Some(led) = self.led_to(task) else {
            return;
        };
        // Whoever holds on longer is cut off by the stop.
        let drained = async {
            while self
                .kernel
                .count_connections(&led)
                .await
                .is_ok_and(|count| count > 0)
            {
                tokio::time::sleep(Duration::from_millis(DRAIN_LOOK_MS)).await;
            }
        };
        let most = Duration::from_millis(DRAIN_MAX_MS);
        tokio::time::timeout(most, drained).await.ok();
    }

    /// The connections of a task that published ports led to it; none where it has no address.
    fn led_to(&self, task: TaskId) -> Option<Led> {
        let wish = self.wishes.borrow();
        let Wish::Keep { view, .. } = &*wish else {
            return None;
        };
        led_to(view, task)
    }
}

/// What has to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Nothing,
    Glance,
    Look,
}

struct Work {
    kernel: Arc<dyn Kernel>,
    wishes: watch::Receiver<Wish>,
    kept: watch::Sender<Kept>,
    ports: Ports,
    /// What the kernel holds, as far as it is known.
    found: Option<Found>,
    /// The view that was carried out last.
    before: Option<View>,
    looked: Option<Instant>,
    due: Due,
    pace: Pace,
    retry_ms: u64,
}

impl Work {
    async fn run(mut self) {
        let mut sights = None;
        loop {
            if sights.is_none() {
                sights = self.watch();
            }
            let wait = self.round().await;
            tokio::select! {
                changed = self.wishes.changed() => if changed.is_err() {
                    return;
                },
                sight = next(&mut sights) => self.take(sight, &mut sights),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn watch(&mut self) -> Option<mpsc::UnboundedReceiver<Sight>> {
        let watching = self.kernel.watch();
        watching
            .inspect_err(|error| tracing::error!(error = chain(error), "kernel cannot be watched"))
            .ok()
    }

    /// Takes in what was told, and whatever else was told meanwhile.
    fn take(&mut self, sight: Option<Sight>, sights: &mut Option<mpsc::UnboundedReceiver<Sight>>) {
        let Some(first) = sight else {
            // Nobody tells any more.
            *sights = None;
            self.due = Due::Look;
            return;
        };
        let more = sights
            .iter_mut()
            .flat_map(|sights| std::iter::from_fn(|| sights.try_recv().ok()));
        for sight in std::iter::once(first).chain(more).take(SIGHTS_MAX) {
            let due = match sight {
                Sight::Links => Due::Glance,
                Sight::Ruleset | Sight::Missed => Due::Look,
                thing if self.found.as_ref().is_some_and(|found| found.explains(&thing)) => Due::Nothing,
                _ => Due::Look,
            };
            self.due = self.due.max(due);
        }
    }

    /// Brings the kernel to where it should be. Answers how long nothing is due.
    async fn round(&mut self) -> Duration {
        let wish = self.wishes.borrow_and_update().clone();
        let (mut view, index) = match wish {
            Wish::Unknown => return Duration::from_millis(self.pace.look_ms),
            Wish::Clear => (None, None),
            Wish::Keep { view, index } => (Some(View::clone(&view)), Some(index)),
        };
        let ports = view
            .as_mut()
            .map(|view| self.ports.hold(view))
            .unwrap_or_default();
        if view.is_none() {
            self.ports = Ports::default();
        }
        let open = view.as_ref().map(open).unwrap_or_default();
        let held = index.unwrap_or_default();
        // Before the first step: a task that is being let in may already be led to.
        self.kept.send_if_modified(|kept| {
            let before = (
                kept.open.len(),
                kept.held,
                std::mem::replace(&mut kept.ports, ports.clone()),
            );
            kept.open.extend(&open);
            kept.held = held;
            before != (kept.open.len(), held, ports.clone())
        });
        let problems = match self.carry_out(view.as_ref()).await {
            Ok(problems) => problems,
            Err(error) => {
                // What is known may be half of it.
                self.found = None;
                vec![chain(&error)]
            }
        };
        tracing::debug!(index = held, problems = problems.len(), "view carried out");
        self.tell(Kept {
            applied: held,
            held,
            cleared: view.is_none() && problems.is_empty(),
            mtu: self.mtu(),
            sealed_mtu: self.sealed_mtu(),
            bridges: self.bridges(),
            problems,
            ports,
            open,
        });
        self.next_round()
    }

    /// Looks, finds the steps and takes them. Answers the steps that were refused.
    async fn carry_out(&mut self, view: Option<&View>) -> Result<Vec<String>, KernelError> {
        let host = view.and_then(View::this).map(|this| this.host);
        self.look(host).await?;
        let found = self.found.as_mut().expect("it was looked");
        let wanted = view.map_or_else(Desired::default, |view| desired(view, &found.local));
        let ops = difference(&wanted, found);
        let begun = Instant::now();
        let failed = apply_all(self.kernel.as_ref(), &ops).await;
        tracing::debug!(steps = ops.len(), failed = failed.len(), took = ?begun.elapsed(), "steps taken");
        if !failed.is_empty() {
            self.found = None;
            let words = failed.iter().map(|(_, error)| chain(error));
            return Ok(words.collect());
        }
        ops.iter().for_each(|op| found.apply(op));
        let ended = ended(self.before.as_ref(), view);
        if ended != Ended::default() {
            match self.kernel.end_connections(&ended).await {
                Ok(count) => tracing::debug!(count, ?ended, "connections ended"),
                Err(error) => tracing::error!(error = chain(&error), "connections could not be ended"),
            }
        }
        self.before = view.cloned();
        self.ports.listen();
        Ok(Vec::new())
    }

    /// Sees to it that what is known of the kernel is so.
    async fn look(&mut self, host: Option<Ipv4Addr>) -> Result<(), KernelError> {
        let since = self.looked.map(|looked| looked.elapsed());
        let after = |ms| since.is_none_or(|since| since >= Duration::from_millis(ms));
        let due = std::mem::replace(&mut self.due, Due::Nothing);
        if let Some(found) = self.found.as_mut() {
            let devices = (found.open.device, found.sealed.device);
            if due >= Due::Glance {
                self.kernel.glance(host, found).await?;
            }
            // What lay on the device went with it.
            let same = devices == (found.open.device, found.sealed.device);
            if same && due < Due::Look && !after(self.pace.look_ms) {
                return Ok(());
            }
            if same && !after(self.pace.pause_ms) {
                self.due = Due::Look;
                return Ok(());
            }
        }
        self.found = None;
        self.found = Some(self.kernel.look(host).await?);
        self.looked = Some(Instant::now());
        Ok(())
    }

    fn bridges(&self) -> BTreeSet<String> {
        let bridges = self.found.iter().flat_map(|found| found.local.bridges.keys());
        bridges.cloned().collect()
    }

    fn mtu(&self) -> u32 {
        let device = self.found.as_ref().and_then(|found| found.open.device);
        device.map_or(self.kept.borrow().mtu, |device| device.mtu)
    }

    fn sealed_mtu(&self) -> u32 {
        let device = self.found.as_ref().and_then(|found| found.sealed.device);
        device.map_or(0, |device| device.mtu)
    }

    fn tell(&mut self, now: Kept) {
        self.kept.send_if_modified(|kept| {
            let mut next = now;
            if !next.problems.is_empty() {
                // What was in force may still be.
                next.applied = kept.applied;
                next.open.extend(&kept.open);
            }
            let changed = *kept != next;
            *kept = next;
            changed
        });
    }

    fn next_round(&mut self) -> Duration {
        let kept = self.kept.borrow();
        for problem in &kept.problems {
            tracing::error!(problem, "network of this node is not as it should be");
        }
        if !kept.problems.is_empty() || !kept.ports.is_empty() {
            let wait = Duration::from_millis(self.retry_ms);
            self.retry_ms = (self.retry_ms * 2).min(self.pace.retry_max_ms);
            return wait;
        }
        self.retry_ms = self.pace.retry_ms;
        let wait_ms = if self.due == Due::Look {
            self.pace.pause_ms
        } else {
            self.pace.look_ms
        };
        Duration::from_millis(wait_ms)
    }
}

/// The next sight; never while nobody tells.
async fn next(sights: &mut Option<mpsc::UnboundedReceiver<Sight>>) -> Option<Sight> {
    match sights {
        Some(sights) => sights.recv().await,
        None => std::future::pending().await,
    }
}

/// An error with all its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
#[path = "keeper_test.rs"]
mod tests;
