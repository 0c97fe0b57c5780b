//! Join tokens: `SHOAL-1-<digest of the root certificate>-<role>-<secret>`.
//!
//! The digest is for whoever joins, who checks it before the secret leaves the host. Making and judging secrets is the
//! managers' part, not this file's.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use data_encoding::{Encoding, Specification};
use zeroize::Zeroizing;

use super::name::Role;
use crate::digest::Digest;

/// Bytes in a token's secret.
pub const SECRET_LEN: usize = 20;
const PREFIX: &str = "SHOAL-1";

/// A text is no join token. The text is not repeated: it may be most of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Another kind of text.
    #[error(
        "not a join token: expected SHOAL-1-<digest>-<role>-<secret>, as `shoal cluster join-token` prints it"
    )]
    Shape,
    /// A Swarm token.
    #[error("this is a docker swarm token; ask the cluster for one with `shoal cluster join-token`")]
    Swarm,
    /// A later version of us wrote it.
    #[error("the join token has a newer format than this program knows (1): upgrade this host first")]
    Newer,
    /// One of its parts is broken.
    #[error("the join token's {0} is damaged: was it copied whole?")]
    Part(&'static str),
}

/// A join token. Prints itself only where `reveal` is called.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    root: Digest,
    role: Role,
    secret: Zeroizing<[u8; SECRET_LEN]>,
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({}, {})", self.root, self.role)
    }
}

impl JoinToken {
    /// Puts a token together.
    #[must_use]
    pub fn new(root: Digest, role: Role, secret: [u8; SECRET_LEN]) -> Self {
        Self {
            root,
            role,
            secret: Zeroizing::new(secret),
        }
    }

    /// The digest of the root certificate to expect.
    #[must_use]
    pub const fn root(&self) -> Digest {
        self.root
    }

    /// What its holder becomes.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The secret, to be compared in constant time only.
    #[must_use]
    pub fn secret(&self) -> &[u8; SECRET_LEN] {
        &self.secret
    }

    /// The whole text, for the operator's eyes or for the wire after the digest was checked.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let root = base32().encode(self.root.as_bytes());
        let secret = base32().encode(&*self.secret);
        Zeroizing::new(format!("{PREFIX}-{root}-{}-{secret}", self.role))
    }
}

impl FromStr for JoinToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim();
        if text.starts_with("SWMTKN-") {
            return Err(InvalidToken::Swarm);
        }
        let parts: Vec<&str> = text.split('-').collect();
        let &[name, version, root, role, secret] = parts.as_slice() else {
            return Err(InvalidToken::Shape);
        };
        if name != "SHOAL" {
            return Err(InvalidToken::Shape);
        }
        if version != "1" {
            return Err(if version.parse::<u32>().is_ok_and(|v| v > 1) {
                InvalidToken::Newer
            } else {
                InvalidToken::Shape
            });
        }
        Ok(Self {
            root: Digest::from_bytes(decode(root).ok_or(InvalidToken::Part("digest"))?),
            role: role.parse().map_err(|_| InvalidToken::Part("role"))?,
            secret: Zeroizing::new(decode(secret).ok_or(InvalidToken::Part("secret"))?),
        })
    }
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    base32().decode(text.as_bytes()).ok()?.try_into().ok()
}

/// Lower case, without look-alikes, without padding.
fn base32() -> &'static Encoding {
    static BASE32: OnceLock<Encoding> = OnceLock::new();
    BASE32.get_or_init(|| {
        let mut spec = Specification::new();
        spec.symbols.push_str("0123456789abcdefghjkmnpqrstvwxyz");
        spec.encoding().expect("32 distinct symbols are an encoding")
    })
}

#[cfg(test)]
mod tests {
    use super::{InvalidToken, JoinToken};
    use crate::digest::Digest;
    use crate::identity::Role;

    fn token() -> JoinToken {
        JoinToken::new(Digest::of(b"root"), Role::Worker, [7; 20])
    }

    #[test]
    fn a_token_survives_being_printed_and_read() {
        let text = token().reveal();
        assert!(text.starts_with("SHOAL-1-"));
        assert_eq!(text.parse::<JoinToken>().unwrap(), token());
        assert_eq!(format!(" {}\n", *text).parse::<JoinToken>().unwrap(), token());
    }

    #[test]
    fn a_token_cut_short_is_named_as_damaged_and_not_repeated() {
        let text = token().reveal();
        let error = text[..text.len() - 3].parse::<JoinToken>().unwrap_err();
        assert_eq!(error, InvalidToken::Part("secret"));
        assert!(!format!("{:?}", token()).contains(&text[60..]));
    }

    #[test]
    fn texts_that_are_something_else_are_told_apart() {
        assert_eq!(
            "SWMTKN-1-a-b".parse::<JoinToken>().unwrap_err(),
            InvalidToken::Swarm
        );
        assert_eq!(
            "SHOAL-2-a-worker-b".parse::<JoinToken>().unwrap_err(),
            InvalidToken::Newer
        );
        assert_eq!("hello".parse::<JoinToken>().unwrap_err(), InvalidToken::Shape);
    }
}
