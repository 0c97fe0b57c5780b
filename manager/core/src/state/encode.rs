//! Proposals and snapshots as bytes: a header with format and level, then the content in compact form.
//! What this build does not know is an error that says so; nothing is dropped. Fields that an older build did
//! not write take their default, so stored types never skip a field when writing.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::change::{FORMAT, LEVEL, Proposal};
use super::limit::{ENTRY_BYTES_MAX, LimitError, within};

const HEADER_BYTES: usize = 6;

/// Why something could not be written as bytes.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// More than may be written at once.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The encoder refused.
    #[error("cannot encode {what}")]
    Encode {
        /// What.
        what: &'static str,
        /// Why.
        source: rmp_serde::encode::Error,
    },
}

/// Why bytes could not be read. A manager that meets one stops rather than go on with half of it.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not even a header.
    #[error("{what} has {found} bytes: a header of {HEADER_BYTES} is missing")]
    Short {
        /// What.
        what: &'static str,
        /// Bytes that are there.
        found: usize,
    },
    /// Written by a newer build.
    #[error("{what} has format {found}, this build reads up to {known}: install a newer one")]
    Format {
        /// What.
        what: &'static str,
        /// The format it has.
        found: u16,
        /// The newest this build reads.
        known: u16,
    },
    /// Written at a newer level.
    #[error("{what} has level {found}, this build understands up to {known}: install a newer one")]
    Level {
        /// What.
        what: &'static str,
        /// The level it has.
        found: u32,
        /// The newest this build understands.
        known: u32,
    },
    /// A field, a change or a kind that this build does not know, or damage.
    #[error("{what} of format {format} and level {level} holds what this build does not know")]
    Unknown {
        /// What.
        what: &'static str,
        /// The format it has.
        format: u16,
        /// The level it has.
        level: u32,
        /// What was met.
        source: rmp_serde::decode::Error,
    },
    /// The header and the content disagree.
    #[error("{what} has format {format} and level {level} in its header and others inside")]
    Header {
        /// What.
        what: &'static str,
        /// The format in the header.
        format: u16,
        /// The level in the header.
        level: u32,
    },
}

impl Proposal {
    /// The bytes of one entry.
    ///
    /// # Errors
    /// When a limit is exceeded, [`ENTRY_BYTES_MAX`] among them.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EncodeError> {
        self.check_limits()?;
        let bytes = encode("proposal", self.level, self)?;
        within("bytes of an entry", bytes.len(), ENTRY_BYTES_MAX)?;
        Ok(bytes)
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// When it was written by a newer build, or holds anything this one does not know.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (level, proposal): (u32, Self) = decode("proposal", bytes)?;
        if proposal.format != FORMAT || proposal.level != level {
            return Err(DecodeError::Header {
                what: "proposal",
                format: FORMAT,
                level,
            });
        }
        Ok(proposal)
    }
}

/// A header and the content.
pub(super) fn encode<T: Serialize>(
    what: &'static str,
    level: u32,
    content: &T,
) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(&FORMAT.to_be_bytes());
    bytes.extend_from_slice(&level.to_be_bytes());
    rmp_serde::encode::write(&mut bytes, content).map_err(|source| EncodeError::Encode { what, source })?;
    Ok(bytes)
}

/// The level in the header, and the content.
pub(super) fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<(u32, T), DecodeError> {
    let short = || DecodeError::Short {
        what,
        found: bytes.len(),
    };
    let (format, rest) = bytes.split_first_chunk::<2>().ok_or_else(short)?;
    let (level, mut rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    let (format, level) = (u16::from_be_bytes(*format), u32::from_be_bytes(*level));
    if format != FORMAT {
        return Err(DecodeError::Format {
            what,
            found: format,
            known: FORMAT,
        });
    }
    if level > LEVEL {
        return Err(DecodeError::Level {
            what,
            found: level,
            known: LEVEL,
        });
    }
    let unknown = |source| DecodeError::Unknown {
        what,
        format,
        level,
        source,
    };
    let content = rmp_serde::decode::from_read(&mut rest).map_err(unknown)?;
    if !rest.is_empty() {
        return Err(unknown(rmp_serde::decode::Error::LengthMismatch(0)));
    }
    Ok((level, content))
}

#[cfg(test)]
#[path = "encode_test.rs"]
mod tests;
