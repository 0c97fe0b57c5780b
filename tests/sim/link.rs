//! What travels between agents and the leader, and how: in order within a session until it breaks, heartbeats each
//! on their own way. Anything may be late, lost with its session, or come twice.

use shoal_agent::assignments::Update;
use shoal_core::dispatcher::report::{Obeyed, Verdict};
use shoal_core::dispatcher::seen::EngineVoice;
use shoal_proto::id::{SessionId, TaskId};
use shoal_proto::task::TaskStatus;

use crate::agents::AgentEvent;
use crate::world::{Event, World};

/// From an agent.
#[derive(Debug, Clone)]
pub(crate) enum Up {
    /// Opens a session, with everything the agent knows.
    Hello(Greeting),
    /// A sign of life, and the index that was carried out.
    Heartbeat(SessionId, u64),
    /// Statuses that changed.
    Reports(SessionId, Vec<(TaskId, TaskStatus)>),
    /// Containers that are in no set.
    Unknown(SessionId, Vec<TaskId>),
    /// How the Engine does.
    Engine(SessionId, EngineVoice),
    /// The connection is gone.
    Broken(SessionId),
}

/// The first word of a session, with everything the agent knows.
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    pub(crate) boot: String,
    /// What the leader answers goes over this connection; on an older one it does not arrive.
    pub(crate) connection: u64,
    pub(crate) obeyed: Obeyed,
    pub(crate) reports: Vec<(TaskId, TaskStatus)>,
}

/// To an agent.
#[derive(Debug, Clone)]
pub(crate) enum Down {
    /// The session is open, in this epoch.
    Welcome(SessionId, u64),
    /// A set or a change.
    Update(Box<Update>),
    /// What to do with unknown containers.
    Verdicts(Vec<(TaskId, Verdict)>),
    /// The heartbeat was heard.
    Heard,
    /// The session is not known.
    Stale(SessionId),
}

/// How often a session breaks: once in so many messages.
const BREAKS_PERCENT: u64 = 1;
/// How often a message comes again, late.
const REPEATS_PERCENT: u64 = 2;
/// How often a heartbeat is lost.
const LOST_PERCENT: u64 = 5;

impl World {
    /// Sends in the order of the session.
    pub(crate) fn send_up(&mut self, agent: usize, up: Up) {
        let Some(term) = self.agents[agent].term else {
            return;
        };
        if !self.agents[agent].linked {
            return;
        }
        if self.mishap(BREAKS_PERCENT) {
            return self.break_session(agent);
        }
        if self.mishap(REPEATS_PERCENT) && !matches!(up, Up::Hello(_)) {
            self.tally.count("fault: message from an agent repeated");
            let late = self.between(10, 8_000);
            self.after(late, Event::Up(term, agent, Box::new(up.clone())));
        }
        let at = self.now + self.between(1, 15);
        let at = at.max(self.agents[agent].up_free_at);
        self.agents[agent].up_free_at = at;
        self.at(at, Event::Up(term, agent, Box::new(up)));
    }

    /// Sends on its own way.
    pub(crate) fn send_up_unordered(&mut self, agent: usize, up: Up) {
        let delay = self.between(1, 15);
        let mislaid = self.mishap(LOST_PERCENT);
        self.tally.count_many("fault: heartbeat lost", u64::from(mislaid));
        let lost = mislaid || !self.agents[agent].linked;
        if let (Some(term), false) = (self.agents[agent].term, lost) {
            self.after(delay, Event::Up(term, agent, Box::new(up)));
        }
    }

    /// Sends in the order of the session.
    pub(crate) fn send_down(&mut self, agent: usize, down: Down) {
        if !self.agents[agent].linked {
            return;
        }
        if self.mishap(BREAKS_PERCENT) {
            return self.break_session(agent);
        }
        let at = self.now + self.between(1, 15);
        let at = at.max(self.agents[agent].down_free_at);
        self.agents[agent].down_free_at = at;
        let life = self.connection_of(agent);
        if self.mishap(REPEATS_PERCENT) {
            self.tally.count("fault: message to an agent repeated");
            let late = self.between(10, 8_000);
            self.after(late, Event::Down(agent, life, Box::new(down.clone())));
        }
        self.at(at, Event::Down(agent, life, Box::new(down)));
    }

    /// Sends on its own way.
    pub(crate) fn send_down_unordered(&mut self, agent: usize, down: Down) {
        let delay = self.between(1, 15);
        if !self.mishap(LOST_PERCENT) && self.agents[agent].linked {
            let life = self.connection_of(agent);
            self.after(delay, Event::Down(agent, life, Box::new(down)));
        }
    }

    /// The connection that the leader's end of a session goes over.
    fn connection_of(&self, agent: usize) -> u64 {
        let session = self.lead.as_ref().and_then(|lead| lead.connection(agent));
        session.unwrap_or(self.agents[agent].connection)
    }

    /// The connection of a session breaks: nothing that is on its way arrives, and both ends notice.
    pub(crate) fn break_session(&mut self, agent: usize) {
        self.tally.count("fault: session broken");
        self.tell(&format!("session of agent {agent} breaks"));
        let (session, term) = (self.agents[agent].session, self.agents[agent].term);
        if let (Some(session), Some(term)) = (session, term) {
            let delay = self.between(1, 500);
            self.after(delay, Event::Up(term, agent, Box::new(Up::Broken(session))));
        }
        self.agents[agent].drop_session();
        self.connect_later(agent);
    }

    /// Tries again after a while that differs from agent to agent.
    pub(crate) fn connect_later(&mut self, agent: usize) {
        let delay = self.between(50, 1_000);
        let life = self.agents[agent].life;
        self.after(delay, Event::Agent(agent, life, AgentEvent::Connect));
    }
}
