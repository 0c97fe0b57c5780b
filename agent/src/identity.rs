//! This node's identity: loaded, got from a manager for a token, agreed with what is there, or given up. It writes the
//! identity folder and nothing else.

use std::path::Path;

use shoal_proto::digest::Digest;
use shoal_proto::id::{ClusterId, NodeId};
use shoal_proto::identity::{
    Applicant, Credentials, Folder, FolderError, JoinError, LiveCredentials, Membership, Role, dial_pinned,
    join, machine_digest,
};

use crate::local::{Former, JoinOrder};

/// The identity cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// On disk.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The manager's answer.
    #[error(transparent)]
    Join(#[from] JoinError),
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

/// The host's identity folder, bound to its machine.
#[derive(Debug, Clone)]
pub struct Home {
    /// The folder, shared with the host's manager.
    pub folder: Folder,
    /// The machine.
    pub machine: Option<Digest>,
    /// What the host is called.
    pub hostname: String,
}

/// Who this node is.
#[derive(Debug)]
pub struct Member {
    /// Certificate and key.
    pub credentials: Credentials,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its node.
    pub node: NodeId,
    /// host:port of the managers.
    pub managers: Vec<String>,
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

impl Home {
    /// The folder at `identity_dir`, on the machine whose id is in `machine_id_file`.
    #[must_use]
    pub fn new(identity_dir: &Path, machine_id_file: &Path, hostname: Option<String>) -> Self {
        let hostname = hostname.unwrap_or_else(|| {
            rustix::system::uname()
                .nodename()
                .to_str()
                .unwrap_or("localhost")
                .to_owned()
        });
        Self {
            folder: Folder::new(identity_dir),
            machine: machine_digest(machine_id_file),
            hostname,
        }
    }

    /// The agent's membership, if it has one.
    ///
    /// # Errors
    /// When it is there and cannot be used.
    pub fn load(&self) -> Result<Option<Member>, IdentityError> {
        let Some(membership) = self.folder.membership(self.machine)? else {
            return Ok(None);
        };
        let Some(credentials) = self.folder.credentials(Role::Worker)? else {
            return Ok(None);
        };
        member(credentials, membership.managers).map(Some)
    }

    /// Carries out an order to join as far as an identity.
    ///
    /// # Errors
    /// When another membership stands in the way, or the manager is refused or refuses.
    pub async fn join(&self, order: &JoinOrder) -> Result<Joining, IdentityError> {
        let here = self.folder.membership(self.machine)?;
        if let Some(here) = &here {
            let same = self
                .folder
                .root()?
                .is_some_and(|root| root.digest() == order.token.root());
            if same && self.folder.credentials(Role::Worker)?.is_some() {
                return Ok(Joining::Already);
            }
            if !same && order.former == Former::Keep {
                return Err(other(here, order).await);
            }
            if !same {
                return Ok(Joining::GiveUpFirst);
            }
        }
        // Where the host's manager is a member already, it vouches: both are one node.
        let sibling = match here {
            Some(_) => self.folder.credentials(Role::Manager)?.map(LiveCredentials::new),
            None => None,
        };
        let applicant = Applicant {
            hostname: self.hostname.clone(),
            machine: self.machine,
            labels: order.labels.clone(),
            advertise: order.advertise.clone(),
        };
        let joined = join(
            &order.address,
            &order.token,
            Role::Worker,
            applicant,
            sibling.as_ref(),
        )
        .await?;
        let mut managers = joined.managers;
        if !managers.contains(&order.address) {
            managers.push(order.address.clone());
        }
        self.folder
            .write_identity(&joined.credentials, self.machine, &managers)?;
        Ok(Joining::New(
            Box::new(member(joined.credentials, managers)?),
            joined.warnings,
        ))
    }

    /// Forgets the agent's identity; the manager's stays.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn forget(&self) -> Result<(), IdentityError> {
        Ok(self.folder.forget(Role::Worker)?)
    }
}

fn member(credentials: Credentials, managers: Vec<String>) -> Result<Member, IdentityError> {
    let identity = credentials.identity();
    let node = identity.subject.node().ok_or(IdentityError::NoNode)?;
    Ok(Member {
        cluster: identity.cluster,
        node,
        managers,
        credentials,
    })
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
