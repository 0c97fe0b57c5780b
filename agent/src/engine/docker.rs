//! A real Docker Engine, API 1.41 or later, through its unix socket. Nothing is decided here.
//!
//! Facts this stands on: the client never sends an API version, so the Engine answers with its newest; it keeps no
//! idle connections, so every call proves that the Engine still accepts; its enums have no fallback, so words that
//! matter are read as text where the client lets us.

mod create;
mod image;
mod observe;
mod run;
mod words;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bollard::errors::Error as ClientError;
use bollard::query_parameters::{
    EventsOptionsBuilder, ListContainersOptionsBuilder, ListNetworksOptionsBuilder, LogsOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures::StreamExt;
use futures::stream::BoxStream;
use shoal_proto::id::ClusterId;
use shoal_proto::service::Protocol;

use super::{
    API_MIN, Attachment, ContainerPlan, Credentials, Engine, EngineError, EngineEvent, EngineInfo,
    EngineResult, LABEL_CLUSTER, LABEL_NETWORK, Listed, LogChunk, LogQuery, NetworkPlan, NetworkSeen,
    Observed, Resolved, VolumePlan,
};

/// Longest wait for an answer to a call that does not stop, pull or stream.
const CALL_TIMEOUT_S: u64 = 60;
/// The Engine's own network, made anew with every start that keeps no container running.
const DEFAULT_BRIDGE: &str = "bridge";

/// A Docker Engine behind a unix socket.
pub struct DockerEngine {
    socket: PathBuf,
    client: OnceLock<Docker>,
    api: Mutex<Option<(u32, u32)>>,
    /// Held from the look for a network to its making: an Engine takes a second network of the same name.
    making_network: tokio::sync::Mutex<()>,
}

impl DockerEngine {
    /// An Engine at `unix:///path` or `/path`. It need not be there yet.
    #[must_use]
    pub fn new(address: &str) -> Self {
        let path = address.strip_prefix("unix://").unwrap_or(address);
        Self {
            socket: PathBuf::from(path),
            client: OnceLock::new(),
            api: Mutex::new(None),
            making_network: tokio::sync::Mutex::new(()),
        }
    }

    /// Where its socket is.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    fn client(&self) -> EngineResult<Docker> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        let path = self.socket.to_string_lossy();
        let client = Docker::connect_with_unix(&path, CALL_TIMEOUT_S, API_DEFAULT_VERSION);
        let client = client.map_err(|error| self.refine(error))?;
        Ok(self.client.get_or_init(|| client).clone())
    }

    /// The same client with another limit to its patience.
    fn patient(&self, wait: Duration) -> EngineResult<Docker> {
        Ok(self.client()?.with_timeout(wait))
    }

    /// Our word for the client's error.
    fn refine(&self, error: ClientError) -> EngineError {
        match error {
            ClientError::DockerResponseServerError { status_code, message } => match status_code {
                404 => EngineError::Missing(message),
                409 => EngineError::Conflict(message),
                _ => EngineError::Refused(words::plain(&message)),
            },
            ClientError::DockerStreamError { error } => EngineError::Refused(error),
            ClientError::JsonDataError { message, .. } => {
                EngineError::Refused(format!("answer of the engine was not understood: {message}"))
            }
            ClientError::SocketNotFoundError(path) => EngineError::Silent(format!("no socket at {path}")),
            other => EngineError::Silent(format!("{} at {}", chain(&other), self.socket.display())),
        }
    }

    /// The Engine's API version as it was when it was last asked.
    async fn api(&self) -> EngineResult<(u32, u32)> {
        let known = *self.api.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some(api) => Ok(api),
            None => self.ask_api().await,
        }
    }

    /// Asks it again: an Engine may have been replaced by another version.
    async fn ask_api(&self) -> EngineResult<(u32, u32)> {
        let version = self.client()?.version().await;
        let version = version.map_err(|error| self.refine(error))?;
        let text = version.api_version.unwrap_or_default();
        let api = parse_api(&text);
        let api =
            api.ok_or_else(|| EngineError::Refused(format!("engine names no API version: {text:?}")))?;
        let new_enough = api >= API_MIN;
        *self.api.lock().unwrap_or_else(PoisonError::into_inner) = new_enough.then_some(api);
        if !new_enough {
            let version = version.version.unwrap_or_default();
            return Err(EngineError::Outdated { version, has: text });
        }
        Ok(api)
    }
}

/// An error with all its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = next.source();
    }
    text
}

fn parse_api(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn by_label(cluster: ClusterId) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("{LABEL_CLUSTER}={cluster}")])])
}

#[async_trait]
impl Engine for DockerEngine {
    async fn info(&self) -> EngineResult<EngineInfo> {
        let client = self.client()?;
        let api = self.ask_api().await?;
        let info = client.info().await.map_err(|error| self.refine(error))?;
        Ok(observe::info(info, api))
    }

