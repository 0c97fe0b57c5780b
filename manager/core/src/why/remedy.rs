//! What would help a task that waits, as changes of one thing each, with the command where there is one.
//! Values and their words; which of them helps is decided in `fix`.

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::id::{NodeId, ServiceId, TaskId};
use shoal_proto::node::Availability;
use shoal_proto::resources::Resources;
use shoal_proto::service::{Platform, TaskTemplate};

use super::amount::{AMOUNTS, Amount};
use super::{Look, words};

/// A change of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Of what the operator said of a node.
    Node(NodeEdit),
    /// Of what the service asks for.
    Service(ServiceEdit),
    /// The node is down: it must come back.
    Return(NodeId),
    /// Something else must give way on a node.
    Room {
        /// Where.
        node: NodeId,
        /// How much.
        missing: Resources,
    },
    /// Others must give host ports back.
    Ports {
        /// Where.
        node: NodeId,
        /// The ports and who has them.
        taken: Vec<(u16, TaskId)>,
    },
    /// The node lacks plugins, as `kind/name`.
    Plugins {
        /// Where.
        node: NodeId,
        /// Which.
        names: Vec<String>,
    },
    /// One more node.
    NewNode(Newcomer),
}

/// What of a node's plan would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEdit {
    /// Which.
    pub node: NodeId,
    /// To this, where it changes.
    pub availability: Option<Availability>,
    /// Labels to set.
    pub labels_add: BTreeMap<String, String>,
    /// Labels to remove.
    pub labels_rm: BTreeSet<String>,
}

/// What of a service's template would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEdit {
    /// Which.
    pub service: ServiceId,
    /// Constraints to remove, as written.
    pub constraints_rm: Vec<String>,
    /// Reservations in place of those it has.
    pub reservations: Option<Resources>,
    /// `max_replicas_per_node` in place of what it is.
    pub max_replicas: Option<u64>,
    /// Platforms the image should be there for, too.
    pub platforms_add: Vec<Platform>,
}

/// A node that would take the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newcomer {
    /// Labels it needs.
    pub labels: BTreeMap<String, String>,
    /// What it must have free.
    pub resources: Resources,
    /// What the image is there for; none means any.
    pub platform: Option<Platform>,
}

