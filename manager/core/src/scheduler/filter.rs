//! The filters: each says what keeps a task from a node, in numbers, or nothing. The first that speaks counts.
//! They look at one node at a time and never rank.

use std::collections::BTreeSet;

use shoal_proto::container::MountKind;
use shoal_proto::digest::Digest;
use shoal_proto::id::{NodeId, ServiceId, TaskId};
use shoal_proto::node::{Availability, Node, NodeState};
use shoal_proto::reason::Obstacle;
use shoal_proto::resources::Resources;
use shoal_proto::service::{Platform, TaskTemplate};

use super::constraint::{Constraint, parse, plain_arch};
use super::node_view::{Demand, NodeView};

/// What tasks of one revision ask of a node.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Whose tasks.
    pub service: ServiceId,
    /// Digest of the template.
    pub content: Digest,
    /// What they are made of.
    pub template: &'a TaskTemplate,
    /// What each takes.
    pub demand: Demand,
    constraints: Vec<(Result<Constraint, String>, &'a str)>,
    plugins: Vec<(&'static str, &'a str)>,
}

/// Where the data of a task's named local volumes binds it to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Binding {
    /// Nowhere yet.
    #[default]
    Free,
    /// One of these nodes, because of this volume.
    To {
        /// The volume's name.
        volume: String,
        /// Nodes that hold it.
        nodes: BTreeSet<NodeId>,
    },
}

impl<'a> Request<'a> {
    /// What a task of this template asks for.
    #[must_use]
    pub fn of(service: ServiceId, content: Digest, template: &'a TaskTemplate) -> Self {
        let constraints = template.placement.constraints.iter();
        Self {
            service,
            content,
            template,
            demand: Demand::of(template),
            constraints: constraints
                .map(|text| (parse(text).map_err(|error| error.to_string()), text.as_str()))
                .collect(),
            plugins: plugins(template),
        }
    }

    /// What keeps a task from the node, or nothing. With `inherits`, the place of that task counts as its own.
    #[must_use]
    pub fn obstacle(&self, view: &NodeView, binding: &Binding, inherits: Option<TaskId>) -> Option<Obstacle> {
        availability(&view.node)
            .or_else(|| self.suitability(&view.node))
            .or_else(|| bound(binding, view.id()))
            .or_else(|| self.resources(view, inherits))
            .or_else(|| self.host_ports(view, inherits))
            .or_else(|| self.max_replicas(view, inherits))
    }

    /// Everything that keeps a task from the node, in the order in which [`Request::obstacle`] asks: what it finds is the
    /// first of these. Of a node whose agent has never spoken nothing else is known.
    #[must_use]
    pub fn obstacles(&self, view: &NodeView, binding: &Binding, inherits: Option<TaskId>) -> Vec<Obstacle> {
        let node = &view.node;
        let mut found = availabilities(node);
        if node.status.description.is_none() {
            return found;
        }
        found.extend(self.failing(node));
        found.extend(self.platform(node));
        found.extend(self.lacking(node));
        found.extend(bound(binding, view.id()));
        found.extend(shortages(view.shortfall(&self.demand, inherits)));
        found.extend(view.taken_ports(&self.demand, inherits).map(taken));
        found.extend(self.max_replicas(view, inherits));
        found
    }

    /// What of the node itself, whatever runs there, is wrong for the task: constraints, platform, plugins.
    #[must_use]
    pub fn suitability(&self, node: &Node) -> Option<Obstacle> {
        self.constraint(node)
            .or_else(|| self.platform(node))
            .or_else(|| self.plugin(node))
    }

    /// The first constraint that does not hold. One that cannot be read never holds: it must not open a node.
    #[must_use]
    pub fn constraint(&self, node: &Node) -> Option<Obstacle> {
        self.failing(node).next()
    }

    fn failing<'s>(&'s self, node: &'s Node) -> impl Iterator<Item = Obstacle> + 's {
        let fails = |parsed: &Result<Constraint, String>| match parsed {
            Ok(constraint) => !constraint.holds(node),
            Err(_) => true,
        };
        let failing = self.constraints.iter().filter(move |(parsed, _)| fails(parsed));
        failing.map(|(parsed, text)| {
            Obstacle::Constraint(match parsed {
                Ok(constraint) => constraint.to_string(),
                Err(error) => format!("{text} ({error})"),
            })
        })
    }

    fn platform(&self, node: &Node) -> Option<Obstacle> {
        let wanted = &self.template.placement.platforms;
        let known = node.status.description.as_ref()?;
        if wanted.is_empty()
            || wanted
                .iter()
                .any(|platform| runs(platform, &known.os, &known.arch))
        {
            return None;
        }
        let words: Vec<String> = wanted
            .iter()
            .map(|p| format!("{}/{}", p.os, plain_arch(&p.arch)))
            .collect();
        Some(Obstacle::Platform(words.join(" or ")))
    }

