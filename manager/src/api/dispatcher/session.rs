//! One session of one agent: reports up, assignments down, for as long as this manager leads and the agent is there.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt as _;
use shoal_core::dispatcher::assignment::{AssignmentSet, assignments_for};
use shoal_core::dispatcher::liveness::silence_max_ms;
use shoal_core::dispatcher::seen::Seen;
use shoal_core::dispatcher::view;
use shoal_core::state::watch::{Interest, Since};
use shoal_core::state::{Event, State};
use shoal_proto::id::{NodeId, ServiceId, SessionId};
use shoal_proto::identity::Caller;
use shoal_proto::object::Kind;
use shoal_proto::wire::{self, session_down::Message};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::Down;
use super::arrival::{self, Hello};
use super::assignments::{complete, concerns, increment, services_of};
use super::inbox::Inbox;
use super::sessions::{Place, Told};
use crate::api::Api;

/// Messages that wait for a slow agent.
const DOWN_MAX: usize = 16;
/// How long a new leader may take to be known, when this one ends.
const REDIRECT_WAIT: Duration = Duration::from_millis(1_500);

type Out = mpsc::Sender<Result<wire::SessionDown, Status>>;

/// Begins a session, or says where the leader is.
pub(super) async fn open(
    api: &Api,
    caller: &Caller,
    node: NodeId,
    mut from: Streaming<wire::SessionUp>,
) -> Result<Down<wire::SessionDown>, Status> {
    let leads = api.inner.leader.leads();
    if leads.borrow().is_none() {
        return Ok(redirected(api).await);
    }
    let hello = arrival::hello(caller, &mut from).await?;
    let state = api.inner.machine.state();
    let session = api.with_ids(|ids| ids.session(api.inner.leader.now()));
    let place = Place {
        address: caller.address,
        machine: hello.description.machine,
        boot_id: hello.boot_id.clone(),
    };
    let silence_max = Duration::from_millis(silence_max_ms(&state.cluster_spec()));
    let orders = api.inner.sessions.enter(node, session, place, silence_max)?;
    let place = Held {
        api: api.clone(),
        node,
        session,
    };
    let epoch = arrival::announce(api, node, &hello).await?;
    let opened = api.inner.leader.hear(|seen, now| {
        seen.session_opened(node, session, epoch, now);
        now
    });
    let Some(now) = opened else {
        return Ok(redirected(api).await);
    };
    api.inner.leader.nudge();
    let warnings = arrival::warnings(&state, node, &hello, now);
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    api.inner.sessions.warn(node, session, warnings.clone());
    let (out, down) = mpsc::channel(DOWN_MAX);
    let inbox = Inbox {
        api: api.clone(),
        node,
        session,
        epoch,
        obeyed: hello.obeyed,
    };
    let running = Session::new(inbox, out, place, leads);
    tracing::info!(%node, %session, epoch, hostname = hello.description.hostname, "session begins");
    tokio::spawn(running.run(hello, warnings, from, orders));
    Ok(Box::pin(ReceiverStream::new(down)))
}

/// Until this manager leads in another term, or not at all.
async fn ended(leads: &mut watch::Receiver<Option<u64>>, term: Option<u64>) {
    // An error means that the leadership's keeper is gone: that ends it, too.
    let _changed = leads.wait_for(|now| *now != term).await;
}

/// The place of a node among the sessions, given back when this goes.
struct Held {
    api: Api,
    node: NodeId,
    session: SessionId,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.api.inner.sessions.leave(self.node, self.session);
        let (node, session) = (self.node, self.session);
        if self
            .api
            .inner
            .leader
            .hear(|seen, _| seen.session_closed(node, session))
            .is_some()
        {
            self.api.inner.leader.nudge();
        }
    }
}

/// Where the leader is; waits a moment for a new one, so that the agent need not search.
async fn redirect(api: &Api) -> Message {
    let mut leadership = api.inner.raft.leadership();
    let me = api.inner.raft.id();
    let elsewhere = leadership.wait_for(|now| now.leader.as_ref().is_some_and(|leader| leader.raft_id != me));
    let known = tokio::time::timeout(REDIRECT_WAIT, elsewhere).await;
    let leader = known.ok().and_then(Result::ok).and_then(|now| now.leader.clone());
    Message::Redirect(wire::Redirect {
        leader: leader.map(|leader| leader.address).unwrap_or_default(),
    })
}

async fn redirected(api: &Api) -> Down<wire::SessionDown> {
    let only = wire::SessionDown {
        message: Some(redirect(api).await),
    };
    futures::stream::iter([Ok(only)]).boxed()
}

