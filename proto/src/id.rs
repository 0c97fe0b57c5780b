//! Typed identifiers: 25 characters of `[a-z0-9]`, sortable by creation, one type per kind.
//!
//! The first nine characters are the creation time in base 36, the other sixteen are random. This file
//! never makes randomness: the caller passes it in.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Timestamp;

/// Length of every id in characters.
pub const ID_LEN: usize = 25;
const TIME_LEN: usize = 9;
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an id: an id has 25 characters of a-z and 0-9")]
pub struct InvalidId {
    /// What was given.
    pub text: String,
}

/// Builds the 25 characters from a creation time and 128 random bits.
fn characters(now: Timestamp, random: u128) -> [u8; ID_LEN] {
    let mut out = [b'0'; ID_LEN];
    let mut time = now.as_ms();
    for place in out[..TIME_LEN].iter_mut().rev() {
        *place = DIGITS[(time % 36) as usize];
        time /= 36;
    }
    let mut rest = random;
    for place in out[TIME_LEN..].iter_mut().rev() {
        *place = DIGITS[(rest % 36) as usize];
        rest /= 36;
    }
    out
}

fn creation_time(characters: &[u8; ID_LEN]) -> Timestamp {
    let value = |digit: &u8| {
        if digit.is_ascii_digit() {
            digit - b'0'
        } else {
            digit - b'a' + 10
        }
    };
    Timestamp::from_ms(
        characters[..TIME_LEN]
            .iter()
            .fold(0, |time, digit| time * 36 + u64::from(value(digit))),
    )
}

fn parse(text: &str) -> Result<[u8; ID_LEN], InvalidId> {
    let bytes: [u8; ID_LEN] = text.as_bytes().try_into().map_err(|_| InvalidId {
        text: text.to_owned(),
    })?;
    if bytes.iter().all(|b| DIGITS.contains(b)) {
        Ok(bytes)
    } else {
        Err(InvalidId {
            text: text.to_owned(),
        })
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; ID_LEN]);

        impl $name {
            /// A new id made at `now`; `random` must differ between any two calls.
            #[must_use]
            pub fn new(now: Timestamp, random: u128) -> Self {
                Self(characters(now, random))
            }

            /// When it was made, as written in its first nine characters.
            #[must_use]
            pub fn created_at(&self) -> Timestamp {
                creation_time(&self.0)
            }

            /// The 25 characters.
            #[must_use]
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).expect("an id holds ascii digits and letters only")
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

ids! {
    /// Names a cluster; written in every certificate.
    ClusterId;
    /// Names a node: one host's membership.
    NodeId;
    /// Names a service.
    ServiceId;
    /// Names one immutable revision of a service's template.
    RevisionId;
    /// Names a task: one attempt to fill a slot.
    TaskId;
    /// Names a network.
    NetworkId;
    /// Names a secret, whatever its versions.
    SecretId;
    /// Names a config, whatever its versions.
    ConfigId;
    /// Names a volume on one node.
    VolumeId;
    /// Names a stack.
    StackId;
    /// Names one version of a secret or a config.
    VersionId;
    /// Names one writing call, so that a repeat is answered and not carried out again.
    RequestId;
    /// Names one session of an agent.
    SessionId;
    /// Names an operator, as written in the operator's certificate.
    OperatorId;
}

#[cfg(test)]
mod tests {
    use super::{ID_LEN, NodeId};
    use crate::time::Timestamp;

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let early = NodeId::new(Timestamp::from_ms(1_000), u128::MAX);
        let late = NodeId::new(Timestamp::from_ms(1_001), 0);
        assert!(early < late);
        assert_eq!(early.as_str().len(), ID_LEN);
        assert_eq!(late.created_at(), Timestamp::from_ms(1_001));
    }

    #[test]
    fn a_text_of_another_length_is_refused_with_its_value() {
        let error = "n1".parse::<NodeId>().unwrap_err();
        assert!(error.to_string().contains("\"n1\""));
    }
}
