//! Which slots a replicated service has: the lowest free numbers when it grows, the least useful tasks when it
//! shrinks. Chooses slots; tasks are made and stopped elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::id::NodeId;
use shoal_proto::service::SlotKey;

use super::draft::Draft;
use super::restart;
use super::scope::Scope;
use super::slot::Facts;
use super::{Roster, Surplus};

/// How much a slot is worth keeping: less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Running,
    Leaving,
    Assigned,
    Lost,
    Unassigned,
    Spent,
}

/// The slots of a service with so many replicas.
#[must_use]
pub(super) fn roster(
    draft: &Draft<'_>,
    scope: &Scope<'_>,
    slots: &BTreeMap<SlotKey, Facts<'_>>,
    replicas: u64,
) -> Roster {
    let mut kept: Vec<SlotKey> = filled(draft, scope, slots);
    let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);
    if kept.len() > wanted {
        kept = most_worth(scope, slots, kept);
        kept.truncate(wanted);
    }
    let missing = wanted - kept.len();
    let kept: BTreeSet<SlotKey> = kept.into_iter().collect();
    let free = (1_u64..).map(SlotKey::Number).filter(|key| !kept.contains(key));
    let create = free.take(missing.min(super::CREATE_MAX)).collect();
    let surplus = slots.keys().copied().filter(|key| !kept.contains(key));
    let surplus = surplus.map(|key| (key, Surplus::ScaledDown)).collect();
    Roster {
        kept,
        create,
        surplus,
        more: missing > super::CREATE_MAX,
    }
}

/// Slots that have a task, or that must not get another one.
fn filled(draft: &Draft<'_>, scope: &Scope<'_>, slots: &BTreeMap<SlotKey, Facts<'_>>) -> Vec<SlotKey> {
    let policy = &scope.service.settings.restart;
    let spent = |key: SlotKey| {
        draft
            .slot(scope.service.id, key)
            .is_some_and(|slot| restart::is_spent(policy, slot))
    };
    let filled = slots
        .values()
        .filter(|facts| facts.main.is_some() || spent(facts.key));
    filled.map(|facts| facts.key).collect()
}

/// Running before not running, few copies on the node before many, low numbers before high: primaries of
/// stateful services tend to have low ones.
fn most_worth(scope: &Scope<'_>, slots: &BTreeMap<SlotKey, Facts<'_>>, kept: Vec<SlotKey>) -> Vec<SlotKey> {
    let mut copies: BTreeMap<NodeId, u64> = BTreeMap::new();
    let mut ranked: Vec<(Worth, u64, SlotKey)> = Vec::new();
    let mut order = kept;
    order.sort_by_key(|key| (slots.get(key).map(|facts| worth(scope, facts)), *key));
    for key in order {
        let Some(facts) = slots.get(&key) else {
            continue;
        };
        let nth = facts.main.and_then(|main| main.plan.node).map_or(0, |node| {
            let nth = copies.entry(node).or_default();
            *nth += 1;
            *nth
        });
        ranked.push((worth(scope, facts), nth, key));
    }
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, _, key)| key).collect()
}

fn worth(scope: &Scope<'_>, facts: &Facts<'_>) -> Worth {
    match facts.main {
        None => Worth::Spent,
        Some(main) if main.plan.node.is_none() => Worth::Unassigned,
        Some(main) if !scope.standing(main).is_fine() => Worth::Lost,
        // What has begun to go goes first.
        Some(main) if facts.is_running() && main.plan.leaving.is_some() => Worth::Leaving,
        Some(_) if facts.is_running() => Worth::Running,
        Some(_) => Worth::Assigned,
    }
}
