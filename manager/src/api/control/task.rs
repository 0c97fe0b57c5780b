//! Tasks: listed and shown, with names beside ids and with the progress that only the leader has heard of.

use std::collections::BTreeMap;
use std::sync::Arc;

use shoal_core::orchestrator::content::is_up_to_date;
use shoal_core::state::State;
use shoal_proto::id::{NodeId, ServiceId, TaskId};
use shoal_proto::task::{DesiredState, Task};
use shoal_proto::wire;
use tonic::{Request, Status};

use super::{Answer, node};
use crate::api::filters::Filters;
use crate::api::read::Freshness;
use crate::api::{Api, refs};

const FILTERS: &[&str] = &[
    "id",
    "name",
    "service",
    "node",
    "stack",
    "desired-state",
    "label",
    "up-to-date",
];

/// What the leader heard of tasks and does not store.
pub(crate) type Progress = BTreeMap<TaskId, String>;

pub(super) async fn list(
    api: &Api,
    request: Request<wire::ListTasksRequest>,
) -> Answer<wire::ListTasksResponse> {
    let asked = request.into_inner();
    let filters = Filters::parse(&asked.filters, FILTERS)?;
    filters.only("up-to-date", &["true", "false"])?;
    filters.only(
        "desired-state",
        &["ready", "running", "complete", "shutdown", "remove"],
    )?;
    let view = api.view(Freshness::of(asked.stale)).await?;
    let wanted = Wanted::read(api, &view.state, &filters)?;
    let tasks: Vec<Arc<Task>> = wanted
        .candidates(&view.state)
        .filter(|task| wanted.fits(&view.state, &filters, task))
        .collect();
    let heard = progress(api, tasks.iter().map(|task| task.id));
    let tasks = tasks.iter().map(|task| row(&view.state, task, &heard)).collect();
    Ok(view.answer(wire::ListTasksResponse {
        tasks,
        index: view.index(),
    }))
}

