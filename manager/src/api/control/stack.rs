//! Stacks: one deployment is one transaction; an unchanged file changes nothing.

use std::sync::Arc;

use shoal_core::service::revise::{self, RollbackScope};
use shoal_core::state::{Group, ObjectKey, Written};
use shoal_proto::object::Kind;
use shoal_proto::stack::{Stack, StackSpec};
use shoal_proto::wire::{self, Invalid};
use tonic::{Request, Response, Status};

use super::service::{asking, refused};
use super::stack_draft::{Asker, StackPlan, Telling};
use super::stack_plan::{Prune, StackOrder, deploy as plan_stack};
use super::stack_rollback::{self, RollbackOrder};
use super::{Answer, registry};
use crate::api::filters::Filters;
use crate::api::read::Freshness;
use crate::api::write::{Intent, Outcome, Plan, id_of, open};
use crate::api::{Api, refs};

pub(super) async fn list(api: &Api, request: Request<wire::ListRequest>) -> Answer<wire::ListStacksResponse> {
    let asked = request.into_inner();
    let filters = Filters::parse(&asked.filters, &["id", "name"])?;
    let view = api.view(Freshness::of(asked.stale)).await?;
    let fits = |stack: &&Arc<Stack>| {
        stack.removed_at.is_none()
            && filters.holds_id(stack.id.as_str())
            && filters.holds_name("name", &stack.name)
    };
    let services = |stack: &Stack| {
        let members = view.state.stack_members(stack.id);
        let live = members.filter(|key| match key {
            ObjectKey::Service(id) => view
                .state
                .service(*id)
                .is_some_and(|service| service.removed_at.is_none()),
            _ => false,
        });
        live.count() as u64
    };
    let stacks = view.state.stacks().filter(fits);
    let stacks = stacks.map(|stack| wire::StackRow {
        stack: Some(stack.as_ref().into()),
        services: services(stack),
    });
    let stacks = stacks.collect();
    Ok(view.answer(wire::ListStacksResponse { stacks }))
}

