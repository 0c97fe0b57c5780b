//! This manager's identity: loaded, founded with a new cluster, got from another manager, renewed in time.
//!
//! Writes the identity folder and nothing else; what the cluster records of a key is the certificate authority's part.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shoal_core::ids::IdSource;
use shoal_core::state::{Group, LEVEL};
use shoal_proto::cluster::{Cluster, ClusterSpec, TokenGenerations};
use shoal_proto::digest::Digest;
use shoal_proto::id::{ClusterId, NodeId};
use shoal_proto::identity::{
    Applicant, Credentials, CredentialsError, Folder, FolderError, Identity, JoinError, KeyError,
    LiveCredentials, Membership, PrivateKey, Role, Subject, join, machine_digest,
};
use shoal_proto::node::{
    ManagerMembership, Node, NodeDescription, NodeKeys, NodePlan, NodeStatus, Role as NodeRole,
};
use shoal_proto::object::Meta;
use tokio_util::sync::CancellationToken;

use crate::ca::{Authority, AuthorityError, CsrError, PublicKey};
use crate::clock::system_now;
use crate::local::{InitOrder, JoinOrder};

/// The identity cannot be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// On disk.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The new authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Our own request, which cannot be.
    #[error(transparent)]
    Request(#[from] CsrError),
    /// Our own certificate, which cannot be.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Another manager's answer.
    #[error(transparent)]
    Join(#[from] JoinError),
}

/// The host's identity folder, bound to its machine.
#[derive(Debug, Clone)]
pub struct Home {
    /// The folder.
    pub folder: Folder,
    /// The machine.
    pub machine: Option<Digest>,
    /// What the host is called.
    pub hostname: String,
}

/// A cluster that exists on paper: its first objects, and its first manager's credentials.
#[derive(Debug)]
pub struct Founded {
    /// The manager's.
    pub credentials: Credentials,
    /// The cluster.
    pub cluster: Cluster,
    /// Its first node, without its place in Raft.
    pub node: Node,
}

impl Founded {
    /// The credentials once more: the manager uses one, the folder is given the other.
    ///
    /// # Errors
    /// Never in practice: they were put together before.
    pub fn copy_credentials(&self) -> Result<Credentials, IdentityError> {
        let key = PrivateKey::from_der(&self.credentials.key().to_der())?;
        let (root, certificate) = (
            self.credentials.root().clone(),
            self.credentials.certificate().clone(),
        );
        Ok(Credentials::new(root, certificate, key)?)
    }

    /// The first entry of the log.
    #[must_use]
    pub fn first_group(&self, raft_id: u64, addr: &str) -> Group {
        let mut node = self.node.clone();
        node.plan.manager = Some(ManagerMembership {
            raft_id,
            addr: addr.to_owned(),
        });
        let mut group = Group::new();
        group.put(self.cluster.clone());
        group.put(node);
        group
    }
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

    /// The manager's membership and credentials, if it has them.
    ///
    /// # Errors
    /// When they are there and cannot be used.
    pub fn load(&self) -> Result<Option<(Membership, Credentials)>, IdentityError> {
        let Some(membership) = self.folder.membership(self.machine)? else {
            return Ok(None);
        };
        Ok(self
            .folder
            .credentials(Role::Manager)?
            .map(|credentials| (membership, credentials)))
    }

    /// Writes the manager's identity.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn keep(&self, credentials: &Credentials, managers: &[String]) -> Result<(), IdentityError> {
        Ok(self.folder.write_identity(credentials, self.machine, managers)?)
    }

    /// A new cluster with this host as its first node and manager.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn found(&self, order: &InitOrder) -> Result<Founded, IdentityError> {
        let now = system_now();
        let mut ids = IdSource::from_entropy(rand::random());
        let (cluster, node) = (ids.cluster(now), ids.node(now));
        let authority = Authority::create(cluster, now)?;
        let key = PrivateKey::generate()?;
        let identity = Identity {
            cluster,
            subject: Subject::Manager(node),
        };
        let public = PublicKey::from_request(&key.request()?)?;
        let spec = ClusterSpec::default();
        let certificate = authority.sign(&public, &identity, now, spec.certificate_lifetime_ms)?;
        let node = self.first_node(node, order, public.digest());
        let credentials = Credentials::new(authority.root().clone(), certificate, key)?;
        Ok(Founded {
            credentials,
            cluster: new_cluster(cluster, spec, &authority),
            node,
        })
    }

    fn first_node(&self, id: NodeId, order: &InitOrder, key: Digest) -> Node {
        let description = NodeDescription {
            hostname: self.hostname.clone(),
            machine: self.machine.unwrap_or_default(),
            ..NodeDescription::default()
        };
        Node {
            id,
            meta: Meta::default(),
            plan: NodePlan {
                desired_role: NodeRole::Manager,
                role: NodeRole::Manager,
                labels: order.labels.clone(),
                keys: NodeKeys {
                    agent: None,
                    manager: Some(key),
                },
                ..NodePlan::default()
            },
            status: NodeStatus {
                since: system_now(),
                description: Some(description),
                ..NodeStatus::default()
            },
        }
    }

    /// Gets a manager's certificate from the manager that the order names. Where the host's agent is a member already, it
    /// vouches: both are one node.
    ///
    /// # Errors
    /// When the other manager, or the one who stands in for it, is refused or refuses.
    pub async fn join(
        &self,
        order: &JoinOrder,
        advertise: &str,
    ) -> Result<(Credentials, Vec<String>, Vec<String>), IdentityError> {
        let sibling = match self.folder.membership(self.machine)? {
            Some(_) => self.folder.credentials(Role::Worker)?.map(LiveCredentials::new),
            None => None,
        };
        let applicant = Applicant {
            hostname: self.hostname.clone(),
            machine: self.machine,
            labels: order.labels.clone().into_iter().collect(),
            advertise: advertise.to_owned(),
        };
        let joined = join(
            &order.address,
            &order.token,
            Role::Manager,
            applicant,
            sibling.as_ref(),
        )
        .await?;
        self.keep(&joined.credentials, &joined.managers)?;
        Ok((joined.credentials, joined.managers, joined.warnings))
    }
}

