//! The life of one task on this node: pure. From what is asked and what is seen follow the next state and at most one
//! thing to do.
//!
//! A task only moves forward. It ends by what its container did or by an explicit word, never because an assignment is
//! absent or an Engine is silent.

mod action;
mod end;

use serde::{Deserialize, Serialize};
use shoal_proto::id::TaskId;
use shoal_proto::reason::Reason;
use shoal_proto::task::{DesiredState, Fault, TaskState, TaskStatus};
use shoal_proto::time::Timestamp;

pub use self::action::{Action, Job, Outcome};
use self::end::{End, cut, own_end};
use crate::assignments::Assigned;
use crate::engine::{ContainerState, EngineError, Health, Observed};

/// First wait before something is tried again with an Engine that did not answer.
pub const RETRY_FIRST_MS: u64 = 500;
/// Longest such wait.
pub const RETRY_MAX_MS: u64 = 10_000;
/// Exit code of a process that was killed: 128 + SIGKILL.
const KILLED: i64 = 137;
/// How long such an end is watched for the removal that may follow.
const KILL_PAUSE_MS: u64 = 300;
/// Starts that may miss something before the task failed.
const START_TRIES_MAX: u32 = 3;

/// What the agent remembers of a task. Durable but for what is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which.
    pub task: TaskId,
    /// Newest status; its version counts the changes made here.
    pub status: TaskStatus,
    /// Under which boot and which life of the Engine its container was last seen running.
    pub started: Option<Started>,
    /// Set once its container is being stopped.
    pub ending: Option<Ending>,
    /// What is under way.
    #[serde(skip)]
    pub job: Option<Job>,
    /// Tries in a row that the Engine did not answer.
    #[serde(skip)]
    pub tries: u32,
    /// Nothing is tried before.
    #[serde(skip)]
    pub not_before: Option<Timestamp>,
    /// Something that does not end it and should be known while it runs.
    #[serde(skip)]
    pub warning: String,
    /// Since when its container is seen killed by somebody.
    #[serde(skip)]
    pub killed_since: Option<Timestamp>,
}

/// Where a container ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Boot of the host.
    pub boot: String,
    /// Life of the Engine.
    pub instance: String,
}

/// Why a container is being stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// By the managers' word.
    Word,
    /// Its health check failed: the last output.
    Unhealthy(String),
}

/// What is true of the node at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// The agent's time.
    pub now: Timestamp,
    /// Boot of the host.
    pub boot: String,
    /// Life of the Engine; none while it is silent or was not looked at yet.
    pub instance: Option<String>,
}

/// What is wanted of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// As assigned; whether the task whose place it inherits is out of the way.
    Assigned(&'a Assigned, Predecessor),
    /// The managers said it is to go.
    Gone,
}

/// Whether a task's place is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Predecessor {
    /// There is none, or its container is gone.
    Gone,
    /// Its container is still there.
    Present(TaskId),
}

impl Record {
    /// A task that was just heard of.
    #[must_use]
    pub fn new(task: TaskId, now: Timestamp) -> Self {
        let mut record = Self {
            task,
            status: TaskStatus::default(),
            started: None,
            ending: None,
            job: None,
            tries: 0,
            not_before: None,
            warning: String::new(),
            killed_since: None,
        };
        record.go(TaskState::Accepted, "", now);
        record
    }

    /// A task the managers know more of than we do: one that ended is not run again, one that ran has run.
    #[must_use]
    pub fn resume(task: TaskId, known: &TaskStatus, world: &World) -> Self {
        let mut record = Self::new(task, world.now);
        if known.state > TaskState::Ready {
            record.status = known.clone();
            let instance = world.instance.clone().unwrap_or_default();
            record.started = Some(Started {
                boot: world.boot.clone(),
                instance,
            });
        }
        record
    }

    /// Moves on to a state, or says something new in the same; never back.
    fn go(&mut self, state: TaskState, message: &str, now: Timestamp) {
        let status = &mut self.status;
        if state < status.state || (status.state.is_terminal() && state != status.state) {
            return;
        }
        if state == status.state && message == status.message {
            return;
        }
        if state != status.state {
            status.since = now;
        }
        if state == TaskState::Running && status.running_since.is_none() {
            status.running_since = Some(now);
        }
        status.state = state;
        status.message = cut(message);
        status.version += 1;
    }

    fn end(&mut self, state: TaskState, end: End, now: Timestamp) {
        if self.status.state.is_terminal() {
            return;
        }
        self.status.fault = end.fault;
        self.status.exit_code = end.exit_code.or(self.status.exit_code);
        self.status.healthy = None;
        let message = end.message.clone();
        self.status.reason = end.reason;
        self.go(state, &message, now);
    }

