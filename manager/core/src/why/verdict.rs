//! What each node says to a task that waits: everything that keeps it from there, with the numbers behind it.
//! Asks the scheduler's own filters and ranks nothing but the answers.

use std::sync::Arc;

use shoal_proto::id::{NodeId, TaskId};
use shoal_proto::node::Node;
use shoal_proto::reason::Obstacle;
use shoal_proto::service::{Revision, SlotKey};
use shoal_proto::task::Task;

use super::amount::{AMOUNTS, Amount, Shortfall};
use super::{Look, words};
use crate::ids::IdSource;
use crate::orchestrator::draft::Draft;
use crate::scheduler::filter::{Binding, Request};
use crate::scheduler::heir::Heir;
use crate::scheduler::node_view::NodeView;
use crate::scheduler::{self, volumes};

/// Nodes that one answer names at most.
pub const VERDICTS_MAX: usize = 200;

/// One node's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Which node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// All that stands in the way; none: it could take the task.
    pub obstacles: Vec<Obstacle>,
    /// The amounts of which it has too little.
    pub shortfalls: Vec<Shortfall>,
    /// The obstacles in words, those of amounts with their numbers.
    pub words: Vec<String>,
}

/// What a task asks, and what its place depends on.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) task: &'a Task,
    pub(super) revision: &'a Arc<Revision>,
    pub(super) binding: Binding,
    /// The task whose place it may take over.
    pub(super) old: Option<TaskId>,
}

impl<'a> Asked<'a> {
    /// None where the state lacks what the task is made of.
    pub(super) fn of(look: &Look<'a>, task: &'a Task) -> Option<Self> {
        let revision = look.state.revision(task.plan.revision)?;
        let mut ids = IdSource::from_seed(0);
        let draft = Draft::new(look.state, &mut ids, look.now);
        Some(Self {
            task,
            revision,
            binding: volumes::binding(&draft, &revision.template, task),
            old: Heir::of(&draft, &revision.template, task).old(),
        })
    }

    pub(super) fn request(&self) -> Request<'a> {
        Request::of(
            self.task.plan.service,
            self.revision.digest,
            &self.revision.template,
        )
    }

    /// The nodes that may be asked: all, or the one that the slot is.
    pub(super) fn views<'l>(&self, look: &'l Look<'_>) -> impl Iterator<Item = &'l NodeView> + use<'l> {
        let only = match self.task.plan.slot {
            SlotKey::Node(node) => Some(node),
            SlotKey::Number(_) => None,
        };
        look.nodes
            .iter()
            .filter(move |view| only.is_none_or(|only| view.id() == only))
    }

    /// Of every node that may be asked, the nearest to fitting first.
    pub(super) fn verdicts(&self, look: &Look<'_>) -> Vec<Verdict> {
        let request = self.request();
        let mut all: Vec<Verdict> = self
            .views(look)
            .map(|view| Verdict::of(look, &request, self, view))
            .collect();
        all.sort_by(|a, b| (a.obstacles.len(), &a.name, a.node).cmp(&(b.obstacles.len(), &b.name, b.node)));
        all
    }

    /// Of one node, where that may be asked.
    pub(super) fn verdict(&self, look: &Look<'_>, node: NodeId) -> Option<Verdict> {
        let view = self.views(look).find(|view| view.id() == node)?;
        Some(Verdict::of(look, &self.request(), self, view))
    }

    /// The task after one real look of the scheduler: with its node, or with the reason why it has none.
    pub(super) fn placed(&self, look: &Look<'_>) -> Option<Task> {
        let mut ids = IdSource::from_seed(0);
        let mut draft = Draft::new(look.state, &mut ids, look.now);
        let mut nodes = look.nodes.clone();
        scheduler::place(&mut draft, &mut nodes, &[self.task.id]);
        draft.task(self.task.id).cloned()
    }
}

impl Verdict {
    fn of(look: &Look<'_>, request: &Request<'_>, asked: &Asked<'_>, view: &NodeView) -> Self {
        let obstacles = request.obstacles(view, &asked.binding, asked.old);
        let shortfalls = shortfalls(request, view, asked.old);
        let words = obstacles
            .iter()
            .map(|one| say(look, &view.node, one, &shortfalls))
            .collect();
        Self {
            node: view.id(),
            name: view.node.name().to_owned(),
            obstacles,
            shortfalls,
            words,
        }
    }
}

/// The amounts of which a node has too little.
pub(super) fn shortfalls(request: &Request<'_>, view: &NodeView, old: Option<TaskId>) -> Vec<Shortfall> {
    if view.node.status.description.is_none() {
        return Vec::new();
    }
    let (missing, held) = (view.shortfall(&request.demand, old), view.held(old));
    let (free, has) = (view.free(old), view.has());
    let short = |what: &Amount| what.of(&missing) > 0;
    let of = |what: Amount| Shortfall {
        what,
        // The place that is taken over may hold more than what is asked for.
        needs: what.of(&request.demand.resources).max(what.of(&held)),
        free: what.of(&free),
        has: what.of(&has),
        missing: what.of(&missing),
    };
    AMOUNTS.into_iter().filter(short).map(of).collect()
}

fn say(look: &Look<'_>, node: &Node, obstacle: &Obstacle, shortfalls: &[Shortfall]) -> String {
    let short = |what: Amount| shortfalls.iter().find(|short| short.what == what);
    let numbers = match obstacle {
        Obstacle::Cpu { .. } => short(Amount::Cpus),
        Obstacle::Memory { .. } => short(Amount::Memory),
        Obstacle::Pids { .. } => short(Amount::Pids),
        _ => None,
    };
    match (obstacle, numbers) {
        (_, Some(numbers)) => numbers.to_string(),
        (Obstacle::HostPort { port, holder }, _) => match holder.and_then(|id| look.task(id)) {
            Some(task) => format!("host port {port} is taken by {}", look.task_name(task)),
            None => obstacle.to_string(),
        },
        (Obstacle::VolumeElsewhere { volume, node }, _) => {
            format!("volume {volume} is on node {}", look.node_name(*node))
        }
        (Obstacle::Drained, _) if node.plan.removing_since.is_some() => "is being removed".to_owned(),
        (Obstacle::NotReady, _) => {
            let (state, since) = (node.status.state, words::since(look.now, node.status.since));
            format!("not ready: {state} for {since}")
        }
        (Obstacle::NoAgent, _) => "no agent: it takes no tasks".to_owned(),
        (Obstacle::MaxReplicas { limit }, _) => {
            format!("max_replicas_per_node: it holds {limit} of {limit} already")
        }
        (other, None) => other.to_string(),
    }
}
