//! Where the data of named local volumes binds a task to. Data never starts empty on another node unasked.
//! Looks only; the volume objects are made when a task is placed.

use std::collections::BTreeSet;

use shoal_proto::container::MountKind;
use shoal_proto::id::NodeId;
use shoal_proto::service::{SlotKey, TaskTemplate};
use shoal_proto::task::Task;

use super::filter::Binding;
use crate::orchestrator::draft::Draft;

/// Kinds of file systems that a `local` volume mounts from elsewhere: their data is on no node.
const REMOTE_KINDS: [&str; 8] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "ceph",
    "glusterfs",
    "fuse.sshfs",
    "9p",
];

/// Names of the volumes whose data lives on the node that runs the task.
pub fn node_bound(template: &TaskTemplate) -> impl Iterator<Item = &str> {
    template
        .container
        .mounts
        .iter()
        .filter_map(|mount| match &mount.kind {
            MountKind::Volume {
                name,
                driver,
                driver_options,
                ..
            } => {
                let local = driver.is_empty() || driver == "local";
                let remote = driver_options
                    .get("type")
                    .is_some_and(|kind| REMOTE_KINDS.contains(&kind.as_str()));
                (local && !remote && !name.is_empty()).then_some(name.as_str())
            }
            MountKind::Bind { .. } | MountKind::Tmpfs { .. } => None,
        })
}

/// Whether two tasks of this template must not work at once on what the node holds.
#[must_use]
pub fn is_exclusive(template: &TaskTemplate) -> bool {
    template.container.mounts.iter().any(|mount| !mount.read_only) && node_bound(template).next().is_some()
}

/// Where the task may go because of its data.
#[must_use]
pub fn binding(draft: &Draft<'_>, template: &TaskTemplate, task: &Task) -> Binding {
    if matches!(task.plan.slot, SlotKey::Node(_)) {
        return Binding::Free;
    }
    let mut names = node_bound(template).peekable();
    let Some(first) = names.peek() else {
        return Binding::Free;
    };
    let home = draft
        .slot(task.plan.service, task.plan.slot)
        .and_then(|slot| slot.home);
    if let Some(home) = home {
        return Binding::To {
            volume: (*first).to_owned(),
            nodes: BTreeSet::from([home]),
        };
    }
    let mut bound = Binding::Free;
    for name in names {
        bound = narrower(bound, name, holders(draft, name, task));
    }
    bound
}

/// Nodes that hold the volume and may give it to this task; none means that it is free to begin anywhere.
fn holders(draft: &Draft<'_>, name: &str, task: &Task) -> Option<BTreeSet<NodeId>> {
    let service = task.plan.service;
    let volumes: Vec<_> = draft.volumes_named(name);
    if volumes.is_empty() {
        return None;
    }
    let own: BTreeSet<NodeId> = volumes
        .iter()
        .filter(|(_, owner)| *owner == service)
        .map(|(node, _)| *node)
        .collect();
    if own.is_empty() {
        return Some(volumes.into_iter().map(|(node, _)| node).collect());
    }
    let claimed = draft.homes(service);
    let left: BTreeSet<NodeId> = own.difference(&claimed).copied().collect();
    (!left.is_empty()).then_some(left)
}

fn narrower(bound: Binding, name: &str, holders: Option<BTreeSet<NodeId>>) -> Binding {
    match (bound, holders) {
        (bound, None) => bound,
        (Binding::Free, Some(nodes)) => Binding::To {
            volume: name.to_owned(),
            nodes,
        },
        (Binding::To { volume, nodes }, Some(others)) => Binding::To {
            volume,
            nodes: nodes.intersection(&others).copied().collect(),
        },
    }
}
