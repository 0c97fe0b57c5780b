//! Stacks: one deployment is one transaction; an unchanged file changes nothing.

use std::sync::Arc;

use shoal_core::service::revise;
use shoal_core::state::{Group, ObjectKey};
use shoal_proto::object::Kind;
use shoal_proto::stack::{Stack, StackSpec};
use shoal_proto::wire::{self, Invalid};
use tonic::{Request, Response};

use super::service::{asking, refused};
use super::stack_plan::{Prune, StackOrder, deploy as plan_stack};
use super::{Answer, registry};
use crate::api::filters::Filters;
use crate::api::read::Freshness;
use crate::api::write::{Intent, open};
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
    let intent = Intent::new(&caller, &asked.request_id, format!("stack deploy {}", spec.name))?;
    let order = StackOrder {
        spec: &spec,
        prune: if asked.prune {
            Prune::Services
        } else {
            Prune::Nothing
        },
        writer: &intent.writer(),
        cause: &intent.cause,
    };
    let mut changes = Vec::new();
    let outcome = api
        .write(&intent, |plan| {
            let planned = plan_stack(plan, &order)?;
            changes = planned.changes;
            let mut group = planned.group;
            for credential in &asked.credentials {
                registry::keep(&mut group, plan.state, Some(credential))?;
            }
            Ok(group)
        })
        .await?;
    let stack = refs::stack(&outcome.state, &spec.name)?;
    Ok(Response::new(wire::StackDeployed {
        id: stack.id.to_string(),
        revision: stack
            .revisions
            .last()
            .map(|revision| revision.number)
            .unwrap_or_default(),
        index: outcome.index,
        changes,
        warnings: Vec::new(),
    }))
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
