//! How the nodes reach each other: asks every agent at once, waits for none longer than it must. What follows from the
//! answers is `finding`'s.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use shoal_core::state::State;
use shoal_proto::id::NodeId;
use shoal_proto::node::{Node, NodeState};
use shoal_proto::reach::Reach;
use shoal_proto::wire;
use tonic::{Request, Response, Status};

use super::Answer;
use super::finding::{Heard, findings};
use crate::api::Api;
use crate::api::dispatcher::{BulkAnswer, Question, ask};
use crate::api::read::Freshness;

/// An agent answers within this time, or is called silent.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// A node that has not applied what was decided before the question is waited for so long before it is called late.
const APPLY_WAIT: Duration = Duration::from_millis(1_500);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) async fn diagnose(
    api: &Api,
    request: Request<wire::DiagnoseNetworkRequest>,
) -> Answer<wire::NetworkDiagnosis> {
    let wire::DiagnoseNetworkRequest {} = request.into_inner();
    let view = api.view(Freshness::of(false)).await?;
    let state = &view.state;
    let mut nodes: Vec<&Node> = state.nodes().map(AsRef::as_ref).collect();
    nodes.sort_by_key(|node| (node.name(), node.id));
    let late = late(api, state);
    let asked = nodes.iter().map(|node| ask_one(api, node));
    let (seen, late) = tokio::join!(join_all(asked), late);
    let heard: Vec<Heard> = nodes
        .iter()
        .zip(&seen)
        .map(|(node, seen)| heard(node, seen, late.contains(&node.id)))
        .collect::<Result<_, _>>()?;
    let nodes = nodes
        .into_iter()
        .zip(seen)
        .map(|(node, seen)| {
            let (silent, seen) = match seen {
                Ok(seen) => (String::new(), Some(seen)),
                Err(words) => (words, None),
            };
            wire::NodeNetwork {
                node_id: node.id.to_string(),
                hostname: node.name().to_owned(),
                silent,
                seen,
                late: late.contains(&node.id),
            }
        })
        .collect();
    Ok(Response::new(wire::NetworkDiagnosis {
        nodes,
        findings: findings(&heard),
        index: state.index(),
    }))
}

fn heard(node: &Node, seen: &Result<wire::NetworkReport, String>, late: bool) -> Result<Heard, Status> {
    let reaches = seen.as_ref().map(|seen| seen.reaches.clone()).unwrap_or_default();
    let reaches = reaches
        .into_iter()
        .map(Reach::try_from)
        .collect::<Result<_, _>>()?;
    Ok(Heard {
        node: node.id,
        name: node.name().to_owned(),
        silent: seen.as_ref().err().cloned(),
        problems: seen
            .as_ref()
            .map(|seen| seen.problems.clone())
            .unwrap_or_default(),
        tunnel_mtu: seen.as_ref().map_or(0, |seen| seen.tunnel_mtu),
        late_at: late.then(|| seen.as_ref().map_or(0, |seen| seen.applied_index)),
        reaches,
    })
}

/// The nodes that have not applied what the state asks of them now.
async fn late(api: &Api, state: &State) -> BTreeSet<NodeId> {
    let ready: Vec<NodeId> = state
        .nodes()
        .filter(|node| node.status.state == NodeState::Ready)
        .map(|node| node.id)
        .collect();
    let since = tokio::time::Instant::now();
    loop {
        let index = state.index();
        let late = api
            .inner
            .leader
            .hear(|seen, _| {
                seen.lagging(ready.iter().copied(), index)
                    .collect::<BTreeSet<_>>()
            })
            .unwrap_or_default();
        if late.is_empty() || since.elapsed() >= APPLY_WAIT {
            return late;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What an agent says of its network, or why it says nothing.
async fn ask_one(api: &Api, node: &Node) -> Result<wire::NetworkReport, String> {
    if !api.inner.sessions.is_open(node.id) {
        return Err("its agent has no session with the managers".to_owned());
    }
    let answered = tokio::time::timeout(ANSWER_WAIT, answer(api, node.id)).await;
    answered.unwrap_or_else(|_| Err(format!("its agent did not answer within {ANSWER_WAIT:?}")))
}

async fn answer(api: &Api, node: NodeId) -> Result<wire::NetworkReport, String> {
    let asked = ask(api, node, Question::Network).await;
    let mut answers = asked.map_err(|status| status.message().to_owned())?;
    let mut found = None;
    while let Some(answer) = answers.recv().await {
        match answer {
            BulkAnswer::Network(seen) => found = Some(seen),
            BulkAnswer::End(error) if error.is_empty() => break,
            BulkAnswer::End(error) => return Err(error),
            BulkAnswer::Line(_) | BulkAnswer::Image(_) => {}
        }
    }
    found.ok_or_else(|| "its agent ended the answer before it began".to_owned())
}