pub(super) async fn get(api: &Api, request: Request<wire::GetRequest>) -> Answer<wire::Stack> {
    let asked = request.into_inner();
    let view = api.view(Freshness::of(asked.stale)).await?;
    let stack = refs::stack_or_removed(&view.state, &asked.r#ref)?;
    Ok(view.answer(stack.as_ref().into()))
}

pub(super) async fn deploy(
    api: &Api,
    request: Request<wire::DeployStackRequest>,
) -> Answer<wire::StackDeployed> {
    let (caller, asked) = open(request)?;
    let spec = asked.spec.ok_or_else(|| Invalid::new("spec", "is missing"))?;
    let spec = StackSpec::try_from(spec).map_err(|error| error.within("spec"))?;
    let intent = Intent::new(&caller, &asked.request_id, format!("stack deploy {}", spec.name))?
        .only_planned_if(asked.dry_run);
    let writer = intent.writer();
    let order = StackOrder {
        spec: &spec,
        prune: if asked.prune {
            Prune::Services
        } else {
            Prune::Nothing
        },
        asker: asker(&intent, &writer, asked.dry_run),
    };
    carry_out(api, &intent, &spec.name, |plan| {
        let mut planned = plan_stack(plan, &order)?;
        for credential in &asked.credentials {
            registry::keep(&mut planned.group, plan.state, Some(credential))?;
        }
        Ok(planned)
    })
    .await
}

pub(super) async fn rollback(
    api: &Api,
    request: Request<wire::RollbackStackRequest>,
) -> Answer<wire::StackDeployed> {
    let (caller, asked) = open(request)?;
    let what = format!("stack rollback {}", asked.r#ref);
    let intent = Intent::new(&caller, &asked.request_id, what)?.only_planned_if(asked.dry_run);
    let writer = intent.writer();
    let order = RollbackOrder {
        stack: &asked.r#ref,
        to: asked.to_revision,
        scope: if asked.settings {
            RollbackScope::ContentAndSettings
        } else {
            RollbackScope::Content
        },
        asker: asker(&intent, &writer, asked.dry_run),
    };
    carry_out(api, &intent, &asked.r#ref, |plan| {
        stack_rollback::rollback(plan, &order)
    })
    .await
}

pub(super) async fn restart(
    api: &Api,
    request: Request<wire::RestartStackRequest>,
) -> Answer<wire::StackDeployed> {
    let (caller, asked) = open(request)?;
    let what = format!("stack restart {}", asked.r#ref);
    let intent = Intent::new(&caller, &asked.request_id, what)?;
    let writer = intent.writer();
    let asker = asker(&intent, &writer, false);
    carry_out(api, &intent, &asked.r#ref, |plan| {
        stack_rollback::restart(plan, (&asked.r#ref, &asked.services), asker)
    })
    .await
}

fn asker<'a>(intent: &'a Intent, writer: &'a str, dry_run: bool) -> Asker<'a> {
    Asker {
        writer,
        cause: &intent.cause,
        telling: if dry_run { Telling::Plan } else { Telling::Outcome },
    }
}

/// Writes what is planned, and answers what that does to each thing.
async fn carry_out(
    api: &Api,
    intent: &Intent,
    stack: &str,
    mut make: impl FnMut(&mut Plan<'_>) -> Result<StackPlan, Status> + Send,
) -> Answer<wire::StackDeployed> {
    let mut told = None;
    let outcome = api
        .write(intent, |plan| {
            let planned = make(plan)?;
            told = Some(planned.answer);
            Ok(planned.group)
        })
        .await?;
    let mut answer = match told {
        Some(told) => told,
        // Nothing was planned: the call is a repeat of one that was carried out.
        None => again(&outcome, stack)?,
    };
    answer.index = outcome.index;
    Ok(Response::new(answer))
}

/// What a call that was carried out before has changed.
fn again(outcome: &Outcome, stack: &str) -> Result<wire::StackDeployed, Status> {
    let state = &outcome.state;
    let stack = refs::stack(state, stack)?;
    let change = |written: &Written| {
        let (kind, name, removed) = match &written.key {
            ObjectKey::Service(id) => {
                let service = state.service(*id)?;
                ("service", &service.name, service.removed_at.is_some())
            }
            ObjectKey::Network(id) => ("network", &state.network(*id)?.spec.name, false),
            ObjectKey::Secret(id) => ("secret", &state.secret(*id)?.name, false),
            ObjectKey::Config(id) => ("config", &state.config(*id)?.name, false),
            _ => return None,
        };
        let what = match (removed, written.version) {
            (true, _) => "removed",
            (false, 1) => "created",
            (false, _) => "updated",
        };
        Some(wire::StackChange {
            kind: kind.to_owned(),
            name: name.clone(),
            id: id_of(&written.key),
            what: what.to_owned(),
            ..wire::StackChange::default()
        })
    };
    Ok(wire::StackDeployed {
        id: stack.id.to_string(),
        revision: stack.revisions.last().map_or(0, |newest| newest.number),
        changes: outcome.written.iter().filter_map(change).collect(),
        ..wire::StackDeployed::default()
    })
}

pub(super) async fn remove(api: &Api, request: Request<wire::RemoveRequest>) -> Answer<wire::Done> {
    let (caller, asked) = open(request)?;
    let intent = Intent::new(&caller, &asked.request_id, format!("stack rm {}", asked.r#ref))?;
    let writer = intent.writer();
    let outcome = api
        .write(&intent, |plan| {
            let stack = refs::stack(plan.state, &asked.r#ref)?;
            let mut group = Group::new();
            let members: Vec<ObjectKey> = plan.state.stack_members(stack.id).cloned().collect();
            for key in members.iter().filter(|key| key.kind() == Kind::Service) {
                let ObjectKey::Service(id) = key else { continue };
                if plan
                    .state
                    .service(*id)
                    .is_none_or(|service| service.removed_at.is_some())
                {
                    continue;
                }
                let planned = revise::remove(&mut asking(plan, &writer), *id).map_err(refused)?;
                group.guards.extend(planned.group.guards);
                group.changes.extend(planned.group.changes);
            }
            // Networks, secrets and configs go when the last task that uses them has ended: the keeper sees to it.
            let removed_at = Some(plan.now);
            group.put(Stack {
                removed_at,
                ..Stack::clone(&stack)
            });
            Ok(group)
        })
        .await?;
    Ok(Response::new(outcome.done()))
}
