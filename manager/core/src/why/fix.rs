//! The nearest change that makes room for a task that waits. Each candidate is tried on a copy of the node and of the
//! template, with the scheduler's own filters, before it is suggested.

use std::sync::Arc;

use shoal_proto::id::NodeId;
use shoal_proto::node::{Availability, Node, NodePlan, NodeState, NodeStatus};
use shoal_proto::reason::Obstacle;
use shoal_proto::resources::Resources;
use shoal_proto::service::{Platform, SlotKey, TaskTemplate};

use super::Look;
use super::amount::AMOUNTS;
use super::remedy::{Newcomer, NodeEdit, Remedy, ServiceEdit};
use super::verdict::{Asked, shortfalls};
use crate::scheduler::constraint::{self, Operator};
use crate::scheduler::filter::{Binding, Request};
use crate::scheduler::node_view::NodeView;

/// Fixes that one answer names at most.
pub const FIXES_MAX: usize = 5;

/// Candidates that are tried at most, the nearest first.
const TRIED_MAX: usize = 400;

/// One more thing to change is worse than any other change of the same thing.
const ANOTHER_THING: u64 = 1_000;

/// How far each change is from what an operator does without a thought; the order is what counts.
mod weight {
    pub(super) const ACTIVATE: u64 = 10;
    pub(super) const UNDO_DRAIN: u64 = 20;
    pub(super) const LABEL: u64 = 30;
    pub(super) const CHANGE_LABEL: u64 = 45;
    /// And a hundredth more for each percent that is too little.
    pub(super) const RESERVE_LESS: u64 = 50;
    pub(super) const ROOM: u64 = 120;
    pub(super) const MAX_REPLICAS: u64 = 160;
    pub(super) const PORT: u64 = 200;
    pub(super) const RESERVE_NOTHING: u64 = 240;
    pub(super) const PLUGIN: u64 = 260;
    pub(super) const RETURN: u64 = 280;
    pub(super) const DROP_CONSTRAINT: u64 = 300;
    pub(super) const PLATFORM: u64 = 600;
}

/// Changes after which the task can be placed. One, where one is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// What to change.
    pub changes: Vec<Remedy>,
    /// In words.
    pub words: String,
    /// The commands that do it, as far as there are any.
    pub commands: Vec<String>,
}

/// Which side should give way, where more than one could.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Node,
    Service,
    Host,
}

/// One candidate: everything that stands in the way on one node, taken out of it.
#[derive(Debug, Clone)]
struct Candidate {
    node: NodeEdit,
    service: ServiceEdit,
    returns: bool,
    room: Resources,
    ports: Vec<(u16, shoal_proto::id::TaskId)>,
    plugins: Vec<String>,
    weight: u64,
}

/// What would help, the nearest first.
pub(super) fn fixes(look: &Look<'_>, asked: &Asked<'_>) -> Vec<Fix> {
    let request = asked.request();
    let mut candidates: Vec<(u64, &NodeView, Candidate)> = Vec::new();
    for view in asked.views(look) {
        let obstacles = request.obstacles(view, &asked.binding, asked.old);
        for side in [Side::Node, Side::Service, Side::Host] {
            let found = Candidate::of(look, asked, view, (&obstacles, side));
            candidates.extend(found.map(|found| (found.cost(), view, found)));
        }
    }
    candidates.sort_by(|a, b| (a.0, a.1.node.name(), a.1.id()).cmp(&(b.0, b.1.node.name(), b.1.id())));
    let mut found: Vec<Vec<Remedy>> = Vec::new();
    for (_, view, candidate) in candidates.into_iter().take(TRIED_MAX) {
        let changes = candidate.changes(view.id());
        if found.len() < FIXES_MAX && !found.contains(&changes) && candidate.helps(asked, view) {
            found.push(changes);
        }
    }
    if let Some(newcomer) = newcomer(look, asked).filter(|_| found.len() < FIXES_MAX) {
        found.push(vec![Remedy::NewNode(newcomer)]);
    }
    let template = &asked.revision.template;
    found
        .into_iter()
        .map(|changes| Fix::of(look, template, changes))
        .collect()
}

impl Fix {
    /// A change of a node for its own sake.
    pub(super) fn of_node(look: &Look<'_>, change: Remedy) -> Self {
        Self::of(look, &TaskTemplate::default(), vec![change])
    }

    fn of(look: &Look<'_>, template: &TaskTemplate, changes: Vec<Remedy>) -> Self {
        let words: Vec<String> = changes
            .iter()
            .map(|change| change.words(look, template))
            .collect();
        let commands = changes.iter().filter_map(|change| change.command(look, template));
        Self {
            words: words.join(", and "),
            commands: commands.collect(),
            changes,
        }
    }
}

