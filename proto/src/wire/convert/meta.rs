//! What every object has in common.

use super::Invalid;
use super::checks::{id, required, text};
use crate::object::{Actor, Cause, Meta};
use crate::time::Timestamp;
use crate::wire;

impl From<&Meta> for wire::Meta {
    fn from(meta: &Meta) -> Self {
        Self {
            version: meta.version,
            changed_at: meta.changed_at,
            created_at_ms: meta.created_at.as_ms(),
            updated_at_ms: meta.updated_at.as_ms(),
            cause: Some((&meta.cause).into()),
        }
    }
}

impl TryFrom<wire::Meta> for Meta {
    type Error = Invalid;
    fn try_from(meta: wire::Meta) -> Result<Self, Invalid> {
        Ok(Self {
            version: meta.version,
            changed_at: meta.changed_at,
            created_at: Timestamp::from_ms(meta.created_at_ms),
            updated_at: Timestamp::from_ms(meta.updated_at_ms),
            cause: super::checks::message(meta.cause, "cause")?,
        })
    }
}

impl From<&Cause> for wire::Cause {
    fn from(cause: &Cause) -> Self {
        let actor = match &cause.actor {
            Actor::Leader => wire::cause::Actor::Leader(wire::Nothing {}),
            Actor::Operator(name) => wire::cause::Actor::Operator(name.clone()),
            Actor::Node(node) => wire::cause::Actor::Node(node.to_string()),
        };
        Self {
            actor: Some(actor),
            action: cause.action.clone(),
        }
    }
}

impl TryFrom<wire::Cause> for Cause {
    type Error = Invalid;
    fn try_from(cause: wire::Cause) -> Result<Self, Invalid> {
        let actor = match required(cause.actor, "actor")? {
            wire::cause::Actor::Leader(_) => Actor::Leader,
            wire::cause::Actor::Operator(name) => Actor::Operator(text(name, "operator")?),
            wire::cause::Actor::Node(node) => Actor::Node(id(&node, "node")?),
        };
        Ok(Self {
            actor,
            action: text(cause.action, "action")?,
        })
    }
}