    fn plugin(&self, node: &Node) -> Option<Obstacle> {
        self.lacking(node).next()
    }

    /// A kind of plugin of which the node names none is not judged: older agents do not list all kinds.
    fn lacking<'s>(&'s self, node: &'s Node) -> impl Iterator<Item = Obstacle> + 's {
        let named = node.status.description.iter().flat_map(|known| &known.plugins);
        let lacks = move |(kind, name): &&(&str, &str)| {
            let of_kind = || {
                named
                    .clone()
                    .filter_map(|p| p.strip_prefix(*kind)?.strip_prefix('/'))
            };
            let latest = format!("{name}:latest");
            of_kind().next().is_some() && !of_kind().any(|p| p == *name || p == latest)
        };
        let lacking = self.plugins.iter().filter(lacks);
        lacking.map(|(kind, name)| Obstacle::Plugin(format!("{kind}/{name}")))
    }

    fn resources(&self, view: &NodeView, inherits: Option<TaskId>) -> Option<Obstacle> {
        shortages(view.shortfall(&self.demand, inherits)).next()
    }

    fn host_ports(&self, view: &NodeView, inherits: Option<TaskId>) -> Option<Obstacle> {
        view.taken_ports(&self.demand, inherits).next().map(taken)
    }

    fn max_replicas(&self, view: &NodeView, inherits: Option<TaskId>) -> Option<Obstacle> {
        let limit = self.template.placement.max_replicas_per_node;
        let own = u32::from(inherits.is_some_and(|old| view.holds_wanted(old)));
        let others = u64::from(view.copies(self.service) - own);
        (limit > 0 && others >= limit).then_some(Obstacle::MaxReplicas { limit })
    }
}

/// What keeps every task from a node.
#[must_use]
pub fn availability(node: &Node) -> Option<Obstacle> {
    if node.status.description.is_none() {
        return Some(Obstacle::NoAgent);
    }
    if node.plan.removing_since.is_some() || node.plan.availability == Availability::Drain {
        return Some(Obstacle::Drained);
    }
    if node.status.state != NodeState::Ready {
        return Some(Obstacle::NotReady);
    }
    (node.plan.availability == Availability::Pause).then_some(Obstacle::Paused)
}

/// All of what keeps every task from a node: one that is drained may be down, too.
fn availabilities(node: &Node) -> Vec<Obstacle> {
    let mut found: Vec<Obstacle> = availability(node).into_iter().collect();
    let down = node.status.state != NodeState::Ready;
    match found.first() {
        Some(Obstacle::Drained) if down => found.push(Obstacle::NotReady),
        Some(Obstacle::NotReady) if node.plan.availability == Availability::Pause => {
            found.push(Obstacle::Paused);
        }
        _ => {}
    }
    found
}

fn shortages(missing: Resources) -> impl Iterator<Item = Obstacle> {
    let cpu = (missing.nano_cpus > 0).then_some(Obstacle::Cpu {
        missing_nano_cpus: missing.nano_cpus,
    });
    let memory = (missing.memory_bytes > 0).then_some(Obstacle::Memory {
        missing_bytes: missing.memory_bytes,
    });
    let pids = (missing.pids > 0).then_some(Obstacle::Pids {
        missing: missing.pids,
    });
    [cpu, memory, pids].into_iter().flatten()
}

fn taken((port, holder): (u16, TaskId)) -> Obstacle {
    Obstacle::HostPort {
        port,
        holder: Some(holder),
    }
}

fn bound(binding: &Binding, node: NodeId) -> Option<Obstacle> {
    match binding {
        Binding::To { volume, nodes } if !nodes.contains(&node) => {
            let holder = *nodes.first()?;
            Some(Obstacle::VolumeElsewhere {
                volume: volume.clone(),
                node: holder,
            })
        }
        _ => None,
    }
}

fn runs(platform: &Platform, os: &str, arch: &str) -> bool {
    let same_os = platform.os.is_empty() || platform.os.eq_ignore_ascii_case(os);
    same_os && (platform.arch.is_empty() || plain_arch(&platform.arch) == plain_arch(arch))
}

/// Drivers the node must have. The Engine's own are there always and are not asked for.
fn plugins(template: &TaskTemplate) -> Vec<(&'static str, &str)> {
    let mut wanted = Vec::new();
    for mount in &template.container.mounts {
        if let MountKind::Volume { driver, .. } = &mount.kind
            && !driver.is_empty()
            && driver != "local"
        {
            wanted.push(("volume", driver.as_str()));
        }
    }
    if let Some(log) = &template.log_driver
        && !log.name.is_empty()
        && log.name != "none"
    {
        wanted.push(("log", log.name.as_str()));
    }
    wanted
}
