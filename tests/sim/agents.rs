//! Hosts with an agent and an Engine in memory. The agent's decisions are the real ones; here they are only fed and
//! carried out, each job after a while, and lost with the agent that began it.

use std::collections::{BTreeMap, BTreeSet};

use shoal_agent::assignments::{Applied, Assignments, Extent};
use shoal_agent::engine::fake::FakeCore;
use shoal_agent::engine::{ContainerState, Health, NodeFacts, plan};
use shoal_agent::network::ipv6::Ipv6;
use shoal_agent::reconcile::{Local, outcome, reconcile};
use shoal_agent::reporter::{EngineWord, Report, Reporter};
use shoal_agent::task::{Action, Outcome, Record, World as Sight};
use shoal_core::dispatcher::report::{Obeyed, Verdict};
use shoal_core::dispatcher::seen::EngineVoice;
use shoal_proto::id::{ClusterId, NodeId, SessionId, TaskId};
use shoal_proto::node::NodeDescription;
use shoal_proto::resources::Resources;
use shoal_proto::time::Timestamp;

use crate::link::{Down, Greeting, Up};
use crate::operators::{BAD_IMAGE, IMAGES};
use crate::world::{Event, World};

/// Time between two heartbeats.
const HEARTBEAT_MS: u64 = 2_000;
/// Silence of the leader after which an agent looks for another.
const LEADER_SILENCE_MS: u64 = 5_000;
/// Time a hello may take.
const HELLO_MS: u64 = 3_000;

/// Something on one node.
#[derive(Debug)]
pub(crate) enum AgentEvent {
    /// The agent looks around.
    Round,
    /// A heartbeat is due.
    Beat,
    /// The agent looks for a leader.
    Connect,
    /// A job is done; the number tells it from one that was cancelled.
    JobDone(u64, Action),
    /// A container's health check passes.
    Healthy(String),
    /// A container's process ends with this code.
    Exit(String, i64),
}

/// A host, its Engine, and its agent.
pub(crate) struct Agent {
    pub(crate) node: NodeId,
    pub(crate) hostname: String,
    pub(crate) engine: FakeCore,
    pub(crate) boot: u64,
    /// Whether the host has power.
    pub(crate) powered: bool,
    /// Whether the agent runs.
    pub(crate) up: bool,
    /// Whether the network reaches the managers.
    pub(crate) linked: bool,
    /// Counts the agent's starts.
    pub(crate) life: u64,
    /// Counts its connections: what was sent to an older one does not arrive.
    pub(crate) connection: u64,
    /// The leadership it speaks to.
    pub(crate) term: Option<u64>,
    pub(crate) session: Option<SessionId>,
    pub(crate) up_free_at: u64,
    pub(crate) down_free_at: u64,
    heard_at: u64,
    facts: NodeFacts,
    pub(crate) local: Local,
    reporter: Reporter,
    /// What survives the agent.
    kept: Vec<u8>,
    jobs: BTreeMap<TaskId, u64>,
    job_count: u64,
    /// Jobs under way when the agent was lost, by their numbers.
    left: BTreeSet<u64>,
}

impl Agent {
    pub(crate) fn new(cluster: ClusterId, node: NodeId, hostname: &str) -> Self {
        let facts = NodeFacts {
            cluster,
            node,
            epoch: 0,
            boot: "boot-1".to_owned(),
            hostname: hostname.to_owned(),
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
            ipv6: Ipv6::There,
        };
        Self {
            node,
            hostname: hostname.to_owned(),
            engine: FakeCore::new(&IMAGES),
            boot: 1,
            powered: true,
            up: true,
            linked: true,
            life: 1,
            connection: 0,
            term: None,
            session: None,
            up_free_at: 0,
            down_free_at: 0,
            heard_at: 0,
            facts,
            local: Local::default(),
            reporter: Reporter::default(),
            kept: Vec::new(),
            jobs: BTreeMap::new(),
            job_count: 0,
            left: BTreeSet::new(),
        }
    }

    /// What it says of its host.
    pub(crate) fn description(&self) -> NodeDescription {
        NodeDescription {
            hostname: self.hostname.clone(),
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
            resources: Resources {
                nano_cpus: 4_000_000_000,
                memory_bytes: 4 << 30,
                pids: 0,
            },
            ..NodeDescription::default()
        }
    }

