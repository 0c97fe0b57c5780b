//! Names inside a template become ids when a revision is made: a revision never means something else later.
//! What has an id already keeps it, so that objects made in the same transaction can be named by their ids.

use shoal_proto::content::ContentVersion;
use shoal_proto::object::Kind;
use shoal_proto::service::{NetworkTarget, TaskTemplate};

use crate::state::{Group, Guard, ObjectKey, State, fold_name};

/// A name that nobody holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// No such network.
    #[error("network {0:?} does not exist: create it first, or name another")]
    Network(String),
    /// No such secret.
    #[error("secret {0:?} does not exist: create it first, or name another")]
    Secret(String),
    /// No such config.
    #[error("config {0:?} does not exist: create it first, or name another")]
    Config(String),
}

/// Gives every network, secret and config of a template its id and, to contents, the newest version.
///
/// # Errors
/// The first name that nobody holds.
pub fn resolve(state: &State, template: &mut TaskTemplate) -> Result<(), ResolveError> {
    for used in &mut template.networks {
        if let NetworkTarget::Named(name) = &used.network {
            let found = state
                .network_named(name)
                .ok_or_else(|| ResolveError::Network(name.clone()))?;
            used.network = NetworkTarget::Cluster(found.id);
        }
    }
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

fn newest(versions: &[ContentVersion]) -> Option<shoal_proto::id::VersionId> {
    versions
        .iter()
        .max_by_key(|version| version.number)
        .map(|version| version.id)
}