pub(super) async fn get(api: &Api, request: Request<wire::GetRequest>) -> Answer<wire::TaskDetail> {
    let asked = request.into_inner();
    let view = api.view(Freshness::of(asked.stale)).await?;
    let task =
        by_name(&view.state, &asked.r#ref).map_or_else(|| refs::task(&view.state, &asked.r#ref), Ok)?;
    let heard = progress(api, [task.id]);
    let detail = wire::TaskDetail {
        row: Some(row(&view.state, &task, &heard)),
        template: view
            .state
            .template_of(&task)
            .map(|template| template.as_ref().into()),
        index: view.index(),
    };
    Ok(view.answer(detail))
}

/// `web.2`: the newest task of that slot.
pub(crate) fn by_name(state: &State, wanted: &str) -> Option<Arc<Task>> {
    let (service, slot) = wanted.rsplit_once('.')?;
    let service = state.service_named(service)?;
    state
        .tasks_of_service(service.id)
        .rev()
        .find(|task| task.plan.slot.to_string() == slot)
        .cloned()
}

/// The filters that name other things, by their ids.
struct Wanted {
    services: Option<Vec<ServiceId>>,
    nodes: Option<Vec<NodeId>>,
}

impl Wanted {
    fn read(api: &Api, state: &State, filters: &Filters) -> Result<Self, Status> {
        let services: Result<Vec<_>, _> = filters
            .values("service")
            .iter()
            .map(|name| refs::service_or_removed(state, name).map(|s| s.id))
            .collect();
        let nodes: Result<Vec<_>, _> = filters
            .values("node")
            .iter()
            .map(|name| node::meant(api, state, name).map(|node| node.id))
            .collect();
        let some = |ids: Vec<_>| (!ids.is_empty()).then_some(ids);
        Ok(Self {
            services: some(services?),
            nodes: Some(nodes?).filter(|ids| !ids.is_empty()),
        })
    }

    /// The smallest set that holds all wanted ones.
    fn candidates<'a>(&'a self, state: &'a State) -> Box<dyn Iterator<Item = Arc<Task>> + 'a> {
        match (&self.services, &self.nodes) {
            (Some(services), _) => Box::new(
                services
                    .iter()
                    .flat_map(|id| state.tasks_of_service(*id))
                    .cloned(),
            ),
            (None, Some(nodes)) => Box::new(nodes.iter().flat_map(|id| state.tasks_on_node(*id)).cloned()),
            (None, None) => Box::new(state.tasks().cloned()),
        }
    }

    fn fits(&self, state: &State, filters: &Filters, task: &Task) -> bool {
        let on_node = |nodes: &Vec<NodeId>| task.plan.node.is_some_and(|node| nodes.contains(&node));
        let service = state.service(task.plan.service);
        let stack = || {
            service
                .map(|service| refs::stack_name(state, service.stack))
                .unwrap_or_default()
        };
        let current = is_up_to_date(state, task);
        let none = BTreeMap::new();
        let labels = state
            .template_of(task)
            .map_or(&none, |template| &template.container.labels);
        self.nodes.as_ref().is_none_or(on_node)
            && filters.holds_id(task.id.as_str())
            && filters.holds_name("name", &name(state, task))
            && filters.holds("desired-state", |wanted| desired_fits(wanted, task.plan.desired))
            && filters.holds("up-to-date", |wanted| (wanted == "true") == current)
            && filters.holds("stack", |wanted| wanted == stack())
            && filters.holds_labels("label", labels)
    }
}

/// As in Swarm, `running` means all that should run, those that get ready among them.
fn desired_fits(wanted: &str, desired: DesiredState) -> bool {
    desired.to_string() == wanted || (wanted == "running" && desired == DesiredState::Ready)
}

fn name(state: &State, task: &Task) -> String {
    let service = state
        .service(task.plan.service)
        .map_or(task.plan.service.as_str(), |service| &service.name);
    format!("{service}.{}", task.plan.slot)
}

/// What was heard of these tasks; nothing on a manager that does not lead.
pub(crate) fn progress(api: &Api, tasks: impl IntoIterator<Item = TaskId>) -> Progress {
    let heard = api.inner.leader.hear(|seen, _| {
        let of = |task: TaskId| {
            let progress = seen.progress(task)?;
            let text = match progress.message.as_str() {
                "" => progress.state.to_string(),
                message if message == progress.state.to_string() => message.to_owned(),
                message => format!("{}: {message}", progress.state),
            };
            Some((task, text))
        };
        tasks.into_iter().filter_map(of).collect()
    });
    heard.unwrap_or_default()
}

/// A task with the names around it.
pub(crate) fn row(state: &State, task: &Arc<Task>, heard: &Progress) -> wire::TaskRow {
    let service = state.service(task.plan.service);
    let revision = state.revision(task.plan.revision);
    let template = revision.map(|revision| &revision.template);
    let ports = template.map(|template| template.host_ports.iter().map(Into::into).collect());
    wire::TaskRow {
        task: Some(task.as_ref().into()),
        service_name: service.map(|service| service.name.clone()).unwrap_or_default(),
        node_name: task
            .plan
            .node
            .and_then(|id| state.node(id))
            .map(|node| node.name().to_owned())
            .unwrap_or_default(),
        image: template
            .map(|template| template.container.image.clone())
            .unwrap_or_default(),
        revision_number: revision.map(|revision| revision.number).unwrap_or_default(),
        stack_name: service
            .map(|service| refs::stack_name(state, service.stack))
            .unwrap_or_default(),
        progress: heard
            .get(&task.id)
            .filter(|_| !task.status.state.is_terminal())
            .cloned()
            .unwrap_or_default(),
        host_ports: ports.unwrap_or_default(),
        up_to_date: is_up_to_date(state, task),
        unheard_names: unheard_names(state, task),
    }
}

fn unheard_names(state: &State, task: &Task) -> Vec<String> {
    let unheard = task.plan.leaving.iter().flat_map(|leaving| &leaving.unheard);
    let name = |id| {
        state
            .node(id)
            .map_or_else(|| id.to_string(), |node| node.name().to_owned())
    };
    unheard.map(|id| name(*id)).collect()
}
