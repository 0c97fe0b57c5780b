//! Calls about secrets, configs, networks and registries.

use shoal_proto::config::Config;
use shoal_proto::digest::Digest;
use shoal_proto::network::NetworkSpec;
use shoal_proto::secret::Secret;
use shoal_proto::stack::ContentSpec;
use shoal_proto::time::Timestamp;
use shoal_proto::wire;

use super::rows::{ContentKind, ContentRow, Created, NetworkRow, RegistryRow, created, read, read_some};
use super::{Cluster, Credential};
use crate::clock::request_id;

/// Bytes sent at once when content is uploaded.
const CHUNK_BYTES: usize = 64 << 10;

impl Cluster {
    /// Uploads the bytes of a secret or config and gives what the next call names them by.
    ///
    /// # Errors
    /// When they are too large or no manager answers.
    pub async fn upload(&mut self, bytes: &[u8]) -> anyhow::Result<Digest> {
        let chunks: Vec<_> = bytes
            .chunks(CHUNK_BYTES)
            .map(|c| wire::BlobChunk { bytes: c.to_vec() })
            .collect();
        let answer = self
            .call(chunks, async |c, chunks| {
                c.upload_blob(futures::stream::iter(chunks)).await
            })
            .await?;
        Ok(answer.digest.parse()?)
    }

    /// Secrets or configs, without their bytes.
    ///
    /// # Errors
    /// For an unknown filter, or when no manager answers.
    pub async fn contents(
        &mut self,
        kind: ContentKind,
        filters: Vec<String>,
    ) -> anyhow::Result<Vec<ContentRow>> {
        let request = wire::ListRequest {
            filters,
            stale: self.freshness.is_stale(),
        };
        match kind {
            ContentKind::Secret => {
                let answer = self.call(request, async |c, r| c.list_secrets(r).await).await?;
                answer
                    .secrets
                    .into_iter()
                    .map(|s| Ok(read::<_, Secret>(s)?.into()))
                    .collect()
            }
            ContentKind::Config => {
                let answer = self.call(request, async |c, r| c.list_configs(r).await).await?;
                answer
                    .configs
                    .into_iter()
                    .map(|c| Ok(read::<_, Config>(c)?.into()))
                    .collect()
            }
        }
    }

    /// One secret, or one config with its newest bytes.
    ///
    /// # Errors
    /// When there is none, or several.
    pub async fn content(&mut self, kind: ContentKind, wanted: &str) -> anyhow::Result<ContentRow> {
        let request = wire::GetRequest {
            r#ref: wanted.to_owned(),
            stale: self.freshness.is_stale(),
        };
        match kind {
            ContentKind::Secret => {
                let answer = self.call(request, async |c, r| c.get_secret(r).await).await?;
                Ok(read::<_, Secret>(answer)?.into())
            }
            ContentKind::Config => {
                let answer = self.call(request, async |c, r| c.get_config(r).await).await?;
                Ok(ContentRow {
                    data: Some(answer.data),
                    ..read_some::<_, Config>(answer.config, "config")?.into()
                })
            }
        }
    }

    /// Makes a secret or config of bytes that were uploaded.
    ///
    /// # Errors
    /// When the name is taken.
    pub async fn create_content(&mut self, kind: ContentKind, spec: &ContentSpec) -> anyhow::Result<Created> {
        let request = wire::CreateContentRequest {
            request_id: request_id(),
            content: Some(spec.into()),
        };
        let answer = match kind {
            ContentKind::Secret => self.call(request, async |c, r| c.create_secret(r).await).await?,
            ContentKind::Config => self.call(request, async |c, r| c.create_config(r).await).await?,
        };
        Ok(created(answer.id, answer.index, answer.warnings))
    }

    /// Removes a secret or config that nobody uses.
    ///
    /// # Errors
    /// When it is in use.
    pub async fn remove_content(&mut self, kind: ContentKind, wanted: &str) -> anyhow::Result<Created> {
        let request = wire::RemoveRequest {
            request_id: request_id(),
            r#ref: wanted.to_owned(),
        };
        let done = match kind {
            ContentKind::Secret => self.call(request, async |c, r| c.remove_secret(r).await).await?,
            ContentKind::Config => self.call(request, async |c, r| c.remove_config(r).await).await?,
        };
        Ok(created(wanted.to_owned(), done.index, done.warnings))
    }

    /// Networks.
    ///
    /// # Errors
    /// For an unknown filter, or when no manager answers.
    pub async fn networks(&mut self, filters: Vec<String>) -> anyhow::Result<Vec<NetworkRow>> {
        let request = wire::ListRequest {
            filters,
            stale: self.freshness.is_stale(),
        };
        let answer = self.call(request, async |c, r| c.list_networks(r).await).await?;
        answer.networks.into_iter().map(NetworkRow::read).collect()
    }

    /// One network.
    ///
    /// # Errors
    /// When there is none, or several.
    pub async fn network(&mut self, wanted: &str) -> anyhow::Result<NetworkRow> {
        let request = wire::GetRequest {
            r#ref: wanted.to_owned(),
            stale: self.freshness.is_stale(),
        };
        NetworkRow::read(self.call(request, async |c, r| c.get_network(r).await).await?)
    }

    /// Makes a network.
    ///
    /// # Errors
    /// When the name is taken or the subnet is none.
    pub async fn create_network(&mut self, spec: &NetworkSpec) -> anyhow::Result<Created> {
        let request = wire::CreateNetworkRequest {
            request_id: request_id(),
            spec: Some(spec.into()),
        };
        let answer = self.call(request, async |c, r| c.create_network(r).await).await?;
        Ok(created(answer.id, answer.index, answer.warnings))
    }

    /// Removes a network that nobody uses.
    ///
    /// # Errors
    /// When it is in use.
    pub async fn remove_network(&mut self, wanted: &str) -> anyhow::Result<Created> {
        let request = wire::RemoveRequest {
            request_id: request_id(),
            r#ref: wanted.to_owned(),
        };
        let done = self.call(request, async |c, r| c.remove_network(r).await).await?;
        Ok(created(wanted.to_owned(), done.index, done.warnings))
    }

    /// Registries the cluster has credentials for.
    ///
    /// # Errors
    /// When no manager answers.
    pub async fn registries(&mut self) -> anyhow::Result<Vec<RegistryRow>> {
        let answer = self
            .call(wire::ListRequest::default(), async |c, r| {
                c.list_registries(r).await
            })
            .await?;
        let row = |r: wire::RegistryRow| RegistryRow {
            host: r.host,
            username: r.username,
            updated_at: Timestamp::from_ms(r.updated_at_ms),
        };
        Ok(answer.registries.into_iter().map(row).collect())
    }

    /// Keeps credentials for a registry in the cluster.
    ///
    /// # Errors
    /// When no manager answers.
    pub async fn login_registry(&mut self, credential: Credential) -> anyhow::Result<Created> {
        let request = wire::LoginRegistryRequest {
            request_id: request_id(),
            credential: Some(credential.into()),
        };
        let done = self.call(request, async |c, r| c.login_registry(r).await).await?;
        Ok(created(String::new(), done.index, done.warnings))
    }

    /// Forgets the credentials for a registry.
    ///
    /// # Errors
    /// When there are none.
    pub async fn logout_registry(&mut self, host: &str) -> anyhow::Result<Created> {
        let request = wire::RemoveRequest {
            request_id: request_id(),
            r#ref: host.to_owned(),
        };
        let done = self
            .call(request, async |c, r| c.logout_registry(r).await)
            .await?;
        Ok(created(host.to_owned(), done.index, done.warnings))
    }
}
