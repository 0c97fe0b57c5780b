//! Services: from a spec to a planned change (the core plans), and lists of what there is.

use std::sync::Arc;

use shoal_core::allocator::port::PortError;
use shoal_core::service::Planned;
use shoal_core::service::resolve::ResolveError;
use shoal_core::service::revise::{self, ReviseError, RollbackScope};
use shoal_core::service::steer;
use shoal_core::state::{Group, ObjectKey, State};
use shoal_proto::id::ServiceId;
use shoal_proto::object::Kind;
use shoal_proto::service::{Mode, Revision, Service, ServiceSpec};
use shoal_proto::task::TaskState;
use shoal_proto::update::Steering;
use shoal_proto::wire::{self, Invalid};
use tonic::{Request, Response, Status};

use super::{Answer, registry};
use crate::api::filters::Filters;
use crate::api::read::Freshness;
use crate::api::write::{Intent, Outcome, Plan, check_version, open};
use crate::api::{Api, refs};

/// Services of one call of scale.
const SCALES_MAX: usize = 200;

pub(super) async fn list(
    api: &Api,
    request: Request<wire::ListRequest>,
) -> Answer<wire::ListServicesResponse> {
    let asked = request.into_inner();
    let filters = Filters::parse(&asked.filters, &["id", "name", "label", "mode", "stack"])?;
    filters.only("mode", &["replicated", "global", "replicated-job", "global-job"])?;
    let view = api.view(Freshness::of(asked.stale)).await?;
    let fits = |service: &&Arc<Service>| {
        service.removed_at.is_none()
            && filters.holds_id(service.id.as_str())
            && filters.holds_name("name", &service.name)
            && filters.holds_labels("label", &service.settings.labels)
            && filters.holds("mode", |mode| mode == mode_name(&service.settings.mode))
            && filters.holds("stack", |stack| {
                stack == refs::stack_name(&view.state, service.stack)
            })
    };
    let services = view
        .state
        .services()
        .filter(fits)
        .map(|service| row(&view.state, service))
        .collect();
    Ok(view.answer(wire::ListServicesResponse {
        services,
        index: view.index(),
    }))
}

const fn mode_name(mode: &Mode) -> &'static str {
    match mode {
        Mode::Replicated { .. } => "replicated",
        Mode::Global => "global",
        Mode::ReplicatedJob { .. } => "replicated-job",
        Mode::GlobalJob => "global-job",
    }
}

fn row(state: &State, service: &Arc<Service>) -> wire::ServiceRow {
    let tasks = || state.tasks_of_service(service.id);
    let in_state = |wanted: TaskState| tasks().filter(|task| task.status.state == wanted).count() as u64;
    let desired = match service.settings.mode {
        Mode::Replicated { replicas } => replicas,
        Mode::ReplicatedJob {
            total_completions, ..
        } => total_completions,
        Mode::Global | Mode::GlobalJob => {
            let mut slots: Vec<_> = tasks()
                .filter(|task| task.plan.desired.wants_to_run())
                .map(|task| task.plan.slot)
                .collect();
            slots.sort();
            slots.dedup();
            slots.len() as u64
        }
    };
    let image = state
        .revision(service.revision)
        .map(|revision| revision.template.container.image.clone());
    let ipv6 = service.addresses.iter().filter_map(|(id, address)| {
        let prefix = state.prefix_of(state.network(*id)?)?;
        Some((id.to_string(), prefix.address(*address).to_string()))
    });
    wire::ServiceRow {
        ipv6_addresses: ipv6.collect(),
        service: Some(service.as_ref().into()),
        running_tasks: in_state(TaskState::Running),
        desired_tasks: desired,
        completed_tasks: in_state(TaskState::Complete),
        image: image.unwrap_or_default(),
        stack_name: refs::stack_name(state, service.stack),
    }
}