    /// Its end of the connection is gone.
    pub(crate) fn drop_session(&mut self) {
        (self.session, self.term) = (None, None);
        self.connection += 1;
    }

    /// The agent's memory is written as the real one writes it.
    pub(crate) fn keep(&mut self) {
        let records: Vec<&Record> = self.local.records.values().collect();
        let kept = (&self.local.assignments, records);
        self.kept = serde_json::to_vec(&kept).expect("an agent's memory can be written");
    }

    fn recall(&mut self) {
        self.local = Local::default();
        if self.kept.is_empty() {
            return;
        }
        let (assignments, records): (Assignments, Vec<Record>) =
            serde_json::from_slice(&self.kept).expect("an agent's memory can be read");
        self.local.assignments = assignments;
        self.local.records = records.into_iter().map(|record| (record.task, record)).collect();
    }

    /// Containers that run, by task.
    pub(crate) fn running(&self) -> BTreeMap<TaskId, Vec<String>> {
        let mut running = BTreeMap::<TaskId, Vec<String>>::new();
        for (id, seen) in self.engine.containers() {
            if seen.state == ContainerState::Running {
                running.entry(seen.task).or_default().push(id);
            }
        }
        running
    }

    /// Whose a container is, where it runs.
    fn task_that_runs(&self, container: &str) -> Option<TaskId> {
        let containers = self.engine.containers();
        let seen = containers.get(container)?;
        (seen.state == ContainerState::Running).then_some(seen.task)
    }

    fn obeyed(&self) -> Obeyed {
        let index = self.local.assignments.index;
        Obeyed {
            incarnation: index.incarnation,
            index: index.index,
        }
    }

    fn sight(&self, now: u64) -> Sight {
        let boot = format!("boot-{}", self.boot);
        Sight {
            now: Timestamp::from_ms(now),
            boot,
            instance: self.engine.instance(),
        }
    }
}

impl World {
    /// The agent begins to run.
    pub(crate) fn agent_start(&mut self, agent: usize) {
        let one = &mut self.agents[agent];
        if one.up || !one.powered {
            return;
        }
        one.up = true;
        one.facts.boot = format!("boot-{}", one.boot);
        one.recall();
        one.reporter = Reporter::default();
        self.tell(&format!("agent {agent} starts"));
        self.agent_wakes(agent);
    }

    /// Sets a running agent's first events.
    pub(crate) fn agent_wakes(&mut self, agent: usize) {
        let life = self.agents[agent].life;
        self.after(0, Event::Agent(agent, life, AgentEvent::Round));
        let beat = self.between(0, HEARTBEAT_MS);
        self.after(beat, Event::Agent(agent, life, AgentEvent::Beat));
        self.connect_later(agent);
    }

    /// The agent is killed; containers stay. A job under way may still have its effect.
    pub(crate) fn agent_stop(&mut self, agent: usize) {
        if !self.agents[agent].up {
            return;
        }
        self.tell(&format!("agent {agent} stops"));
        if self.agents[agent].session.is_some() {
            self.break_session(agent);
        }
        let one = &mut self.agents[agent];
        one.keep();
        one.up = false;
        one.life += 1;
        one.left.extend(std::mem::take(&mut one.jobs).into_values());
        one.drop_session();
    }

    /// Something happens on a node.
    pub(crate) fn agent_event(&mut self, agent: usize, life: u64, event: AgentEvent) {
        match event {
            AgentEvent::Healthy(container) => {
                let runs = self.agents[agent].task_that_runs(&container);
                let engine = &mut self.agents[agent].engine;
                if let Some(task) = runs {
                    engine.set_health(&container, Health::Healthy);
                    self.oracle.truth.passed(task);
                    self.agent_round(agent);
                }
            }
            AgentEvent::Exit(container, code) => {
                let runs = self.agents[agent].task_that_runs(&container);
                let engine = &mut self.agents[agent].engine;
                if let Some(task) = runs {
                    engine.exit(&container, code);
                    self.oracle.truth.exited(task);
                    self.tally.count("fault: container ended");
                    self.tell(&format!("container {container} on {agent} ends with {code}"));
                    self.agent_round(agent);
                }
            }
            AgentEvent::JobDone(number, action) if self.agents[agent].life != life => {
                self.orphaned_job(agent, number, &action);
            }
            _ if self.agents[agent].life != life || !self.agents[agent].up => {}
            AgentEvent::Round => self.agent_round(agent),
            AgentEvent::Beat => self.beat(agent),
            AgentEvent::Connect => self.connect(agent),
            AgentEvent::JobDone(number, action) => self.job_done(agent, number, &action),
        }
    }

