//! This node's identity where it differs from any daemon's: an order to join is agreed with what is there, or another
//! membership is to be given up first. It writes the identity folder and nothing else.

use shoal_daemon::home::{Home, HomeError, Member};
use shoal_daemon::order::{FormerMembership, JoinOrder};
use shoal_proto::id::ClusterId;
use shoal_proto::identity::{Membership, Role, dial_pinned};

/// The identity cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// On disk, or not given by a manager.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Another membership stands in the way.
    #[error(
        "this host is node {node} of cluster {here}; the token is of cluster {there}: leave the one first \
         (`shoal-agent leave`), or give it up with --reset"
    )]
    Other {
        /// Our node.
        node: String,
        /// Our cluster.
        here: ClusterId,
        /// The token's cluster, or its authority where nobody answers for it.
        there: String,
    },
    /// The certificate names no node.
    #[error("the certificate in the identity folder names no node: join again with --reset")]
    NoNode,
}

/// What an order to join led to.
#[derive(Debug)]
pub enum Joining {
    /// It is a member of that cluster already.
    Already,
    /// It became one.
    New(Box<Member>, Vec<String>),
    /// Another membership must be ended first, which was asked for.
    GiveUpFirst,
}

/// Carries out an order to join as far as an identity.
///
/// # Errors
/// When another membership stands in the way, or the manager is refused or refuses.
pub async fn join(home: &Home, order: &JoinOrder) -> Result<Joining, IdentityError> {
    let folder = &home.folder;
    if let Some(here) = folder.membership(home.machine).map_err(HomeError::from)? {
        let root = folder.root().map_err(HomeError::from)?;
        let same = root.is_some_and(|root| root.digest() == order.token.root());
        let own = folder.credentials(Role::Worker).map_err(HomeError::from)?;
        if same && own.is_some() {
            return Ok(Joining::Already);
        }
        if !same && order.former == FormerMembership::Keep {
            return Err(other(&here, order).await);
        }
        if !same {
            return Ok(Joining::GiveUpFirst);
        }
    }
    let (member, warnings) = home
        .join(order, order.advertise.clone().unwrap_or_default())
        .await?;
    if member.membership.node.is_none() {
        return Err(IdentityError::NoNode);
    }
    Ok(Joining::New(Box::new(member), warnings))
}

/// Names both clusters; the token's by its id where somebody answers for it.
async fn other(here: &Membership, order: &JoinOrder) -> IdentityError {
    let there = match dial_pinned(&order.address, order.token.root(), None).await {
        Ok(pinned) => pinned.cluster.to_string(),
        Err(_) => format!("with the authority {}", order.token.root()),
    };
    let node = here.node.map(|node| node.to_string()).unwrap_or_default();
    IdentityError::Other {
        node,
        here: here.cluster,
        there,
    }
}
