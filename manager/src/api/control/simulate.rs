//! `shoal simulate`: reads which nodes are meant, lets the core play it through on a copy of the state, and answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use shoal_core::simulate::{End, Event, Fate};
use shoal_core::state::State;
use shoal_proto::id::NodeId;
use shoal_proto::wire;
use tonic::{Request, Status};

use super::{Answer, node};
use crate::api::read::Freshness;
use crate::api::{Api, one_of};

/// Simulations that go on at once at one manager: each takes a thread for as long as it lasts.
pub(crate) const SIMULATIONS_MAX: usize = 2;

pub(super) async fn simulate(api: &Api, request: Request<wire::SimulateRequest>) -> Answer<wire::Simulation> {
    let asked = request.into_inner();
    let view = api.view(Freshness::Linearizable).await?;
    let events = events(api, &view.state, &asked)?;
    let place = one_of(&api.inner.simulations, "simulations", SIMULATIONS_MAX)?;
    let (state, now) = (Arc::clone(&view.state), api.inner.leader.now());
    let outcome = tokio::task::spawn_blocking(move || {
        let outcome = shoal_core::simulate::simulate(&state, &events, now);
        drop(place);
        outcome
    });
    let outcome = outcome
        .await
        .map_err(|error| Status::internal(error.to_string()))?;
    let losses = outcome.losses() as u64;
    let message = wire::Simulation {
        tasks: outcome
            .fates
            .into_iter()
            .map(|one| fate(&view.state, one))
            .collect(),
        warnings: outcome.warnings,
        losses,
        lasted_ms: outcome.lasted_ms,
        index: view.index(),
    };
    Ok(view.answer(message))
}

fn events(api: &Api, state: &State, asked: &wire::SimulateRequest) -> Result<BTreeSet<Event>, Status> {
    let ids = |names: &[String]| -> Result<BTreeSet<NodeId>, Status> {
        names
            .iter()
            .map(|name| node::meant(api, state, name).map(|node| node.id))
            .collect()
    };
    let (kill, drain) = (ids(&asked.kill)?, ids(&asked.drain)?);
    if kill.is_empty() && drain.is_empty() {
        return Err(Status::invalid_argument(
            "nothing to simulate: name nodes to kill or to drain",
        ));
    }
    if let Some(both) = kill.intersection(&drain).next() {
        let name = state.node(*both).map_or("", |node| node.name());
        return Err(Status::invalid_argument(format!(
            "node {name} is to be killed and to be drained: say one of the two"
        )));
    }
    let kill = kill.into_iter().map(Event::Kill);
    Ok(kill.chain(drain.into_iter().map(Event::Drain)).collect())
}

fn fate(state: &State, fate: Fate) -> wire::TaskFate {
    let name = |id: NodeId| {
        state
            .node(id)
            .map_or_else(|| id.to_string(), |node| node.name().to_owned())
    };
    let (end, to, reason) = match fate.end {
        End::Moves(to) => ("moves", Some(to), String::new()),
        End::Waits(reason) => ("waits", None, reason),
        End::Stays(reason) => ("stays", None, reason),
        End::Stops(reason) => ("stops", None, reason),
    };
    wire::TaskFate {
        name: fate.name,
        task_id: fate.task.to_string(),
        node_id: fate.from.map(|id| id.to_string()).unwrap_or_default(),
        node_name: fate.from.map(name).unwrap_or_default(),
        end: end.to_owned(),
        to_node_id: to.map(|id| id.to_string()).unwrap_or_default(),
        to_node_name: to.map(name).unwrap_or_default(),
        reason,
    }
}