/// Why a session ends.
enum End {
    /// The agent is gone.
    Gone,
    /// This manager does not lead any more, or stops: said with where the leader is.
    Moved,
    /// Said to the agent as the last word.
    Last(Box<Message>),
    /// Said to the agent as an error.
    Refused(Status),
}

/// What the newest events may have changed for one node.
struct Touched {
    assignments: bool,
    nodes: bool,
}

fn interest() -> Interest {
    Interest {
        kinds: BTreeSet::from([
            Kind::Task,
            Kind::Service,
            Kind::Registry,
            Kind::Cluster,
            Kind::Node,
            Kind::Network,
        ]),
        ..Interest::default()
    }
}

struct Session {
    inbox: Inbox,
    out: Out,
    place: Held,
    leads: watch::Receiver<Option<u64>>,
    term: Option<u64>,
    set: AssignmentSet,
    services: BTreeSet<ServiceId>,
    /// Everything up to here was looked at.
    upto: u64,
    managers: Vec<String>,
}

impl Session {
    fn new(inbox: Inbox, out: Out, place: Held, leads: watch::Receiver<Option<u64>>) -> Self {
        let state = inbox.api.inner.machine.state();
        let set = assignments_for(&state, inbox.node);
        let term = *leads.borrow();
        let (services, upto) = (services_of(&set), state.index());
        Self {
            inbox,
            out,
            place,
            leads,
            term,
            set,
            services,
            upto,
            managers: Vec::new(),
        }
    }

    async fn run(
        mut self,
        hello: Hello,
        warnings: Vec<String>,
        mut from: Streaming<wire::SessionUp>,
        mut orders: mpsc::Receiver<Message>,
    ) {
        let end = match self.begin(hello, warnings).await {
            Ok(()) => self.serve(&mut from, &mut orders).await,
            Err(end) => end,
        };
        let (node, session) = (self.inbox.node, self.inbox.session);
        let end = match end {
            End::Moved => End::Last(Box::new(redirect(self.api()).await)),
            other => other,
        };
        match end {
            End::Gone | End::Moved => tracing::info!(%node, %session, "session ended"),
            End::Last(message) => {
                tracing::info!(%node, %session, "session ends: {message:?}");
                // An agent that is gone already needs no last word.
                let _gone = self
                    .out
                    .send(Ok(wire::SessionDown {
                        message: Some(*message),
                    }))
                    .await;
            }
            End::Refused(status) => {
                tracing::warn!(%node, %session, "session ends: {}", status.message());
                let _gone = self.out.send(Err(status)).await;
            }
        }
        drop(self.place);
    }

    async fn begin(&mut self, hello: Hello, warnings: Vec<String>) -> Result<(), End> {
        let (node, session) = (self.inbox.node, self.inbox.session);
        let state = self.api().inner.machine.state();
        let heartbeat_period_ms = state.cluster_spec().heartbeat_period_ms;
        let told = |seen: &mut Seen, _| seen.told_period(node, session, heartbeat_period_ms);
        // A session that is not the newest hears so with its first heartbeat.
        let _superseded = self.api().inner.leader.hear(told);
        let welcome = wire::Welcome {
            session_id: session.to_string(),
            epoch: self.inbox.epoch,
            heartbeat_period_ms,
            cluster_id: self.api().inner.cluster.to_string(),
            node_id: node.to_string(),
            warnings,
        };
        self.send(Message::Welcome(welcome)).await?;
        self.send_managers().await?;
        let verdicts = self
            .inbox
            .full_report(hello.reports)
            .await
            .map_err(End::Refused)?;
        let first = complete(&self.set);
        self.send(Message::Assignments(first)).await?;
        self.told(Told::Sent(self.set.index));
        match verdicts {
            Some(verdicts) => self.send(Message::Verdicts(verdicts)).await,
            None => Ok(()),
        }
    }

