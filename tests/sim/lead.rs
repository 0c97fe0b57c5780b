//! The manager that leads: it hears the agents, decides, proposes, and tells each agent what changed for it.
//! It is lost like any other, with all that it had not yet proposed and some of what it had.

use std::collections::BTreeMap;

use shoal_core::dispatcher::assignment::{AssignmentSet, assignments_for};
use shoal_core::dispatcher::difference::Difference;
use shoal_core::dispatcher::liveness::{Arrival, arrival};
use shoal_core::dispatcher::report::{Obeyed, Verdict, judge};
use shoal_core::dispatcher::seen::{EngineVoice, Progress, Seen, is_transient};
use shoal_core::ids::IdSource;
use shoal_core::leader::Leader;
use shoal_core::state::{Applied, Change, Group, Proposal, State};
use shoal_proto::id::{SessionId, TaskId};
use shoal_proto::node::NodeState;
use shoal_proto::object::{Actor, Cause};
use shoal_proto::task::{TaskState, TaskStatus};
use shoal_proto::time::Timestamp;

use crate::convert;
use crate::link::{Down, Greeting, Up};
use crate::managers::{Entry, Origin};
use crate::world::{Event, Faults, World};

/// Steps with changes that one second may see: more is a leader that never comes to rest.
const STEPS_PER_SECOND_MAX: u64 = 400;

/// How often a proposal takes long.
const SLOW_LOG_PERCENT: u64 = 2;
/// How often a report takes longer than what was proposed after it.
const LATE_REPORT_PERCENT: u64 = 15;

/// One leadership.
pub(crate) struct Lead {
    pub(crate) term: u64,
    pub(crate) manager: usize,
    /// Cluster time when it began, and the world's time then.
    began: (u64, u64),
    leader: Leader,
    pub(crate) seen: Seen,
    in_flight: usize,
    /// The earliest look that is coming.
    look_at: Option<u64>,
    sessions: BTreeMap<usize, Session>,
    commit_at: u64,
    steps: (u64, u64),
}

/// The leader's end of a session.
struct Session {
    id: SessionId,
    epoch: u64,
    connection: u64,
    obeyed: Obeyed,
    told: AssignmentSet,
}

impl Lead {
    /// The connection of an agent's open session.
    pub(crate) fn connection(&self, agent: usize) -> Option<u64> {
        self.sessions.get(&agent).map(|session| session.connection)
    }

    /// Cluster time, moved by the monotonic clock alone.
    pub(crate) fn now(&self, world_now: u64) -> Timestamp {
        Timestamp::from_ms(self.began.0 + (world_now - self.began.1))
    }
}

impl World {
    /// The present state of the manager that leads.
    pub(crate) fn leader_state(&self) -> Option<&State> {
        let lead = self.lead.as_ref()?;
        Some(&self.managers[lead.manager].state)
    }

    /// The managers choose one that is up, if a majority is.
    pub(crate) fn elect(&mut self) {
        let up: Vec<usize> = (0..self.managers.len())
            .filter(|at| self.managers[*at].up)
            .collect();
        if self.lead.is_some() || up.len() * 2 <= self.managers.len() {
            return;
        }
        let manager = self.pick(&up).expect("a majority is up");
        self.deliver(manager, self.log.last());
        self.term += 1;
        // Clocks of managers differ; cluster time never goes back for that.
        let skew = self.between(0, 3_000);
        let newest = self.managers[manager].state.newest_time().as_ms();
        let now = newest.max(self.now + skew);
        let (term, seed) = (self.term, self.between(0, u64::MAX));
        self.tell(&format!("manager {manager} leads in term {term}"));
        self.lead = Some(Lead {
            term,
            manager,
            began: (now, self.now),
            leader: Leader::new(IdSource::from_seed(seed)),
            seen: Seen::new(Timestamp::from_ms(now)),
            in_flight: 0,
            look_at: None,
            sessions: BTreeMap::new(),
            commit_at: self.now,
            steps: (0, 0),
        });
        self.look_soon();
    }

