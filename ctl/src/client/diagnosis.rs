//! How the nodes reach each other, as the managers gathered it.

use shoal_proto::id::NodeId;
use shoal_proto::reach::Reach;
use shoal_proto::wire;

use super::Cluster;
use super::rows::read;

/// All of it.
#[derive(Debug, Clone)]
pub struct Diagnosis {
    /// In the order of their names.
    pub nodes: Vec<NodeSeen>,
    /// What is wrong, in words.
    pub findings: Vec<String>,
    /// Newest index of the cluster's state.
    pub index: u64,
}

/// One node.
#[derive(Debug, Clone)]
pub struct NodeSeen {
    /// Which.
    pub id: NodeId,
    /// Its hostname.
    pub name: String,
    /// Why it said nothing; empty when it answered.
    pub silent: String,
    /// Largest packet of its tunnel, bytes; 0: it has none.
    pub tunnel_mtu: u32,
    /// Who seals what encrypted networks send; empty while nobody does.
    pub sealed_by: String,
    /// Newest index that was decided for it and is in force there.
    pub applied_index: u64,
    /// More was decided for it.
    pub late: bool,
    /// What it says is wrong.
    pub problems: Vec<String>,
    /// What its agent keeps in the rules of others.
    pub kept: Vec<String>,
    /// How it reaches the others.
    pub reaches: Vec<Reach>,
}

impl Cluster {
    /// How all nodes reach each other. Takes as long as the slowest agent, at most a few seconds.
    ///
    /// # Errors
    /// When no manager answers.
    pub async fn diagnose_network(&mut self) -> anyhow::Result<Diagnosis> {
        let request = wire::DiagnoseNetworkRequest {};
        let answer = self
            .call(request, async |c, r| c.diagnose_network(r).await)
            .await?;
        let nodes = answer.nodes.into_iter().map(node_seen);
        Ok(Diagnosis {
            nodes: nodes.collect::<anyhow::Result<_>>()?,
            findings: answer.findings,
            index: answer.index,
        })
    }
}

fn node_seen(node: wire::NodeNetwork) -> anyhow::Result<NodeSeen> {
    let seen = node.seen.unwrap_or_default();
    Ok(NodeSeen {
        id: node.node_id.parse()?,
        name: node.hostname,
        silent: node.silent,
        tunnel_mtu: seen.tunnel_mtu,
        sealed_by: seen.sealed_by,
        applied_index: seen.applied_index,
        late: node.late,
        problems: seen.problems,
        kept: seen.kept,
        reaches: seen
            .reaches
            .into_iter()
            .map(read)
            .collect::<anyhow::Result<_>>()?,
    })
}
