//! Secrets: made from bytes that were uploaded before, listed without their bytes, removed when nothing uses them.

use std::sync::Arc;

use shoal_core::state::{Group, Guard, ObjectKey};
use shoal_proto::object::{Kind, Meta};
use shoal_proto::secret::Secret;
use shoal_proto::stack::ContentSpec;
use shoal_proto::wire::{self, Invalid};
use tonic::{Request, Status};

use super::Answer;
use super::content::{SECRET, changed_versions, first_version};
use crate::api::filters::Filters;
use crate::api::read::Freshness;
use crate::api::write::{Intent, Plan, open};
use crate::api::{Api, refs};

pub(super) async fn list(
    api: &Api,
    request: Request<wire::ListRequest>,
) -> Answer<wire::ListSecretsResponse> {
    let asked = request.into_inner();
    let filters = Filters::parse(&asked.filters, &["id", "name", "label", "stack"])?;
    let view = api.view(Freshness::of(asked.stale)).await?;
    let stack_name = |secret: &Secret| {
        secret
            .stack
            .and_then(|stack| view.state.stack(stack))
            .map(|stack| stack.name.clone())
            .unwrap_or_default()
    };
    let fits = |secret: &&Arc<Secret>| {
        filters.holds_id(secret.id.as_str())
            && filters.holds_name("name", &secret.name)
            && filters.holds_labels("label", &secret.labels)
            && filters.holds("stack", |stack| stack == stack_name(secret))
    };
    let secrets = view
        .state
        .secrets()
        .filter(fits)
        .map(|secret| secret.as_ref().into())
        .collect();
    Ok(view.answer(wire::ListSecretsResponse {
        secrets,
        index: view.index(),
    }))
}

pub(super) async fn get(api: &Api, request: Request<wire::GetRequest>) -> Answer<wire::Secret> {
    let asked = request.into_inner();
    let view = api.view(Freshness::of(asked.stale)).await?;
    let secret = refs::secret(&view.state, &asked.r#ref)?;
    Ok(view.answer(secret.as_ref().into()))
}

pub(super) async fn create(api: &Api, request: Request<wire::CreateContentRequest>) -> Answer<wire::Created> {
    let (caller, asked) = open(request)?;
    let spec = asked
        .content
        .ok_or_else(|| Invalid::new("content", "is missing"))?;
    let spec = ContentSpec::try_from(spec).map_err(|error| error.within("content"))?;
    let intent = Intent::new(&caller, &asked.request_id, format!("secret create {}", spec.name))?;
    let outcome = api
        .write(&intent, |plan| {
            let mut group = Group::new();
            put_new(&mut group, plan, &spec, None)?;
            Ok(group)
        })
        .await?;
    outcome.created(Kind::Secret).map(tonic::Response::new)
}

/// Makes a secret with its first version.
pub(super) fn put_new(
    group: &mut Group,
    plan: &mut Plan<'_>,
    spec: &ContentSpec,
    stack: Option<shoal_proto::id::StackId>,
) -> Result<Arc<Secret>, Status> {
    let versions = first_version(SECRET, group, plan, spec)?;
    let secret = Arc::new(Secret {
        id: plan.ids.secret(plan.now),
        meta: Meta::default(),
        stack,
        name: spec.name.clone(),
        labels: spec.labels.clone(),
        versions,
    });
    group.put(secret.clone());
    Ok(secret)
}

/// Brings a secret to what is asked for: other bytes make a new version. False when it is as asked.
pub(super) fn put_changed(
    group: &mut Group,
    plan: &mut Plan<'_>,
    stored: &Secret,
    spec: &ContentSpec,
) -> Result<bool, Status> {
    let versions = changed_versions(SECRET, group, plan, (&stored.versions, spec))?;
    let secret = Secret {
        labels: spec.labels.clone(),
        versions,
        ..stored.clone()
    };
    if secret == *stored {
        return Ok(false);
    }
    group.put(secret);
    Ok(true)
}

pub(super) async fn remove(api: &Api, request: Request<wire::RemoveRequest>) -> Answer<wire::Done> {
    let (caller, asked) = open(request)?;
    let intent = Intent::new(&caller, &asked.request_id, format!("secret rm {}", asked.r#ref))?;
    let outcome = api
        .write(&intent, |plan| {
            let secret = refs::secret(plan.state, &asked.r#ref)?;
            let mut group = Group::new();
            group
                .guard(Guard::Unreferenced(ObjectKey::Secret(secret.id)))
                .delete(secret);
            Ok(group)
        })
        .await?;
    Ok(tonic::Response::new(outcome.done()))
}
