//! What an agent says in a session: replicated states go to the queue, the others to what the leader has seen.

use shoal_core::dispatcher::report::{Obeyed, Verdict, judge};
use shoal_core::dispatcher::seen::{EngineVoice, Progress, is_transient};
use shoal_core::state::{Change, Group, Guard, ObjectKey, Proposal};
use shoal_proto::id::{NodeId, SessionId, TaskId};
use shoal_proto::limits::LIST_ENTRIES_MAX;
use shoal_proto::node::NodeDescription;
use shoal_proto::object::{Actor, Cause};
use shoal_proto::task::{TaskState, TaskStatus};
use shoal_proto::wire::{self, Invalid, session_up::Message};
use tonic::Status;

use super::arrival::reports;
use super::reports::Report;
use crate::api::{Api, fault};

/// The agent's end of one session.
pub(super) struct Inbox {
    pub(super) api: Api,
    pub(super) node: NodeId,
    pub(super) session: SessionId,
    pub(super) epoch: u64,
    /// What the agent had obeyed when it came.
    pub(super) obeyed: Obeyed,
}

impl Inbox {
    /// Takes one message; answers verdicts where it asks for them.
    pub(super) async fn take(&self, message: Option<Message>) -> Result<Option<wire::Verdicts>, Status> {
        match message {
            Some(Message::Reports(list)) => {
                for (task, status) in reports(list).map_err(|error| error.within("reports"))? {
                    self.report(task, status).await?;
                }
                Ok(None)
            }
            Some(Message::Unknown(list)) => self.unknown(&list.task_ids).map(Some),
            Some(Message::Engine(engine)) => {
                self.engine(&engine);
                Ok(None)
            }
            Some(Message::Description(description)) => {
                let description =
                    NodeDescription::try_from(description).map_err(|error| error.within("description"))?;
                self.describe(description).await?;
                Ok(None)
            }
            Some(Message::Hello(_)) => Err(Status::invalid_argument(
                "a session has one hello, at its beginning",
            )),
            None => Err(Status::invalid_argument(
                "an empty message, or one that only a newer manager knows",
            )),
        }
    }

    /// Takes everything an agent knows; answers what of it must go.
    pub(super) async fn full_report(
        &self,
        all: Vec<(TaskId, TaskStatus)>,
    ) -> Result<Option<wire::Verdicts>, Status> {
        let ids: Vec<TaskId> = all.iter().map(|(task, _)| *task).collect();
        for (task, status) in all {
            self.report(task, status).await?;
        }
        let state = self.api.inner.machine.state();
        let judged = judge(&state, self.node, self.obeyed, &ids);
        let removed: Vec<_> = judged
            .into_iter()
            .filter(|(_, verdict)| *verdict == Verdict::Remove)
            .collect();
        Ok((!removed.is_empty()).then(|| verdicts(&removed)))
    }

    async fn report(&self, task: TaskId, status: TaskStatus) -> Result<(), Status> {
        // A node speaks of its own tasks. What it says of others gets a verdict, and is believed in nothing else.
        let state = self.api.inner.machine.state();
        if state
            .task(task)
            .is_none_or(|known| known.plan.node != Some(self.node))
        {
            return Ok(());
        }
        let heard = self.api.inner.leader.hear(|seen, now| {
            let progress = Progress {
                node: self.node,
                state: status.state,
                message: status.message.clone(),
                since: now,
            };
            // A session that was replaced meanwhile has no say; its end is on its way.
            seen.task(task, self.session, progress).map(|()| now)
        });
        let Some(Ok(now)) = heard else { return Ok(()) };
        if is_transient(status.state) || status.state < TaskState::Ready {
            return Ok(());
        }
        // The managers keep the time and the epoch: an agent's own are of another clock, or of another session.
        let status = TaskStatus {
            since: now,
            epoch: self.epoch,
            version: 0,
            running_since: None,
            ..status
        };
        self.api
            .inner
            .reports
            .put(Report {
                node: self.node,
                task,
                status,
            })
            .await
    }

    fn unknown(&self, ids: &[String]) -> Result<wire::Verdicts, Status> {
        if ids.len() > LIST_ENTRIES_MAX {
            let why = format!("{} unknown tasks: at most {LIST_ENTRIES_MAX} at once", ids.len());
            return Err(Invalid::new("unknown.task_ids", why).into());
        }
        let parse = |id: &String| {
            id.parse()
                .map_err(|error| Invalid::new("unknown.task_ids", format!("{error}")))
        };
        let ids: Result<Vec<TaskId>, Invalid> = ids.iter().map(parse).collect();
        let state = self.api.inner.machine.state();
        Ok(verdicts(&judge(&state, self.node, self.obeyed, &ids?)))
    }

    fn engine(&self, report: &wire::EngineReport) {
        let voice = if report.answering {
            EngineVoice::Answering
        } else {
            EngineVoice::Silent
        };
        if !report.answering {
            tracing::warn!(node = %self.node, "the engine does not answer: {}", report.message);
        }
        let fed = self
            .api
            .inner
            .leader
            .hear(|seen, now| seen.engine(self.node, self.session, voice, now));
        if let Some(Ok(())) = fed {
            self.api.inner.leader.nudge();
        }
    }

    /// The facts of the host changed.
    async fn describe(&self, description: NodeDescription) -> Result<(), Status> {
        let state = self.api.inner.machine.state();
        let Some(node) = state.node(self.node) else {
            return Ok(());
        };
        let status = shoal_proto::node::NodeStatus {
            epoch: self.epoch,
            description: Some(description),
            ..node.status.clone()
        };
        let mut group = Group::new();
        let change = Change::NodeStatus {
            node: self.node,
            status: Box::new(status),
        };
        group
            .guard(Guard::Exists(ObjectKey::Node(self.node)))
            .change(change);
        let cause = Cause {
            actor: Actor::Node(self.node),
            action: "description".to_owned(),
        };
        let reply = self
            .api
            .propose(&Proposal::new(self.api.inner.leader.now(), cause, vec![group]))
            .await?;
        for result in &reply.results {
            result.as_ref().map_err(fault::conflict)?;
        }
        Ok(())
    }
}

fn verdicts(judged: &[(TaskId, Verdict)]) -> wire::Verdicts {
    let one = |(task, verdict): &(TaskId, Verdict)| wire::Verdict {
        task_id: task.to_string(),
        remove: *verdict == Verdict::Remove,
    };
    wire::Verdicts {
        verdicts: judged.iter().map(one).collect(),
    }
}