impl Candidate {
    /// None where something stands in the way that nobody can take away.
    fn of(
        look: &Look<'_>,
        asked: &Asked<'_>,
        view: &NodeView,
        (all, side): (&[Obstacle], Side),
    ) -> Option<Self> {
        let mut candidate = Self {
            node: NodeEdit::nothing(view.id()),
            service: ServiceEdit::nothing(asked.task.plan.service),
            returns: false,
            room: Resources::default(),
            ports: Vec::new(),
            plugins: Vec::new(),
            weight: 0,
        };
        for obstacle in all {
            candidate.take_away(look, asked, view, (obstacle, side))?;
        }
        (!all.is_empty()).then_some(candidate)
    }

    fn take_away(
        &mut self,
        look: &Look<'_>,
        asked: &Asked<'_>,
        view: &NodeView,
        (obstacle, side): (&Obstacle, Side),
    ) -> Option<()> {
        self.weight += match obstacle {
            Obstacle::NoAgent | Obstacle::VolumeElsewhere { .. } => return None,
            Obstacle::Drained if view.node.plan.removing_since.is_some() => return None,
            Obstacle::Paused | Obstacle::Drained => {
                self.node.availability = Some(Availability::Active);
                if *obstacle == Obstacle::Paused {
                    weight::ACTIVATE
                } else {
                    weight::UNDO_DRAIN
                }
            }
            Obstacle::NotReady => {
                self.returns = true;
                weight::RETURN
            }
            Obstacle::Constraint(text) => self.meet(asked, view, (text, side))?,
            Obstacle::Platform(_) => {
                let known = view.node.status.description.as_ref()?;
                self.service.platforms_add = vec![Platform {
                    os: known.os.clone(),
                    arch: constraint::plain_arch(&known.arch),
                }];
                weight::PLATFORM
            }
            Obstacle::Plugin(name) => {
                self.plugins.push(name.clone());
                weight::PLUGIN
            }
            Obstacle::Cpu { .. } | Obstacle::Memory { .. } | Obstacle::Pids { .. } => {
                self.fit(asked, view, side)?
            }
            Obstacle::HostPort { port, holder } => {
                let holder = (*holder).filter(|id| {
                    let of_others =
                        |task: &Arc<shoal_proto::task::Task>| task.plan.service != asked.task.plan.service;
                    look.task(*id).is_some_and(of_others)
                })?;
                self.ports.push((*port, holder));
                weight::PORT
            }
            Obstacle::MaxReplicas { .. } => {
                let own = u32::from(asked.old.is_some_and(|old| view.holds_wanted(old)));
                let copies = u64::from(view.copies(asked.task.plan.service) - own);
                self.service.max_replicas = Some(copies + 1);
                weight::MAX_REPLICAS
            }
        };
        Some(())
    }

    /// A label where that is enough; else the constraint must go.
    fn meet(&mut self, asked: &Asked<'_>, view: &NodeView, (shown, side): (&str, Side)) -> Option<u64> {
        let written = asked.revision.template.placement.constraints.iter();
        let written = written.map(|text| (text, constraint::parse(text)));
        let (text, parsed) = written.into_iter().find(|(text, parsed)| match parsed {
            Ok(parsed) => parsed.to_string() == shown,
            Err(_) => shown.starts_with(text.as_str()),
        })?;
        let label = parsed.as_ref().ok().and_then(constraint::Constraint::node_label);
        let Some((name, operator, value)) = label.filter(|_| side != Side::Service) else {
            self.service.constraints_rm.push(text.clone());
            return Some(weight::DROP_CONSTRAINT);
        };
        if operator == Operator::NotEqual {
            self.node.labels_rm.insert(name.to_owned());
            return Some(weight::CHANGE_LABEL);
        }
        self.node.labels_add.insert(name.to_owned(), value.to_owned());
        let has = view.node.plan.labels.contains_key(name);
        Some(if has { weight::CHANGE_LABEL } else { weight::LABEL })
    }

    /// All amounts at once: less is asked for, or something else gives way.
    fn fit(&mut self, asked: &Asked<'_>, view: &NodeView, side: Side) -> Option<u64> {
        if self.service.reservations.is_some() || self.room != Resources::default() {
            return Some(0);
        }
        let short = shortfalls(&asked.request(), view, asked.old);
        let percent = short
            .iter()
            .map(|short| short.missing.saturating_mul(50) / short.needs.max(1))
            .max()?;
        if side == Side::Host {
            if short.iter().any(|short| short.needs > short.has) {
                return None;
            }
            for short in &short {
                *short.what.of_mut(&mut self.room) = short.missing;
            }
            return Some(weight::ROOM + percent.min(weight::MAX_REPLICAS - weight::ROOM));
        }
        let mut less = asked.revision.template.resources.reservations;
        let mut weight = weight::RESERVE_LESS;
        for short in &short {
            let left = short.what.rounded(short.free);
            *short.what.of_mut(&mut less) = left;
            weight = if left == 0 {
                weight::RESERVE_NOTHING
            } else {
                weight
            };
        }
        self.service.reservations = Some(less);
        Some(weight + percent.min(weight::ROOM - weight::RESERVE_LESS))
    }

