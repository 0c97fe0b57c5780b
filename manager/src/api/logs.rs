//! The output of a service's tasks, from the agents that have them, merged by time. A node that cannot be asked is named.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use shoal_core::state::State;
use shoal_proto::id::{ServiceId, TaskId};
use shoal_proto::task::Task;
use shoal_proto::wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::control::{Answers, task_by_name};
use super::dispatcher::{BulkAnswer, Question, ask};
use super::{Api, refs};

/// In the metadata of the answer: nodes whose output is missing, and why.
const MISSING: &str = "shoal-missing";
/// Lines that wait for a slow reader.
const WAITING_MAX: usize = 256;
/// Calls for output open at once.
pub(super) const READERS_MAX: usize = 200;
/// Tasks read at once; the newest.
const TASKS_MAX: usize = 500;
/// While following, a line waits so long for an earlier one of another task.
const MERGE_WAIT: Duration = Duration::from_millis(100);
/// Longest text in the metadata.
const MISSING_BYTES_MAX: usize = 2_000;

pub(super) async fn read(
    api: &Api,
    request: Request<wire::ReadServiceLogsRequest>,
) -> Result<Response<Answers<wire::LogLine>>, Status> {
    let place = super::one_of(&api.inner.readers, "calls for output", READERS_MAX)?;
    let asked = request.into_inner();
    let options = asked.options.unwrap_or_default();
    let state = api.inner.machine.state();
    let (service, tasks) = tasks_meant(&state, &asked.r#ref)?;
    let mut merge = Merge {
        sources: BTreeMap::new(),
        heads: BTreeMap::new(),
        lost: Vec::new(),
    };
    let mut known = BTreeSet::new();
    for task in &tasks {
        known.insert(task.id);
        merge.open(api, &state, task, &options).await;
    }
    let (out, lines) = mpsc::channel(WAITING_MAX);
    let mut response = Response::new(Box::pin(ReceiverStream::new(lines)) as Answers<wire::LogLine>);
    if !merge.lost.is_empty() {
        let text: String = merge
            .lost
            .join("; ")
            .chars()
            .filter(|c| (' '..='~').contains(c))
            .take(MISSING_BYTES_MAX)
            .collect();
        let value = text
            .parse()
            .map_err(|_| Status::internal("visible ascii makes a header"))?;
        response.metadata_mut().insert(MISSING, value);
    }
    let reader = Reader {
        api: api.clone(),
        merge,
        known,
        options,
        service,
        out,
    };
    tokio::spawn(async move {
        reader.run().await;
        drop(place);
    });
    Ok(response)
}

/// The tasks whose output is meant, and the service to follow for new ones.
fn tasks_meant(state: &State, wanted: &str) -> Result<(Option<ServiceId>, Vec<Arc<Task>>), Status> {
    match refs::service_or_removed(state, wanted) {
        Ok(service) => {
            let tasks = state
                .tasks_of_service(service.id)
                .rev()
                .filter(|task| task.plan.node.is_some());
            Ok((Some(service.id), tasks.take(TASKS_MAX).cloned().collect()))
        }
        Err(no_service) => match task_by_name(state, wanted).map_or_else(|| refs::task(state, wanted), Ok) {
            Ok(task) => Ok((None, vec![task])),
            Err(no_task) if no_task.code() == tonic::Code::InvalidArgument => Err(no_task),
            Err(_) if no_service.code() == tonic::Code::NotFound => Err(Status::not_found(format!(
                "no service and no task {wanted:?} is known: `shoal service ls` and `shoal service ps SERVICE` list them"
            ))),
            Err(_) => Err(no_service),
        },
    }
}

/// Lines of several tasks, each in its order, put into one order by time.
struct Merge {
    sources: BTreeMap<TaskId, mpsc::Receiver<BulkAnswer>>,
    heads: BTreeMap<TaskId, wire::LogLine>,
    lost: Vec<String>,
}

impl Merge {
    async fn open(&mut self, api: &Api, state: &State, task: &Task, options: &wire::LogOptions) {
        let Some(node) = task.plan.node else { return };
        let logs = wire::ReadLogs {
            task_id: task.id.to_string(),
            options: Some(*options),
        };
        match ask(api, node, Question::Logs(logs)).await {
            Ok(lines) => {
                self.sources.insert(task.id, lines);
            }
            Err(status) => {
                let name = state
                    .node(node)
                    .map_or_else(|| node.to_string(), |node| node.name().to_owned());
                let text = format!(
                    "the output of task {} on node {name} is missing: {}",
                    task.id,
                    status.message()
                );
                if self.lost.len() < TASKS_MAX {
                    self.lost.push(text);
                }
            }
        }
    }

    /// The next line of all; waits for every task that has none yet, but no longer than `patience`.
    async fn next(&mut self, patience: Option<Duration>) -> Next {
        let deadline = patience.map(|patience| tokio::time::Instant::now() + patience);
        loop {
            let silent: Vec<TaskId> = self
                .sources
                .keys()
                .filter(|task| !self.heads.contains_key(*task))
                .copied()
                .collect();
            if silent.is_empty() {
                return self.earliest().map_or(Next::End, Next::Line);
            }
            let until = deadline.filter(|_| !self.heads.is_empty());
            match first_of(&mut self.sources, &silent, until).await {
                Some((task, answer)) => self.take(task, answer),
                None => return self.earliest().map_or(Next::End, Next::Line),
            }
        }
    }

    fn take(&mut self, task: TaskId, answer: Option<BulkAnswer>) {
        match answer {
            Some(BulkAnswer::Line(line)) => {
                self.heads.insert(task, line);
            }
            Some(BulkAnswer::Image(_) | BulkAnswer::Network(_)) => {}
            Some(BulkAnswer::End(error)) => {
                self.sources.remove(&task);
                if !error.is_empty() {
                    self.lost
                        .push(format!("the output of task {task} ends early: {error}"));
                }
            }
            None => {
                self.sources.remove(&task);
                self.lost.push(format!(
                    "the output of task {task} ends early: its node is out of touch"
                ));
            }
        }
    }

    fn earliest(&mut self) -> Option<wire::LogLine> {
        let first = self
            .heads
            .iter()
            .min_by_key(|(task, line)| (line.time_ns, **task))
            .map(|(task, _)| *task)?;
        self.heads.remove(&first)
    }
}

/// What one of these tasks says first; none when the time is over.
async fn first_of(
    sources: &mut BTreeMap<TaskId, mpsc::Receiver<BulkAnswer>>,
    of: &[TaskId],
    until: Option<tokio::time::Instant>,
) -> Option<(TaskId, Option<BulkAnswer>)> {
    let waiting = sources.iter_mut().filter(|(task, _)| of.contains(task));
    let waiting = waiting.map(|(task, lines)| Box::pin(async move { (*task, lines.recv().await) }));
    let any = futures::future::select_all(waiting);
    let (first, ..) = match until {
        Some(until) => tokio::time::timeout_at(until, any).await.ok()?,
        None => any.await,
    };
    Some(first)
}

enum Next {
    Line(wire::LogLine),
    End,
}

struct Reader {
    api: Api,
    merge: Merge,
    known: BTreeSet<TaskId>,
    options: wire::LogOptions,
    service: Option<ServiceId>,
    out: mpsc::Sender<Result<wire::LogLine, Status>>,
}

impl Reader {
    async fn run(mut self) {
        let (out, stop) = (self.out.clone(), self.api.inner.stop.clone());
        tokio::select! {
            () = self.pass_on() => {}
            () = out.closed() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn pass_on(&mut self) {
        let begun_lost = self.merge.lost.len();
        let following = self.options.follow && self.service.is_some();
        let mut applied = self.api.inner.machine.applied();
        let patience = self.options.follow.then_some(MERGE_WAIT);
        loop {
            let next = tokio::select! {
                next = self.merge.next(patience), if !(following && self.merge.sources.is_empty() && self.merge.heads.is_empty()) => next,
                changed = applied.changed(), if following => {
                    if changed.is_err() {
                        return;
                    }
                    self.open_new().await;
                    continue;
                }
            };
            match next {
                Next::Line(line) => {
                    if self.out.send(Ok(line)).await.is_err() {
                        return;
                    }
                }
                Next::End => break,
            }
        }
        if let Some(lost) = self.merge.lost.get(begun_lost..).filter(|lost| !lost.is_empty()) {
            // Said last, after everything that could be read; a reader that is gone needs it no more.
            let _gone = self.out.send(Err(Status::unavailable(lost.join("; ")))).await;
        }
    }

    /// Tasks that came while the output is followed: replacements, and those of a scaled service.
    async fn open_new(&mut self) {
        let Some(service) = self.service else { return };
        let state = self.api.inner.machine.state();
        let started = |task: &&Arc<Task>| task.plan.node.is_some() && task.status.container.is_some();
        let new: Vec<Arc<Task>> = state
            .tasks_of_service(service)
            .filter(started)
            .filter(|task| !self.known.contains(&task.id))
            .cloned()
            .collect();
        // From their first line: nothing of them was read before.
        let options = wire::LogOptions {
            tail: None,
            ..self.options
        };
        for task in new {
            self.known.insert(task.id);
            self.merge.open(&self.api, &state, &task, &options).await;
        }
    }
}
