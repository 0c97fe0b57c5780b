//! Every change after an index, in order, from this manager's own ring; or an explicit word to look at all anew.

use std::collections::BTreeSet;
use std::time::Duration;

use shoal_core::state::watch::{Interest, Since};
use shoal_core::state::{Event, Object, State};
use shoal_proto::id::ServiceId;
use shoal_proto::object::Kind;
use shoal_proto::wire::{self, Invalid, watch_event::What};
use tokio::sync::{mpsc, watch as channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Api;
use super::control::{Answers, Progress, progress, task_row};
use super::write::id_of;

/// A sign of life comes at least so often.
const CURRENT_EVERY: Duration = Duration::from_secs(2);
/// Progress that is not stored is looked at so often, where services are named.
const PROGRESS_EVERY: Duration = Duration::from_millis(300);
/// Events that wait for a slow watcher.
const WAITING_MAX: usize = 256;
/// How long this manager may take to reach the index asked for.
const CATCH_UP: Duration = Duration::from_secs(10);
/// Services one watcher may name.
const SERVICES_MAX: usize = 1_000;

/// Watches open at once.
pub(super) const WATCHERS_MAX: usize = 1_000;

const KINDS: &[(&str, Kind)] = &[
    ("node", Kind::Node),
    ("service", Kind::Service),
    ("revision", Kind::Revision),
    ("task", Kind::Task),
    ("network", Kind::Network),
    ("secret", Kind::Secret),
    ("config", Kind::Config),
    ("volume", Kind::Volume),
    ("stack", Kind::Stack),
    ("cluster", Kind::Cluster),
];

pub(super) async fn watch(
    api: &Api,
    request: Request<wire::WatchRequest>,
) -> Result<Response<Answers<wire::WatchEvent>>, Status> {
    let asked = request.into_inner();
    let kinds = kinds(&asked.kinds)?;
    let services = services(&asked.service_ids)?;
    let mut applied = api.inner.machine.applied();
    let from = if asked.since == 0 {
        *applied.borrow()
    } else {
        asked.since
    };
    let reached = tokio::time::timeout(CATCH_UP, applied.wait_for(|index| *index >= from)).await;
    let reached = reached.is_ok_and(|reached| reached.is_ok());
    if !reached {
        let here = *applied.borrow();
        return Err(Status::unavailable(format!(
            "this manager is at index {here} and does not reach {from}: try another"
        )));
    }
    let place = super::one_of(&api.inner.watchers, "watches", WATCHERS_MAX)?;
    let (out, events) = mpsc::channel(WAITING_MAX);
    let watcher = Watcher {
        api: api.clone(),
        kinds,
        services,
        upto: from,
        told: Progress::new(),
        out,
    };
    tokio::spawn(async move {
        watcher.run(applied).await;
        drop(place);
    });
    Ok(Response::new(Box::pin(ReceiverStream::new(events))))
}

fn kinds(asked: &[String]) -> Result<BTreeSet<Kind>, Invalid> {
    if asked.is_empty() {
        return Ok(KINDS.iter().map(|(_, kind)| *kind).collect());
    }
    let known = |name: &String| {
        let found = KINDS
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, kind)| *kind);
        found.ok_or_else(|| {
            let all: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
            Invalid::new(
                "kinds",
                format!("{name:?} is not a kind: expected {}", all.join(", ")),
            )
        })
    };
    asked.iter().map(known).collect()
}

fn services(asked: &[String]) -> Result<BTreeSet<ServiceId>, Invalid> {
    if asked.len() > SERVICES_MAX {
        return Err(Invalid::new(
            "service_ids",
            format!("{} services: at most {SERVICES_MAX}", asked.len()),
        ));
    }
    asked
        .iter()
        .map(|id| {
            id.parse()
                .map_err(|error| Invalid::new("service_ids", format!("{error}")))
        })
        .collect()
}

/// The watcher is gone.
struct Gone;

struct Watcher {
    api: Api,
    kinds: BTreeSet<Kind>,
    /// Empty: all.
    services: BTreeSet<ServiceId>,
    upto: u64,
    told: Progress,
    out: mpsc::Sender<Result<wire::WatchEvent, Status>>,
}

