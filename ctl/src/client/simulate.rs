//! What would happen, as the managers play it through.

use shoal_proto::wire;

use super::Cluster;

/// What would follow.
#[derive(Debug, Clone, Default)]
pub struct Simulation {
    /// Every task that would be touched, by its name.
    pub tasks: Vec<Fate>,
    /// What else to know.
    pub warnings: Vec<String>,
    /// Tasks that would be without a place.
    pub losses: u64,
    /// Cluster time until nothing more would happen.
    pub lasted_ms: u64,
    /// Raft index of the answer.
    pub index: u64,
}

/// What would become of one task.
#[derive(Debug, Clone, Default)]
pub struct Fate {
    /// `web.2`.
    pub name: String,
    /// Its id.
    pub task: String,
    /// Name of its node.
    pub from: String,
    /// moves, waits, stays, stops.
    pub end: String,
    /// Name of the node it moves to; empty for the others.
    pub to: String,
    /// Why it does not move.
    pub reason: String,
}

/// Whether any one node may be lost.
#[derive(Debug, Clone, Default)]
pub struct Spare {
    /// Nodes with tasks that would have to move.
    pub nodes: u64,
    /// Those that were asked about, the fullest first.
    pub checked: u64,
    /// The first loss that leaves something without a place.
    pub loss: Option<Loss>,
}

/// The loss of a node that leaves something without a place.
#[derive(Debug, Clone, Default)]
pub struct Loss {
    /// Its id.
    pub node: String,
    /// Its name.
    pub node_name: String,
    /// The task's name.
    pub task: String,
    /// Its service's name.
    pub service: String,
    /// Why.
    pub reason: String,
    /// Its data is on that node.
    pub is_bound: bool,
}

pub(super) fn spare(spare: wire::Spare) -> Spare {
    let loss = Loss {
        node: spare.node_id,
        node_name: spare.hostname,
        task: spare.task_name,
        service: spare.service_name,
        reason: spare.reason,
        is_bound: spare.bound,
    };
    Spare {
        nodes: spare.nodes,
        checked: spare.checked,
        loss: (!loss.node.is_empty()).then_some(loss),
    }
}

impl Cluster {
    /// What would happen if these nodes were killed and those drained.
    ///
    /// # Errors
    /// When a node is not known, or named twice.
    pub async fn simulate(&mut self, kill: &[String], drain: &[String]) -> anyhow::Result<Simulation> {
        let request = wire::SimulateRequest {
            kill: kill.to_vec(),
            drain: drain.to_vec(),
        };
        let answer = self.call(request, async |c, r| c.simulate(r).await).await?;
        let fate = |fate: wire::TaskFate| Fate {
            name: fate.name,
            task: fate.task_id,
            from: fate.node_name,
            end: fate.end,
            to: fate.to_node_name,
            reason: fate.reason,
        };
        Ok(Simulation {
            tasks: answer.tasks.into_iter().map(fate).collect(),
            warnings: answer.warnings,
            losses: answer.losses,
            lasted_ms: answer.lasted_ms,
            index: answer.index,
        })
    }
}