    /// The leader is gone: of what it had proposed, the first so many entries were accepted all the same.
    pub(crate) fn lose_leader(&mut self) {
        let Some(lead) = self.lead.take() else {
            return;
        };
        self.tally.count("fault: leader lost");
        self.tell(&format!("term {} ends", lead.term));
        let pending = self.take_commits(lead.term);
        let accepted = self.between(0, pending.len() as u64);
        self.tally
            .count_many("fault: proposal accepted after its leader", accepted);
        let lost = pending.len() as u64 - accepted;
        self.tally
            .count_many("fault: proposal lost with its leader", lost);
        for entry in pending
            .into_iter()
            .take(usize::try_from(accepted).expect("a count fits"))
        {
            self.append(entry);
        }
        let delay = self.between(150, 1_500);
        self.after(delay, Event::Elect);
    }

    /// Asks the log to accept a proposal of the present term, after those before it.
    pub(crate) fn propose(&mut self, proposal: Proposal, origin: Origin) {
        let delay = self.log_takes();
        let Some(lead) = &mut self.lead else {
            return;
        };
        lead.commit_at = lead.commit_at.max(self.now + delay);
        let (at, term) = (lead.commit_at, lead.term);
        if std::mem::take(&mut self.leader_doomed) && self.faults == Faults::On {
            self.at(self.now + delay / 2, Event::LeaderLost(term));
        }
        self.at(at, Event::Commit(term, Box::new(Entry { proposal, origin })));
    }

    /// How long a proposal takes; now and then a disk takes its time, and all that comes after waits for it.
    fn log_takes(&mut self) -> u64 {
        if self.mishap(SLOW_LOG_PERCENT) {
            self.tally.count("fault: log slow");
            return self.between(100, 2_500);
        }
        self.between(1, 12)
    }

    /// A report goes beside the steps; some take so long that the next session has begun before they are accepted.
    fn propose_report(&mut self, proposal: Proposal) {
        let origin = Origin::Reports;
        let Some(term) = self.lead.as_ref().map(|lead| lead.term) else {
            return;
        };
        if !self.mishap(LATE_REPORT_PERCENT) {
            return self.propose(proposal, origin);
        }
        self.tally.count("fault: report accepted late");
        let late = self.between(20, 4_000);
        self.after(late, Event::Commit(term, Box::new(Entry { proposal, origin })));
    }

    /// Lets the leader look at once.
    pub(crate) fn look_soon(&mut self) {
        self.look_by(self.now);
    }

    fn look_by(&mut self, at: u64) {
        let Some(lead) = &mut self.lead else {
            return;
        };
        if lead.look_at.is_none_or(|look| at < look) {
            lead.look_at = Some(at);
            let term = lead.term;
            self.at(at, Event::Step(term));
        }
    }

    /// The leader looks, unless it has something in flight: then it looks when that is applied.
    pub(crate) fn step(&mut self, term: u64) {
        let now = self.now;
        let Some(lead) = self.lead.as_mut().filter(|lead| lead.term == term) else {
            return;
        };
        if lead.look_at.is_none_or(|at| at > now) {
            return;
        }
        lead.look_at = None;
        if lead.in_flight > 0 {
            return;
        }
        let state = self.managers[lead.manager].state.clone();
        let cluster_now = lead.now(now);
        lead.seen.forget_gone(&state);
        let step = lead.leader.step(&state, &lead.seen, cluster_now);
        self.check_choice(&state, &step.groups, cluster_now);
        self.back_in_the_last_moment(&step.groups);
        let Some(lead) = &mut self.lead else {
            return;
        };
        let proposals = Proposal::pack(cluster_now, &Cause::default(), step.groups);
        let proposals = proposals.unwrap_or_else(|error| panic!("a step cannot be written: {error}"));
        lead.in_flight = proposals.len();
        let idle = proposals.is_empty();
        if !idle {
            let second = now / 1_000;
            lead.steps = if lead.steps.0 == second {
                (second, lead.steps.1 + 1)
            } else {
                (second, 1)
            };
            if lead.steps.1 > STEPS_PER_SECOND_MAX {
                self.fail("the leader does not come to rest");
            }
        }
        for proposal in proposals {
            self.propose(proposal, Origin::Step);
        }
        if let (true, Some(wake_at)) = (idle, step.wake_at) {
            // A wait that is over without a decision would be looked at for ever.
            self.look_by((now + wake_at.ms_since(cluster_now)).max(now + 1));
        }
    }

