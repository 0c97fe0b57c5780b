//! Stacks and what a deployment asks for.

use super::checks::{id, list, message, name, optional_time, text};
use super::{At as _, Invalid};
use crate::limits::{NAME_MAX, SERVICE_NAME_MAX};
use crate::service::ServiceSettings;
use crate::stack::{Stack, StackRevision, StackSpec};
use crate::time::Timestamp;
use crate::wire;

impl From<&StackSpec> for wire::StackSpec {
    fn from(spec: &StackSpec) -> Self {
        Self {
            name: spec.name.clone(),
            services: spec.services.iter().map(Into::into).collect(),
            networks: spec.networks.iter().map(Into::into).collect(),
            secrets: spec.secrets.iter().map(Into::into).collect(),
            configs: spec.configs.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<wire::StackSpec> for StackSpec {
    type Error = Invalid;
    fn try_from(spec: wire::StackSpec) -> Result<Self, Invalid> {
        Ok(Self {
            name: name(spec.name, NAME_MAX, "name")?,
            services: list(spec.services, "services")?,
            networks: list(spec.networks, "networks")?,
            secrets: list(spec.secrets, "secrets")?,
            configs: list(spec.configs, "configs")?,
        })
    }
}

impl From<&Stack> for wire::Stack {
    fn from(stack: &Stack) -> Self {
        Self {
            id: stack.id.to_string(),
            meta: Some((&stack.meta).into()),
            name: stack.name.clone(),
            revisions: stack.revisions.iter().map(Into::into).collect(),
            removed_at_ms: stack.removed_at.map(Timestamp::as_ms),
        }
    }
}

impl TryFrom<wire::Stack> for Stack {
    type Error = Invalid;
    fn try_from(stack: wire::Stack) -> Result<Self, Invalid> {
        Ok(Self {
            id: id(&stack.id, "id")?,
            meta: message(stack.meta, "meta")?,
            name: name(stack.name, NAME_MAX, "name")?,
            revisions: list(stack.revisions, "revisions")?,
            removed_at: optional_time(stack.removed_at_ms),
        })
    }
}

impl From<&StackRevision> for wire::StackRevision {
    fn from(revision: &StackRevision) -> Self {
        let services = revision.services.iter();
        let settings = revision.settings.iter();
        let names = revision.names.iter();
        Self {
            number: revision.number,
            created_at_ms: revision.created_at.as_ms(),
            by: revision.by.clone(),
            services: services
                .map(|(service, revision)| (service.to_string(), revision.to_string()))
                .collect(),
            settings: settings
                .map(|(service, settings)| (service.to_string(), settings.into()))
                .collect(),
            names: names
                .map(|(service, name)| (service.to_string(), name.clone()))
                .collect(),
            restores: revision.restores,
        }
    }
}

impl TryFrom<wire::StackRevision> for StackRevision {
    type Error = Invalid;
    fn try_from(revision: wire::StackRevision) -> Result<Self, Invalid> {
        let pair = |(service, revision): (String, String)| -> Result<_, Invalid> {
            Ok((id(&service, "service")?, id(&revision, &service)?))
        };
        let asked = |(service, settings): (String, wire::ServiceSettings)| -> Result<_, Invalid> {
            let settings = ServiceSettings::try_from(settings).at(&service)?;
            Ok((id(&service, "service")?, settings))
        };
        let named = |(service, called): (String, String)| -> Result<_, Invalid> {
            let called = name(called, SERVICE_NAME_MAX, &service)?;
            Ok((id(&service, "service")?, called))
        };
        let services: Result<_, Invalid> = revision.services.into_iter().map(pair).collect();
        let settings: Result<_, Invalid> = revision.settings.into_iter().map(asked).collect();
        let names: Result<_, Invalid> = revision.names.into_iter().map(named).collect();
        Ok(Self {
            number: revision.number,
            created_at: Timestamp::from_ms(revision.created_at_ms),
            by: text(revision.by, "by")?,
            services: services.at("services")?,
            settings: settings.at("settings")?,
            names: names.at("names")?,
            restores: revision.restores,
        })
    }
}
