//! The second connection of an agent: what is large goes here, so that it never delays a heartbeat or a report. One
//! connection per node, opened by the agent when it is asked to; questions and answers are told apart by number.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shoal_proto::id::NodeId;
use shoal_proto::wire::{self, bulk_down, bulk_up, session_down};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::Down;
use crate::api::Api;

/// An agent opens the connection within this time.
const OPEN_WAIT: Duration = Duration::from_secs(5);
/// A reader that takes nothing for so long loses its answers, so that others get theirs.
const READER_WAIT: Duration = Duration::from_secs(10);
/// Answers that wait for one reader.
const ANSWERS_MAX: usize = 1_024;
/// Questions that wait for one agent.
const QUESTIONS_MAX: usize = 64;
/// Questions that one node answers at once.
const OPEN_QUESTIONS_MAX: usize = 256;

/// What may be asked.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    /// The output of a task.
    Logs(wire::ReadLogs),
    /// The digest behind an image's tag.
    Resolve(wire::ResolveImageOnNode),
    /// How the node's network is.
    Network,
}

/// One piece of an answer.
#[derive(Debug, Clone)]
pub(crate) enum BulkAnswer {
    /// A line of output.
    Line(wire::LogLine),
    /// What the registry said.
    Image(wire::ImageResolved),
    /// How the node's network is.
    Network(wire::NetworkReport),
    /// The last piece: what went wrong, or nothing.
    End(String),
}

/// The bulk connections of this manager.
#[derive(Debug, Default)]
pub(crate) struct Bulk(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    last_number: u64,
    lines: BTreeMap<NodeId, Line>,
}

/// The connection of one node, asked for or open.
#[derive(Debug)]
struct Line {
    bulk_id: u64,
    open: watch::Sender<bool>,
    down: Option<mpsc::Sender<Result<wire::BulkDown, Status>>>,
    readers: BTreeMap<u64, mpsc::Sender<BulkAnswer>>,
}

/// Asks a node; the answers come one by one, the last is an `End`.
pub(crate) async fn ask(
    api: &Api,
    node: NodeId,
    question: Question,
) -> Result<mpsc::Receiver<BulkAnswer>, Status> {
    let mut open = wanted(api, node)?;
    let opened = tokio::time::timeout(OPEN_WAIT, open.wait_for(|open| *open))
        .await
        .is_ok_and(|open| open.is_ok());
    if !opened {
        api.inner.bulk.forget_unopened(node);
        return Err(Status::unavailable(format!(
            "node {node} did not open its second connection within {OPEN_WAIT:?}"
        )));
    }
    let (reader, answers) = mpsc::channel(ANSWERS_MAX);
    let (number, down) = api.inner.bulk.register(node, reader)?;
    let what = match question {
        Question::Logs(logs) => bulk_down::Message::Logs(logs),
        Question::Resolve(resolve) => bulk_down::Message::Resolve(resolve),
        Question::Network => bulk_down::Message::LookAtNetwork(true),
    };
    let sent = down
        .send(Ok(wire::BulkDown {
            request: number,
            message: Some(what),
        }))
        .await;
    sent.map_err(|_| Status::unavailable(format!("the second connection of node {node} has just ended")))?;
    Ok(answers)
}

/// The node's connection; asks its agent to open one where there is none.
fn wanted(api: &Api, node: NodeId) -> Result<watch::Receiver<bool>, Status> {
    let (bulk_id, receiver) = {
        let mut all = api.inner.bulk.lock();
        if let Some(line) = all.lines.get(&node).filter(|line| line.is_usable()) {
            return Ok(line.open.subscribe());
        }
        all.last_number += 1;
        let bulk_id = all.last_number;
        let open = watch::Sender::new(false);
        let receiver = open.subscribe();
        all.lines.insert(
            node,
            Line {
                bulk_id,
                open,
                down: None,
                readers: BTreeMap::new(),
            },
        );
        (bulk_id, receiver)
    };
    let asked = api
        .inner
        .sessions
        .order(node, session_down::Message::OpenBulk(wire::OpenBulk { bulk_id }));
    if let Err(status) = asked {
        api.inner.bulk.forget_unopened(node);
        return Err(status);
    }
    Ok(receiver)
}

