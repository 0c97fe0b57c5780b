//! One revision of a stack in full: what each service was to be, and what the ids in that stand for.

use shoal_core::state::State;
use shoal_proto::content::ContentVersion;
use shoal_proto::id::{ServiceId, VersionId};
use shoal_proto::service::{NetworkTarget, ServiceSpec, TaskTemplate};
use shoal_proto::stack::StackRevision;
use shoal_proto::wire;
use tonic::Request;

use super::{Answer, stack_history};
use crate::api::read::Freshness;
use crate::api::{Api, refs};

pub(super) async fn get(
    api: &Api,
    request: Request<wire::GetStackRevisionRequest>,
) -> Answer<wire::StackRevisionDetail> {
    let asked = request.into_inner();
    let view = api.view(Freshness::of(asked.stale)).await?;
    let stack = refs::stack_or_removed(&view.state, &asked.r#ref)?;
    let revision = stack_history::find(&stack, asked.revision)?;
    let (mut services, mut lost) = (Vec::new(), Vec::new());
    for id in revision.services.keys() {
        match service(&view.state, revision, *id) {
            Some(spec) => services.push(spec),
            None => lost.push(name(&view.state, revision, *id)),
        }
    }
    services.sort_by(|a, b| a.name.cmp(&b.name));
    lost.sort();
    let names = names(&view.state, services.iter().map(|spec| &spec.template));
    let newest = stack.revisions.last().map_or(0, |newest| newest.number);
    let detail = wire::StackRevisionDetail {
        name: stack.name.clone(),
        id: stack.id.to_string(),
        revision: Some(revision.into()),
        services: services.iter().map(Into::into).collect(),
        lost,
        names: Some(names),
        newest,
    };
    Ok(view.answer(detail))
}

/// The name of a service of a revision; revisions of old did not keep it, and the service may be gone since.
pub(super) fn name(state: &State, revision: &StackRevision, id: ServiceId) -> String {
    let kept = revision.names.get(&id).cloned();
    let stored = || state.service(id).map(|service| service.name.clone());
    kept.or_else(stored).unwrap_or_else(|| id.to_string())
}

/// A service as a revision asked for it; none where what it was made of is not kept any more.
pub(super) fn service(state: &State, revision: &StackRevision, id: ServiceId) -> Option<ServiceSpec> {
    let made_of = state.revision(*revision.services.get(&id)?)?;
    let stored = || state.service(id).map(|service| service.settings.clone());
    Some(ServiceSpec {
        name: name(state, revision, id),
        settings: revision.settings.get(&id).cloned().or_else(stored)?,
        template: TaskTemplate::clone(&made_of.template),
    })
}

/// What the ids in templates stand for, as far as it is there.
pub(super) fn names<'t>(state: &State, templates: impl Iterator<Item = &'t TaskTemplate>) -> wire::SpecNames {
    let mut names = wire::SpecNames::default();
    for template in templates {
        for used in &template.networks {
            if let NetworkTarget::Cluster(id) = &used.network
                && let Some(network) = state.network(*id)
            {
                names.networks.insert(id.to_string(), network.spec.name.clone());
            }
        }
        let secrets = template.container.secrets.iter().filter_map(|used| {
            let secret = state.secret(used.secret?)?;
            number(&secret.versions, used.version?)
        });
        let configs = template.container.configs.iter().filter_map(|used| {
            let config = state.config(used.config?)?;
            number(&config.versions, used.version?)
        });
        names.versions.extend(secrets.chain(configs));
    }
    names
}

fn number(versions: &[ContentVersion], id: VersionId) -> Option<(String, u64)> {
    let version = versions.iter().find(|version| version.id == id)?;
    Some((id.to_string(), version.number))
}
