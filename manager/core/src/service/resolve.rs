//! Names inside a template become ids when a revision is made: a revision never means something else later.
//! What has an id already keeps it, so that objects made in the same transaction can be named by their ids.

use shoal_proto::content::ContentVersion;
use shoal_proto::id::{NetworkId, VersionId};
use shoal_proto::network::{INGRESS_NAME, ingress_network};
use shoal_proto::object::Kind;
use shoal_proto::service::{NetworkTarget, NetworkUse, ServiceSettings, TaskTemplate};

use crate::allocator::address::networks_of;
use crate::state::{Group, Guard, ObjectKey, State, fold_name};

/// A name that nobody holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// No such network.
    #[error("network {0:?} does not exist: create it first, or name another")]
    Network(String),
    /// Nobody asks for this one.
    #[error(
        "network {INGRESS_NAME} is the cluster's own, services are put on it where they need it: leave it out"
    )]
    Ingress,
    /// No such secret.
    #[error("secret {0:?} does not exist: create it first, or name another")]
    Secret(String),
    /// No such config.
    #[error("config {0:?} does not exist: create it first, or name another")]
    Config(String),
}

/// Gives every network, secret and config of a template its id and, to contents, the newest version. Puts it on the
/// cluster's own network where it needs that.
///
/// # Errors
/// The first name that nobody holds.
pub fn resolve(
    state: &State,
    template: &mut TaskTemplate,
    settings: &ServiceSettings,
) -> Result<(), ResolveError> {
    for used in &mut template.networks {
        if let NetworkTarget::Named(name) = &used.network {
            if fold_name(name) == INGRESS_NAME {
                return Err(ResolveError::Ingress);
            }
            let found = state
                .network_named(name)
                .ok_or_else(|| ResolveError::Network(name.clone()))?;
            used.network = NetworkTarget::Cluster(found.id);
        }
    }
    put_on_ingress(state, template, settings);
    for used in template
        .container
        .secrets
        .iter_mut()
        .filter(|used| used.version.is_none())
    {
        let found = state
            .secret_named(&used.name)
            .ok_or_else(|| ResolveError::Secret(used.name.clone()))?;
        used.secret = Some(found.id);
        used.version = newest(&found.versions);
    }
    for used in template
        .container
        .configs
        .iter_mut()
        .filter(|used| used.version.is_none())
    {
        let found = state
            .config_named(&used.name)
            .ok_or_else(|| ResolveError::Config(used.name.clone()))?;
        used.config = Some(found.id);
        used.version = newest(&found.versions);
    }
    Ok(())
}

/// Puts a template on the cluster's own network if it is on no other, or publishes ports and is on internal ones alone,
/// and else takes it off. One that shares its host's network, or has none, stays as it is.
pub fn put_on_ingress(state: &State, template: &mut TaskTemplate, settings: &ServiceSettings) {
    let ingress = NetworkTarget::Cluster(ingress_network());
    template.networks.retain(|used| used.network != ingress);
    let apart = |used: &NetworkUse| matches!(used.network, NetworkTarget::Host | NetworkTarget::None);
    if template.networks.iter().any(apart) || state.network(ingress_network()).is_none() {
        return;
    }
    let on = networks_of(template);
    let internal = |id: &NetworkId| state.network(*id).is_some_and(|network| network.spec.internal);
    let publishes = !settings.ingress_ports.is_empty();
    if on.is_empty() || (publishes && on.iter().all(internal)) {
        template.networks.push(NetworkUse {
            network: ingress,
            aliases: Vec::new(),
        });
    }
}

/// Guards a group by everything a template uses: none of it may go before the revision is there.
pub fn guard_uses(group: &mut Group, template: &TaskTemplate) {
    for used in &template.networks {
        if let NetworkTarget::Cluster(id) = &used.network {
            group.guard(Guard::Exists(ObjectKey::Network(*id)));
        }
    }
    for id in template.container.secrets.iter().filter_map(|used| used.secret) {
        group.guard(Guard::Exists(ObjectKey::Secret(id)));
    }
    for id in template.container.configs.iter().filter_map(|used| used.config) {
        group.guard(Guard::Exists(ObjectKey::Config(id)));
    }
}

/// Whether a name is free among services.
#[must_use]
pub fn is_free(state: &State, name: &str) -> bool {
    state.named(Kind::Service, &fold_name(name)).is_none()
}

fn newest(versions: &[ContentVersion]) -> Option<VersionId> {
    versions
        .iter()
        .max_by_key(|version| version.number)
        .map(|version| version.id)
}

#[cfg(test)]
#[path = "resolve_test.rs"]
mod tests;
