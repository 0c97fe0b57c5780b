//! Services and revisions as the cluster holds them.

use std::sync::Arc;

use super::Invalid;
use super::addresses::{addresses_in, addresses_out};
use super::checks::{digest, id, map, message, name, optional, optional_id, optional_time};
use crate::limits::SERVICE_NAME_MAX;
use crate::service::{Revision, Service, ServiceSettings};
use crate::time::Timestamp;
use crate::wire;

impl From<&Service> for wire::Service {
    fn from(service: &Service) -> Self {
        Self {
            id: service.id.to_string(),
            meta: Some((&service.meta).into()),
            name: service.name.clone(),
            stack: service.stack.map(|stack| stack.to_string()),
            settings: Some((&service.settings).into()),
            setting_writers: service.setting_writers.clone(),
            revision: service.revision.to_string(),
            previous_revision: service.previous_revision.map(|revision| revision.to_string()),
            good_revision: service.good_revision.map(|revision| revision.to_string()),
            last_revision_number: service.last_revision_number,
            previous_settings: service.previous_settings.as_deref().map(Into::into),
            rollout: service.rollout.as_ref().map(Into::into),
            removed_at_ms: service.removed_at.map(Timestamp::as_ms),
            addresses: addresses_out(&service.addresses),
        }
    }
}

impl TryFrom<wire::Service> for Service {
    type Error = Invalid;
    fn try_from(service: wire::Service) -> Result<Self, Invalid> {
        let previous: Option<ServiceSettings> = optional(service.previous_settings, "previous_settings")?;
        Ok(Self {
            id: id(&service.id, "id")?,
            meta: message(service.meta, "meta")?,
            name: name(service.name, SERVICE_NAME_MAX, "name")?,
            stack: optional_id(service.stack, "stack")?,
            settings: message(service.settings, "settings")?,
            setting_writers: map(service.setting_writers, "setting_writers")?,
            revision: id(&service.revision, "revision")?,
            previous_revision: optional_id(service.previous_revision, "previous_revision")?,
            good_revision: optional_id(service.good_revision, "good_revision")?,
            last_revision_number: service.last_revision_number,
            previous_settings: previous.map(Box::new),
            rollout: optional(service.rollout, "rollout")?,
            removed_at: optional_time(service.removed_at_ms),
            addresses: addresses_in(service.addresses)?,
        })
    }
}

impl From<&Revision> for wire::Revision {
    fn from(revision: &Revision) -> Self {
        Self {
            id: revision.id.to_string(),
            meta: Some((&revision.meta).into()),
            service: revision.service.to_string(),
            number: revision.number,
            digest: revision.digest.to_string(),
            template: Some(revision.template.as_ref().into()),
        }
    }
}

impl TryFrom<wire::Revision> for Revision {
    type Error = Invalid;
    fn try_from(revision: wire::Revision) -> Result<Self, Invalid> {
        Ok(Self {
            id: id(&revision.id, "id")?,
            meta: message(revision.meta, "meta")?,
            service: id(&revision.service, "service")?,
            number: revision.number,
            digest: digest(&revision.digest, "digest")?,
            template: Arc::new(message(revision.template, "template")?),
        })
    }
}