    /// The leader has applied an entry: it looks again, and tells the agents.
    pub(crate) fn leader_applied(&mut self, applied: Applied, origin: Origin) {
        match origin {
            Origin::Step => {
                if let Some(lead) = &mut self.lead {
                    lead.in_flight = lead.in_flight.saturating_sub(1);
                }
            }
            Origin::Arrival {
                agent,
                session,
                epoch,
                greeting,
            } => {
                self.begin_session(agent, session, epoch, &greeting);
                self.full_report(agent, session, greeting.reports);
            }
            Origin::Reports | Origin::Operator => {}
        }
        if !applied.events.is_empty() {
            self.tell_agents();
        }
        self.look_soon();
    }

    fn begin_session(&mut self, agent: usize, session: SessionId, epoch: u64, greeting: &Greeting) {
        let node = self.agents[agent].node;
        let now = self.now;
        let Some(lead) = &mut self.lead else {
            return;
        };
        let cluster_now = lead.now(now);
        lead.seen.session_opened(node, session, epoch, cluster_now);
        let told = assignments_for(&self.managers[lead.manager].state, node);
        let update = convert::complete(&told);
        lead.sessions.insert(
            agent,
            Session {
                id: session,
                epoch,
                connection: greeting.connection,
                obeyed: greeting.obeyed,
                told,
            },
        );
        self.send_down(agent, Down::Welcome(session, epoch));
        self.send_down(agent, Down::Update(Box::new(update)));
    }

    fn tell_agents(&mut self) {
        let Some(lead) = &mut self.lead else {
            return;
        };
        let state = &self.managers[lead.manager].state;
        let mut updates = Vec::new();
        for (agent, session) in &mut lead.sessions {
            let set = assignments_for(state, self.agents[*agent].node);
            let difference = Difference::between(&session.told, &set);
            if !difference.is_empty() {
                updates.push((*agent, convert::increment(&difference)));
                session.told = set;
            }
        }
        for (agent, update) in updates {
            self.send_down(agent, Down::Update(Box::new(update)));
        }
    }

    /// Something reaches the leader.
    pub(crate) fn hear(&mut self, term: u64, agent: usize, up: Up) {
        if self.lead.as_ref().is_none_or(|lead| lead.term != term) || !self.agents[agent].linked {
            return;
        }
        match up {
            Up::Hello(greeting) => self.hear_hello(agent, greeting),
            Up::Heartbeat(session, applied) => self.hear_heartbeat(agent, session, applied),
            Up::Reports(session, reports) => self.take_reports(agent, session, reports),
            Up::Unknown(session, tasks) => self.judge_unknown(agent, session, &tasks),
            Up::Engine(session, voice) => self.hear_engine(agent, session, voice),
            Up::Broken(session) => self.end_session(agent, session),
        }
    }

    fn hear_hello(&mut self, agent: usize, greeting: Greeting) {
        let node = self.agents[agent].node;
        let description = self.agents[agent].description();
        let Some(lead) = &mut self.lead else {
            return;
        };
        let cluster_now = lead.now(self.now);
        let Some(stored) = self.managers[lead.manager].state.node(node) else {
            return;
        };
        let news = Arrival {
            description,
            boot_id: greeting.boot.clone(),
            addr: None,
        };
        let (epoch, change) = arrival(stored, news, cluster_now);
        let session = self.ids.session(cluster_now);
        let mut group = Group::new();
        group.change(change);
        let cause = Cause {
            actor: Actor::Node(node),
            action: "session".to_owned(),
        };
        let proposal = Proposal::new(cluster_now, cause, vec![group]);
        self.propose(
            proposal,
            Origin::Arrival {
                agent,
                session,
                epoch,
                greeting,
            },
        );
    }