    async fn serve(
        &mut self,
        from: &mut Streaming<wire::SessionUp>,
        orders: &mut mpsc::Receiver<Message>,
    ) -> End {
        let mut applied = self.api().inner.machine.applied();
        let stop = self.api().inner.stop.clone();
        let mut leads = self.leads.clone();
        let term = self.term;
        // What was applied since the first set was made is looked at now.
        applied.mark_changed();
        loop {
            let done = tokio::select! {
                up = from.message() => self.take(up).await,
                changed = applied.changed() => match changed {
                    Ok(()) => self.follow().await,
                    Err(_) => Err(End::Gone),
                },
                order = orders.recv() => self.pass(order).await,
                () = ended(&mut leads, term) => Err(End::Moved),
                () = stop.cancelled() => Err(End::Moved),
                () = self.out.closed() => Err(End::Gone),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn take(&mut self, up: Result<Option<wire::SessionUp>, Status>) -> Result<(), End> {
        let message = match up {
            Ok(Some(up)) => up.message,
            Ok(None) | Err(_) => return Err(End::Gone),
        };
        match self.inbox.take(message).await.map_err(End::Refused)? {
            Some(verdicts) => self.send(Message::Verdicts(verdicts)).await,
            None => Ok(()),
        }
    }

    async fn pass(&mut self, order: Option<Message>) -> Result<(), End> {
        match order {
            Some(order) => self.send(order).await,
            None => Err(End::Refused(Status::already_exists(format!(
                "another session of node {} took this one's place",
                self.inbox.node
            )))),
        }
    }

    /// Looks at what was applied, and sends what it changes for this node.
    async fn follow(&mut self) -> Result<(), End> {
        let since = self.api().inner.machine.since(self.upto, &interest());
        let state = self.api().inner.machine.state();
        let changed = self.touched_by(&since, &state);
        if changed.nodes {
            let node = self.inbox.node;
            if state.node(node).is_none() {
                let message = format!("node {node} was removed from the cluster");
                let removed = Message::Removed(wire::Removed { message });
                return Err(End::Last(Box::new(removed)));
            }
            self.send_managers().await?;
        }
        self.upto = match since {
            Since::Events { upto, .. } => upto,
            Since::Resync { .. } => state.index(),
        };
        let message = if changed.assignments {
            self.next_set(&state, &since)
        } else {
            None
        };
        let Some(message) = message else {
            self.told(Told::Unchanged(self.upto));
            return Ok(());
        };
        // Before it is sent: an agent may answer before this task runs again.
        self.told(Told::Sent(self.set.index));
        self.send(Message::Assignments(message)).await
    }

    /// What of it this session must look at again.
    fn touched_by(&self, since: &Since, state: &State) -> Touched {
        let Since::Events { events, .. } = since else {
            return Touched {
                assignments: true,
                nodes: true,
            };
        };
        let events = || events.iter().map(|(_, event)| event);
        let own = |event: &Event| concerns(event, self.inbox.node, &self.services);
        Touched {
            nodes: events().any(|event| event.key().kind() == Kind::Node),
            assignments: events().any(own) || view::is_concerned(&self.set.view, state, events()),
        }
    }

    /// Takes this node's assignments anew. What the agent is to be sent for them, if they differ from the last.
    fn next_set(&mut self, state: &State, since: &Since) -> Option<wire::Assignments> {
        let before = self.set.incarnation;
        // A state that is ahead of the events is not told of by them: the next look tells of the rest.
        let events = match since {
            Since::Events { events, upto } if *upto == state.index() => Some(events),
            _ => None,
        };
        let events = events.map(|events| events.iter().map(|(_, event)| event));
        let difference = self.set.follow(state, events);
        let restored = self.set.incarnation != before;
        self.services = services_of(&self.set);
        if restored {
            return Some(complete(&self.set));
        }
        (!difference.is_empty()).then(|| increment(&difference))
    }

    /// Keeps what the agent was told, and what it is up to date with by that.
    fn told(&self, told: Told) {
        let (node, session) = (self.inbox.node, self.inbox.session);
        let acknowledged = self.api().inner.sessions.told(node, session, told);
        let moved = self.api().inner.leader.hear(|seen, _| {
            let before = seen.node(node).map(|known| known.applied_index);
            // No sign of life: the time stays as it is.
            let fed = seen.heartbeat(node, session, acknowledged, shoal_proto::time::Timestamp::ZERO);
            fed.is_ok() && before.is_some_and(|before| before < acknowledged)
        });
        if moved == Some(true) {
            self.api().inner.leader.nudge();
        }
    }

    async fn send_managers(&mut self) -> Result<(), End> {
        let managers = self.api().inner.raft.members().addresses();
        if managers == self.managers {
            return Ok(());
        }
        self.managers.clone_from(&managers);
        self.send(Message::Managers(wire::ManagerList { managers })).await
    }

    async fn send(&self, message: Message) -> Result<(), End> {
        let down = wire::SessionDown {
            message: Some(message),
        };
        self.out.send(Ok(down)).await.map_err(|_| End::Gone)
    }

    fn api(&self) -> &Api {
        &self.inbox.api
    }
}
