//! Secrets, configs, volumes.

use super::Invalid;
use super::checks::{digest, id, list, map, message, name, optional_id, text};
use crate::config::Config;
use crate::content::ContentVersion;
use crate::limits::NAME_MAX;
use crate::secret::Secret;
use crate::stack::ContentSpec;
use crate::time::Timestamp;
use crate::volume::Volume;
use crate::wire;

macro_rules! contents {
    ($($kind:ident),+) => {$(
        impl From<&$kind> for wire::$kind {
            fn from(content: &$kind) -> Self {
                Self {
                    id: content.id.to_string(),
                    meta: Some((&content.meta).into()),
                    stack: content.stack.map(|stack| stack.to_string()),
                    name: content.name.clone(),
                    labels: content.labels.clone(),
                    versions: content.versions.iter().map(Into::into).collect(),
                }
            }
        }

        impl TryFrom<wire::$kind> for $kind {
            type Error = Invalid;
            fn try_from(content: wire::$kind) -> Result<Self, Invalid> {
                Ok(Self {
                    id: id(&content.id, "id")?,
                    meta: message(content.meta, "meta")?,
                    stack: optional_id(content.stack, "stack")?,
                    name: name(content.name, NAME_MAX, "name")?,
                    labels: map(content.labels, "labels")?,
                    versions: list(content.versions, "versions")?,
                })
            }
        }
    )+};
}

contents!(Secret, Config);

impl From<&ContentVersion> for wire::ContentVersion {
    fn from(version: &ContentVersion) -> Self {
        Self {
            id: version.id.to_string(),
            number: version.number,
            digest: version.digest.to_string(),
            size_bytes: version.size_bytes,
            created_at_ms: version.created_at.as_ms(),
        }
    }
}

impl TryFrom<wire::ContentVersion> for ContentVersion {
    type Error = Invalid;
    fn try_from(version: wire::ContentVersion) -> Result<Self, Invalid> {
        Ok(Self {
            id: id(&version.id, "id")?,
            number: version.number,
            digest: digest(&version.digest, "digest")?,
            size_bytes: version.size_bytes,
            created_at: Timestamp::from_ms(version.created_at_ms),
        })
    }
}

impl From<&ContentSpec> for wire::ContentSpec {
    fn from(spec: &ContentSpec) -> Self {
        Self {
            name: spec.name.clone(),
            labels: spec.labels.clone(),
            digest: spec.digest.to_string(),
        }
    }
}

impl TryFrom<wire::ContentSpec> for ContentSpec {
    type Error = Invalid;
    fn try_from(spec: wire::ContentSpec) -> Result<Self, Invalid> {
        Ok(Self {
            name: name(spec.name, NAME_MAX, "name")?,
            labels: map(spec.labels, "labels")?,
            digest: digest(&spec.digest, "digest")?,
        })
    }
}

impl From<&Volume> for wire::Volume {
    fn from(volume: &Volume) -> Self {
        Self {
            id: volume.id.to_string(),
            meta: Some((&volume.meta).into()),
            name: volume.name.clone(),
            node: volume.node.to_string(),
            service: volume.service.to_string(),
        }
    }
}

impl TryFrom<wire::Volume> for Volume {
    type Error = Invalid;
    fn try_from(volume: wire::Volume) -> Result<Self, Invalid> {
        Ok(Self {
            id: id(&volume.id, "id")?,
            meta: message(volume.meta, "meta")?,
            name: text(volume.name, "name")?,
            node: id(&volume.node, "node")?,
            service: id(&volume.service, "service")?,
        })
    }
}