    fn hear_heartbeat(&mut self, agent: usize, session: SessionId, applied: u64) {
        let node = self.agents[agent].node;
        let now = self.now;
        let Some(lead) = &mut self.lead else {
            return;
        };
        let cluster_now = lead.now(now);
        let before = lead.seen.node(node).map(|known| known.applied_index);
        let known = lead.seen.heartbeat(node, session, applied, cluster_now).is_ok();
        let moved = known && before.is_some_and(|before| before < applied);
        let state = self.managers[lead.manager]
            .state
            .node(node)
            .map(|node| node.status.state);
        if moved || (known && state != Some(NodeState::Ready)) {
            self.look_soon();
        }
        let answer = if known { Down::Heard } else { Down::Stale(session) };
        self.send_down_unordered(agent, answer);
    }

    fn hear_engine(&mut self, agent: usize, session: SessionId, voice: EngineVoice) {
        let (node, now) = (self.agents[agent].node, self.now);
        if let Some(lead) = &mut self.lead {
            let cluster_now = lead.now(now);
            if lead.seen.engine(node, session, voice, cluster_now).is_ok() {
                self.look_soon();
            }
        }
    }

    fn end_session(&mut self, agent: usize, session: SessionId) {
        let node = self.agents[agent].node;
        let Some(lead) = &mut self.lead else {
            return;
        };
        lead.seen.session_closed(node, session);
        if lead.sessions.get(&agent).is_some_and(|open| open.id == session) {
            lead.sessions.remove(&agent);
        }
        self.look_soon();
    }

    fn full_report(&mut self, agent: usize, session: SessionId, reports: Vec<(TaskId, TaskStatus)>) {
        let ids: Vec<TaskId> = reports.iter().map(|(task, _)| *task).collect();
        self.take_reports(agent, session, reports);
        let verdicts = self.verdicts(agent, session, &ids);
        self.tally.verdicts(&verdicts);
        let removed: Vec<_> = verdicts
            .into_iter()
            .filter(|(_, verdict)| *verdict == Verdict::Remove)
            .collect();
        if !removed.is_empty() {
            self.send_down(agent, Down::Verdicts(removed));
        }
    }

    fn judge_unknown(&mut self, agent: usize, session: SessionId, tasks: &[TaskId]) {
        let verdicts = self.verdicts(agent, session, tasks);
        self.tally.verdicts(&verdicts);
        self.send_down(agent, Down::Verdicts(verdicts));
    }

    fn verdicts(&self, agent: usize, session: SessionId, tasks: &[TaskId]) -> Vec<(TaskId, Verdict)> {
        let open = self.lead.as_ref().and_then(|lead| lead.sessions.get(&agent));
        let (Some(open), Some(state)) = (open.filter(|open| open.id == session), self.leader_state()) else {
            return Vec::new();
        };
        judge(state, self.agents[agent].node, open.obeyed, tasks)
    }

    /// States that are replicated go to the log; the others are what the leader has seen.
    fn take_reports(&mut self, agent: usize, session: SessionId, reports: Vec<(TaskId, TaskStatus)>) {
        let (node, now) = (self.agents[agent].node, self.now);
        let Some(lead) = &mut self.lead else {
            return;
        };
        let Some(epoch) = lead
            .sessions
            .get(&agent)
            .filter(|open| open.id == session)
            .map(|open| open.epoch)
        else {
            return;
        };
        let cluster_now = lead.now(now);
        let mut groups = Vec::new();
        for (task, status) in reports {
            let message = status.message.clone();
            let progress = Progress {
                node,
                state: status.state,
                message,
                since: cluster_now,
            };
            let heard = lead.seen.task(task, session, progress).is_ok();
            if !heard || is_transient(status.state) || status.state < TaskState::Ready {
                continue;
            }
            let status = TaskStatus {
                since: cluster_now,
                epoch,
                version: 0,
                running_since: None,
                ..status
            };
            let mut group = Group::new();
            group.change(Change::TaskStatus {
                task,
                node,
                status: Box::new(status),
            });
            groups.push(group);
        }
        if !groups.is_empty() {
            let cause = Cause {
                actor: Actor::Node(node),
                action: "report".to_owned(),
            };
            self.propose_report(Proposal::new(cluster_now, cause, groups));
        }
    }
}
