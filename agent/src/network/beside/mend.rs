//! One look at all firewalls of the host, and what mends them. It keeps nothing and waits for nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use super::door::{self, DoorError, Kind};
use super::fence;
use super::iptables::Table;
use super::keep::State;
use super::native::{Base, Chains, Name, bases};
use super::openings::Openings;
use crate::network::model::Bridging;
use crate::network::side::Family;

/// Looks at all firewalls and mends them once.
pub async fn mend(openings: Option<&Openings>, bridging: Bridging) -> State {
    let mut state = State::default();
    let bases = match door::chains().await {
        Ok(listed) => {
            keep_apart(&listed, openings, bridging).await;
            bases(&listed)
        }
        Err(error) => {
            state.problems.push(error.to_string());
            Vec::new()
        }
    };
    let mut native = Vec::new();
    let kinds = Family::ALL.map(|family| Kind::ALL.map(|kind| (kind, family)));
    for (kind, family) in kinds.into_iter().flatten() {
        let theirs = |base: &&Base| kind == Kind::New && base.is_of_iptables(family);
        let is_there = match kind {
            Kind::New => bases.iter().any(|base| base.is_of_iptables(family)),
            Kind::Old => door::has_old_filter(family),
        };
        if !is_there {
            continue;
        }
        match door::iptables(kind, family).await {
            Some(program) => {
                let told = kind.told(family);
                state.take(by_iptables(&program, (&told, family), openings).await);
            }
            // Nobody else reads them either.
            None => native.extend(bases.iter().filter(theirs)),
        }
    }
    let of_iptables = |base: &&Base| Family::ALL.iter().any(|family| base.is_of_iptables(*family));
    native.extend(bases.iter().filter(|base| !of_iptables(base)));
    let mut tables: BTreeMap<_, Vec<&Base>> = BTreeMap::new();
    for base in native {
        tables.entry(&base.table).or_default().push(base);
    }
    for (table, bases) in tables {
        state.take(by_nft(table, &bases, openings).await);
    }
    state.cleared = openings.is_none() && state.problems.is_empty();
    state
}

/// Sees to the fence around our bridges. A kernel without it does without: it counts only while no agent runs.
async fn keep_apart(listed: &Value, openings: Option<&Openings>, bridging: Bridging) {
    let wanted = openings.filter(|_| bridging == Bridging::Plain);
    let lines = fence::steps(listed, wanted.map(|openings| &openings.blocks));
    if lines.is_empty() {
        return;
    }
    if let Err(error) = door::nft(&lines).await {
        tracing::debug!(%error, "new ports of bridges are not fenced in while the agent is away");
    }
}

/// What came of one firewall.
type Came = Result<State, DoorError>;

impl State {
    fn take(&mut self, came: Came) {
        match came {
            Ok(more) => {
                self.kept.extend(more.kept);
                self.problems.extend(more.problems);
            }
            Err(error) => self
                .problems
                .push(format!("a firewall of this host cannot be seen to: {error}")),
        }
    }
}

async fn by_iptables(program: &str, told: (&str, Family), openings: Option<&Openings>) -> Came {
    let table = Table::read(&door::saved(program).await?);
    let steps = table.steps(openings, told);
    if let Some(script) = &steps.script {
        door::restore(program, script).await?;
    }
    Ok(State {
        kept: steps.kept,
        ..State::default()
    })
}

async fn by_nft(table: &Name, bases: &[&Base], openings: Option<&Openings>) -> Came {
    let mut state = State::default();
    let concerned = bases.iter().filter(|base| base.concerned(openings).is_some());
    state.problems.extend(concerned.filter_map(|base| base.problem()));
    let bases = bases.iter().filter(|base| base.our_hook().is_some());
    let bases: Vec<_> = bases.collect();
    if bases.is_empty() {
        return Ok(state);
    }
    let chains = Chains::read(&door::table(table).await?);
    let mut lines = Vec::new();
    for base in bases {
        let (more, kept) = chains.steps(base, openings);
        lines.extend(more);
        state.kept.extend(kept);
    }
    if !lines.is_empty() {
        door::nft(&lines).await?;
    }
    Ok(state)
}
