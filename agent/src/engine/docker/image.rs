//! Images: fetched and asked about, in the registry's own words.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::StreamExt;
use shoal_proto::service::Platform;

use super::DockerEngine;
use crate::engine::{Credentials, EngineError, EngineResult, Resolved};

/// Longest silence in the middle of a pull.
const PULL_STALL_S: u64 = 300;
/// Longest wait for a registry's word about a reference.
const RESOLVE_TIMEOUT_S: u64 = 60;

pub(super) async fn pull(
    engine: &DockerEngine,
    reference: &str,
    credentials: Option<&Credentials>,
    progress: &(dyn Fn(String) + Send + Sync),
) -> EngineResult<()> {
    let stall = Duration::from_secs(PULL_STALL_S);
    let client = engine.patient(stall)?;
    let whole = with_tag(reference);
    let options = CreateImageOptionsBuilder::new().from_image(&whole).build();
    let mut stream = Box::pin(client.create_image(Some(options), None, credentials.map(to_engine)));
    let mut layers = BTreeMap::new();
    let mut last = String::new();
    loop {
        let next = tokio::time::timeout(stall, stream.next()).await;
        let next = next.map_err(|_| {
            EngineError::Refused(format!("pull of {reference}: no progress for {PULL_STALL_S} s"))
        })?;
        let Some(item) = next else {
            return Ok(());
        };
        let line = item.map_err(|error| about(reference, engine.refine(error)))?;
        let words = summary(reference, &mut layers, line);
        if words != last {
            progress(words.clone());
            last = words;
        }
    }
}

/// The registry's words with the image they are about; silence stays silence.
fn about(reference: &str, error: EngineError) -> EngineError {
    match error {
        EngineError::Silent(words) => EngineError::Silent(words),
        EngineError::Missing(words) => EngineError::Missing(format!("pull of {reference}: {words}")),
        other => EngineError::Refused(format!("pull of {reference}: {other}")),
    }
}

fn summary(reference: &str, layers: &mut BTreeMap<String, bool>, line: CreateImageInfo) -> String {
    let status = line.status.unwrap_or_default();
    if let Some(id) = line.id.filter(|_| !status.starts_with("Pulling from")) {
        let done = status == "Pull complete" || status == "Already exists";
        layers.insert(id, done);
    }
    let done = layers.values().filter(|done| **done).count();
    match layers.len() {
        0 => format!("pulling {reference}"),
        all => format!("pulling {reference}: {done} of {all} layers"),
    }
}

pub(super) async fn resolve(
    engine: &DockerEngine,
    reference: &str,
    credentials: Option<&Credentials>,
) -> EngineResult<Resolved> {
    let client = engine.patient(Duration::from_secs(RESOLVE_TIMEOUT_S))?;
    let found = client
        .inspect_registry_image(&with_tag(reference), credentials.map(to_engine))
        .await;
    let found = found.map_err(|error| engine.refine(error))?;
    let digest = found
        .descriptor
        .digest
        .ok_or_else(|| EngineError::Refused(format!("registry names no digest for {reference}")))?;
    let platforms = found.platforms.into_iter().map(|platform| Platform {
        os: platform.os.unwrap_or_default(),
        arch: platform.architecture.unwrap_or_default(),
    });
    Ok(Resolved {
        digest,
        platforms: platforms.collect(),
    })
}

/// Without a tag the Engine would fetch all of them.
fn with_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains(':') || reference.contains('@') {
        return reference.to_owned();
    }
    format!("{reference}:latest")
}

fn to_engine(credentials: &Credentials) -> DockerCredentials {
    DockerCredentials {
        username: Some(credentials.username.clone()),
        password: Some(credentials.password.clone()),
        serveraddress: Some(credentials.host.clone()),
        ..DockerCredentials::default()
    }
}

#[cfg(test)]
mod tests {
    use super::with_tag;

    #[test]
    fn only_a_bare_name_gets_a_tag() {
        assert_eq!(with_tag("nginx"), "nginx:latest");
        assert_eq!(
            with_tag("r.example:5000/a/nginx"),
            "r.example:5000/a/nginx:latest"
        );
        assert_eq!(with_tag("nginx:1.27"), "nginx:1.27");
        assert_eq!(with_tag("nginx@sha256:00"), "nginx@sha256:00");
    }
}
