//! An Engine in memory for tests and the simulation: deterministic, with failures on demand. Its core needs no runtime
//! and no clock; `FakeEngine` lends it to whoever wants the trait.

mod lend;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use super::{
    ContainerPlan, ContainerState, EngineError, EngineEvent, EngineResult, Health, LABEL_BOOT, NetworkPlan,
    Observed, Resolved, VolumePlan, Wiring,
};
pub use lend::FakeEngine;

use crate::network::way_out::WayOut;
use crate::task::{Action, Outcome};

/// Something that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// Looking: info, instance, list, inspect, events.
    Look,
    /// Fetching an image.
    Pull,
    /// Making a container.
    Create,
    /// Making a container, and losing the answer.
    CreateAnswer,
    /// Starting one.
    Start,
    /// Stopping one.
    Stop,
    /// Removing one.
    Remove,
    /// Anything about networks and volumes.
    Other,
}

/// The Engine's state: plain data, driven by calls.
#[derive(Debug, Clone, Default)]
pub struct FakeCore {
    containers: BTreeMap<String, FakeContainer>,
    images: BTreeSet<String>,
    registry: BTreeMap<String, Resolved>,
    networks: BTreeMap<String, NetworkPlan>,
    volumes: BTreeMap<String, VolumePlan>,
    failures: BTreeMap<Op, VecDeque<EngineError>>,
    silent: bool,
    made: u64,
    lives: u64,
    /// Every call that changed something, in order: `create web.1.…`.
    pub calls: Vec<String>,
    events: Vec<EngineEvent>,
}

#[derive(Debug, Clone)]
struct FakeContainer {
    seen: Observed,
    plan: ContainerPlan,
}

impl FakeCore {
    /// An empty Engine that has these images.
    #[must_use]
    pub fn new(images: &[&str]) -> Self {
        let images = images.iter().map(|name| (*name).to_owned()).collect();
        Self {
            images,
            lives: 1,
            ..Self::default()
        }
    }

    /// An image the registry has.
    pub fn publish(&mut self, reference: &str, resolved: Resolved) {
        self.registry.insert(reference.to_owned(), resolved);
    }

    /// The next such call fails; several are a queue.
    pub fn fail(&mut self, op: Op, error: EngineError) {
        self.failures.entry(op).or_default().push_back(error);
    }

    /// From now on every call is met with silence, or answered again.
    pub fn set_silent(&mut self, silent: bool) {
        self.silent = silent;
    }

    /// The Engine restarts; without live-restore its containers end.
    pub fn restart(&mut self, live_restore: bool) {
        self.silent = false;
        if live_restore {
            return;
        }
        self.lives += 1;
        self.end_all(137);
    }

    /// The host reboots: containers end, the Engine starts anew.
    pub fn reboot(&mut self) {
        self.silent = false;
        self.lives += 1;
        self.end_all(255);
    }

    fn end_all(&mut self, code: i64) {
        let running = self
            .containers
            .values()
            .filter(|one| one.seen.state == ContainerState::Running);
        for id in running.map(|one| one.seen.id.clone()).collect::<Vec<_>>() {
            self.exit(&id, code);
        }
    }

    /// A container's process ends by itself.
    pub fn exit(&mut self, container: &str, code: i64) {
        let Some(one) = self.containers.get_mut(container) else {
            return;
        };
        one.seen.state = ContainerState::Exited;
        one.seen.exit_code = Some(code);
        one.seen.health = None;
        one.seen.addresses.clear();
        self.tell(container, "die");
    }

    /// What a container's health check says from now on.
    pub fn set_health(&mut self, container: &str, health: Health) {
        if let Some(one) = self.containers.get_mut(container) {
            one.seen.health = Some(health);
            self.tell(container, "health_status");
        }
    }

    /// All containers, by id.
    #[must_use]
    pub fn containers(&self) -> BTreeMap<String, Observed> {
        self.containers
            .iter()
            .map(|(id, one)| (id.clone(), one.seen.clone()))
            .collect()
    }

    /// What a container was made from.
    #[must_use]
    pub fn plan_of(&self, container: &str) -> Option<&ContainerPlan> {
        self.containers.get(container).map(|one| &one.plan)
    }

    /// Its present life; none while it is silent.
    #[must_use]
    pub fn instance(&self) -> Option<String> {
        (!self.silent).then(|| format!("life-{}", self.lives))
    }

    /// Networks that are there.
    #[must_use]
    pub fn network_names(&self) -> Vec<String> {
        self.networks.keys().cloned().collect()
    }

    /// Events since the last call.
    pub fn take_events(&mut self) -> Vec<EngineEvent> {
        std::mem::take(&mut self.events)
    }

    /// Carries out an agent's action at once; `plan` is what a preparation makes.
    pub fn perform(&mut self, action: &Action, plan: Option<&ContainerPlan>) -> Outcome {
        let done = |result: EngineResult<()>| result.map_or_else(Outcome::Failed, |()| Outcome::Done);
        match action {
            Action::CancelPrepare(_) => Outcome::Done,
            Action::Prepare(_) => match plan.map(|plan| self.prepare(plan)) {
                Some(Ok(container)) => Outcome::Prepared(container),
                Some(Err(error)) => Outcome::Failed(error),
                None => Outcome::Failed(EngineError::Refused("no plan".to_owned())),
            },
            Action::Start(_, container) => done(self.start(container)),
            Action::Stop(_, container) => done(self.stop(container)),
            Action::Remove(_, container) => done(self.remove(container)),
        }
    }

