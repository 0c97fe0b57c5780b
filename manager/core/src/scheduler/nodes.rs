//! All nodes as the scheduler sees them, kept from step to step and renewed where something changed.
//! A cache: losing it costs time and changes no decision.

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::id::NodeId;

use super::node_view::NodeView;
use crate::state::State;

/// A view of every node.
#[derive(Debug, Clone, Default)]
pub struct Nodes {
    views: BTreeMap<NodeId, NodeView>,
}

impl Nodes {
    /// Views of all nodes of a state.
    #[must_use]
    pub fn of(state: &State) -> Self {
        let views = state
            .nodes()
            .map(|node| (node.id, NodeView::of(state, node)))
            .collect();
        Self { views }
    }

    /// Looks again at these nodes.
    pub fn renew(&mut self, state: &State, changed: &BTreeSet<NodeId>) {
        for id in changed {
            match state.node(*id) {
                Some(node) => {
                    self.views.insert(*id, NodeView::of(state, node));
                }
                None => {
                    self.views.remove(id);
                }
            }
        }
    }

    /// One node.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<&NodeView> {
        self.views.get(&node)
    }

    /// One node, to count something there.
    pub fn get_mut(&mut self, node: NodeId) -> Option<&mut NodeView> {
        self.views.get_mut(&node)
    }

    /// All nodes, oldest id first.
    pub fn iter(&self) -> impl Iterator<Item = &NodeView> {
        self.views.values()
    }
}