    /// Looks, decides, and begins what follows.
    pub(crate) fn agent_round(&mut self, agent: usize) {
        let now = self.now;
        let one = &mut self.agents[agent];
        if !one.up {
            return;
        }
        if one.engine.instance().is_some() {
            one.local.containers = one.engine.containers();
        }
        let sight = one.sight(now);
        let decided = reconcile(&mut one.local, &sight);
        let (life, voice) = (one.life, sight.instance.is_some());
        for action in decided.actions {
            self.check_action(agent, &action);
            self.begin(agent, action);
        }
        if let Some(at) = decided.wake_at {
            self.at(at.as_ms(), Event::Agent(agent, life, AgentEvent::Round));
        }
        let one = &mut self.agents[agent];
        for (task, record) in &one.local.records {
            one.reporter.note(*task, &record.status);
        }
        let records = &one.local.records;
        one.reporter.retain(|task| records.contains_key(task));
        one.reporter
            .note_unknown(decided.unknown.into_iter().map(|unknown| unknown.task).collect());
        let word = if voice {
            EngineWord::Answers
        } else {
            EngineWord::Silent("silent".to_owned())
        };
        one.reporter.note_engine(word);
        self.send_reports(agent);
        self.check_containers(agent);
    }

    fn send_reports(&mut self, agent: usize) {
        while let Some(session) = self.agents[agent].session {
            let Some(report) = self.agents[agent].reporter.take_next() else {
                return;
            };
            let up = match report {
                Report::Tasks(tasks) => Up::Reports(session, tasks),
                Report::Unknown(tasks) => Up::Unknown(session, tasks),
                Report::Engine(EngineWord::Answers) => Up::Engine(session, EngineVoice::Answering),
                Report::Engine(EngineWord::Silent(_)) => Up::Engine(session, EngineVoice::Silent),
            };
            self.send_up(agent, up);
        }
    }

    fn begin(&mut self, agent: usize, action: Action) {
        let delay = match action {
            Action::Prepare(_) => self.between(20, 1_500),
            Action::Start(..) => self.between(20, 300),
            Action::Stop(..) => self.between(20, 2_000),
            Action::Remove(..) => self.between(5, 100),
            Action::CancelPrepare(task) => {
                self.agents[agent].jobs.remove(&task);
                let now = self.clock();
                let one = &mut self.agents[agent];
                outcome(&mut one.local, task, Outcome::Done, now);
                let life = one.life;
                return self.after(1, Event::Agent(agent, life, AgentEvent::Round));
            }
        };
        let one = &mut self.agents[agent];
        one.job_count += 1;
        let (number, life) = (one.job_count, one.life);
        one.jobs.insert(action.task(), number);
        self.after(
            delay,
            Event::Agent(agent, life, AgentEvent::JobDone(number, action)),
        );
    }

    fn job_done(&mut self, agent: usize, number: u64, action: &Action) {
        if self.agents[agent].jobs.get(&action.task()) != Some(&number) {
            return;
        }
        self.agents[agent].jobs.remove(&action.task());
        let result = self.perform(agent, action);
        let now = self.clock();
        outcome(&mut self.agents[agent].local, action.task(), result, now);
        self.agent_round(agent);
    }

    /// The agent that began a job is gone: the Engine may have done it all the same.
    fn orphaned_job(&mut self, agent: usize, number: u64, action: &Action) {
        let left = self.agents[agent].left.remove(&number);
        if left && self.agents[agent].powered && !self.agents[agent].up && self.chance(50) {
            self.tally.count("fault: job done after its agent");
            let _lost = self.perform(agent, action);
        }
    }