    fn prepare(&mut self, plan: &ContainerPlan) -> EngineResult<String> {
        if !self.images.contains(&plan.image) {
            self.pull(&plan.image)?;
        }
        self.create(plan)
    }

    fn answer(&mut self, op: Op) -> EngineResult<()> {
        if self.silent {
            return Err(EngineError::Silent("fake engine is silent".to_owned()));
        }
        let next = self.failures.get_mut(&op).and_then(VecDeque::pop_front);
        next.map_or(Ok(()), Err)
    }

    fn tell(&mut self, container: &str, what: &str) {
        if let Some(one) = self.containers.get(container) {
            let event = EngineEvent {
                container: container.to_owned(),
                task: one.seen.task,
                what: what.to_owned(),
            };
            self.events.push(event);
        }
    }

    fn pull(&mut self, reference: &str) -> EngineResult<()> {
        self.answer(Op::Pull)?;
        self.calls.push(format!("pull {reference}"));
        if !self.registry.contains_key(reference) {
            let words = format!("pull of {reference}: manifest unknown");
            return Err(EngineError::Missing(words));
        }
        self.images.insert(reference.to_owned());
        Ok(())
    }

    fn create(&mut self, plan: &ContainerPlan) -> EngineResult<String> {
        self.answer(Op::Create)?;
        if let Some(one) = self.containers.values().find(|one| one.plan.name == plan.name) {
            return Ok(one.seen.id.clone());
        }
        if !self.images.contains(&plan.image) {
            return Err(EngineError::Missing(format!("No such image: {}", plan.image)));
        }
        self.made += 1;
        let id = format!("c{:04}", self.made);
        let label = |name: &str| plan.labels.get(name).cloned().unwrap_or_default();
        let seen = Observed {
            id: id.clone(),
            name: plan.name.clone(),
            task: plan.task,
            service: label("com.docker.swarm.service.name"),
            boot: label(LABEL_BOOT),
            state: ContainerState::Created,
            health: None,
            exit_code: None,
            oom_killed: false,
            memory_limit_bytes: plan.resources.limits.memory_bytes,
            error: String::new(),
            finished_at: None,
            addresses: BTreeMap::new(),
            host_ports: Vec::new(),
            pid: None,
            way_out: WayOut::Unknown,
        };
        self.calls.push(format!("create {}", plan.name));
        self.containers.insert(
            id.clone(),
            FakeContainer {
                seen,
                plan: plan.clone(),
            },
        );
        self.answer(Op::CreateAnswer)?;
        Ok(id)
    }

    fn start(&mut self, container: &str) -> EngineResult<()> {
        self.answer(Op::Start)?;
        let made = self.made;
        let one = self
            .containers
            .get_mut(container)
            .ok_or_else(|| missing(container))?;
        if one.seen.state == ContainerState::Running {
            return Ok(());
        }
        one.seen.state = ContainerState::Running;
        let check = one
            .plan
            .spec
            .health
            .as_ref()
            .is_some_and(|check| check.test.first().is_some_and(|w| w != "NONE"));
        one.seen.health = check.then_some(Health::Starting);
        let networks = match &one.plan.wiring {
            Wiring::Bridges(bridges) if bridges.is_empty() => vec!["bridge".to_owned()],
            Wiring::Bridges(bridges) => bridges.iter().map(|bridge| bridge.network.clone()).collect(),
            Wiring::Host | Wiring::None => Vec::new(),
        };
        let address = IpAddr::V4(Ipv4Addr::from(0x0aff_0000 | u32::try_from(made).unwrap_or(0)));
        one.seen.addresses = networks.into_iter().map(|name| (name, address)).collect();
        let name = one.seen.name.clone();
        self.calls.push(format!("start {name}"));
        self.tell(container, "start");
        Ok(())
    }

    fn stop(&mut self, container: &str) -> EngineResult<()> {
        self.answer(Op::Stop)?;
        let Some(one) = self.containers.get(container) else {
            return Ok(());
        };
        let (name, running) = (one.seen.name.clone(), one.seen.state == ContainerState::Running);
        if running {
            self.calls.push(format!("stop {name}"));
            self.exit(container, 143);
        }
        Ok(())
    }

    /// Removes a container, running or not, as by hand.
    ///
    /// # Errors
    /// When such a failure was asked for.
    pub fn remove(&mut self, container: &str) -> EngineResult<()> {
        self.answer(Op::Remove)?;
        self.tell(container, "destroy");
        if let Some(one) = self.containers.remove(container) {
            self.calls.push(format!("remove {}", one.seen.name));
        }
        Ok(())
    }
}

fn missing(container: &str) -> EngineError {
    EngineError::Missing(format!("No such container: {container}"))
}
