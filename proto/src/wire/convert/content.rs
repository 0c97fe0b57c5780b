//! Secrets, configs and networks, volumes.

use super::Invalid;
use super::checks::{digest, id, list, map, message, name, optional_id, text};
use crate::config::Config;
use crate::content::ContentVersion;
use crate::limits::NAME_MAX;
use crate::network::{Network, NetworkSpec};
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

impl From<&Network> for wire::Network {
    fn from(network: &Network) -> Self {
        Self {
            id: network.id.to_string(),
            meta: Some((&network.meta).into()),
            stack: network.stack.map(|stack| stack.to_string()),
            spec: Some((&network.spec).into()),
        }
    }
}

impl TryFrom<wire::Network> for Network {
    type Error = Invalid;
    fn try_from(network: wire::Network) -> Result<Self, Invalid> {
        Ok(Self {
            id: id(&network.id, "id")?,
            meta: message(network.meta, "meta")?,
            stack: optional_id(network.stack, "stack")?,
            spec: message(network.spec, "spec")?,
        })
    }
}

impl From<&NetworkSpec> for wire::NetworkSpec {
    fn from(spec: &NetworkSpec) -> Self {
        Self {
            name: spec.name.clone(),
            labels: spec.labels.clone(),
            driver: spec.driver.clone(),
            driver_options: spec.driver_options.clone(),
            internal: spec.internal,
            attachable: spec.attachable,
            subnet: spec.subnet.clone(),
            gateway: spec.gateway.clone(),
        }
    }
}

impl TryFrom<wire::NetworkSpec> for NetworkSpec {
    type Error = Invalid;
    fn try_from(spec: wire::NetworkSpec) -> Result<Self, Invalid> {
        Ok(Self {
            name: name(spec.name, NAME_MAX, "name")?,
            labels: map(spec.labels, "labels")?,
            driver: driver(spec.driver)?,
            driver_options: map(spec.driver_options, "driver_options")?,
            internal: spec.internal,
            attachable: spec.attachable,
            subnet: subnet(spec.subnet)?,
            gateway: gateway(spec.gateway)?,
        })
    }
}

fn driver(value: String) -> Result<String, Invalid> {
    match value.as_str() {
        "" | "overlay" | "bridge" => Ok(value),
        _ => Err(Invalid::new(
            "driver",
            format!("{value:?} is not a driver of the cluster: expected overlay or bridge"),
        )),
    }
}

fn subnet(value: String) -> Result<String, Invalid> {
    if value.is_empty() {
        return Ok(value);
    }
    let parts = value.split_once('/').and_then(|(address, bits)| {
        let address: std::net::IpAddr = address.parse().ok()?;
        let bits: u8 = bits.parse().ok()?;
        Some((address, bits))
    });
    match parts {
        Some((std::net::IpAddr::V4(_), 1..=30)) | Some((std::net::IpAddr::V6(_), 1..=126)) => Ok(value),
        _ => Err(Invalid::new(
            "subnet",
            format!("{value:?} is not a subnet: expected one such as 10.1.0.0/24"),
        )),
    }
}

fn gateway(value: String) -> Result<String, Invalid> {
    super::checks::optional_ip(&value, "gateway").map(|_| value)
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
