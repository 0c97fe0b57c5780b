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
        let failing = self.constraints.iter().find(|(parsed, _)| match parsed {
            Ok(constraint) => !constraint.holds(node),
            Err(_) => true,
        })?;
        Some(Obstacle::Constraint(match &failing.0 {
            Ok(constraint) => constraint.to_string(),
            Err(error) => format!("{} ({error})", failing.1),
        }))
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

    /// A kind of plugin of which the node names none is not judged: older agents do not list all kinds.
    fn plugin(&self, node: &Node) -> Option<Obstacle> {
        let known = node.status.description.as_ref()?;
        let lacks = |(kind, name): &&(&str, &str)| {
            let of_kind = || {
                known
                    .plugins
                    .iter()
                    .filter_map(|p| p.strip_prefix(*kind)?.strip_prefix('/'))
            };
            let latest = format!("{name}:latest");
            of_kind().next().is_some() && !of_kind().any(|p| p == *name || p == latest)
        };
        let (kind, name) = self.plugins.iter().find(lacks)?;
        Some(Obstacle::Plugin(format!("{kind}/{name}")))
    }

    fn resources(&self, view: &NodeView, inherits: Option<TaskId>) -> Option<Obstacle> {
        let Resources {
            nano_cpus,
            memory_bytes,
            pids,
        } = view.shortfall(&self.demand, inherits);
        if nano_cpus > 0 {
            return Some(Obstacle::Cpu {
                missing_nano_cpus: nano_cpus,
            });
        }
        if memory_bytes > 0 {
            return Some(Obstacle::Memory {
                missing_bytes: memory_bytes,
            });
        }
        (pids > 0).then_some(Obstacle::Pids { missing: pids })
    }

    fn host_ports(&self, view: &NodeView, inherits: Option<TaskId>) -> Option<Obstacle> {
        let (port, holder) = view.taken_port(&self.demand, inherits)?;
        Some(Obstacle::HostPort {
            port,
            holder: Some(holder),
        })
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
