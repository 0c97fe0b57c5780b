//! The secrets of join tokens: derived from the authority's key, so that they can be printed again and are stored nowhere;
//! one-use secrets are random, and only their digests are stored.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use shoal_proto::cluster::{Cluster, OneUseToken, TokenRole};
use shoal_proto::digest::Digest;
use shoal_proto::id::NodeId;
use shoal_proto::identity::{JoinToken, Role, SECRET_LEN};
use shoal_proto::time::Timestamp;

use super::authority::Authority;

/// What a good token admits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// As what.
    pub role: Role,
    /// The node it is meant for, if it is for one.
    pub node: Option<NodeId>,
    /// The one-use token it was, to be struck off.
    pub one_use: Option<Digest>,
}

/// A token is refused. Says what to do, and nothing that helps to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// Of another cluster.
    #[error("the join token is of another cluster: print this one's with `shoal cluster join-token {0}`")]
    OtherCluster(Role),
    /// Wrong, rotated, or used.
    #[error(
        "the join token is not valid: it was rotated, or was for one use and is used; print the current one with \
         `shoal cluster join-token {0}`"
    )]
    Wrong(Role),
    /// Too late.
    #[error("the one-use join token expired {ago_s} s ago: ask for another")]
    Expired {
        /// Since when.
        ago_s: u64,
    },
}

/// The token that stays good until it is rotated.
#[must_use]
pub fn reusable_token(authority: &Authority, cluster: &Cluster, role: Role) -> JoinToken {
    let generation = match role {
        Role::Worker => cluster.tokens.worker,
        Role::Manager => cluster.tokens.manager,
        Role::Operator => cluster.tokens.operator,
    };
    JoinToken::new(
        authority.root().digest(),
        role,
        derive(authority, role, generation),
    )
}

/// A token for one use, with what the state keeps of it.
#[must_use]
pub fn one_use_token(
    authority: &Authority,
    role: Role,
    node: Option<NodeId>,
    expires_at: Timestamp,
) -> (JoinToken, OneUseToken) {
    let secret: [u8; SECRET_LEN] = rand::random();
    let kept = OneUseToken {
        secret: Digest::of(&secret),
        admits: to_stored(role),
        node,
        expires_at,
    };
    (JoinToken::new(authority.root().digest(), role, secret), kept)
}

/// Judges a token, taking the same time whatever its secret is.
///
/// # Errors
/// Why it admits nobody.
pub fn check_token(
    authority: &Authority,
    cluster: &Cluster,
    token: &JoinToken,
    now: Timestamp,
) -> Result<Admitted, TokenRefused> {
    let role = token.role();
    if token.root() != authority.root().digest() {
        return Err(TokenRefused::OtherCluster(role));
    }
    let current = reusable_token(authority, cluster, role);
    if verify_slices_are_equal(current.secret(), token.secret()).is_ok() {
        return Ok(Admitted {
            role,
            node: None,
            one_use: None,
        });
    }
    let digest = Digest::of(token.secret());
    let kept = cluster
        .one_use_tokens
        .iter()
        .find(|kept| kept.admits == to_stored(role) && same(&kept.secret, &digest))
        .ok_or(TokenRefused::Wrong(role))?;
    match now.ms_since(kept.expires_at) {
        0 => Ok(Admitted {
            role,
            node: kept.node,
            one_use: Some(kept.secret),
        }),
        ago_ms => Err(TokenRefused::Expired {
            ago_s: ago_ms.div_ceil(1_000),
        }),
    }
}

fn same(one: &Digest, other: &Digest) -> bool {
    verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

fn derive(authority: &Authority, role: Role, generation: u64) -> [u8; SECRET_LEN] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &authority.key().to_der());
    let tag = hmac::sign(&key, format!("shoal join token 1 {role} {generation}").as_bytes());
    let mut secret = [0; SECRET_LEN];
    secret.copy_from_slice(&tag.as_ref()[..SECRET_LEN]);
    secret
}

const fn to_stored(role: Role) -> TokenRole {
    match role {
        Role::Worker => TokenRole::Worker,
        Role::Manager => TokenRole::Manager,
        Role::Operator => TokenRole::Operator,
    }
}
