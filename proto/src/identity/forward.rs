//! A call that one manager passes on to the leader keeps its caller: written here into a header, read back by the layer.
//!
//! The header is believed from a manager only, and what it names is judged by the call table again: a manager that passes
//! a call on lends it no rights of its own.

use std::fmt::Write as _;

use tonic::metadata::{Ascii, MetadataValue};

use super::name::{Identity, Role, Subject};
use super::peer::{Caller, Validity, Who};
use crate::digest::Digest;
use crate::id::ClusterId;

/// The header's name.
pub const FORWARDED_FOR: &str = "shoal-forwarded-for";

impl Caller {
    /// What a manager writes into [`FORWARDED_FOR`] when it passes this caller's call on. Empty fields are `-`.
    #[must_use]
    pub fn to_forwarded(&self) -> MetadataValue<Ascii> {
        let mut text = String::new();
        let written = match &self.who {
            Who::Anonymous => write!(text, "anonymous -"),
            Who::Local { uid: Some(uid) } => write!(text, "local {uid}"),
            Who::Local { uid: None } => write!(text, "local -"),
            Who::Member(identity) => write!(text, "{}", identity.subject),
        };
        written.expect("writing to a string does not fail");
        let key = self.key.map_or_else(|| "-".to_owned(), |key| key.to_string());
        let validity = match self.validity {
            Validity::Valid => "valid",
            Validity::Expired => "expired",
        };
        let address = self
            .address
            .map_or_else(|| "-".to_owned(), |address| address.to_string());
        write!(text, " {key} {validity} {address}").expect("writing to a string does not fail");
        text.parse()
            .expect("ids, digests and addresses are visible ascii")
    }
}

/// Reads the header, on behalf of manager `via` of `cluster`.
pub(super) fn parse(text: &str, cluster: ClusterId, via: &Identity) -> Option<Caller> {
    let fields: Vec<&str> = text.split(' ').collect();
    let &[kind, id, key, validity, address] = fields.as_slice() else {
        return None;
    };
    let who = match kind {
        "anonymous" => Who::Anonymous,
        "local" if id == "-" => Who::Local { uid: None },
        "local" => Who::Local {
            uid: Some(id.parse().ok()?),
        },
        role => {
            let role: Role = role.parse().ok()?;
            Who::Member(Identity {
                cluster,
                subject: Subject::new(role, id).ok()?,
            })
        }
    };
    let validity = match validity {
        "valid" => Validity::Valid,
        "expired" => Validity::Expired,
        _ => return None,
    };
    let optional = |text: &str| if text == "-" { None } else { Some(text.to_owned()) };
    let key: Option<Digest> = optional(key).map(|text| text.parse()).transpose().ok()?;
    let address = optional(address).map(|text| text.parse()).transpose().ok()?;
    Some(Caller {
        who,
        key,
        validity,
        address,
        via: via.node(),
    })
}
