//! `shoal why`: finds what is meant and hands over what the core says of it, beside what only this manager has heard.

use std::sync::Arc;

use shoal_core::state::{State, fold_name};
use shoal_core::why::amount::{Amount, Shortfall};
use shoal_core::why::{Cause, Explanation, Fix, LISTED_MAX, Look, Matter, Verdict};
use shoal_proto::id::{NodeId, ServiceId, TaskId};
use shoal_proto::node::Node;
use shoal_proto::service::SlotKey;
use shoal_proto::task::Task;
use shoal_proto::wire;
use tonic::{Code, Request, Status};

use super::{Answer, node, task};
use crate::api::read::{Freshness, View};
use crate::api::{Api, refs};

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Task(TaskId),
    Service(ServiceId),
    Node(NodeId),
}

pub(super) async fn explain(
    api: &Api,
    request: Request<wire::GetExplanationRequest>,
) -> Answer<wire::Explanation> {
    let asked = request.into_inner();
    let view = api.view(Freshness::of(asked.stale)).await?;
    let about = About::read(api, &view.state, &asked)?;
    let (state, now) = (Arc::clone(&view.state), api.inner.leader.now());
    // All nodes and tasks are looked at: too long for a thread that others wait for.
    let said = tokio::task::spawn_blocking(move || {
        let look = Look::at(&state, now);
        match about {
            About::Task(id) => look.why_task(id),
            About::Service(id) => look.why_service(id),
            About::Node(id) => look.why_node(id),
        }
    });
    let said = said.await.map_err(|error| Status::internal(error.to_string()))?;
    let mut said = said.ok_or_else(|| Status::not_found(format!("{:?} is gone", asked.r#ref)))?;
    said.facts.extend(heard(api, &view, about));
    Ok(view.answer(message(&view, about, said)))
}

impl About {
    fn read(api: &Api, state: &State, asked: &wire::GetExplanationRequest) -> Result<Self, Status> {
        let wanted = asked.r#ref.as_str();
        let found = match asked.kind.as_str() {
            "task" => return Self::task(state, wanted),
            "service" => return Self::service(state, wanted),
            "node" => return Self::node(api, state, wanted),
            "" if wanted.is_empty() => {
                let message = "nothing named: give a task such as web.2, a service or a node";
                return Err(Status::invalid_argument(message));
            }
            "" => Self::any(api, state, wanted)?,
            other => {
                let message = format!("kind {other:?} is none: task, service or node");
                return Err(Status::invalid_argument(message));
            }
        };
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(Status::not_found(format!(
                "no service, node or task {wanted:?} is known: `shoal service ls`, `shoal node ls` and `shoal service ps \
                 SERVICE` list them"
            ))),
            several => {
                let kinds: Vec<&str> = several.iter().map(|one| one.kind()).collect();
                Err(Status::invalid_argument(format!(
                    "{wanted:?} is ambiguous: it may mean a {}; say which with --kind",
                    kinds.join(" or a ")
                )))
            }
        }
    }

    /// Whatever has this name; else whatever has this id or a part of it.
    fn any(api: &Api, state: &State, wanted: &str) -> Result<Vec<Self>, Status> {
        let mut named = Vec::new();
        named.extend(
            state
                .service_named(wanted)
                .map(|service| Self::Service(service.id)),
        );
        let is_named = |node: &Node| fold_name(node.name()) == fold_name(wanted);
        if wanted == "self" || state.nodes().any(|node| is_named(node)) {
            named.push(Self::node(api, state, wanted)?);
        }
        let task = task::by_name(state, wanted).or_else(|| on_host(state, wanted));
        named.extend(task.map(|task| Self::Task(task.id)));
        if !named.is_empty() {
            return Ok(named);
        }
        let parts = [
            Self::service(state, wanted),
            Self::node(api, state, wanted),
            Self::task(state, wanted),
        ];
        let mut found = Vec::new();
        for one in parts {
            match one {
                Ok(one) => found.push(one),
                // It may still be something else.
                Err(status) if status.code() == Code::NotFound => {}
                Err(status) => return Err(status),
            }
        }
        Ok(found)
    }

    fn task(state: &State, wanted: &str) -> Result<Self, Status> {
        let found = task::by_name(state, wanted).or_else(|| on_host(state, wanted));
        let found = found.map_or_else(|| refs::task(state, wanted), Ok)?;
        Ok(Self::Task(found.id))
    }

    fn service(state: &State, wanted: &str) -> Result<Self, Status> {
        Ok(Self::Service(refs::service_or_removed(state, wanted)?.id))
    }

    fn node(api: &Api, state: &State, wanted: &str) -> Result<Self, Status> {
        Ok(Self::Node(node::meant(api, state, wanted)?.id))
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Task(_) => "task",
            Self::Service(_) => "service",
            Self::Node(_) => "node",
        }
    }

    fn id(self) -> String {
        match self {
            Self::Task(id) => id.to_string(),
            Self::Service(id) => id.to_string(),
            Self::Node(id) => id.to_string(),
        }
    }
}

/// `web.HOST`: the newest task of a global service on that node.
fn on_host(state: &State, wanted: &str) -> Option<Arc<Task>> {
    let (service, host) = wanted.split_once('.')?;
    let service = state.service_named(service)?;
    let tasks = state.tasks_of_service(service.id).rev();
    let name = |id| state.node(id).map_or("", |node| node.name());
    let mut here = tasks.filter(|task| task.plan.node.is_some_and(|id| name(id) == host));
    here.find(|task| matches!(task.plan.slot, SlotKey::Node(_)))
        .cloned()
}

/// What is not stored: what agents said last, and who lags.
fn heard(api: &Api, view: &View, about: About) -> Vec<String> {
    match about {
        About::Task(id) => {
            let progress = task::progress(api, [id]);
            let ended = view
                .state
                .task(id)
                .is_none_or(|task| task.status.state.is_terminal());
            let said = progress.get(&id).filter(|_| !ended);
            said.map(|said| format!("its agent says: {said}"))
                .into_iter()
                .collect()
        }
        About::Service(id) => {
            let tasks = view.state.tasks_of_service(id).rev();
            let open = tasks
                .filter(|task| !task.status.state.is_terminal())
                .take(LISTED_MAX);
            let progress = task::progress(api, open.map(|task| task.id));
            let short = |id: &TaskId| id.as_str().get(13..).unwrap_or_default().to_owned();
            progress
                .iter()
                .map(|(id, said)| format!("the agent of task {} says: {said}", short(id)))
                .collect()
        }
        About::Node(id) => {
            let limit = std::time::Duration::from_millis(view.state.cluster_spec().ack_timeout_ms);
            let lagging = api.inner.sessions.lagging(limit).into_iter();
            lagging
                .filter(|(node, _)| *node == id)
                .map(|(_, since)| {
                    let since = since.as_secs();
                    format!("it is lagging: it has carried out nothing of what it was told {since} s ago")
                })
                .collect()
        }
    }
}

fn message(view: &View, about: About, said: Explanation) -> wire::Explanation {
    wire::Explanation {
        kind: about.kind().to_owned(),
        id: about.id(),
        name: said.name,
        summary: said.summary,
        facts: said.facts,
        verdicts: said.verdicts.into_iter().map(verdict).collect(),
        verdicts_left_out: said.verdicts_left_out as u64,
        fixes: said.fixes.into_iter().map(fix).collect(),
        matters: said
            .matters
            .into_iter()
            .map(|one| matter(&view.state, one))
            .collect(),
        causes: said.causes.into_iter().map(link).collect(),
        index: view.index(),
    }
}

fn verdict(said: Verdict) -> wire::NodeVerdict {
    wire::NodeVerdict {
        node_id: said.node.to_string(),
        hostname: said.name,
        obstacles: said.obstacles.iter().map(Into::into).collect(),
        words: said.words,
        shortfalls: said.shortfalls.iter().map(shortfall).collect(),
    }
}

fn shortfall(short: &Shortfall) -> wire::Shortfall {
    let what = match short.what {
        Amount::Cpus => "cpus",
        Amount::Memory => "memory",
        Amount::Pids => "pids",
    };
    wire::Shortfall {
        what: what.to_owned(),
        needs: short.needs,
        free: short.free,
        has: short.has,
        missing: short.missing,
    }
}

fn fix(fix: Fix) -> wire::Fix {
    wire::Fix {
        words: fix.words,
        commands: fix.commands,
    }
}

fn matter(state: &State, matter: Matter) -> wire::Matter {
    let node = matter.node.and_then(|id| state.node(id));
    wire::Matter {
        name: matter.name,
        task_id: matter.task.map(|id| id.to_string()).unwrap_or_default(),
        node_id: matter.node.map(|id| id.to_string()).unwrap_or_default(),
        node_name: node.map(|node| node.name().to_owned()).unwrap_or_default(),
        stands: matter.stands,
        reason: matter.reason,
    }
}

fn link(cause: Cause) -> wire::CausalLink {
    wire::CausalLink {
        at_ms: cause.at.as_ms(),
        what: cause.what,
    }
}
