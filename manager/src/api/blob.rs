//! Bytes of secrets and configs, uploaded before the call that names their digest. They are never logged.

use shoal_core::state::blob::{BLOB_BYTES_MAX, BLOB_CHUNK_BYTES_MAX, Bytes, Chunk};
use shoal_core::state::{Change, Group, Proposal};
use shoal_proto::digest::Digest;
use shoal_proto::identity::Caller;
use shoal_proto::object::Cause;
use shoal_proto::wire;
use tonic::{Request, Response, Status, Streaming};

use super::{Api, fault};

pub(super) async fn upload(
    api: &Api,
    request: Request<Streaming<wire::BlobChunk>>,
) -> Result<Response<wire::BlobUploaded>, Status> {
    let caller = Caller::from_request(&request)?.clone();
    let bytes = collect(request.into_inner()).await?;
    let digest = Digest::of(&bytes);
    let cause = Cause {
        actor: caller.actor(),
        action: "upload".to_owned(),
    };
    for change in pieces(api, digest, &bytes) {
        let mut group = Group::new();
        group.change(Change::BlobChunk(change));
        let proposal = Proposal::new(api.inner.leader.now(), cause.clone(), vec![group]);
        for result in &api.propose(&proposal).await?.results {
            result.as_ref().map_err(fault::conflict)?;
        }
    }
    Ok(Response::new(wire::BlobUploaded {
        digest: digest.to_string(),
    }))
}

async fn collect(mut chunks: Streaming<wire::BlobChunk>) -> Result<Vec<u8>, Status> {
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        if bytes.len() + chunk.bytes.len() > BLOB_BYTES_MAX {
            let text =
                format!("the content is larger than {BLOB_BYTES_MAX} bytes, the most that a config may have");
            return Err(Status::resource_exhausted(text));
        }
        bytes.extend_from_slice(&chunk.bytes);
    }
    Ok(bytes)
}

/// What must still be written: nothing but a sign of use for bytes that are here.
fn pieces(api: &Api, digest: Digest, bytes: &[u8]) -> Vec<Chunk> {
    let total_bytes = bytes.len() as u64;
    let piece = |offset: usize, bytes: &[u8]| Chunk {
        digest,
        total_bytes,
        offset: offset as u64,
        bytes: Bytes::from(bytes.to_vec()),
    };
    let state = api.inner.machine.state();
    if bytes.is_empty() || state.blob(&digest).is_some_and(|blob| blob.is_complete()) {
        return vec![piece(bytes.len(), &[])];
    }
    let offsets = (0..bytes.len()).step_by(BLOB_CHUNK_BYTES_MAX);
    offsets
        .map(|offset| {
            piece(
                offset,
                &bytes[offset..bytes.len().min(offset + BLOB_CHUNK_BYTES_MAX)],
            )
        })
        .collect()
}
