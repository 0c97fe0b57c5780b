//! Which nodes a global service has a task on. Chooses nodes; tasks are made and stopped elsewhere.

use std::collections::BTreeMap;

use shoal_proto::node::Availability;
use shoal_proto::reason::Reason;
use shoal_proto::service::SlotKey;

use super::draft::Draft;
use super::restart;
use super::scope::Scope;
use super::slot::Facts;
use super::{Roster, Surplus};
use crate::scheduler::filter;

/// The slots of a global service: every node that fits. What is there stays while its node is down or paused;
/// a new task comes only to a node that can take it.
#[must_use]
pub(super) fn roster(draft: &Draft<'_>, scope: &Scope<'_>, slots: &BTreeMap<SlotKey, Facts<'_>>) -> Roster {
    let mut roster = Roster::default();
    let request = scope.request(scope.wanted.id);
    for node in scope.state.nodes() {
        let key = SlotKey::Node(node.id);
        let facts = slots.get(&key);
        let has_history = facts.is_some();
        let unsuitable = request.as_ref().and_then(|request| request.suitability(node));
        if node.plan.removing_since.is_some() || node.plan.availability == Availability::Drain {
            if has_history {
                roster
                    .surplus
                    .push((key, Surplus::Stopped(Reason::NodeDrained(node.id))));
            }
        } else if let Some(obstacle) = unsuitable {
            if has_history {
                roster
                    .surplus
                    .push((key, Surplus::Stopped(Reason::NodeUnsuitable(node.id, obstacle))));
            }
        } else if facts.is_some_and(|facts| facts.main.is_some()) || is_spent(draft, scope, key) {
            roster.kept.insert(key);
        } else if filter::availability(node).is_none() {
            roster.create.push(key);
        }
    }
    let gone = slots.keys().filter_map(|key| match key {
        SlotKey::Node(node) if scope.state.node(*node).is_none() => {
            Some((*key, Surplus::Gone(Reason::NodeRemoved(*node))))
        }
        _ => None,
    });
    roster.surplus.extend(gone);
    roster
}

fn is_spent(draft: &Draft<'_>, scope: &Scope<'_>, key: SlotKey) -> bool {
    let policy = &scope.service.settings.restart;
    draft
        .slot(scope.service.id, key)
        .is_some_and(|slot| restart::is_spent(policy, slot))
}