pub(super) async fn get(api: &Api, request: Request<wire::GetRequest>) -> Answer<wire::ServiceDetail> {
    let asked = request.into_inner();
    let view = api.view(Freshness::of(asked.stale)).await?;
    let service = refs::service_or_removed(&view.state, &asked.r#ref)?;
    let revision = |id| {
        view.state
            .revision(id)
            .map(|revision: &Arc<Revision>| revision.as_ref().into())
    };
    let detail = wire::ServiceDetail {
        row: Some(row(&view.state, &service)),
        revision: revision(service.revision),
        previous_revision: service.previous_revision.and_then(revision),
        index: view.index(),
    };
    Ok(view.answer(detail))
}

pub(super) async fn revisions(
    api: &Api,
    request: Request<wire::GetRequest>,
) -> Answer<wire::ListRevisionsResponse> {
    let asked = request.into_inner();
    let view = api.view(Freshness::of(asked.stale)).await?;
    let service = refs::service_or_removed(&view.state, &asked.r#ref)?;
    let revisions = view
        .state
        .revisions_of(service.id)
        .map(|revision| revision.as_ref().into())
        .collect();
    Ok(view.answer(wire::ListRevisionsResponse { revisions }))
}

fn read_spec(spec: Option<wire::ServiceSpec>) -> Result<ServiceSpec, Invalid> {
    let spec = spec.ok_or_else(|| Invalid::new("spec", "is missing"))?;
    ServiceSpec::try_from(spec).map_err(|error| error.within("spec"))
}

pub(super) async fn create(
    api: &Api,
    request: Request<wire::CreateServiceRequest>,
) -> Answer<wire::ServiceWritten> {
    let (caller, asked) = open(request)?;
    let spec = read_spec(asked.spec)?;
    let intent = Intent::new(
        &caller,
        &asked.request_id,
        format!("service create {}", spec.name),
    )?
    .only_planned_if(asked.dry_run);
    let writer = intent.writer();
    let outcome = api
        .write(&intent, |plan| {
            let planned = revise::create(&mut asking(plan, &writer), spec.clone(), None).map_err(refused)?;
            let mut group = planned.group;
            registry::keep(&mut group, plan.state, asked.credential.as_ref())?;
            Ok(group)
        })
        .await?;
    if asked.dry_run {
        return Ok(Response::new(wire::ServiceWritten::default()));
    }
    written(&outcome, None)
}

pub(super) async fn update(
    api: &Api,
    request: Request<wire::UpdateServiceRequest>,
) -> Answer<wire::ServiceWritten> {
    let (caller, asked) = open(request)?;
    let spec = read_spec(asked.spec)?;
    let intent = Intent::new(
        &caller,
        &asked.request_id,
        format!("service update {}", spec.name),
    )?
    .only_planned_if(asked.dry_run);
    change(
        api,
        &intent,
        (&asked.r#ref, asked.version),
        asked.credential.as_ref(),
        |asking, id| revise::update(asking, id, spec.clone()),
    )
    .await
}

pub(super) async fn rollback(
    api: &Api,
    request: Request<wire::RollbackServiceRequest>,
) -> Answer<wire::ServiceWritten> {
    let (caller, asked) = open(request)?;
    let intent = Intent::new(
        &caller,
        &asked.request_id,
        format!("service rollback {}", asked.r#ref),
    )?;
    let to = (asked.to_revision != 0).then_some(asked.to_revision);
    let scope = if asked.settings {
        RollbackScope::ContentAndSettings
    } else {
        RollbackScope::Content
    };
    change(api, &intent, (&asked.r#ref, asked.version), None, |asking, id| {
        revise::rollback(asking, id, to, scope)
    })
    .await
}

pub(super) async fn steer(
    api: &Api,
    request: Request<wire::SteerServiceRequest>,
) -> Answer<wire::ServiceWritten> {
    let (caller, asked) = open(request)?;
    let known = wire::Steering::try_from(asked.steering);
    let word = known.map(Steering::from).map_err(|_unknown| {
        let why = format!("{} is no word that this version knows", asked.steering);
        Invalid::new("steering", why)
    })?;
    let action = format!("service update --{word} {}", asked.r#ref);
    let intent = Intent::new(&caller, &asked.request_id, action)?;
    change(api, &intent, (&asked.r#ref, 0), None, |asking, id| {
        steer::steer(asking, id, word)
    })
    .await
}

pub(super) async fn remove(api: &Api, request: Request<wire::RemoveRequest>) -> Answer<wire::Done> {
    let (caller, asked) = open(request)?;
    let intent = Intent::new(&caller, &asked.request_id, format!("service rm {}", asked.r#ref))?;
    let writer = intent.writer();
    let outcome = api
        .write(&intent, |plan| {
            let service = refs::service(plan.state, &asked.r#ref)?;
            revise::remove(&mut asking(plan, &writer), service.id)
                .map(|planned| planned.group)
                .map_err(refused)
        })
        .await?;
    Ok(Response::new(outcome.done()))
}

pub(super) async fn scale(api: &Api, request: Request<wire::ScaleServicesRequest>) -> Answer<wire::Done> {
    let (caller, asked) = open(request)?;
    if asked.scales.is_empty() || asked.scales.len() > SCALES_MAX {
        let why = format!("{} services: 1 to {SCALES_MAX} at once", asked.scales.len());
        return Err(Invalid::new("scales", why).into());
    }
    let named: Vec<String> = asked
        .scales
        .iter()
        .map(|one| format!("{}={}", one.r#ref, one.replicas))
        .collect();
    let intent = Intent::new(
        &caller,
        &asked.request_id,
        format!("service scale {}", named.join(" ")),
    )?;
    let writer = intent.writer();
    let outcome = api
        .write(&intent, |plan| scaled(plan, &asked.scales, &writer))
        .await?;
    Ok(Response::new(outcome.done()))
}

fn scaled(plan: &mut Plan<'_>, scales: &[wire::Scale], writer: &str) -> Result<Group, Status> {
    let mut all = Group::new();
    let mut seen = Vec::new();
    for one in scales {
        let service = refs::service(plan.state, &one.r#ref)?;
        if seen.contains(&service.id) {
            return Err(Invalid::new("scales", format!("service {} is named twice", service.name)).into());
        }
        seen.push(service.id);
        let planned = revise::scale(&mut asking(plan, writer), service.id, one.replicas).map_err(refused)?;
        all.guards.extend(planned.group.guards);
        all.changes.extend(planned.group.changes);
    }
    Ok(all)
}

/// Changes one service, which must be at the version the caller saw.
async fn change(
    api: &Api,
    intent: &Intent,
    (wanted, version): (&str, u64),
    credential: Option<&wire::RegistryCredential>,
    mut revise: impl FnMut(&mut revise::Request<'_>, ServiceId) -> Result<Planned, ReviseError> + Send,
) -> Answer<wire::ServiceWritten> {
    let writer = intent.writer();
    let mut meant = None;
    let outcome = api
        .write(intent, |plan| {
            let service = refs::service(plan.state, wanted)?;
            check_version(
                &format!("service {}", service.name),
                version,
                service.meta.version,
            )?;
            meant = Some(service.id);
            let planned = revise(&mut asking(plan, &writer), service.id).map_err(refused)?;
            let mut group = planned.group;
            registry::keep(&mut group, plan.state, credential)?;
            Ok(group)
        })
        .await?;
    written(&outcome, meant)
}

/// The core's view of who asks.
pub(super) fn asking<'a>(plan: &'a mut Plan<'_>, writer: &'a str) -> revise::Request<'a> {
    revise::Request {
        state: plan.state,
        ids: plan.ids,
        now: plan.now,
        writer,
    }
}

fn written(outcome: &Outcome, meant: Option<ServiceId>) -> Answer<wire::ServiceWritten> {
    let wrote = outcome
        .first(Kind::Service)
        .and_then(|written| match written.key {
            ObjectKey::Service(id) => Some((id, written.version)),
            _ => None,
        });
    let (id, version) = match (wrote, meant) {
        (Some((id, version)), _) => (id, Some(version)),
        (None, Some(id)) => (id, None),
        (None, None) => return Err(Status::internal("the write of a service wrote none")),
    };
    let service = outcome.state.service(id);
    let revision = service.and_then(|service| outcome.state.revision(service.revision));
    Ok(Response::new(wire::ServiceWritten {
        id: id.to_string(),
        version: version
            .or_else(|| service.map(|service| service.meta.version))
            .unwrap_or_default(),
        revision: revision.map(|revision| revision.number).unwrap_or_default(),
        index: outcome.index,
        warnings: Vec::new(),
    }))
}

/// A refusal of the core, with its code.
pub(super) fn refused(error: ReviseError) -> Status {
    let text = error.to_string();
    match error {
        ReviseError::Spec(_) | ReviseError::Resolve(ResolveError::Ingress) => Status::invalid_argument(text),
        ReviseError::Resolve(_) | ReviseError::Gone(_) | ReviseError::NoRevision { .. } => {
            Status::not_found(text)
        }
        ReviseError::Port(error) => port_refused(&error),
        ReviseError::Network(_) => Status::resource_exhausted(text),
        ReviseError::NameUsed(_) => Status::already_exists(text),
        ReviseError::NoPrevious(_)
        | ReviseError::SameContent { .. }
        | ReviseError::Steer(_)
        | ReviseError::NotReplicated(_) => Status::failed_precondition(text),
    }
}

fn port_refused(error: &PortError) -> Status {
    match error {
        PortError::Taken { .. } | PortError::OnNodes { .. } => Status::already_exists(error.to_string()),
        _ => Status::resource_exhausted(error.to_string()),
    }
}
