//! Why something is as it is, as the managers tell it.

use shoal_proto::time::Timestamp;
use shoal_proto::wire;

use super::Cluster;

/// What is to be said of a task, a service or a node.
#[derive(Debug, Clone, Default)]
pub struct Explanation {
    /// task, service, node.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// `web.2`, `web`, or the host's name.
    pub name: String,
    /// The one line that answers.
    pub summary: String,
    /// What else bears on it.
    pub facts: Vec<String>,
    /// What each node says to a task that waits, the nearest first.
    pub verdicts: Vec<Verdict>,
    /// Nodes whose verdict is left out.
    pub verdicts_left_out: u64,
    /// What would help, the nearest first.
    pub fixes: Vec<Fix>,
    /// What is not as wanted.
    pub matters: Vec<Matter>,
    /// How it came to this, oldest first.
    pub causes: Vec<Cause>,
    /// Raft index of the answer.
    pub index: u64,
}

/// One node's.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Which.
    pub node: String,
    /// Its hostname.
    pub name: String,
    /// All that stands in the way; none: it could take the task.
    pub words: Vec<String>,
    /// The amounts of which it has too little.
    pub shortfalls: Vec<Shortfall>,
}

/// An amount of which a node has too little.
#[derive(Debug, Clone, Default)]
pub struct Shortfall {
    /// cpus, memory, pids.
    pub what: String,
    /// What the task needs.
    pub needs: u64,
    /// What is free.
    pub free: u64,
    /// What the node has in all.
    pub has: u64,
    /// What is too little.
    pub missing: u64,
}

/// A change that would help.
#[derive(Debug, Clone, Default)]
pub struct Fix {
    /// In words.
    pub words: String,
    /// Commands that do it.
    pub commands: Vec<String>,
}

/// One thing that is not as wanted.
#[derive(Debug, Clone, Default)]
pub struct Matter {
    /// `web.2`.
    pub name: String,
    /// Its task; empty without one.
    pub task: String,
    /// Its node's name; empty without one.
    pub node: String,
    /// Where it stands.
    pub stands: String,
    /// Why.
    pub reason: String,
}

/// One link of the chain.
#[derive(Debug, Clone)]
pub struct Cause {
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub what: String,
}

impl Cluster {
    /// Why a task, a service or a node is as it is. With an empty `kind`, whichever is meant.
    ///
    /// # Errors
    /// When there is none, or several.
    pub async fn why(&mut self, wanted: &str, kind: &str) -> anyhow::Result<Explanation> {
        let request = wire::GetExplanationRequest {
            r#ref: wanted.to_owned(),
            stale: self.freshness.is_stale(),
            kind: kind.to_owned(),
        };
        let said = self
            .call(request, async |c, r| c.get_explanation(r).await)
            .await?;
        Ok(Explanation {
            kind: said.kind,
            id: said.id,
            name: said.name,
            summary: said.summary,
            facts: said.facts,
            verdicts: said.verdicts.into_iter().map(verdict).collect(),
            verdicts_left_out: said.verdicts_left_out,
            fixes: said.fixes.into_iter().map(fix).collect(),
            matters: said.matters.into_iter().map(matter).collect(),
            causes: said.causes.into_iter().map(cause).collect(),
            index: said.index,
        })
    }
}

fn verdict(said: wire::NodeVerdict) -> Verdict {
    let short = |short: wire::Shortfall| Shortfall {
        what: short.what,
        needs: short.needs,
        free: short.free,
        has: short.has,
        missing: short.missing,
    };
    Verdict {
        node: said.node_id,
        name: said.hostname,
        words: said.words,
        shortfalls: said.shortfalls.into_iter().map(short).collect(),
    }
}

fn fix(fix: wire::Fix) -> Fix {
    Fix {
        words: fix.words,
        commands: fix.commands,
    }
}

fn matter(matter: wire::Matter) -> Matter {
    Matter {
        name: matter.name,
        task: matter.task_id,
        node: matter.node_name,
        stands: matter.stands,
        reason: matter.reason,
    }
}

fn cause(link: wire::CausalLink) -> Cause {
    Cause {
        at: Timestamp::from_ms(link.at_ms),
        what: link.what,
    }
}
