//! Why a node is as it is: down, drained, paused, full; what it could not take, and what waits for it.

use shoal_proto::id::NodeId;
use shoal_proto::node::{Availability, Node, NodeState};
use shoal_proto::task::Task;

use super::amount::AMOUNTS;
use super::fix::Fix;
use super::remedy::{NodeEdit, Remedy};
use super::verdict::Asked;
use super::{Cause, Explanation, LISTED_MAX, Look, Matter, task, words};
use crate::orchestrator::slot::is_open;
use crate::scheduler::needs_node;

impl<'a> Look<'a> {
    /// What is to be said of a node; none when there is no such node.
    #[must_use]
    pub fn why_node(&self, id: NodeId) -> Option<Explanation> {
        let node: &'a Node = self.state.node(id)?;
        let mut said = Explanation {
            name: node.name().to_owned(),
            summary: summary(self, node),
            facts: facts(self, node),
            fixes: fixes(self, node),
            ..Explanation::default()
        };
        for task in self.state.tasks_on_node(id).filter(|task| is_open(task)) {
            said.matters.extend(stays(self, node, task));
        }
        let waiting = self.state.tasks().filter(|task| needs_node(task));
        for task in waiting.take(LISTED_MAX) {
            said.matters.extend(refused(self, id, task));
        }
        let left = said.matters.len().saturating_sub(LISTED_MAX);
        if left > 0 {
            said.facts.push(format!("{left} more tasks have to do with it"));
            said.matters.truncate(LISTED_MAX);
        }
        said.causes.extend(changed(node));
        Some(said)
    }
}

fn summary(look: &Look<'_>, node: &Node) -> String {
    let status = &node.status;
    let since = words::since(look.now, status.since);
    let why = status
        .reason
        .as_ref()
        .map(|why| format!(": {}", words::reason(look.state, why)));
    let why = why.unwrap_or_default();
    let allowed = match (node.plan.removing_since, node.plan.availability) {
        (Some(at), _) => format!("it is being removed since {}", words::since(look.now, at)),
        (None, Availability::Active) => "takes tasks".to_owned(),
        (None, Availability::Pause) => "paused: keeps its tasks and takes no new ones".to_owned(),
        (None, Availability::Drain) => "drained: its tasks move elsewhere".to_owned(),
    };
    if status.description.is_none() {
        return "has no agent that has ever spoken, and takes no tasks".to_owned();
    }
    match status.state {
        NodeState::Ready => format!("ready for {since}, {allowed}"),
        state if node.plan.availability == Availability::Active => format!("{state} for {since}{why}"),
        state => format!("{state} for {since}{why}; {allowed}"),
    }
}

fn facts(look: &Look<'_>, node: &Node) -> Vec<String> {
    let mut facts = Vec::new();
    let tasks: Vec<&std::sync::Arc<Task>> = look
        .state
        .tasks_on_node(node.id)
        .filter(|task| is_open(task))
        .collect();
    let leaving = tasks
        .iter()
        .filter(|task| !task.plan.desired.wants_to_run())
        .count();
    facts.push(match leaving {
        0 => format!("{} tasks are on it", tasks.len()),
        leaving => format!("{} tasks are on it, {leaving} of them are to stop", tasks.len()),
    });
    if let Some(view) = look.nodes.get(node.id) {
        let (free, has) = (view.free(None), view.has());
        let amounts = AMOUNTS.into_iter().filter(|what| what.of(&has) > 0);
        let amounts: Vec<String> = amounts
            .map(|what| {
                let (free, has) = (what.of(&free), what.of(&has));
                format!("{} of {} {what}", what.show(free), what.show(has))
            })
            .collect();
        if !amounts.is_empty() {
            facts.push(format!("not reserved: {}", amounts.join(", ")));
        }
    }
    let volumes: Vec<&str> = look
        .state
        .volumes_on_node(node.id)
        .map(|volume| volume.name.as_str())
        .take(LISTED_MAX)
        .collect();
    if !volumes.is_empty() {
        facts.push(format!("holds the data of volumes {}", volumes.join(", ")));
    }
    facts
}

/// A task that is on the node and should not be, or that waits for it to come back.
fn stays(look: &Look<'_>, node: &Node, task: &Task) -> Option<Matter> {
    let lost = node.status.state != NodeState::Ready && task.plan.desired.wants_to_run();
    let should_go = node.plan.availability == Availability::Drain || node.plan.removing_since.is_some();
    let reason = match &task.plan.pending {
        Some(_) => task::line(look, task),
        None if lost => "waits for the node to come back".to_owned(),
        None if should_go => task::line(look, task),
        None => return None,
    };
    Some(Matter {
        name: look.task_name(task),
        task: Some(task.id),
        node: Some(node.id),
        stands: task.status.state.to_string(),
        reason,
    })
}

/// A task that waits and that this node cannot take.
fn refused<'a>(look: &Look<'a>, id: NodeId, task: &'a Task) -> Option<Matter> {
    let asked = Asked::of(look, task)?;
    let verdict = asked.verdict(look, id)?;
    if verdict.obstacles.is_empty() {
        return None;
    }
    Some(Matter {
        name: look.task_name(task),
        task: Some(task.id),
        node: None,
        stands: task.status.state.to_string(),
        reason: format!("waits, and cannot come here: {}", verdict.words.join("; ")),
    })
}

fn fixes(look: &Look<'_>, node: &Node) -> Vec<Fix> {
    let mut changes = Vec::new();
    if node.status.state != NodeState::Ready && node.status.description.is_some() {
        changes.push(Remedy::Return(node.id));
    }
    if node.plan.availability != Availability::Active && node.plan.removing_since.is_none() {
        changes.push(Remedy::Node(NodeEdit {
            availability: Some(Availability::Active),
            ..NodeEdit::nothing(node.id)
        }));
    }
    changes
        .into_iter()
        .map(|change| Fix::of_node(look, change))
        .collect()
}

/// The last thing that was changed about it, by whoever did.
fn changed(node: &Node) -> Vec<Cause> {
    let mut all = vec![Cause {
        at: node.meta.created_at,
        what: "joined".to_owned(),
    }];
    let words = words::cause(&node.meta.cause);
    if node.meta.version > 1 && !words.is_empty() {
        all.push(Cause {
            at: node.meta.updated_at,
            what: format!("last change of its plan: {words}"),
        });
    }
    if node.status.state != NodeState::Ready {
        all.push(Cause {
            at: node.status.since,
            what: format!("is {}", node.status.state),
        });
    }
    all.sort();
    all
}
