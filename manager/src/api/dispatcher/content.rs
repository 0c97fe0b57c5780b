//! The bytes of one version of a secret or config, for a node with a task that uses it.

use futures::StreamExt as _;
use shoal_core::dispatcher::content::may_fetch;
use shoal_proto::id::{NodeId, VersionId};
use shoal_proto::wire::{self, Invalid};
use tonic::Status;

use super::Down;
use crate::api::Api;

/// Bytes of one message.
const CHUNK_BYTES: usize = 256 * 1024;

pub(super) fn fetch(api: &Api, node: NodeId, version: &str) -> Result<Down<wire::ContentChunk>, Status> {
    let version: VersionId = version
        .parse()
        .map_err(|error| Invalid::new("version_id", format!("{error}")))?;
    let state = api.inner.machine.state();
    let digest = may_fetch(&state, node, version)
        .ok_or_else(|| Status::permission_denied(format!("no task on node {node} uses version {version}")))?;
    let blob = state.blob(&digest).filter(|blob| blob.is_complete());
    let bytes = blob.map(|blob| blob.bytes.0.clone());
    let bytes = bytes
        .ok_or_else(|| Status::unavailable(format!("the bytes of version {version} are not here yet")))?;
    let chunks = bytes.len().div_ceil(CHUNK_BYTES).max(1);
    let stream = futures::stream::iter(0..chunks).map(move |at| {
        let end = bytes.len().min((at + 1) * CHUNK_BYTES);
        Ok(wire::ContentChunk {
            bytes: bytes[at * CHUNK_BYTES..end].to_vec(),
        })
    });
    Ok(Box::pin(stream))
}
