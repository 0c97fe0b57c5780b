//! How pieces of content become a blob, and which blobs may be forgotten.

use std::sync::Arc;

use shoal_proto::digest::Digest;
use shoal_proto::time::Timestamp;

use super::State;
use super::blob::{
    BLOB_BYTES_MAX, BLOB_CHUNK_BYTES_MAX, BLOB_UNUSED_MS, BLOBS_BYTES_MAX, Blob, Bytes, Chunk,
};
use super::conflict::Conflict;

impl State {
    /// Blobs that nothing has used for an hour at `now`, and when the next one will be due. Each is forgotten
    /// by a `BlobDelete` under the guard `BlobUnused`.
    #[must_use]
    pub fn blobs_to_forget(&self, now: Timestamp) -> (Vec<Digest>, Option<Timestamp>) {
        let (mut due, mut next) = (Vec::new(), None::<Timestamp>);
        for (digest, blob) in self.blobs.entries() {
            if self.blob_holder(digest).is_some() {
                continue;
            }
            let ends = blob.touched_at + BLOB_UNUSED_MS;
            if ends <= now {
                due.push(*digest);
            } else {
                next = Some(next.map_or(ends, |earlier| earlier.min(ends)));
            }
        }
        (due, next)
    }

    /// Whether this piece can be taken.
    pub(super) fn check_chunk(&self, chunk: &Chunk) -> Result<(), Conflict> {
        let length = chunk.bytes.0.len() as u64;
        within("bytes of a piece of content", length, BLOB_CHUNK_BYTES_MAX as u64)?;
        within(
            "bytes of content",
            chunk.total_bytes.max(chunk.offset + length),
            BLOB_BYTES_MAX as u64,
        )?;
        let stored = self.blob(&chunk.digest);
        if stored.is_none() {
            let all = self.blobs_bytes() + chunk.total_bytes;
            within("bytes of all content", all, BLOBS_BYTES_MAX)?;
        }
        let have = stored.map_or(0, |blob| blob.bytes.0.len() as u64);
        if stored.is_some_and(|blob| blob.is_complete() || chunk.offset + length <= have) {
            return Ok(());
        }
        let total = stored.map_or(chunk.total_bytes, |blob| blob.total_bytes);
        if chunk.offset != have {
            return Err(Conflict::BlobGap {
                digest: chunk.digest,
                have,
                offset: chunk.offset,
            });
        }
        let ends = have + length;
        if total != chunk.total_bytes || ends > total {
            return Err(Conflict::BlobDigest(chunk.digest));
        }
        if ends == total && Digest::of(&self.extended(chunk)) != chunk.digest {
            return Err(Conflict::BlobDigest(chunk.digest));
        }
        Ok(())
    }

    /// Takes a piece that was checked; one that is here already only renews the hour.
    pub(super) fn write_chunk(&mut self, chunk: &Chunk, now: Timestamp) {
        let ends = chunk.offset + chunk.bytes.0.len() as u64;
        let known = self
            .blob(&chunk.digest)
            .filter(|blob| blob.bytes.0.len() as u64 >= ends || blob.is_complete());
        let blob = match known {
            Some(known) => Blob {
                touched_at: now,
                ..Blob::clone(known)
            },
            None => Blob {
                total_bytes: chunk.total_bytes,
                bytes: Bytes::from(self.extended(chunk)),
                touched_at: now,
            },
        };
        self.blobs.put(chunk.digest, Arc::new(blob));
    }

    fn extended(&self, chunk: &Chunk) -> Vec<u8> {
        let mut bytes = self
            .blob(&chunk.digest)
            .map(|blob| blob.bytes.0.to_vec())
            .unwrap_or_default();
        bytes.extend_from_slice(&chunk.bytes.0);
        bytes
    }

    /// Bytes of all blobs, as announced.
    fn blobs_bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.total_bytes).sum()
    }
}

fn within(what: &str, found: u64, limit: u64) -> Result<(), Conflict> {
    if found > limit {
        return Err(Conflict::Limit {
            what: what.to_owned(),
            found,
            limit,
        });
    }
    Ok(())
}

#[cfg(test)]
#[path = "upload_test.rs"]
mod tests;
