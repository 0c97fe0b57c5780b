//! Why no node can take a task: the obstacles of all nodes put together, most frequent first.
//! Words only; it never changes what is decided.

use std::collections::BTreeMap;

use shoal_proto::id::TaskId;
use shoal_proto::reason::{Obstacle, Reason};

use super::filter::{Binding, Request};
use super::node_view::NodeView;

/// Different obstacles kept with a pending task.
pub const OBSTACLES_MAX: usize = 16;

/// What stands in the way, over all nodes given. Of a shortage, the smallest is told: the nearest to fitting.
#[must_use]
pub fn no_suitable_node<'v>(
    request: &Request<'_>,
    binding: &Binding,
    inherits: Option<TaskId>,
    views: impl Iterator<Item = &'v NodeView>,
) -> Reason {
    let obstacles = views.filter_map(|view| request.obstacle(view, binding, inherits));
    Reason::NoSuitableNode(tally(obstacles))
}

/// Counts obstacles of one kind together.
#[must_use]
pub fn tally(obstacles: impl Iterator<Item = Obstacle>) -> Vec<(Obstacle, u32)> {
    let mut kinds: BTreeMap<(u8, String), (Obstacle, u32)> = BTreeMap::new();
    for obstacle in obstacles {
        match kinds.get_mut(&kind(&obstacle)) {
            Some((kept, nodes)) => {
                *nodes += 1;
                *kept = nearer(kept, obstacle);
            }
            None => {
                kinds.insert(kind(&obstacle), (obstacle, 1));
            }
        }
    }
    let mut all: Vec<(Obstacle, u32)> = kinds.into_values().collect();
    all.sort_by_key(|(_, nodes)| std::cmp::Reverse(*nodes));
    all.truncate(OBSTACLES_MAX);
    all
}

fn kind(obstacle: &Obstacle) -> (u8, String) {
    match obstacle {
        Obstacle::NotReady => (0, String::new()),
        Obstacle::Paused => (1, String::new()),
        Obstacle::Drained => (2, String::new()),
        Obstacle::NoAgent => (3, String::new()),
        Obstacle::Constraint(text) => (4, text.clone()),
        Obstacle::Platform(text) => (5, text.clone()),
        Obstacle::Plugin(name) => (6, name.clone()),
        Obstacle::VolumeElsewhere { volume, .. } => (7, volume.clone()),
        Obstacle::Cpu { .. } => (8, String::new()),
        Obstacle::Memory { .. } => (9, String::new()),
        Obstacle::Pids { .. } => (10, String::new()),
        Obstacle::HostPort { port, .. } => (11, port.to_string()),
        Obstacle::MaxReplicas { .. } => (12, String::new()),
    }
}

fn nearer(kept: &Obstacle, other: Obstacle) -> Obstacle {
    match (kept, other) {
        (
            Obstacle::Cpu {
                missing_nano_cpus: one,
            },
            Obstacle::Cpu {
                missing_nano_cpus: other,
            },
        ) => Obstacle::Cpu {
            missing_nano_cpus: (*one).min(other),
        },
        (Obstacle::Memory { missing_bytes: one }, Obstacle::Memory { missing_bytes: other }) => {
            Obstacle::Memory {
                missing_bytes: (*one).min(other),
            }
        }
        (Obstacle::Pids { missing: one }, Obstacle::Pids { missing: other }) => Obstacle::Pids {
            missing: (*one).min(other),
        },
        // Several holders: the port is what they share.
        (Obstacle::HostPort { port, holder: one }, Obstacle::HostPort { holder: other, .. }) => {
            Obstacle::HostPort {
                port: *port,
                holder: one.filter(|one| Some(*one) == other),
            }
        }
        (kept, _) => kept.clone(),
    }
}
