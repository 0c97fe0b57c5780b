//! Service specs and their settings.

use super::checks::{duration_ms, enumeration, list, map, message, name};
use super::{At as _, Invalid};
use crate::limits::{REPLICAS_MAX, SERVICE_NAME_MAX};
use crate::service::{Mode, RestartPolicy, ServiceSettings, ServiceSpec};
use crate::update::{FailureAction, UpdatePolicy};
use crate::wire::{self, mode};

impl From<&ServiceSpec> for wire::ServiceSpec {
    fn from(spec: &ServiceSpec) -> Self {
        Self {
            name: spec.name.clone(),
            settings: Some((&spec.settings).into()),
            template: Some((&spec.template).into()),
        }
    }
}

impl TryFrom<wire::ServiceSpec> for ServiceSpec {
    type Error = Invalid;
    fn try_from(spec: wire::ServiceSpec) -> Result<Self, Invalid> {
        Ok(Self {
            name: name(spec.name, SERVICE_NAME_MAX, "name")?,
            settings: message(spec.settings, "settings")?,
            template: message(spec.template, "template")?,
        })
    }
}

impl From<&ServiceSettings> for wire::ServiceSettings {
    fn from(settings: &ServiceSettings) -> Self {
        Self {
            mode: Some((&settings.mode).into()),
            labels: settings.labels.clone(),
            update: Some((&settings.update).into()),
            rollback: Some((&settings.rollback).into()),
            restart: Some((&settings.restart).into()),
            endpoint: wire::EndpointMode::from(settings.endpoint).into(),
            ingress_ports: settings.ingress_ports.iter().map(Into::into).collect(),
            drain_ms: settings.drain_ms,
        }
    }
}

impl TryFrom<wire::ServiceSettings> for ServiceSettings {
    type Error = Invalid;
    fn try_from(settings: wire::ServiceSettings) -> Result<Self, Invalid> {
        let rollback = policy(settings.rollback, "rollback")?;
        if rollback.failure_action == FailureAction::Rollback {
            let why = "a rollback that fails cannot be rolled back: expected pause or continue";
            return Err(Invalid::new("rollback.failure_action", why));
        }
        let restart = settings
            .restart
            .map(RestartPolicy::try_from)
            .transpose()
            .at("restart")?;
        Ok(Self {
            mode: message(settings.mode, "mode")?,
            labels: map(settings.labels, "labels")?,
            update: policy(settings.update, "update")?,
            rollback,
            restart: restart.unwrap_or_default(),
            endpoint: enumeration::<wire::EndpointMode, _>(settings.endpoint, "endpoint")?,
            ingress_ports: list(settings.ingress_ports, "ingress_ports")?,
            drain_ms: settings
                .drain_ms
                .map(|drain| duration_ms(drain, "drain_ms"))
                .transpose()?,
        })
    }
}

fn policy(value: Option<wire::UpdatePolicy>, field: &str) -> Result<UpdatePolicy, Invalid> {
    let policy = value.map(UpdatePolicy::try_from).transpose().at(field)?;
    Ok(policy.unwrap_or_default())
}

impl From<&Mode> for wire::Mode {
    fn from(how: &Mode) -> Self {
        let kind = match how {
            Mode::Replicated { replicas } => mode::Kind::Replicated(wire::Replicated { replicas: *replicas }),
            Mode::Global => mode::Kind::Global(wire::Nothing {}),
            Mode::ReplicatedJob {
                max_concurrent,
                total_completions,
            } => mode::Kind::ReplicatedJob(wire::ReplicatedJob {
                max_concurrent: *max_concurrent,
                total_completions: *total_completions,
            }),
            Mode::GlobalJob => mode::Kind::GlobalJob(wire::Nothing {}),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::Mode> for Mode {
    type Error = Invalid;
    fn try_from(how: wire::Mode) -> Result<Self, Invalid> {
        let bounded = |count: u64, field: &str| match count {
            0..=REPLICAS_MAX => Ok(count),
            _ => Err(Invalid::new(
                field,
                format!("{count} is too many: at most {REPLICAS_MAX} tasks a service"),
            )),
        };
        Ok(match how.kind {
            None => Self::default(),
            Some(mode::Kind::Replicated(how)) => Self::Replicated {
                replicas: bounded(how.replicas, "replicas")?,
            },
            Some(mode::Kind::Global(_)) => Self::Global,
            Some(mode::Kind::ReplicatedJob(how)) => Self::ReplicatedJob {
                max_concurrent: bounded(how.max_concurrent, "max_concurrent")?,
                total_completions: bounded(how.total_completions, "total_completions")?,
            },
            Some(mode::Kind::GlobalJob(_)) => Self::GlobalJob,
        })
    }
}
