//! What a leader has heard from the agents and does not store: a plain value, fed by the sessions, made anew by
//! every leader and filled by the agents' full reports.
//!
//! Only three things may be decided from it: ready or down, a progress deadline, and "all have acknowledged".
//! What is missing here means: wait.

use std::collections::BTreeMap;

use shoal_proto::id::{NodeId, SessionId, TaskId};
use shoal_proto::task::TaskState;
use shoal_proto::time::Timestamp;

use crate::state::State;

/// All that was heard since this leader began. Times are the leader's cluster time, which only its monotonic
/// clock moves; none of them is ever stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    led_since: Timestamp,
    nodes: BTreeMap<NodeId, SeenNode>,
    tasks: BTreeMap<TaskId, Progress>,
}

/// What was heard of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenNode {
    /// Its session, the newest.
    pub session: SessionId,
    /// The session's epoch.
    pub epoch: u64,
    /// Whether the session is open.
    pub connection: Connection,
    /// When it last spoke.
    pub heard_at: Timestamp,
    /// Since when its Engine has not answered.
    pub engine_silent_since: Option<Timestamp>,
    /// Index of the newest assignments it has carried out.
    pub applied_index: u64,
    /// How often it was last told to speak; none: it was not told, and does as the cluster's rules say.
    pub period_ms: Option<u64>,
}

/// Whether a session is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// It is.
    Open,
    /// It ended; the node may be about to come back.
    Closed,
}

/// How a node's Engine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineVoice {
    /// It answers.
    Answering,
    /// It does not.
    Silent,
}

/// How far a task is between two replicated states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Who says so.
    pub node: NodeId,
    /// `Accepted`, `Preparing` or `Starting`.
    pub state: TaskState,
    /// The agent's words.
    pub message: String,
    /// Since when it is in that state.
    pub since: Timestamp,
}

/// Why something that was heard does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeenError {
    /// Another session took its place, or this leader never knew it.
    #[error("session {session} of node {node} is not the one that is open here: open another")]
    Stale {
        /// Whose.
        node: NodeId,
        /// Which.
        session: SessionId,
    },
}

impl Seen {
    /// A leader that begins at `now` and has heard nothing.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            led_since: now,
            nodes: BTreeMap::new(),
            tasks: BTreeMap::new(),
        }
    }

    /// When this leader began.
    #[must_use]
    pub fn led_since(&self) -> Timestamp {
        self.led_since
    }

    /// What was heard of a node; none means: wait.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&SeenNode> {
        self.nodes.get(&node)
    }

    /// How far a task is; none means: as the state says.
    #[must_use]
    pub fn progress(&self, task: TaskId) -> Option<&Progress> {
        self.tasks.get(&task)
    }

    /// A session of a node begins; it takes the place of any other of that node.
    pub fn session_opened(&mut self, node: NodeId, session: SessionId, epoch: u64, now: Timestamp) {
        let applied_index = self.nodes.get(&node).map_or(0, |before| before.applied_index);
        let connection = Connection::Open;
        let seen = SeenNode {
            session,
            epoch,
            connection,
            heard_at: now,
            engine_silent_since: None,
            applied_index,
            period_ms: None,
        };
        self.nodes.insert(node, seen);
    }

    /// A session ended. The node is not down for that: it has its deadline to come back.
    pub fn session_closed(&mut self, node: NodeId, session: SessionId) {
        if let Ok(seen) = self.current(node, session) {
            seen.connection = Connection::Closed;
        }
    }

    /// A node spoke.
    ///
    /// # Errors
    /// When the session is not the node's newest.
    pub fn heartbeat(
        &mut self,
        node: NodeId,
        session: SessionId,
        applied_index: u64,
        now: Timestamp,
    ) -> Result<(), SeenError> {
        let seen = self.current(node, session)?;
        seen.heard_at = seen.heard_at.max(now);
        seen.applied_index = seen.applied_index.max(applied_index);
        Ok(())
    }

    /// A node is told how often to speak. It is judged by that until it is told otherwise: a shorter period that is on its
    /// way to it must not make it look silent.
    ///
    /// # Errors
    /// When the session is not the node's newest.
    pub fn told_period(&mut self, node: NodeId, session: SessionId, period_ms: u64) -> Result<(), SeenError> {
        self.current(node, session)?.period_ms = Some(period_ms);
        Ok(())
    }

    /// A node says how its Engine does.
    ///
    /// # Errors
    /// When the session is not the node's newest.
    pub fn engine(
        &mut self,
        node: NodeId,
        session: SessionId,
        voice: EngineVoice,
        now: Timestamp,
    ) -> Result<(), SeenError> {
        let seen = self.current(node, session)?;
        seen.engine_silent_since = match voice {
            EngineVoice::Answering => None,
            EngineVoice::Silent => seen.engine_silent_since.or(Some(now)),
        };
        Ok(())
    }

    /// A node says how far one of its tasks is. States that are replicated clear what was heard before.
    ///
    /// # Errors
    /// When the session is not the node's newest.
    pub fn task(&mut self, task: TaskId, session: SessionId, progress: Progress) -> Result<(), SeenError> {
        self.current(progress.node, session)?;
        if !is_transient(progress.state) {
            self.tasks.remove(&task);
            return Ok(());
        }
        let since = match self.tasks.get(&task) {
            Some(before) if before.state == progress.state => before.since,
            _ => progress.since,
        };
        self.tasks.insert(task, Progress { since, ..progress });
        Ok(())
    }

    /// Which of these nodes are not known to have carried out the assignments of `index`. A node that was not
    /// heard is among them: its knowledge is missing.
    pub fn lagging<'a>(
        &'a self,
        nodes: impl IntoIterator<Item = NodeId> + 'a,
        index: u64,
    ) -> impl Iterator<Item = NodeId> + 'a {
        nodes
            .into_iter()
            .filter(move |node| self.node(*node).is_none_or(|seen| seen.applied_index < index))
    }

    /// Forgets nodes and tasks that the state no longer has, and progress of tasks that ended.
    pub fn forget_gone(&mut self, state: &State) {
        self.nodes.retain(|id, _| state.node(*id).is_some());
        self.tasks.retain(|id, progress| {
            state
                .task(*id)
                .is_some_and(|task| !task.status.state.is_terminal() && task.plan.node == Some(progress.node))
        });
    }

    fn current(&mut self, node: NodeId, session: SessionId) -> Result<&mut SeenNode, SeenError> {
        match self.nodes.get_mut(&node) {
            Some(seen) if seen.session == session => Ok(seen),
            _ => Err(SeenError::Stale { node, session }),
        }
    }
}

/// States that are told and not replicated.
#[must_use]
pub fn is_transient(state: TaskState) -> bool {
    matches!(
        state,
        TaskState::Accepted | TaskState::Preparing | TaskState::Starting
    )
}

#[cfg(test)]
#[path = "seen_test.rs"]
mod tests;
