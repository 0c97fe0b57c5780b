//! Configs: made from bytes that were uploaded before, listed, shown with their newest bytes, removed when nothing uses them.

use std::sync::Arc;

use shoal_core::state::{Group, Guard, ObjectKey};
use shoal_proto::config::Config;
use shoal_proto::object::{Kind, Meta};
use shoal_proto::stack::ContentSpec;
use shoal_proto::wire::{self, Invalid};
use tonic::{Request, Status};

use super::Answer;
use super::content::{CONFIG, changed_versions, first_version, newest_bytes};
use crate::api::filters::Filters;
use crate::api::read::Freshness;
use crate::api::write::{Intent, Plan, open};
use crate::api::{Api, refs};

pub(super) async fn list(
    api: &Api,
    request: Request<wire::ListRequest>,
) -> Answer<wire::ListConfigsResponse> {
    let asked = request.into_inner();
    let filters = Filters::parse(&asked.filters, &["id", "name", "label", "stack"])?;
    let view = api.view(Freshness::of(asked.stale)).await?;
    let stack_name = |config: &Config| {
        config
            .stack
            .and_then(|stack| view.state.stack(stack))
            .map(|stack| stack.name.clone())
            .unwrap_or_default()
    };
    let fits = |config: &&Arc<Config>| {
        filters.holds_id(config.id.as_str())
            && filters.holds_name("name", &config.name)
            && filters.holds_labels("label", &config.labels)
            && filters.holds("stack", |stack| stack == stack_name(config))
    };
    let configs = view
        .state
        .configs()
        .filter(fits)
        .map(|config| config.as_ref().into())
        .collect();
    Ok(view.answer(wire::ListConfigsResponse {
        configs,
        index: view.index(),
    }))
}

pub(super) async fn get(api: &Api, request: Request<wire::GetRequest>) -> Answer<wire::ConfigDetail> {
    let asked = request.into_inner();
    let view = api.view(Freshness::of(asked.stale)).await?;
    let config = refs::config(&view.state, &asked.r#ref)?;
    let data = newest_bytes(&view.state, &config.versions)?;
    Ok(view.answer(wire::ConfigDetail {
        config: Some(config.as_ref().into()),
        data,
    }))
}

pub(super) async fn create(api: &Api, request: Request<wire::CreateContentRequest>) -> Answer<wire::Created> {
    let (caller, asked) = open(request)?;
    let spec = asked
        .content
        .ok_or_else(|| Invalid::new("content", "is missing"))?;
    let spec = ContentSpec::try_from(spec).map_err(|error| error.within("content"))?;
    let intent = Intent::new(&caller, &asked.request_id, format!("config create {}", spec.name))?;
    let outcome = api
        .write(&intent, |plan| {
            let mut group = Group::new();
            put_new(&mut group, plan, &spec, None)?;
            Ok(group)
        })
        .await?;
    outcome.created(Kind::Config).map(tonic::Response::new)
}

/// Makes a config with its first version.
pub(super) fn put_new(
    group: &mut Group,
    plan: &mut Plan<'_>,
    spec: &ContentSpec,
    stack: Option<shoal_proto::id::StackId>,
) -> Result<Arc<Config>, Status> {
    let versions = first_version(CONFIG, group, plan, spec)?;
    let config = Arc::new(Config {
        id: plan.ids.config(plan.now),
        meta: Meta::default(),
        stack,
        name: spec.name.clone(),
        labels: spec.labels.clone(),
        versions,
    });
    group.put(config.clone());
    Ok(config)
}

/// Brings a config to what is asked for: other bytes make a new version. False when it is as asked.
pub(super) fn put_changed(
    group: &mut Group,
    plan: &mut Plan<'_>,
    stored: &Config,
    spec: &ContentSpec,
) -> Result<bool, Status> {
    let versions = changed_versions(CONFIG, group, plan, (&stored.versions, spec))?;
    let config = Config {
        labels: spec.labels.clone(),
        versions,
        ..stored.clone()
    };
    if config == *stored {
        return Ok(false);
    }
    group.put(config);
    Ok(true)
}

pub(super) async fn remove(api: &Api, request: Request<wire::RemoveRequest>) -> Answer<wire::Done> {
    let (caller, asked) = open(request)?;
    let intent = Intent::new(&caller, &asked.request_id, format!("config rm {}", asked.r#ref))?;
    let outcome = api
        .write(&intent, |plan| {
            let config = refs::config(plan.state, &asked.r#ref)?;
            let mut group = Group::new();
            group
                .guard(Guard::Unreferenced(ObjectKey::Config(config.id)))
                .delete(config);
            Ok(group)
        })
        .await?;
    Ok(tonic::Response::new(outcome.done()))
}
