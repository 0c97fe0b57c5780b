//! Calls about the cluster and its nodes.

use std::collections::BTreeMap;

use shoal_proto::cluster::ClusterSpec;
use shoal_proto::wire;

use super::Cluster;
use super::rows::{ClusterStatus, Created, JoinToken, NodeRow, created, manager_row, node_row, read_some};
use crate::clock::request_id;

/// What of a node is to change. Empty parts stay as they are.
#[derive(Debug, Clone, Default)]
pub struct NodeUpdate {
    /// `active`, `pause`, `drain`.
    pub availability: String,
    /// `worker`, `manager`.
    pub role: String,
    /// Labels to set.
    pub labels_add: BTreeMap<String, String>,
    /// Labels to remove.
    pub labels_rm: Vec<String>,
}

/// Which join token is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// The one that is good until it is rotated.
    Current,
    /// A new one in its place.
    Rotated,
    /// One that admits once.
    OneUse {
        /// For how long, milliseconds.
        good_ms: u64,
    },
}

impl Cluster {
    /// The cluster and who leads it.
    ///
    /// # Errors
    /// When no manager answers.
    pub async fn status(&mut self) -> anyhow::Result<ClusterStatus> {
        let request = wire::GetClusterStatusRequest {
            stale: self.freshness.is_stale(),
        };
        let answer = self
            .call(request, async |c, r| c.get_cluster_status(r).await)
            .await?;
        Ok(ClusterStatus {
            id: answer.cluster_id,
            spec: read_some(answer.spec, "cluster spec")?,
            version: answer.version,
            managers: answer.managers.into_iter().map(manager_row).collect(),
            index: answer.index,
            age_ms: answer.age_ms,
            nodes: (answer.nodes_ready, answer.nodes_total),
            services: answer.services,
            tasks_running: answer.tasks_running,
            managers_may_be_lost: answer.managers_may_be_lost,
            warnings: answer.warnings,
            spare: answer.spare.map(super::simulate::spare),
        })
    }

    /// Changes the rules, seen at `version` of the cluster object.
    ///
    /// # Errors
    /// When a rule is out of range, or the cluster object has changed since.
    pub async fn update_rules(&mut self, spec: &ClusterSpec, version: u64) -> anyhow::Result<()> {
        let request = wire::UpdateClusterRequest {
            request_id: request_id(),
            spec: Some(spec.into()),
            version,
        };
        self.call(request, async |c, r| c.update_cluster(r).await).await?;
        Ok(())
    }

    /// A join token of a role.
    ///
    /// # Errors
    /// When the role is none, the time is out of range, or no manager answers.
    pub async fn join_token(&mut self, role: &str, which: TokenKind) -> anyhow::Result<JoinToken> {
        let request = wire::GetJoinTokenRequest {
            request_id: request_id(),
            role: role.to_owned(),
            rotate: which == TokenKind::Rotated,
            one_use_ms: match which {
                TokenKind::OneUse { good_ms } => good_ms,
                TokenKind::Current | TokenKind::Rotated => 0,
            },
        };
        let answer = self.call(request, async |c, r| c.get_join_token(r).await).await?;
        Ok(JoinToken {
            token: answer.token,
            managers: answer.managers,
        })
    }

    /// Nodes.
    ///
    /// # Errors
    /// For an unknown filter, or when no manager answers.
    pub async fn nodes(&mut self, filters: Vec<String>) -> anyhow::Result<Vec<NodeRow>> {
        let request = wire::ListRequest {
            filters,
            stale: self.freshness.is_stale(),
        };
        let answer = self.call(request, async |c, r| c.list_nodes(r).await).await?;
        answer.nodes.into_iter().map(node_row).collect()
    }

    /// One node by name, id or unique prefix.
    ///
    /// # Errors
    /// When there is none, or several.
    pub async fn node(&mut self, wanted: &str) -> anyhow::Result<shoal_proto::node::Node> {
        let request = wire::GetRequest {
            r#ref: wanted.to_owned(),
            stale: self.freshness.is_stale(),
        };
        super::rows::read(self.call(request, async |c, r| c.get_node(r).await).await?)
    }

    /// Changes a node.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn update_node(&mut self, node: &str, update: NodeUpdate) -> anyhow::Result<Created> {
        let request = wire::UpdateNodeRequest {
            request_id: request_id(),
            r#ref: node.to_owned(),
            version: 0,
            availability: update.availability,
            role: update.role,
            labels_add: update.labels_add.into_iter().collect(),
            labels_rm: update.labels_rm,
        };
        let done = self.call(request, async |c, r| c.update_node(r).await).await?;
        Ok(created(node.to_owned(), done.index, done.warnings))
    }

    /// Ends a node's membership.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn remove_node(&mut self, node: &str, force: bool) -> anyhow::Result<Created> {
        let request = wire::RemoveNodeRequest {
            request_id: request_id(),
            r#ref: node.to_owned(),
            force,
        };
        let done = self.call(request, async |c, r| c.remove_node(r).await).await?;
        Ok(created(node.to_owned(), done.index, done.warnings))
    }
}
