//! What agents report, on its way into the log: at once when idle, in batches while busy. Reports wait behind nothing but
//! other reports, and operators' writes go beside them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use shoal_core::state::{Change, Group, Proposal};
use shoal_proto::id::{NodeId, TaskId};
use shoal_proto::object::{Actor, Cause};
use shoal_proto::task::TaskStatus;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::leader::LeaderHandle;
use crate::raft::{ProposeError, RaftHandle};

/// Reports that wait; a session that has more to say waits itself.
const WAITING_MAX: usize = 10_000;
/// Reports of one proposal.
const BATCH_MAX: usize = 500;
/// After a proposal whose outcome is not known, or that was refused for a moment.
const RETRY: Duration = Duration::from_millis(100);
/// Tries before a batch is given up; the sessions' next full report makes up for it.
const TRIES_MAX: usize = 20;

/// One report to be written.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) node: NodeId,
    pub(crate) task: TaskId,
    pub(crate) status: TaskStatus,
}

/// Where sessions put reports.
#[derive(Debug, Clone)]
pub(crate) struct ReportQueue(mpsc::Sender<Report>);

impl ReportQueue {
    pub(crate) fn start(raft: RaftHandle, leader: LeaderHandle, stop: CancellationToken) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            tokio::select! {
                () = drain(waiting, &raft, &leader) => {}
                () = stop.cancelled() => {}
            }
        });
        Self(queue)
    }

    /// Takes a report; waits while too many do.
    pub(crate) async fn put(&self, report: Report) -> Result<(), Status> {
        self.0
            .send(report)
            .await
            .map_err(|_| Status::unavailable("this manager shuts down"))
    }
}

async fn drain(mut waiting: mpsc::Receiver<Report>, raft: &RaftHandle, leader: &LeaderHandle) {
    let mut held = Vec::new();
    loop {
        if held.is_empty() && waiting.recv_many(&mut held, BATCH_MAX).await == 0 {
            return;
        }
        let batch = next_batch(&mut held);
        write(&batch, raft, leader).await;
    }
}

/// One report per task: a proposal changes an object at most once. Later ones of the same task stay, in order.
fn next_batch(held: &mut Vec<Report>) -> BTreeMap<TaskId, Report> {
    let mut batch = BTreeMap::new();
    let mut later = Vec::new();
    for report in held.drain(..) {
        match batch.entry(report.task) {
            Entry::Occupied(_) => later.push(report),
            Entry::Vacant(place) => {
                place.insert(report);
            }
        }
    }
    *held = later;
    batch
}

async fn write(batch: &BTreeMap<TaskId, Report>, raft: &RaftHandle, leader: &LeaderHandle) {
    for _ in 0..TRIES_MAX {
        if leader.leads().borrow().is_none() {
            // The sessions end with the leadership, and the next leader gets full reports.
            return;
        }
        let entry = match proposal(batch, leader).to_bytes() {
            Ok(entry) => entry,
            Err(error) => {
                tracing::error!(%error, reports = batch.len(), "reports cannot be written");
                return;
            }
        };
        match raft.propose(entry).await {
            Ok(_) => return,
            Err(ProposeError::NotLeader { .. } | ProposeError::Stopped { .. }) => return,
            Err(error) => {
                tracing::warn!(%error, reports = batch.len(), "reports wait");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
    tracing::error!(
        reports = batch.len(),
        "reports were given up; the next sessions report in full"
    );
}

fn proposal(batch: &BTreeMap<TaskId, Report>, leader: &LeaderHandle) -> Proposal {
    let groups = batch.values().map(|report| {
        let mut group = Group::new();
        group.change(Change::TaskStatus {
            task: report.task,
            node: report.node,
            status: Box::new(report.status.clone()),
        });
        group.caused_by(Cause {
            actor: Actor::Node(report.node),
            action: "report".to_owned(),
        });
        group
    });
    Proposal::new(leader.now(), Cause::default(), groups.collect())
}

#[cfg(test)]
mod tests {
    use shoal_proto::id::{NodeId, TaskId};
    use shoal_proto::task::{TaskState, TaskStatus};
    use shoal_proto::time::Timestamp;

    use super::{Report, next_batch};

    fn report(task: u128, state: TaskState) -> Report {
        let now = Timestamp::from_ms(1);
        let status = TaskStatus {
            state,
            ..TaskStatus::default()
        };
        Report {
            node: NodeId::new(now, 1),
            task: TaskId::new(now, task),
            status,
        }
    }

    #[test]
    fn two_reports_of_one_task_go_into_two_batches_in_their_order() {
        let mut held = vec![
            report(1, TaskState::Running),
            report(2, TaskState::Running),
            report(1, TaskState::Complete),
        ];
        let first = next_batch(&mut held);
        assert_eq!(first.len(), 2);
        let second = next_batch(&mut held);
        assert!(
            second
                .values()
                .all(|report| report.status.state == TaskState::Complete)
        );
        assert!(held.is_empty());
    }
}