    fn perform(&mut self, agent: usize, action: &Action) -> Outcome {
        let one = &mut self.agents[agent];
        let assigned = one.local.assignments.tasks.get(&action.task());
        // What goes may outlive the networks it was made with.
        let assigned = assigned.filter(|_| matches!(action, Action::Prepare(_)));
        let made_of = assigned.map(|assigned| plan(assigned, &one.local.assignments.carried, &one.facts));
        let made_of = made_of.map(|made| made.expect("the simulation's templates have no mistakes"));
        let result = one.engine.perform(action, made_of.as_ref());
        self.oracle.truth.performed(action, &result);
        let one = &self.agents[agent];
        let word = match &result {
            Outcome::Failed(error) => format!("{error}"),
            _ => "done".to_owned(),
        };
        let bad = assigned_image(one, action.task()) == Some(BAD_IMAGE.to_owned());
        let life = one.life;
        self.tell(&format!("agent {agent} {action:?}: {word}"));
        if let (Action::Start(_, container), Outcome::Done) = (action, &result) {
            let event = if bad {
                AgentEvent::Exit(container.clone(), 1)
            } else {
                AgentEvent::Healthy(container.clone())
            };
            let delay = self.between(100, 900);
            let checked = self.agents[agent]
                .engine
                .containers()
                .get(container)
                .is_some_and(|c| c.health.is_some());
            if bad || checked {
                self.after(delay, Event::Agent(agent, life, event));
            }
        }
        result
    }

    fn beat(&mut self, agent: usize) {
        let life = self.agents[agent].life;
        self.after(HEARTBEAT_MS, Event::Agent(agent, life, AgentEvent::Beat));
        let Some(session) = self.agents[agent].session else {
            return;
        };
        if self.now - self.agents[agent].heard_at > LEADER_SILENCE_MS {
            self.agents[agent].drop_session();
            return self.connect_later(agent);
        }
        let applied = self.agents[agent].local.assignments.index.index;
        self.send_up_unordered(agent, Up::Heartbeat(session, applied));
    }

    fn connect(&mut self, agent: usize) {
        if self.agents[agent].session.is_some() {
            return;
        }
        let life = self.agents[agent].life;
        self.after(HELLO_MS, Event::Agent(agent, life, AgentEvent::Connect));
        let Some(term) = self.lead.as_ref().map(|lead| lead.term) else {
            return;
        };
        let one = &mut self.agents[agent];
        one.connection += 1;
        one.term = Some(term);
        let greeting = Greeting {
            boot: format!("boot-{}", one.boot),
            connection: one.connection,
            obeyed: one.obeyed(),
            reports: one.reporter.open(),
        };
        self.send_up(agent, Up::Hello(greeting));
    }

    /// Something reaches an agent.
    pub(crate) fn agent_hears(&mut self, agent: usize, connection: u64, down: Down) {
        let now = self.now;
        let one = &mut self.agents[agent];
        if !one.up || !one.linked || one.connection != connection {
            return;
        }
        one.heard_at = now;
        match down {
            Down::Welcome(session, epoch) => {
                one.session = Some(session);
                one.facts.epoch = epoch;
            }
            Down::Update(update) => {
                let extent = update.extent;
                match one.local.assignments.apply(*update) {
                    Applied::Yes => one.local.confirmed |= extent == Extent::Complete,
                    refused => {
                        self.tally.count("answer: set refused by its agent");
                        self.tell(&format!("agent {agent} does not obey a set: {refused:?}"));
                    }
                }
            }
            Down::Verdicts(verdicts) => {
                for (task, verdict) in verdicts {
                    match verdict {
                        Verdict::Keep => one.local.assignments.word_keep(task),
                        Verdict::Remove => one.local.assignments.word_remove(task),
                    }
                }
            }
            Down::Heard => return,
            Down::Stale(session) => {
                self.tally.count("answer: session not known");
                if one.session == Some(session) {
                    one.drop_session();
                    self.connect_later(agent);
                }
                return;
            }
        }
        self.agent_round(agent);
    }
}

fn assigned_image(agent: &Agent, task: TaskId) -> Option<String> {
    let assigned = agent.local.assignments.tasks.get(&task)?;
    Some(assigned.template.container.image.clone())
}
