//! The secrets of join tokens: derived from the authority's key, so that they can be printed again and are stored nowhere;
//! one-use secrets are random, or derived from the request that asked for them, and only their digests are stored.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use shoal_proto::cluster::{Cluster, OneUseToken, TokenRole, TokenUse};
use shoal_proto::digest::Digest;
use shoal_proto::id::{NodeId, RequestId};
use shoal_proto::identity::{JoinToken, Role, SECRET_LEN};
use shoal_proto::time::Timestamp;

use super::authority::Authority;

/// One-use tokens that may be open at once.
const OPEN_TOKENS_MAX: usize = 100;
/// Used and expired tokens remembered beside them; the oldest go first.
const ENDED_TOKENS_MAX: usize = 100;

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
    /// Wrong or rotated.
    #[error(
        "the join token is not valid: it was rotated, or never was this cluster's; print the current one with \
         `shoal cluster join-token {0}`"
    )]
    Wrong(Role),
    /// Shown once more, by somebody else.
    #[error(
        "the join token was for one use and was used {ago_s} s ago: make another with `shoal cluster join-token {role} \
         --one-use`"
    )]
    Used {
        /// As what.
        role: Role,
        /// Since when.
        ago_s: u64,
    },
    /// Too late.
    #[error(
        "the one-use join token expired {ago_s} s ago: make another with `shoal cluster join-token {role} --one-use`"
    )]
    Expired {
        /// As what.
        role: Role,
        /// Since when.
        ago_s: u64,
    },
}

/// As many one-use tokens are open as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{OPEN_TOKENS_MAX} one-use tokens are open already: wait until some have been used or have expired")]
pub struct TooManyTokens;

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
        derive(authority, &format!("shoal join token 1 {role} {generation}")),
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
    let token = JoinToken::new(authority.root().digest(), role, rand::random());
    let kept = kept(&token, node, expires_at);
    (token, kept)
}

/// A token for one use that an operator's request asked for: a repeat of the request gets the same one.
#[must_use]
pub fn requested_token(authority: &Authority, role: Role, request: RequestId) -> JoinToken {
    let secret = derive(authority, &format!("shoal one-use token 1 {role} {request}"));
    JoinToken::new(authority.root().digest(), role, secret)
}

/// What the state keeps of a token for one use.
#[must_use]
pub fn kept(token: &JoinToken, node: Option<NodeId>, expires_at: Timestamp) -> OneUseToken {
    OneUseToken {
        secret: Digest::of(token.secret()),
        admits: to_stored(token.role()),
        node,
        expires_at,
        used: None,
    }
}

/// Adds a one-use token to the cluster. The newest token of a node is its only one.
///
/// # Errors
/// When too many are open.
pub fn open_token(cluster: &mut Cluster, fresh: OneUseToken, now: Timestamp) -> Result<(), TooManyTokens> {
    let tokens = &mut cluster.one_use_tokens;
    tokens.retain(|token| token.node.is_none() || token.node != fresh.node);
    let is_open = |token: &OneUseToken| token.used.is_none() && token.expires_at > now;
    let open = tokens.iter().filter(|token| is_open(token)).count();
    if open >= OPEN_TOKENS_MAX {
        return Err(TooManyTokens);
    }
    let mut surplus = (tokens.len() - open).saturating_sub(ENDED_TOKENS_MAX);
    tokens.retain(|token| {
        let goes = surplus > 0 && !is_open(token);
        surplus -= usize::from(goes);
        !goes
    });
    tokens.push(fresh);
    Ok(())
}

/// Replaces a role's token: the one before and the one-use tokens that operators made for it admit nobody any more.
pub fn rotate_token(cluster: &mut Cluster, role: Role) {
    let generation = match role {
        Role::Worker => &mut cluster.tokens.worker,
        Role::Manager => &mut cluster.tokens.manager,
        Role::Operator => &mut cluster.tokens.operator,
    };
    *generation += 1;
    cluster
        .one_use_tokens
        .retain(|token| token.admits != to_stored(role) || token.node.is_some());
}

/// Strikes a token off: only `key` may show it again, should the answer be lost.
pub(super) fn use_token(cluster: &mut Cluster, secret: &Digest, key: Digest, now: Timestamp) {
    let tokens = cluster.one_use_tokens.iter_mut();
    for token in tokens.filter(|token| token.secret == *secret && token.used.is_none()) {
        token.used = Some(TokenUse { key, at: now });
    }
}

/// Judges a token that `key` shows, taking the same time whatever its secret is.
///
/// # Errors
/// Why it admits nobody.
pub fn check_token(
    authority: &Authority,
    cluster: &Cluster,
    token: &JoinToken,
    key: Digest,
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
    if let Some(used) = kept.used.filter(|used| used.key != key) {
        let ago_s = now.ms_since(used.at).div_ceil(1_000);
        return Err(TokenRefused::Used { role, ago_s });
    }
    match now.ms_since(kept.expires_at) {
        0 => Ok(Admitted {
            role,
            node: kept.node,
            one_use: Some(kept.secret),
        }),
        ago_ms => Err(TokenRefused::Expired {
            role,
            ago_s: ago_ms.div_ceil(1_000),
        }),
    }
}

fn same(one: &Digest, other: &Digest) -> bool {
    verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

fn derive(authority: &Authority, from: &str) -> [u8; SECRET_LEN] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &authority.key().to_der());
    let tag = hmac::sign(&key, from.as_bytes());
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
