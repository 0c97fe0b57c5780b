//! This manager's identity where it differs from any daemon's: founded with a new cluster, renewed in time.
//!
//! Writes the identity folder and nothing else; what the cluster records of a key is the certificate authority's part.

use std::sync::Arc;
use std::time::Duration;

use shoal_core::allocator::subnet::{self, SubnetError};
use shoal_core::ids::IdSource;
use shoal_core::state::{Group, LEVEL};
use shoal_daemon::home::Home;
use shoal_daemon::order::InitOrder;
use shoal_proto::cluster::Cluster;
use shoal_proto::digest::Digest;
use shoal_proto::id::NodeId;
use shoal_proto::identity::{
    Credentials, CredentialsError, Identity, JoinError, KeyError, LiveCredentials, PrivateKey, Subject,
};
use shoal_proto::network::Network;
use shoal_proto::node::{
    ManagerMembership, Node, NodeDescription, NodeKeys, NodePlan, NodeStatus, Role as NodeRole,
};
use shoal_proto::object::Meta;
use tokio_util::sync::CancellationToken;

use crate::ca::{Authority, AuthorityError, CsrError, PublicKey};
use crate::clock::system_now;

/// The identity cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
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
    /// No room for the first network in the address pools.
    #[error(transparent)]
    Network(#[from] SubnetError),
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
    /// Its first network.
    pub ingress: Network,
}

impl Founded {
    /// A new cluster with this host as its first node and manager.
    ///
    /// # Errors
    /// When there are no random numbers, or the rules that were asked for leave no room for the first network.
    pub fn new(home: &Home, order: &InitOrder) -> Result<Self, IdentityError> {
        let ingress = subnet::ingress(&order.spec)?;
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
        let mut record = Cluster::founded(cluster, LEVEL, authority.to_state());
        record.spec = order.spec.clone();
        let lifetime_ms = record.spec.certificate_lifetime_ms;
        let certificate = authority.sign(&public, &identity, now, lifetime_ms)?;
        let node = first_node(home, node, order, public.digest());
        let credentials = Credentials::new(authority.root().clone(), certificate, key)?;
        Ok(Self {
            credentials,
            cluster: record,
            node,
            ingress,
        })
    }

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
        group.put(self.ingress.clone());
        group
    }
}

fn first_node(home: &Home, id: NodeId, order: &InitOrder, key: Digest) -> Node {
    let description = NodeDescription {
        hostname: home.hostname.clone(),
        machine: home.machine.unwrap_or_default(),
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
