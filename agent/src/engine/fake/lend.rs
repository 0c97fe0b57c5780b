//! Lends the fake Engine to whoever wants the trait: behind a lock, with its events sent on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::StreamExt;
use futures::channel::mpsc;
use futures::stream::BoxStream;
use shoal_proto::id::ClusterId;
use shoal_proto::service::Protocol;

use super::{FakeContainer, FakeCore, Op};
use crate::engine::{
    Attachment, ContainerPlan, ContainerState, Credentials, Engine, EngineError, EngineEvent, EngineInfo,
    EngineResult, Health, LABEL_NETWORK, Listed, LogChunk, LogQuery, NetworkPlan, NetworkSeen, Observed,
    Resolved, VolumePlan,
};

/// The core behind the trait.
#[derive(Clone, Default)]
pub struct FakeEngine {
    core: Arc<Mutex<FakeCore>>,
    listeners: Arc<Mutex<Vec<mpsc::UnboundedSender<EngineEvent>>>>,
}

impl FakeEngine {
    /// Lends a core to the trait.
    #[must_use]
    pub fn new(core: FakeCore) -> Self {
        Self {
            core: Arc::new(Mutex::new(core)),
            listeners: Arc::default(),
        }
    }

    /// Looks at or changes the core; events it made are sent on.
    pub fn with<T>(&self, act: impl FnOnce(&mut FakeCore) -> T) -> T {
        let mut core = self.lock();
        let out = act(&mut core);
        let events = core.take_events();
        drop(core);
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|to| {
            events
                .iter()
                .all(|event| to.unbounded_send(event.clone()).is_ok())
        });
        out
    }

    fn lock(&self) -> MutexGuard<'_, FakeCore> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Engine for FakeEngine {
    async fn info(&self) -> EngineResult<EngineInfo> {
        self.with(|core| core.answer(Op::Look))?;
        Ok(EngineInfo {
            hostname: "fake".to_owned(),
            os: "linux".to_owned(),
            cpus: 4,
            ..EngineInfo::default()
        })
    }

    async fn instance(&self) -> EngineResult<String> {
        self.with(|core| {
            core.answer(Op::Look)
                .map(|()| core.instance().unwrap_or_default())
        })
    }

    async fn list(&self, _cluster: ClusterId) -> EngineResult<Vec<Listed>> {
        self.with(|core| {
            core.answer(Op::Look)
                .map(|()| core.containers.values().map(listed).collect())
        })
    }

    async fn inspect(&self, container: &str) -> EngineResult<Option<Observed>> {
        self.with(|core| {
            core.answer(Op::Look)
                .map(|()| core.containers.get(container).map(|one| one.seen.clone()))
        })
    }

    async fn publisher(&self, _protocol: Protocol, port: u16) -> EngineResult<Option<String>> {
        let publishes = |one: &&FakeContainer| {
            let running = one.seen.state == ContainerState::Running;
            running
                && one
                    .plan
                    .host_ports
                    .iter()
                    .any(|bound| bound.published_port == port)
        };
        self.with(|core| {
            core.answer(Op::Look).map(|()| {
                core.containers
                    .values()
                    .find(publishes)
                    .map(|one| one.plan.name.clone())
            })
        })
    }

    async fn events(&self, _cluster: ClusterId) -> EngineResult<BoxStream<'static, EngineEvent>> {
        self.with(|core| core.answer(Op::Look))?;
        let (to, from) = mpsc::unbounded();
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(to);
        Ok(from.boxed())
    }

    async fn image_present(&self, reference: &str) -> EngineResult<bool> {
        self.with(|core| core.answer(Op::Look).map(|()| core.images.contains(reference)))
    }

    async fn pull(
        &self,
        reference: &str,
        _credentials: Option<&Credentials>,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> EngineResult<()> {
        progress(format!("pulling {reference}"));
        self.with(|core| core.pull(reference))
    }

    async fn resolve(&self, reference: &str, _credentials: Option<&Credentials>) -> EngineResult<Resolved> {
        let found = self.with(|core| {
            core.answer(Op::Pull)
                .map(|()| core.registry.get(reference).cloned())
        })?;
        found.ok_or_else(|| EngineError::Missing(format!("{reference}: manifest unknown")))
    }

    async fn create(&self, plan: &ContainerPlan) -> EngineResult<String> {
        self.with(|core| core.create(plan))
    }

    async fn read_file(&self, _container: &str, _path: &str) -> EngineResult<Option<Vec<u8>>> {
        Ok(None)
    }

    async fn start(&self, container: &str) -> EngineResult<()> {
        self.with(|core| core.start(container))
    }

    async fn stop(&self, container: &str, _grace_ms: u64) -> EngineResult<()> {
        self.with(|core| core.stop(container))
    }

    async fn remove(&self, container: &str) -> EngineResult<()> {
        self.with(|core| core.remove(container))
    }

    async fn ensure_network(&self, plan: &NetworkPlan) -> EngineResult<()> {
        self.with(|core| {
            core.answer(Op::Other)?;
            core.networks
                .entry(plan.name.clone())
                .or_insert_with(|| plan.clone());
            Ok(())
        })
    }

    async fn networks(&self, _cluster: ClusterId) -> EngineResult<Vec<NetworkSeen>> {
        self.with(|core| {
            core.answer(Op::Other)
                .map(|()| core.networks.values().map(network_seen).collect())
        })
    }

    async fn remove_network(&self, name: &str) -> EngineResult<()> {
        self.with(|core| core.answer(Op::Other).map(|()| core.networks.remove(name)))?;
        Ok(())
    }

    async fn connect(&self, _container: &str, _attachment: &Attachment) -> EngineResult<()> {
        self.with(|core| core.answer(Op::Other))
    }

    async fn ensure_volume(&self, plan: &VolumePlan) -> EngineResult<()> {
        self.with(|core| {
            core.answer(Op::Other)?;
            core.volumes.insert(plan.name.clone(), plan.clone());
            Ok(())
        })
    }

    async fn logs(
        &self,
        container: &str,
        _query: LogQuery,
    ) -> EngineResult<BoxStream<'static, EngineResult<LogChunk>>> {
        self.with(|core| core.answer(Op::Look))?;
        let bytes = bytes::Bytes::from(format!("output of {container}\n"));
        let chunk = LogChunk {
            stderr: false,
            time: "2026-01-01T00:00:00Z".to_owned(),
            bytes,
        };
        Ok(futures::stream::iter([Ok(chunk)]).boxed())
    }
}

fn listed(one: &FakeContainer) -> Listed {
    let health = match &one.seen.health {
        None => "",
        Some(Health::Starting) => "starting",
        Some(Health::Healthy) => "healthy",
        Some(Health::Unhealthy(_)) => "unhealthy",
    };
    Listed {
        id: one.seen.id.clone(),
        task: one.seen.task,
        state: one.seen.state,
        health: health.to_owned(),
    }
}

fn network_seen(plan: &NetworkPlan) -> NetworkSeen {
    let network = plan.labels.get(LABEL_NETWORK).cloned().unwrap_or_default();
    NetworkSeen {
        name: plan.name.clone(),
        network,
    }
}