impl Watcher {
    async fn run(mut self, mut applied: channel::Receiver<u64>) {
        let stop = self.api.inner.stop.clone();
        let mut current = tokio::time::interval(CURRENT_EVERY);
        let mut progress = tokio::time::interval(PROGRESS_EVERY);
        applied.mark_changed();
        loop {
            let done = tokio::select! {
                changed = applied.changed() => match changed {
                    Ok(()) => self.follow().await,
                    Err(_) => Err(Gone),
                },
                _ = current.tick() => self.send(self.upto, What::Current(true)).await,
                _ = progress.tick(), if !self.services.is_empty() => self.tell_progress().await,
                () = self.out.closed() => Err(Gone),
                () = stop.cancelled() => {
                    // Whoever is still there should look for another manager.
                    let _gone = self.out.send(Err(Status::unavailable("this manager shuts down: watch another"))).await;
                    Err(Gone)
                }
            };
            if done.is_err() {
                return;
            }
        }
    }

    async fn follow(&mut self) -> Result<(), Gone> {
        let interest = Interest {
            kinds: self.kinds.clone(),
            ..Interest::default()
        };
        match self.api.inner.machine.since(self.upto, &interest) {
            Since::Resync { newest } => {
                self.upto = newest;
                self.send(newest, What::Resync(true)).await
            }
            Since::Events { upto, events } => {
                let state = self.api.inner.machine.state();
                let wanted: Vec<_> = events
                    .into_iter()
                    .filter(|(_, event)| self.concerns(event))
                    .collect();
                let sent_any = !wanted.is_empty();
                for (index, event) in wanted {
                    if let Some(what) = self.message(&state, &event) {
                        self.send(index, what).await?;
                    }
                }
                self.upto = upto;
                if sent_any {
                    self.send(upto, What::Current(true)).await
                } else {
                    Ok(())
                }
            }
        }
    }

    fn concerns(&self, event: &Event) -> bool {
        self.services.is_empty()
            || event
                .object()
                .service()
                .is_some_and(|service| self.services.contains(&service))
    }

    fn message(&self, state: &State, event: &Event) -> Option<What> {
        let Some(object) = event.after() else {
            let key = event.key();
            let (kind, _) = KINDS.iter().find(|(_, kind)| *kind == key.kind())?;
            return Some(What::Deleted(wire::Deleted {
                kind: (*kind).to_owned(),
                id: id_of(&key),
            }));
        };
        Some(match object {
            Object::Cluster(cluster) => What::Cluster((&cluster.spec).into()),
            Object::Node(node) => What::Node(node.as_ref().into()),
            Object::Service(service) => What::Service(service.as_ref().into()),
            Object::Revision(revision) => What::Revision(revision.as_ref().into()),
            Object::Task(task) => What::Task(task_row(state, task, &progress(&self.api, [task.id]))),
            Object::Network(network) => What::Network(network.as_ref().into()),
            Object::Secret(secret) => What::Secret(secret.as_ref().into()),
            Object::Config(config) => What::Config(config.as_ref().into()),
            Object::Volume(volume) => What::Volume(volume.as_ref().into()),
            Object::Stack(stack) => What::Stack(stack.as_ref().into()),
            Object::Slot(_) | Object::Registry(_) => return None,
        })
    }

    /// What only the leader hears of: how far images are pulled and containers made.
    async fn tell_progress(&mut self) -> Result<(), Gone> {
        let state = self.api.inner.machine.state();
        let tasks: Vec<_> = self
            .services
            .iter()
            .flat_map(|service| state.tasks_of_service(*service))
            .cloned()
            .collect();
        let heard = progress(&self.api, tasks.iter().map(|task| task.id));
        for task in &tasks {
            if heard.contains_key(&task.id) && heard.get(&task.id) != self.told.get(&task.id) {
                self.send(self.upto, What::Task(task_row(&state, task, &heard)))
                    .await?;
            }
        }
        self.told = heard;
        Ok(())
    }

    async fn send(&self, index: u64, what: What) -> Result<(), Gone> {
        self.out
            .send(Ok(wire::WatchEvent {
                index,
                what: Some(what),
            }))
            .await
            .map_err(|_| Gone)
    }
}
