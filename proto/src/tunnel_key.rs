//! The public half of the key with which a node seals what it sends to other nodes on encrypted networks (WireGuard's
//! X25519). The private half never leaves the node and has no type here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A public key, written in base64 as WireGuard's own tools do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TunnelKey([u8; 32]);

/// Why a text is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no public key of a tunnel: expected 32 bytes in base64, such as those of `wg pubkey`, not all zero"
)]
pub struct InvalidTunnelKey(String);

impl TunnelKey {
    /// A key from its bytes; none where they are all zero, which is nobody's key.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Option<Self> {
        (bytes != [0; 32]).then_some(Self(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for TunnelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::BASE64.encode(&self.0))
    }
}

impl fmt::Debug for TunnelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for TunnelKey {
    type Err = InvalidTunnelKey;
    fn from_str(text: &str) -> Result<Self, InvalidTunnelKey> {
        let bytes = data_encoding::BASE64.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        let key = bytes.and_then(Self::from_bytes);
        key.ok_or_else(|| InvalidTunnelKey(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::TunnelKey;

    #[test]
    fn a_key_is_read_as_it_was_written_and_nothing_else_is_one() {
        let key = TunnelKey::from_bytes([7; 32]).unwrap();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(key.to_string().len(), 44);
        for text in ["", "AAAA", &"A".repeat(43), &format!("{}=", "A".repeat(43)), "é"] {
            assert!(text.parse::<TunnelKey>().is_err(), "{text}");
        }
    }
}