    /// Takes in what came of a job.
    pub fn outcome(&mut self, outcome: Outcome, now: Timestamp) {
        match outcome {
            Outcome::Progress(words) => {
                let state = self.status.state;
                return self.go(state, &words, now);
            }
            Outcome::Prepared(container) => {
                self.status.container = Some(container);
                self.tries = 0;
                self.go(TaskState::Ready, "", now);
            }
            Outcome::Done => self.tries = 0,
            Outcome::Failed(error) => self.failed(&error, now),
            Outcome::Later(words) => self.later(&words, now),
        }
        self.job = None;
    }

    fn failed(&mut self, error: &EngineError, now: Timestamp) {
        let words = error.to_string();
        if error.is_silence() {
            self.tries += 1;
            let wait_ms = RETRY_FIRST_MS
                .saturating_mul(1 << self.tries.min(10))
                .min(RETRY_MAX_MS);
            self.not_before = Some(now + wait_ms);
            return self.go(self.status.state, &words, now);
        }
        match self.job {
            // The container or its network vanished under the start: what is seen next says which, within reason.
            Some(Job::Start) if matches!(error, EngineError::Missing(_)) && self.tries < START_TRIES_MAX => {
                self.tries += 1;
                self.not_before = Some(now + RETRY_FIRST_MS);
                self.go(self.status.state, &words, now);
            }
            Some(Job::Prepare) => self.end(TaskState::Rejected, End::own(words), now),
            Some(Job::Start) => self.end(TaskState::Failed, End::own(words), now),
            _ => {
                // A stop or a removal that was refused is tried again: the word still stands.
                self.tries += 1;
                self.not_before = Some(now + RETRY_MAX_MS);
                self.go(self.status.state, &words, now);
            }
        }
    }

    fn later(&mut self, words: &str, now: Timestamp) {
        let wait_ms = RETRY_FIRST_MS
            .saturating_mul(1 << self.tries.min(10))
            .min(RETRY_MAX_MS);
        self.tries += 1;
        self.not_before = Some(now + wait_ms);
        let why = Some(&self.warning).filter(|why| !why.is_empty());
        let words = why.map_or_else(|| words.to_owned(), |why| format!("{words}: {why}"));
        self.go(self.status.state, &words, now);
    }

    /// Decides what is next for the task.
    pub fn step(
        &mut self,
        wanted: Wanted<'_>,
        container: Option<&Observed>,
        world: &World,
    ) -> Option<Action> {
        let instance = world.instance.as_deref()?;
        if self.job.is_some() {
            return self.while_busy(wanted);
        }
        if let Some(seen) = container {
            self.notice(seen, world, instance);
        }
        if self.not_before.is_some_and(|then| then > world.now) {
            return None;
        }
        let action = match wanted {
            Wanted::Assigned(assigned, predecessor) if assigned.desired.wants_to_run() => {
                self.toward_running(assigned, predecessor, container, world)
            }
            Wanted::Assigned(assigned, _) => self.toward_stopped(Some(assigned), container, world),
            Wanted::Gone => self.toward_stopped(None, container, world),
        };
        self.job = action.as_ref().and_then(Action::job);
        action
    }

    fn while_busy(&self, wanted: Wanted<'_>) -> Option<Action> {
        let stays = matches!(wanted, Wanted::Assigned(assigned, _) if assigned.desired.wants_to_run());
        (self.job == Some(Job::Prepare) && !stays).then_some(Action::CancelPrepare(self.task))
    }

    /// What the container itself says, whatever is wanted.
    fn notice(&mut self, seen: &Observed, world: &World, instance: &str) {
        if self.status.state.is_terminal() {
            return;
        }
        let status = &mut self.status;
        if status.container.as_deref() != Some(seen.id.as_str()) {
            status.container = Some(seen.id.clone());
            status.version += 1;
        }
        match seen.state {
            ContainerState::Running => self.notice_running(seen, world, instance),
            ContainerState::Exited => self.notice_end(seen, world, instance),
            ContainerState::Created | ContainerState::Removing => {}
        }
    }

    fn notice_running(&mut self, seen: &Observed, world: &World, instance: &str) {
        self.started = Some(Started {
            boot: world.boot.clone(),
            instance: instance.to_owned(),
        });
        let healthy = seen.health.as_ref().map(|health| *health == Health::Healthy);
        let status = &mut self.status;
        if status.host_ports != seen.host_ports || status.healthy != healthy {
            status.host_ports.clone_from(&seen.host_ports);
            status.healthy = healthy;
            status.version += 1;
        }
        match &seen.health {
            None | Some(Health::Healthy) => {
                let warning = self.warning.clone();
                self.go(TaskState::Running, &warning, world.now);
            }
            Some(Health::Starting) if self.status.state < TaskState::Running => {
                self.go(TaskState::Starting, "waits for its health check", world.now);
            }
            Some(Health::Starting) => {}
            Some(Health::Unhealthy(output)) if self.ending.is_none() => {
                self.ending = Some(Ending::Unhealthy(output.clone()));
            }
            Some(Health::Unhealthy(_)) => {}
        }
    }