    fn cost(&self) -> u64 {
        let things = self.changes(self.node.node).len() as u64;
        self.weight + things.saturating_sub(1) * ANOTHER_THING
    }

    fn changes(&self, node: NodeId) -> Vec<Remedy> {
        let mut all = Vec::new();
        if !self.node.is_nothing() {
            all.push(Remedy::Node(self.node.clone()));
        }
        if !self.service.is_nothing() {
            all.push(Remedy::Service(self.service.clone()));
        }
        if self.returns {
            all.push(Remedy::Return(node));
        }
        if self.room != Resources::default() {
            let missing = self.room;
            all.push(Remedy::Room { node, missing });
        }
        if !self.ports.is_empty() {
            let taken = self.ports.clone();
            all.push(Remedy::Ports { node, taken });
        }
        if !self.plugins.is_empty() {
            let names = self.plugins.clone();
            all.push(Remedy::Plugins { node, names });
        }
        all
    }

    /// Whether the filters let the task onto the node once all of it is done.
    fn helps(&self, asked: &Asked<'_>, view: &NodeView) -> bool {
        let mut view = view.clone();
        let node = Arc::make_mut(&mut view.node);
        self.node.apply(&mut node.plan);
        if self.returns {
            node.status.state = NodeState::Ready;
        }
        if let Some(known) = &mut node.status.description {
            known.plugins.extend(self.plugins.iter().cloned());
        }
        let mut template = TaskTemplate::clone(&asked.revision.template);
        self.service.apply(&mut template);
        let request = Request::of(asked.task.plan.service, asked.revision.digest, &template);
        let left = request.obstacles(&view, &asked.binding, asked.old);
        left.iter().all(|obstacle| self.gives_way(obstacle))
    }

    /// Whether it is among what others must give back.
    fn gives_way(&self, obstacle: &Obstacle) -> bool {
        match obstacle {
            Obstacle::Cpu { missing_nano_cpus } => *missing_nano_cpus <= self.room.nano_cpus,
            Obstacle::Memory { missing_bytes } => *missing_bytes <= self.room.memory_bytes,
            Obstacle::Pids { missing } => *missing <= self.room.pids,
            Obstacle::HostPort { port, .. } => self.ports.iter().any(|(freed, _)| freed == port),
            _ => false,
        }
    }
}

/// A node that does not exist yet and would take the task; none where no node could.
fn newcomer(look: &Look<'_>, asked: &Asked<'_>) -> Option<Newcomer> {
    if asked.binding != Binding::Free || matches!(asked.task.plan.slot, SlotKey::Node(_)) {
        return None;
    }
    let template = &asked.revision.template;
    let mut newcomer = Newcomer {
        labels: Default::default(),
        resources: template.resources.reservations,
        platform: template.placement.platforms.first().cloned(),
    };
    for text in &template.placement.constraints {
        let parsed = constraint::parse(text).ok()?;
        if let Some((name, Operator::Equal, value)) = parsed.node_label() {
            newcomer.labels.insert(name.to_owned(), value.to_owned());
        }
    }
    let node = Arc::new(newcomer.node(look, asked));
    let view = NodeView::of(look.state, &node);
    let fits = asked.request().obstacle(&view, &asked.binding, None).is_none();
    fits.then_some(newcomer)
}

impl Newcomer {
    /// As it would be on its first day.
    fn node(&self, look: &Look<'_>, asked: &Asked<'_>) -> Node {
        let mut resources = self.resources;
        for what in AMOUNTS {
            let least = what.of(&resources).max(1);
            *what.of_mut(&mut resources) = least;
        }
        let platform = self.platform.clone().unwrap_or_default();
        let description = shoal_proto::node::NodeDescription {
            hostname: asked.task.id.to_string(),
            os: platform.os,
            arch: platform.arch,
            resources,
            ..Default::default()
        };
        Node {
            id: NodeId::new(look.now, u128::MAX),
            meta: Default::default(),
            plan: NodePlan {
                labels: self.labels.clone(),
                ..NodePlan::default()
            },
            status: NodeStatus {
                state: NodeState::Ready,
                description: Some(description),
                ..NodeStatus::default()
            },
        }
    }
}
