//! The chain that led here: deployments, revisions, lost nodes, replacements. Told from the links that are stored; what
//! was forgotten is not made up.

use std::collections::BTreeSet;
use std::sync::Arc;

use shoal_proto::id::{RevisionId, TaskId};
use shoal_proto::node::NodeState;
use shoal_proto::reason::Reason;
use shoal_proto::service::{Revision, Service};
use shoal_proto::task::Task;
use shoal_proto::time::Timestamp;
use shoal_proto::update::{Direction, Rollout, RolloutState};

use super::{Look, words};

/// Links that one answer tells at most; the newest are kept.
pub const CAUSES_MAX: usize = 20;

/// One link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    /// When, in cluster time.
    pub at: Timestamp,
    /// What happened.
    pub what: String,
}

/// How a task came to be, from the deployment of its oldest known predecessor on.
pub(super) fn of_task(look: &Look<'_>, task: &Task) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut revisions = BTreeSet::new();
    let mut seen: BTreeSet<TaskId> = BTreeSet::new();
    let mut next = Some(task);
    while let Some(task) = next.filter(|task| seen.len() < CAUSES_MAX && seen.insert(task.id)) {
        causes.push(made(look, task));
        revisions.insert(task.plan.revision);
        if let Some((_, Reason::NodeDown(node))) = &task.plan.replaces {
            causes.extend(lost(look, *node));
        }
        let before = task.plan.replaces.as_ref().map(|(before, _)| *before);
        next = before.and_then(|before| look.task(before)).map(Arc::as_ref);
    }
    causes.extend(revisions.into_iter().filter_map(|id| revision(look, id)));
    in_order(causes)
}

/// How a service came to be as it is: what was asked for, its rollout, and why its tasks are not its first.
pub(super) fn of_service(look: &Look<'_>, service: &Service) -> Vec<Cause> {
    let revisions = look.state.revisions_of(service.id).rev().take(3);
    let mut causes: Vec<Cause> = revisions.filter_map(|one| revision(look, one.id)).collect();
    if let Some(rollout) = &service.rollout {
        causes.extend(rolled(look, rollout));
    }
    let words = words::cause(&service.meta.cause);
    if !words.is_empty() && service.meta.cause.actor != Default::default() {
        causes.push(Cause {
            at: service.meta.updated_at,
            what: format!("last change: {words}"),
        });
    }
    for task in look.state.tasks_of_service(service.id).rev() {
        let wanted = task.plan.desired.wants_to_run();
        let Some((_, why)) = task.plan.replaces.as_ref().filter(|_| wanted) else {
            continue;
        };
        causes.push(made(look, task));
        if let Reason::NodeDown(node) = why {
            causes.extend(lost(look, *node));
        }
    }
    in_order(causes)
}

fn in_order(mut causes: Vec<Cause>) -> Vec<Cause> {
    causes.sort();
    causes.dedup();
    let surplus = causes.len().saturating_sub(CAUSES_MAX);
    causes.split_off(surplus)
}

fn made(look: &Look<'_>, task: &Task) -> Cause {
    let (name, id) = (look.task_name(task), words::short(task.id.as_str()));
    let place = task.plan.node.map(|node| format!(" on {}", look.node_name(node)));
    let place = place.unwrap_or_default();
    let revision = look
        .state
        .revision(task.plan.revision)
        .map(|revision| revision.number);
    let of = revision
        .map(|number| format!(", revision {number}"))
        .unwrap_or_default();
    let what = match &task.plan.replaces {
        None => format!("task {id} made for {name}{place}{of}"),
        Some((old, why)) => {
            let why = words::reason(look.state, why);
            let old = words::short(old.as_str());
            format!("task {id} made for {name}{place}{of}, in place of {old}: {why}")
        }
    };
    Cause {
        at: task.meta.created_at,
        what,
    }
}

/// Since when a node is gone, while it is.
fn lost(look: &Look<'_>, id: shoal_proto::id::NodeId) -> Option<Cause> {
    let node = look.state.node(id)?;
    let status = &node.status;
    let gone = matches!(status.state, NodeState::Down | NodeState::EngineDown);
    gone.then(|| {
        let why = status
            .reason
            .as_ref()
            .map(|why| format!(": {}", words::reason(look.state, why)));
        Cause {
            at: status.since,
            what: format!(
                "node {} lost, it is {}{}",
                node.name(),
                status.state,
                why.unwrap_or_default()
            ),
        }
    })
}

/// What made a revision: `deploy 14 of stack shop`, or the command.
fn revision(look: &Look<'_>, id: RevisionId) -> Option<Cause> {
    let found = look.state.revision(id)?;
    let words = deployed(look, found).unwrap_or_else(|| words::cause(&found.meta.cause));
    let words = if words.is_empty() {
        String::new()
    } else {
        format!(": {words}")
    };
    let image = &found.template.container.image;
    Some(Cause {
        at: found.meta.created_at,
        what: format!("revision {} ({image}){words}", found.number),
    })
}

fn deployed(look: &Look<'_>, revision: &Revision) -> Option<String> {
    let stack = look.state.service(revision.service)?.stack?;
    let stack = look.state.stack(stack)?;
    let first = stack
        .revisions
        .iter()
        .find(|one| one.services.get(&revision.service) == Some(&revision.id))?;
    let by = if first.by.is_empty() {
        String::new()
    } else {
        format!(" by {}", first.by)
    };
    Some(format!("deploy {} of stack {}{by}", first.number, stack.name))
}

fn rolled(look: &Look<'_>, rollout: &Rollout) -> Vec<Cause> {
    let number = |id| look.state.revision(id).map_or(0, |revision| revision.number);
    let (from, to) = (number(rollout.from), number(rollout.to));
    let which = direction(rollout.direction);
    let mut causes = vec![Cause {
        at: rollout.started_at,
        what: format!("{which} from revision {from} to {to} began"),
    }];
    let ended = match rollout.state {
        RolloutState::Running => None,
        RolloutState::Paused => Some("paused"),
        RolloutState::Completed => Some("completed"),
    };
    if let (Some(at), Some(ended)) = (rollout.ended_at, ended) {
        let why = rollout
            .reason
            .as_ref()
            .map(|why| format!(": {}", words::reason(look.state, why)));
        let what = format!("{which} to revision {to} {ended}{}", why.unwrap_or_default());
        causes.push(Cause { at, what });
    }
    causes
}

pub(super) const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Update => "update",
        Direction::Rollback => "rollback",
    }
}