    async fn instance(&self) -> EngineResult<String> {
        self.api().await?;
        let found = self.client()?.inspect_network(DEFAULT_BRIDGE, None).await;
        match found.map_err(|error| self.refine(error)) {
            Ok(network) => Ok(network.id.unwrap_or_default()),
            // An Engine run with `bridge: none`: its restarts go unnoticed, its containers' ends count as their own.
            Err(EngineError::Missing(_)) => Ok("no default bridge".to_owned()),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, cluster: ClusterId) -> EngineResult<Vec<Listed>> {
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&by_label(cluster))
            .build();
        let list = self
            .client()?
            .list_containers(Some(options))
            .await
            .map_err(|error| self.refine(error))?;
        Ok(list.into_iter().filter_map(observe::listed).collect())
    }

    async fn inspect(&self, container: &str) -> EngineResult<Option<Observed>> {
        match self
            .client()?
            .inspect_container(container, None)
            .await
            .map_err(|error| self.refine(error))
        {
            Ok(seen) => Ok(observe::observed(seen)),
            Err(EngineError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn publisher(&self, protocol: Protocol, port: u16) -> EngineResult<Option<String>> {
        let filters = HashMap::from([("publish".to_owned(), vec![format!("{port}/{protocol}")])]);
        let options = ListContainersOptionsBuilder::new().filters(&filters).build();
        let list = self.client()?.list_containers(Some(options)).await;
        let list = list.map_err(|error| self.refine(error))?;
        let name = list.into_iter().find_map(|found| found.names?.pop());
        Ok(name.map(|name| name.trim_start_matches('/').to_owned()))
    }

    async fn events(&self, cluster: ClusterId) -> EngineResult<BoxStream<'static, EngineEvent>> {
        let mut filters = by_label(cluster);
        filters.insert("type".to_owned(), vec!["container".to_owned()]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let stream = self.client()?.events(Some(options));
        let stream = stream.take_while(|item| futures::future::ready(item.is_ok()));
        Ok(stream
            .filter_map(async |item| item.ok().and_then(observe::event))
            .boxed())
    }

    async fn image_present(&self, reference: &str) -> EngineResult<bool> {
        match self
            .client()?
            .inspect_image(reference)
            .await
            .map_err(|error| self.refine(error))
        {
            Ok(_) => Ok(true),
            Err(EngineError::Missing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn pull(
        &self,
        reference: &str,
        credentials: Option<&Credentials>,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> EngineResult<()> {
        image::pull(self, reference, credentials, progress).await
    }

    async fn resolve(&self, reference: &str, credentials: Option<&Credentials>) -> EngineResult<Resolved> {
        image::resolve(self, reference, credentials).await
    }

    async fn create(&self, plan: &ContainerPlan) -> EngineResult<String> {
        run::create(self, plan).await
    }

    async fn read_file(&self, container: &str, path: &str) -> EngineResult<Option<Vec<u8>>> {
        run::read_file(self, container, path).await
    }

    async fn start(&self, container: &str) -> EngineResult<()> {
        // A 304 (it runs already) is no error for the client.
        self.client()?
            .start_container(container, None)
            .await
            .map_err(|error| self.refine(error))
    }

    async fn stop(&self, container: &str, grace_ms: u64) -> EngineResult<()> {
        run::stop(self, container, grace_ms).await
    }

    async fn remove(&self, container: &str) -> EngineResult<()> {
        run::remove(self, container).await
    }

    async fn ensure_network(&self, plan: &NetworkPlan) -> EngineResult<()> {
        let _held = self.making_network.lock().await;
        run::ensure_network(self, plan).await
    }

    async fn networks(&self, cluster: ClusterId) -> EngineResult<Vec<NetworkSeen>> {
        let options = ListNetworksOptionsBuilder::new()
            .filters(&by_label(cluster))
            .build();
        let list = self
            .client()?
            .list_networks(Some(options))
            .await
            .map_err(|error| self.refine(error))?;
        let seen = list.into_iter().filter_map(|network| {
            let id = network.labels?.remove(LABEL_NETWORK)?;
            Some(NetworkSeen {
                name: network.name?,
                network: id,
            })
        });
        Ok(seen.collect())
    }

    async fn remove_network(&self, name: &str) -> EngineResult<()> {
        match self
            .client()?
            .remove_network(name)
            .await
            .map_err(|error| self.refine(error))
        {
            Err(EngineError::Missing(_)) => Ok(()),
            other => other,
        }
    }

    async fn connect(&self, container: &str, attachment: &Attachment) -> EngineResult<()> {
        run::connect(self, container, attachment).await
    }

    async fn ensure_volume(&self, plan: &VolumePlan) -> EngineResult<()> {
        run::ensure_volume(self, plan).await
    }

    async fn logs(
        &self,
        container: &str,
        query: LogQuery,
    ) -> EngineResult<BoxStream<'static, EngineResult<LogChunk>>> {
        let tail = query
            .tail
            .map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let options = LogsOptionsBuilder::new()
            .follow(query.follow)
            .stdout(query.stdout)
            .stderr(query.stderr)
            .since(i32::try_from(query.since_s).unwrap_or(i32::MAX))
            .timestamps(true)
            .tail(&tail)
            .build();
        let socket = Self::new(&self.socket.to_string_lossy());
        let stream = self.client()?.logs(container, Some(options));
        let stream =
            stream.map(move |item| item.map(observe::log_chunk).map_err(|error| socket.refine(error)));
        Ok(stream.boxed())
    }
}
