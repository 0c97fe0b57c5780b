//! What operators do alike with secrets and configs: list, make of bytes that were uploaded before, remove when nothing
//! uses them. A stack makes and changes them by the same rules.

use std::sync::Arc;

use shoal_core::state::{Group, Guard};
use shoal_proto::content::Content;
use shoal_proto::id::StackId;
use shoal_proto::object::Meta;
use shoal_proto::stack::ContentSpec;
use shoal_proto::wire::{self, Invalid};
use tonic::{Request, Response, Status};

use super::Answer;
use super::content_id::ContentId;
use super::versions::{Bytes, changed_versions};
use crate::api::filters::Filters;
use crate::api::read::{Freshness, View};
use crate::api::write::{Intent, Plan, open};
use crate::api::{Api, refs};

/// Those that pass the filters, and the moment they were looked at.
pub(super) async fn list<I: ContentId, T>(
    api: &Api,
    request: Request<wire::ListRequest>,
) -> Result<(View, Vec<T>), Status>
where
    T: for<'a> From<&'a Content<I>>,
{
    let asked = request.into_inner();
    let filters = Filters::parse(&asked.filters, &["id", "name", "label", "stack"])?;
    let view = api.view(Freshness::of(asked.stale)).await?;
    let fits = |content: &&Arc<Content<I>>| {
        filters.holds_id(&content.id.to_string())
            && filters.holds_name("name", &content.name)
            && filters.holds_labels("label", &content.labels)
            && filters.holds("stack", |stack| {
                stack == refs::stack_name(&view.state, content.stack)
            })
    };
    let found = I::all(&view.state).filter(fits);
    let found = found.map(|content| content.as_ref().into()).collect();
    Ok((view, found))
}

pub(super) async fn create<I: ContentId>(
    api: &Api,
    request: Request<wire::CreateContentRequest>,
) -> Answer<wire::Created> {
    let (caller, asked) = open(request)?;
    let spec = asked
        .content
        .ok_or_else(|| Invalid::new("content", "is missing"))?;
    let spec = ContentSpec::try_from(spec).map_err(|error| error.within("content"))?;
    let what = format!("{} create {}", I::NAME, spec.name);
    let intent = Intent::new(&caller, &asked.request_id, what)?;
    let outcome = api
        .write(&intent, |plan| {
            let mut group = Group::new();
            put_new::<I>(&mut group, plan, (&spec, Bytes::Uploaded), None)?;
            Ok(group)
        })
        .await?;
    outcome.created(I::KIND).map(Response::new)
}

pub(super) async fn remove<I: ContentId>(
    api: &Api,
    request: Request<wire::RemoveRequest>,
) -> Answer<wire::Done> {
    let (caller, asked) = open(request)?;
    let what = format!("{} rm {}", I::NAME, asked.r#ref);
    let intent = Intent::new(&caller, &asked.request_id, what)?;
    let outcome = api
        .write(&intent, |plan| {
            let content = I::find(plan.state, &asked.r#ref)?;
            let mut group = Group::new();
            group
                .guard(Guard::Unreferenced(content.id.key()))
                .delete(I::object(content));
            Ok(group)
        })
        .await?;
    Ok(Response::new(outcome.done()))
}

/// Makes one with its first version.
pub(super) fn put_new<I: ContentId>(
    group: &mut Group,
    plan: &mut Plan<'_>,
    (spec, bytes): (&ContentSpec, Bytes),
    stack: Option<StackId>,
) -> Result<I, Status> {
    let versions = changed_versions::<I>(group, plan, (&[], spec), bytes)?;
    let id = I::new(plan.ids, plan.now);
    group.put(I::object(Arc::new(Content {
        id,
        meta: Meta::default(),
        stack,
        name: spec.name.clone(),
        labels: spec.labels.clone(),
        versions,
    })));
    Ok(id)
}

/// Brings one to what is asked for: other bytes make a new version. False when it is as asked.
pub(super) fn put_changed<I: ContentId>(
    group: &mut Group,
    plan: &mut Plan<'_>,
    stored: &Content<I>,
    (spec, bytes): (&ContentSpec, Bytes),
) -> Result<bool, Status> {
    let versions = changed_versions::<I>(group, plan, (&stored.versions, spec), bytes)?;
    let content = Content {
        labels: spec.labels.clone(),
        versions,
        ..stored.clone()
    };
    if content == *stored {
        return Ok(false);
    }
    group.put(I::object(Arc::new(content)));
    Ok(true)
}
