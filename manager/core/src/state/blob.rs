//! The bytes of secrets and configs, by their digest: uploaded in chunks before a transaction names them,
//! forgotten when nothing has used them for an hour. They never show in a log.

use std::fmt;
use std::sync::Arc;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shoal_proto::digest::Digest;
use shoal_proto::time::Timestamp;

/// How long bytes that nothing uses are kept.
pub const BLOB_UNUSED_MS: u64 = 3_600 * 1_000;

/// Largest piece of a blob in one change, so that an entry stays below its limit.
pub const BLOB_CHUNK_BYTES_MAX: usize = 512 * 1024;

/// Largest blob.
pub const BLOB_BYTES_MAX: usize = shoal_proto::config::CONFIG_BYTES_MAX;

/// Bytes of all blobs together.
pub const BLOBS_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Bytes that are shared and not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Arc<[u8]>);

/// A piece of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Of the whole blob.
    pub digest: Digest,
    /// Bytes of the whole blob.
    pub total_bytes: u64,
    /// Where this piece begins; a piece that was taken already is taken again without effect.
    pub offset: u64,
    /// The piece, at most [`BLOB_CHUNK_BYTES_MAX`].
    pub bytes: Bytes,
}

/// What is here of one blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Bytes in all.
    pub total_bytes: u64,
    /// What came so far, from the start.
    pub bytes: Bytes,
    /// When a piece of it last came or a user of it last went: the hour counts from here.
    pub touched_at: Timestamp,
}

impl Blob {
    /// Whether all of it is here.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.bytes.0.len() as u64 == self.total_bytes
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BytesVisitor)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes(bytes.into()))
    }

    fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(Bytes(bytes.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = seq.next_element()? {
            if bytes.len() == BLOB_BYTES_MAX {
                return Err(A::Error::custom(format!(
                    "a blob has at most {BLOB_BYTES_MAX} bytes"
                )));
            }
            bytes.push(byte);
        }
        Ok(Bytes(bytes.into()))
    }
}