fn new_cluster(id: ClusterId, spec: ClusterSpec, authority: &Authority) -> Cluster {
    Cluster {
        id,
        meta: Meta::default(),
        incarnation: 1,
        level: LEVEL,
        spec,
        ca: authority.to_state(),
        tokens: TokenGenerations::default(),
        one_use_tokens: Vec::new(),
        last_raft_id: 0,
        removed_nodes: Vec::new(),
    }
}

/// Gets fresh certificates from whoever can give them.
#[async_trait::async_trait]
pub trait Renewer: Send + Sync + 'static {
    /// A fresh certificate for `current`'s key.
    async fn renew(&self, current: &Credentials) -> Result<Credentials, JoinError>;
}

/// The first wait after a renewal failed; doubled up to the longest.
const RETRY_FIRST: Duration = Duration::from_secs(5);
const RETRY_LONGEST: Duration = Duration::from_secs(3_600);
/// Expired, the certificate is worth trying for more often.
const RETRY_EXPIRED: Duration = Duration::from_secs(5);
/// However far away the renewal is, the clock is looked at again after this: hosts sleep, and clocks jump.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// Renews at half life, until `stop`. A failure is retried with growing waits; the old certificate stays in use.
pub async fn keep_fresh(
    home: Home,
    live: LiveCredentials,
    renewer: Arc<dyn Renewer>,
    stop: CancellationToken,
) {
    let mut retry = RETRY_FIRST;
    loop {
        let current = live.load();
        let (now, due) = (system_now(), current.certificate().renew_at());
        if now < due {
            let wait = LOOK_AGAIN.min(Duration::from_millis(due.ms_since(now)));
            if sleep_or_stop(wait, &stop).await {
                return;
            }
            continue;
        }
        match renewer.renew(&current).await {
            Ok(next) => {
                if let Err(error) = home.folder.write_credentials(&next) {
                    tracing::error!(%error, "the renewed certificate is in use but could not be written");
                }
                live.swap(next);
                retry = RETRY_FIRST;
                tracing::info!("certificate renewed");
            }
            Err(error) => {
                tracing::warn!(%error, "the certificate was not renewed, trying again");
                let expired = now > current.certificate().not_after();
                if sleep_or_stop(if expired { RETRY_EXPIRED } else { retry }, &stop).await {
                    return;
                }
                retry = (retry * 2).min(RETRY_LONGEST);
            }
        }
    }
}

/// True when it is time to stop.
async fn sleep_or_stop(wait: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(wait) => false,
        () = stop.cancelled() => true,
    }
}
