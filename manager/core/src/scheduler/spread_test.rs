//! What the tree of nodes counts, whatever the preferences.

use proptest::prelude::*;
use shoal_proto::digest::Digest;
use shoal_proto::id::NodeId;
use shoal_proto::task::TaskState;

use super::{Tree, Vertex, Whose};
use crate::fixture::Fixture;
use crate::scheduler::Nodes;

/// Copies below a vertex, by its nodes; every vertex on the way must say the same.
fn copies_below(vertex: &Vertex) -> u32 {
    let here: u32 = vertex.nodes.iter().map(|node| node.0.copies).sum();
    let below: u32 = vertex.branches.values().map(copies_below).sum();
    assert_eq!(vertex.copies, here + below);
    vertex.copies
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_branch_counts_what_its_nodes_hold_also_while_tasks_are_placed(
        labels in prop::collection::vec((0_u8..3, 0_u8..3), 1..8),
        levels in 0_usize..3,
        tasks in 0_u64..20,
        room in 0_usize..20,
    ) {
        let mut fixture = Fixture::new();
        let service = fixture.service("web", tasks);
        let mut nodes: Vec<NodeId> = Vec::new();
        for (zone, rack) in &labels {
            let node = fixture.node();
            fixture.edit_node(node, |node| {
                // Zero stands for a node without the label.
                let named = [("zone", zone), ("rack", rack)].into_iter().filter(|(_, value)| **value > 0);
                node.plan.labels = named.map(|(name, value)| (name.to_owned(), value.to_string())).collect();
            });
            nodes.push(node);
        }
        for slot in 1..=tasks {
            let node = nodes[(slot as usize * 7) % nodes.len()];
            fixture.task(service, slot, Some(node), TaskState::Running);
        }
        let preferences = ["node.labels.zone".to_owned(), "node.labels.rack".to_owned()];
        let views = Nodes::of(&fixture.state);
        let whose = Whose { service: service.0, content: Digest::of(&1_u64.to_be_bytes()), now: fixture.now };
        let mut tree = Tree::of(&preferences[..levels], whose, views.iter());
        prop_assert_eq!(u64::from(copies_below(&tree.root)), tasks);
        for placed in 0..room as u64 {
            // The first node is full: whatever is asked, the search ends.
            let chosen = tree.choose(&mut |node| node != nodes[0]);
            prop_assert_eq!(chosen.is_some(), nodes.len() > 1);
            if chosen.is_none() {
                break;
            }
            let gone = views.get(nodes[0]).map_or(0, |view| view.copies(service.0));
            let counted = u64::from(tree.root.copies);
            prop_assert_eq!(counted, tasks + placed + 1, "of which {} on the full node", gone);
        }
    }
}