impl NodeEdit {
    /// Nothing of it.
    #[must_use]
    pub const fn nothing(node: NodeId) -> Self {
        Self {
            node,
            availability: None,
            labels_add: BTreeMap::new(),
            labels_rm: BTreeSet::new(),
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::nothing(self.node)
    }

    /// Carries it out on a copy.
    pub fn apply(&self, plan: &mut shoal_proto::node::NodePlan) {
        plan.availability = self.availability.unwrap_or(plan.availability);
        plan.labels.extend(self.labels_add.clone());
        plan.labels.retain(|name, _| !self.labels_rm.contains(name));
    }

    fn words(&self, look: &Look<'_>) -> String {
        let name = look.node_name(self.node);
        let add = self
            .labels_add
            .iter()
            .map(|(key, value)| format!("label node {name} {key}={value}"));
        let rm = self
            .labels_rm
            .iter()
            .map(|key| format!("remove the label {key} from node {name}"));
        let activate = self.availability.map(|to| match look.state.node(self.node) {
            Some(node) => format!("make node {name} {to} (it is on {})", node.plan.availability),
            None => format!("make node {name} {to}"),
        });
        activate
            .into_iter()
            .chain(add)
            .chain(rm)
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn command(&self, look: &Look<'_>) -> String {
        let mut line = "shoal node update".to_owned();
        if let Some(to) = self.availability {
            line += &format!(" --availability {to}");
        }
        for (key, value) in &self.labels_add {
            line += &format!(" --label-add {}", words::quoted(&format!("{key}={value}")));
        }
        for key in &self.labels_rm {
            line += &format!(" --label-rm {}", words::quoted(key));
        }
        format!("{line} {}", words::node_for_command(look.state, self.node))
    }
}

impl ServiceEdit {
    /// Nothing of it.
    #[must_use]
    pub const fn nothing(service: ServiceId) -> Self {
        Self {
            service,
            constraints_rm: Vec::new(),
            reservations: None,
            max_replicas: None,
            platforms_add: Vec::new(),
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::nothing(self.service)
    }

    /// Carries it out on a copy.
    pub fn apply(&self, template: &mut TaskTemplate) {
        let placement = &mut template.placement;
        placement
            .constraints
            .retain(|text| !self.constraints_rm.contains(text));
        placement.platforms.extend(self.platforms_add.iter().cloned());
        placement.max_replicas_per_node = self.max_replicas.unwrap_or(placement.max_replicas_per_node);
        let asked = &mut template.resources.reservations;
        *asked = self.reservations.unwrap_or(*asked);
    }

    /// The amounts that would change: what, from how much, to how much.
    fn amounts(&self, before: &Resources) -> Vec<(Amount, u64, u64)> {
        let Some(after) = self.reservations else {
            return Vec::new();
        };
        let both = AMOUNTS
            .into_iter()
            .map(|what| (what, what.of(before), what.of(&after)));
        both.filter(|(_, before, after)| before != after).collect()
    }

    fn words(&self, look: &Look<'_>, template: &TaskTemplate) -> String {
        let mut all: Vec<String> = Vec::new();
        for (what, before, after) in self.amounts(&template.resources.reservations) {
            let (before, after) = (what.show(before), what.show(after));
            all.push(format!("reserve {after} {what} instead of {before}"));
        }
        all.extend(
            self.constraints_rm
                .iter()
                .map(|text| format!("remove the constraint {text}")),
        );
        all.extend(
            self.max_replicas
                .map(|to| format!("raise max_replicas_per_node to {to}")),
        );
        for platform in &self.platforms_add {
            all.push(format!(
                "use an image that is there for {}/{}",
                platform.os, platform.arch
            ));
        }
        let service = look.state.service(self.service);
        let name = service.map_or_else(|| self.service.to_string(), |service| service.name.clone());
        format!("service {name}: {}", all.join(", "))
    }

    /// None where no flag changes all of it.
    fn command(&self, look: &Look<'_>, template: &TaskTemplate) -> Option<String> {
        let mut line = "shoal service update".to_owned();
        for (what, _, after) in self.amounts(&template.resources.reservations) {
            line += &match what {
                Amount::Cpus => format!(" --reserve-cpu {}", what.show(after)),
                Amount::Memory if after.is_multiple_of(1 << 20) => {
                    format!(" --reserve-memory {}m", after >> 20)
                }
                Amount::Memory => format!(" --reserve-memory {after}"),
                Amount::Pids => return None,
            };
        }
        for text in &self.constraints_rm {
            line += &format!(" --constraint-rm {}", words::quoted(text));
        }
        if let Some(to) = self.max_replicas {
            line += &format!(" --replicas-max-per-node {to}");
        }
        let name = &look.state.service(self.service)?.name;
        self.platforms_add.is_empty().then(|| format!("{line} {name}"))
    }
}

impl Newcomer {
    fn words(&self) -> String {
        let mut needs: Vec<String> = Vec::new();
        if let Some(platform) = &self.platform {
            needs.push(format!("platform {}/{}", platform.os, platform.arch));
        }
        for what in AMOUNTS.into_iter().filter(|what| what.of(&self.resources) > 0) {
            needs.push(format!("{} {what}", what.show(what.of(&self.resources))));
        }
        needs.extend(
            self.labels
                .iter()
                .map(|(key, value)| format!("label {key}={value}")),
        );
        match needs.as_slice() {
            [] => "join one more node".to_owned(),
            needs => format!("join one more node with {}", needs.join(", ")),
        }
    }
}

impl Remedy {
    /// In words.
    #[must_use]
    pub fn words(&self, look: &Look<'_>, template: &TaskTemplate) -> String {
        match self {
            Self::Node(edit) => edit.words(look),
            Self::Service(edit) => edit.words(look, template),
            Self::Return(id) => {
                let name = look.node_name(*id);
                let state = look.state.node(*id).map(|node| node.status.state);
                let state = state.map(|state| format!(" (it is {state})")).unwrap_or_default();
                format!("bring node {name} back{state}: its host, its shoal-agent, its Engine")
            }
            Self::Room { node, missing } => {
                let short = AMOUNTS.into_iter().filter(|what| what.of(missing) > 0);
                let short: Vec<String> = short
                    .map(|what| format!("{} {what}", what.show(what.of(missing))))
                    .collect();
                format!("free {} on node {}", short.join(" and "), look.node_name(*node))
            }
            Self::Ports { node, taken } => {
                let holder = |id: &TaskId| {
                    look.task(*id)
                        .map_or_else(|| id.to_string(), |task| look.task_name(task))
                };
                let taken: Vec<String> = taken
                    .iter()
                    .map(|(port, id)| format!("host port {port}, which {} has", holder(id)))
                    .collect();
                format!("free on node {}: {}", look.node_name(*node), taken.join(", "))
            }
            Self::Plugins { node, names } => {
                format!(
                    "install on the host of node {}: plugin {}",
                    look.node_name(*node),
                    names.join(", ")
                )
            }
            Self::NewNode(newcomer) => newcomer.words(),
        }
    }

    /// As an operator would type it, where one command does it.
    #[must_use]
    pub fn command(&self, look: &Look<'_>, template: &TaskTemplate) -> Option<String> {
        match self {
            Self::Node(edit) => Some(edit.command(look)),
            Self::Service(edit) => edit.command(look, template),
            Self::NewNode(_) => Some("shoal cluster join-token worker".to_owned()),
            Self::Return(_) | Self::Room { .. } | Self::Ports { .. } | Self::Plugins { .. } => None,
        }
    }
}
