//! Which of the suitable nodes is best: even over the preferences' values, then Swarm's order of nodes.
//! Counts follow every single choice, so they are never stale within a round.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use shoal_proto::digest::Digest;
use shoal_proto::id::{NodeId, ServiceId};
use shoal_proto::node::Node;
use shoal_proto::time::Timestamp;

use super::constraint::{Subject, label};
use super::node_view::NodeView;

/// Why a text is not a spread preference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("spread preference {0:?} is not valid: write node.labels.NAME or engine.labels.NAME")]
pub struct SpreadError(pub String);

/// Whose tasks are spread.
#[derive(Debug, Clone, Copy)]
pub struct Whose {
    /// The service.
    pub service: ServiceId,
    /// Digest of the template: failures of other contents do not count.
    pub content: Digest,
    /// Cluster time: old failures do not count.
    pub now: Timestamp,
}

/// The nodes as a tree: one level per preference, the best node first in each leaf.
#[derive(Debug)]
pub struct Tree {
    root: Vertex,
}

#[derive(Debug, Default)]
struct Vertex {
    copies: u32,
    branches: BTreeMap<String, Vertex>,
    nodes: BinaryHeap<Reverse<Rank>>,
}

/// Less is better: many recent failures, copies of the service, all tasks, and the id so that it repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    many_failures: usize,
    copies: u32,
    copies_of_all: u32,
    node: NodeId,
}

/// Checks a preference such as `node.labels.zone`.
///
/// # Errors
/// Anything that is not a label of a node or of an Engine.
pub fn parse(text: &str) -> Result<Subject, SpreadError> {
    let text = text.trim();
    label(&text.to_ascii_lowercase(), text).ok_or_else(|| SpreadError(text.to_owned()))
}

impl Tree {
    /// All nodes, suitable or not: those that are not still hold copies that count.
    #[must_use]
    pub fn of<'v>(preferences: &[String], whose: Whose, views: impl Iterator<Item = &'v NodeView>) -> Self {
        let levels: Vec<Subject> = preferences.iter().filter_map(|text| parse(text).ok()).collect();
        let mut root = Vertex::default();
        for view in views {
            root.insert(&levels, whose, view);
        }
        Self { root }
    }

    /// The best node that `fits`, counted as taken. A node that does not fit is not asked about again.
    pub fn choose(&mut self, fits: &mut dyn FnMut(NodeId) -> bool) -> Option<NodeId> {
        self.root.choose(fits)
    }
}

impl Vertex {
    fn insert(&mut self, levels: &[Subject], whose: Whose, view: &NodeView) {
        let copies = view.copies(whose.service);
        self.copies += copies;
        if let Some((level, deeper)) = levels.split_first() {
            let branch = self
                .branches
                .entry(value_of(level, &view.node).to_owned())
                .or_default();
            branch.insert(deeper, whose, view);
            return;
        }
        self.nodes.push(Reverse(Rank {
            many_failures: view.many_failures(whose.service, whose.content, whose.now),
            copies,
            copies_of_all: view.copies_of_all(),
            node: view.id(),
        }));
    }

    fn choose(&mut self, fits: &mut dyn FnMut(NodeId) -> bool) -> Option<NodeId> {
        let chosen = if self.branches.is_empty() {
            self.choose_here(fits)
        } else {
            self.choose_below(fits)
        };
        self.copies += u32::from(chosen.is_some());
        chosen
    }

    fn choose_here(&mut self, fits: &mut dyn FnMut(NodeId) -> bool) -> Option<NodeId> {
        while let Some(Reverse(best)) = self.nodes.pop() {
            if fits(best.node) {
                let after = Rank {
                    copies: best.copies + 1,
                    copies_of_all: best.copies_of_all + 1,
                    ..best
                };
                self.nodes.push(Reverse(after));
                return Some(best.node);
            }
        }
        None
    }

    fn choose_below(&mut self, fits: &mut dyn FnMut(NodeId) -> bool) -> Option<NodeId> {
        loop {
            let least = self.branches.iter().min_by_key(|(_, branch)| branch.copies)?;
            let value = least.0.clone();
            let branch = self.branches.get_mut(&value)?;
            if let Some(node) = branch.choose(fits) {
                return Some(node);
            }
            self.branches.remove(&value);
        }
    }
}

fn value_of<'n>(level: &Subject, node: &'n Node) -> &'n str {
    let value = match level {
        Subject::NodeLabel(name) => node.plan.labels.get(name),
        Subject::EngineLabel(name) => node
            .status
            .description
            .as_ref()
            .and_then(|known| known.engine_labels.get(name)),
        _ => None,
    };
    value.map_or("", String::as_str)
}

#[cfg(test)]
#[path = "spread_test.rs"]
mod tests;