    fn notice_end(&mut self, seen: &Observed, world: &World, instance: &str) {
        let exit_code = seen.exit_code;
        let none = |reason: Reason| End::of_others(exit_code, reason);
        let (state, end) = match &self.ending {
            Some(Ending::Word) => return,
            Some(Ending::Unhealthy(output)) => {
                let message = format!("unhealthy container: {output}");
                (TaskState::Failed, End::exit(exit_code, message))
            }
            None => {
                let boot = self
                    .started
                    .as_ref()
                    .map_or(seen.boot.as_str(), |started| started.boot.as_str());
                let life = self.started.as_ref().map(|started| started.instance.as_str());
                if boot != world.boot {
                    (TaskState::Failed, none(Reason::HostRebooted))
                } else if life.is_some_and(|life| life != instance) {
                    (TaskState::Failed, none(Reason::EngineRestarted))
                } else if self.may_be_going(seen, world.now) {
                    return;
                } else {
                    own_end(seen)
                }
            }
        };
        self.end(state, end, world.now);
    }

    /// A removal by hand kills first: whoever was killed may be about to vanish, which is another story.
    fn may_be_going(&mut self, seen: &Observed, now: Timestamp) -> bool {
        if seen.exit_code != Some(KILLED) || seen.oom_killed {
            return false;
        }
        let since = *self.killed_since.get_or_insert(now);
        let over = now.ms_since(since) >= KILL_PAUSE_MS;
        if !over {
            self.not_before = Some(since + KILL_PAUSE_MS);
        }
        !over
    }

    fn toward_running(
        &mut self,
        assigned: &Assigned,
        predecessor: Predecessor,
        container: Option<&Observed>,
        world: &World,
    ) -> Option<Action> {
        if self.status.state.is_terminal() {
            return None;
        }
        let Some(seen) = container else {
            return self.without_container(world);
        };
        match (seen.state, &self.ending) {
            (ContainerState::Running, Some(_)) => Some(Action::Stop(self.task, seen.id.clone())),
            (ContainerState::Created, _) => self.when_ready(assigned, predecessor, &seen.id, world),
            _ => None,
        }
    }

    fn without_container(&mut self, world: &World) -> Option<Action> {
        if let Some(started) = &self.started {
            // A host that lost its Engine's state lost it by the reboot, not by hand.
            let rebooted = started.boot != world.boot;
            let reason = if rebooted {
                Reason::HostRebooted
            } else {
                Reason::ContainerGone
            };
            self.end(TaskState::Failed, End::of_others(None, reason), world.now);
            return None;
        }
        self.go(TaskState::Preparing, "", world.now);
        Some(Action::Prepare(self.task))
    }

    fn when_ready(
        &mut self,
        assigned: &Assigned,
        predecessor: Predecessor,
        container: &str,
        world: &World,
    ) -> Option<Action> {
        if self.status.state < TaskState::Ready {
            // Made by an agent that did not live to say so: the rest of its preparation is repeated.
            self.go(TaskState::Preparing, "", world.now);
            return Some(Action::Prepare(self.task));
        }
        if assigned.desired == DesiredState::Ready {
            self.go(TaskState::Ready, "", world.now);
            return None;
        }
        if let Predecessor::Present(task) = predecessor {
            self.go(
                TaskState::Ready,
                &format!("waits for the container of task {task} to be gone"),
                world.now,
            );
            return None;
        }
        self.go(TaskState::Starting, "", world.now);
        // From here on a missing container is one that ran: a task is never run twice.
        let instance = world.instance.clone().unwrap_or_default();
        self.started = Some(Started {
            boot: world.boot.clone(),
            instance,
        });
        Some(Action::Start(self.task, container.to_owned()))
    }

    fn toward_stopped(
        &mut self,
        assigned: Option<&Assigned>,
        container: Option<&Observed>,
        world: &World,
    ) -> Option<Action> {
        let running = container.filter(|seen| seen.state == ContainerState::Running);
        if let Some(seen) = running {
            if self.ending.is_none() {
                self.ending = Some(Ending::Word);
                let state = self.status.state;
                self.go(state, "stopping", world.now);
            }
            return Some(Action::Stop(self.task, seen.id.clone()));
        }
        let reason = assigned.and_then(|assigned| assigned.stop_reason.clone());
        let message = reason
            .as_ref()
            .map_or_else(|| "shutdown".to_owned(), ToString::to_string);
        let exit_code = container.and_then(|seen| seen.exit_code);
        self.end(
            TaskState::Shutdown,
            End {
                exit_code,
                fault: Fault::None,
                message,
                reason,
            },
            world.now,
        );
        let seen = container.filter(|seen| seen.state != ContainerState::Removing)?;
        let history = assigned.is_some_and(|assigned| assigned.desired == DesiredState::Shutdown);
        if history && seen.state == ContainerState::Exited {
            // It stays for its logs until the managers forget the task.
            return None;
        }
        Some(Action::Remove(self.task, seen.id.clone()))
    }
}

#[cfg(test)]
#[path = "task_test.rs"]
mod tests;
