//! What would happen if nodes were lost or drained: the leader itself decides, on a copy of the state, and pretended
//! agents do at once what they are told. Nothing of it reaches the state or anybody else.

mod compare;
mod pretence;
pub mod spare;

use std::collections::BTreeSet;

use shoal_proto::id::{NodeId, TaskId};
use shoal_proto::node::{Availability, Node, NodeState, Role};
use shoal_proto::time::Timestamp;

use crate::ids::IdSource;
use crate::state::State;
use pretence::Pretence;

/// Steps of the leader in one simulation.
pub const STEPS_MAX: usize = 5_000;

/// Cluster time that one simulation looks ahead.
pub const HORIZON_MS: u64 = 60 * 60 * 1_000;

/// What would happen to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// It is gone from one moment to the next and does not come back.
    Kill(NodeId),
    /// An operator drains it.
    Drain(NodeId),
}

/// What would follow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Each task that is touched, by the name of its slot.
    pub fates: Vec<Fate>,
    /// What else an operator should know.
    pub warnings: Vec<String>,
    /// Cluster time until nothing more happens, with agents that need no time at all.
    pub lasted_ms: u64,
}

/// What would become of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// `web.1`.
    pub name: String,
    /// The task that is touched.
    pub task: TaskId,
    /// Where it is now.
    pub from: Option<NodeId>,
    /// What becomes of it.
    pub end: End,
}

/// How it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Another task takes its place on this node.
    Moves(NodeId),
    /// Nothing takes its place, and why.
    Waits(String),
    /// It stays where it is although it should not, and why.
    Stays(String),
    /// Nothing should take its place, and why.
    Stops(String),
}

impl End {
    /// Whether the service has less than was asked for.
    #[must_use]
    pub const fn is_loss(&self) -> bool {
        matches!(self, Self::Waits(_) | Self::Stays(_))
    }
}

impl Outcome {
    /// Tasks that nothing takes the place of although something should.
    #[must_use]
    pub fn losses(&self) -> usize {
        self.fates.iter().filter(|fate| fate.end.is_loss()).count()
    }
}

/// What would follow if all of this happened at this moment.
#[must_use]
pub fn simulate(state: &State, events: &BTreeSet<Event>, now: Timestamp) -> Outcome {
    let mut pretence = Pretence::begin(state, now, IdSource::from_seed(state.index()));
    // What is under way at this moment is not the events' doing.
    pretence.settle();
    let before = pretence.state.clone();
    let mut outcome = Outcome {
        warnings: warnings(&before, events),
        ..Outcome::default()
    };
    let began = pretence.now;
    for event in events {
        match event {
            Event::Kill(node) => pretence.kill(*node),
            Event::Drain(node) => pretence.drain(*node),
        }
    }
    if !pretence.run() {
        outcome.warnings.push(format!(
            "it was not over after {STEPS_MAX} steps or {} minutes of the cluster's time: what is told is how far it came",
            HORIZON_MS / 60_000
        ));
    }
    outcome.lasted_ms = pretence.settled_at.ms_since(began);
    let touched: BTreeSet<NodeId> = events.iter().map(Event::node).collect();
    outcome.fates = compare::fates(&before, &pretence.state, &touched, pretence.now);
    outcome
}

impl Event {
    const fn node(&self) -> NodeId {
        match self {
            Self::Kill(node) | Self::Drain(node) => *node,
        }
    }
}

fn warnings(state: &State, events: &BTreeSet<Event>) -> Vec<String> {
    let mut warnings = Vec::new();
    let managers: Vec<NodeId> = state
        .nodes()
        .filter(|node| node.plan.role == Role::Manager)
        .map(|node| node.id)
        .collect();
    let killed = managers
        .iter()
        .filter(|id| events.contains(&Event::Kill(**id)))
        .count();
    let left = managers.len() - killed;
    if killed > 0 && left < managers.len() / 2 + 1 {
        warnings.push(format!(
            "{killed} of {} managers would be lost, and the {left} that are left have no quorum: what runs goes on, and \
             nothing of what follows is decided before enough of them are back",
            managers.len()
        ));
    }
    for event in events {
        let Some(node) = state.node(event.node()) else {
            continue;
        };
        warnings.extend(changes_nothing(node, event));
    }
    warnings
}

fn changes_nothing(node: &Node, event: &Event) -> Option<String> {
    let (name, state) = (node.name(), node.status.state);
    match event {
        Event::Kill(_) if state != NodeState::Ready => Some(format!("node {name} is {state} already")),
        Event::Drain(_) if node.plan.availability == Availability::Drain => {
            Some(format!("node {name} is drained already"))
        }
        Event::Kill(_) | Event::Drain(_) => None,
    }
}

#[cfg(test)]
#[path = "simulate_test.rs"]
mod tests;
