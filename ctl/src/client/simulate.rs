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