/// An agent opens the connection it was asked for.
pub(super) async fn attach(
    api: &Api,
    node: NodeId,
    mut from: Streaming<wire::BulkUp>,
) -> Result<Down<wire::BulkDown>, Status> {
    let first = tokio::time::timeout(OPEN_WAIT, from.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded(format!("no attach within {OPEN_WAIT:?}")))??;
    let Some(bulk_up::Message::Attach(bulk_id)) = first.and_then(|up| up.message) else {
        return Err(Status::invalid_argument(
            "the first message of a bulk connection is attach",
        ));
    };
    let (down, waiting) = mpsc::channel(QUESTIONS_MAX);
    if !api.inner.bulk.opened(node, bulk_id, down.clone()) {
        let text = format!("nobody asked node {node} for bulk connection {bulk_id}, or not any more");
        return Err(Status::failed_precondition(text));
    }
    let (api, stop) = (api.clone(), api.inner.stop.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = pump(&api, node, &mut from, &down) => {}
            () = down.closed() => {}
            () = stop.cancelled() => {}
        }
        api.inner.bulk.closed(node, bulk_id);
    });
    Ok(Box::pin(ReceiverStream::new(waiting)))
}

async fn pump(
    api: &Api,
    node: NodeId,
    from: &mut Streaming<wire::BulkUp>,
    down: &mpsc::Sender<Result<wire::BulkDown, Status>>,
) {
    while let Ok(Some(up)) = from.message().await {
        let (number, answer) = match up.message {
            Some(bulk_up::Message::Log(line)) => (line.request, BulkAnswer::Line(line)),
            Some(bulk_up::Message::Image(image)) => (image.request, BulkAnswer::Image(image)),
            Some(bulk_up::Message::Network(seen)) => (seen.request, BulkAnswer::Network(seen)),
            Some(bulk_up::Message::End(end)) => (end.request, BulkAnswer::End(end.error)),
            Some(bulk_up::Message::Attach(_)) | None => return,
        };
        let last = matches!(answer, BulkAnswer::End(_));
        let Some(reader) = api.inner.bulk.reader(node, number) else {
            continue;
        };
        let taken = reader.send_timeout(answer, READER_WAIT).await.is_ok();
        if last || !taken {
            api.inner.bulk.finished(node, number);
        }
        if !taken && !last {
            let cancel = wire::BulkDown {
                request: number,
                message: Some(bulk_down::Message::Cancel(true)),
            };
            if down.send(Ok(cancel)).await.is_err() {
                return;
            }
        }
    }
}

impl Line {
    /// Open, or asked for.
    fn is_usable(&self) -> bool {
        self.down.as_ref().is_none_or(|down| !down.is_closed())
    }
}

impl Bulk {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self, node: NodeId, bulk_id: u64, down: mpsc::Sender<Result<wire::BulkDown, Status>>) -> bool {
        let mut all = self.lock();
        let Some(line) = all.lines.get_mut(&node).filter(|line| line.bulk_id == bulk_id) else {
            return false;
        };
        line.down = Some(down);
        line.open.send_replace(true);
        true
    }

    fn closed(&self, node: NodeId, bulk_id: u64) {
        let mut all = self.lock();
        if all.lines.get(&node).is_some_and(|line| line.bulk_id == bulk_id) {
            // The readers' channels close with it, which tells them.
            all.lines.remove(&node);
        }
    }

    fn forget_unopened(&self, node: NodeId) {
        let mut all = self.lock();
        if all.lines.get(&node).is_some_and(|line| line.down.is_none()) {
            all.lines.remove(&node);
        }
    }

    fn register(
        &self,
        node: NodeId,
        reader: mpsc::Sender<BulkAnswer>,
    ) -> Result<(u64, mpsc::Sender<Result<wire::BulkDown, Status>>), Status> {
        let mut all = self.lock();
        all.last_number += 1;
        let number = all.last_number;
        let gone = || Status::unavailable(format!("the second connection of node {node} has just ended"));
        let line = all.lines.get_mut(&node).ok_or_else(gone)?;
        if line.readers.len() >= OPEN_QUESTIONS_MAX {
            let text =
                format!("node {node} answers {OPEN_QUESTIONS_MAX} questions already, which is the limit");
            return Err(Status::resource_exhausted(text));
        }
        let down = line.down.clone().ok_or_else(gone)?;
        line.readers.insert(number, reader);
        Ok((number, down))
    }

    fn reader(&self, node: NodeId, number: u64) -> Option<mpsc::Sender<BulkAnswer>> {
        self.lock().lines.get(&node)?.readers.get(&number).cloned()
    }

    fn finished(&self, node: NodeId, number: u64) {
        if let Some(line) = self.lock().lines.get_mut(&node) {
            line.readers.remove(&number);
        }
    }
}
