//! The bytes of secrets and configs, asked of the manager that holds the session. They are kept nowhere.

use std::sync::Arc;

use async_trait::async_trait;
use shoal_proto::config::CONFIG_BYTES_MAX;
use shoal_proto::id::VersionId;
use shoal_proto::wire::FetchContentRequest;
use shoal_proto::wire::dispatcher_client::DispatcherClient;
use tokio::sync::watch;
use tonic::transport::Channel;

use crate::executor::ContentSource;

/// Fetches while there is a session. Cheap to clone.
#[derive(Clone, Default)]
pub struct Contents {
    channel: Arc<watch::Sender<Option<Channel>>>,
}

impl Contents {
    /// The session's channel, or that there is none.
    pub(super) fn set(&self, channel: Option<Channel>) {
        self.channel.send_replace(channel);
    }
}

#[async_trait]
impl ContentSource for Contents {
    async fn fetch(&self, version: VersionId) -> Result<Vec<u8>, String> {
        let channel = self
            .channel
            .borrow()
            .clone()
            .ok_or_else(|| "no manager answers".to_owned())?;
        let said = |status: tonic::Status| status.message().to_owned();
        let request = FetchContentRequest {
            version_id: version.to_string(),
        };
        let answer = DispatcherClient::new(channel)
            .fetch_content(request)
            .await
            .map_err(said)?;
        let mut chunks = answer.into_inner();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.message().await.map_err(said)? {
            bytes.extend_from_slice(&chunk.bytes);
            if bytes.len() > CONFIG_BYTES_MAX {
                return Err(format!(
                    "version {version} is larger than {CONFIG_BYTES_MAX} bytes"
                ));
            }
        }
        Ok(bytes)
    }
}
