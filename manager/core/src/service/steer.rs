//! What an operator may say to a rollout that is under way: wait, go on, go on all the same, go back.

use std::sync::Arc;

use shoal_proto::id::ServiceId;
use shoal_proto::reason::Reason;
use shoal_proto::service::{Revision, Service, TaskTemplate};
use shoal_proto::update::{Direction, Rollout, RolloutState, Steering};

use super::Planned;
use super::revise::{Leaves, Request, ReviseError, finish, go_back, live};
use crate::state::Group;

/// Why a rollout cannot be told that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SteerError {
    /// There is none, or it has ended.
    #[error("service {name:?} has no update under way to {word}: see `shoal service inspect {name}`")]
    NotUnderWay {
        /// The service.
        name: String,
        /// What was asked for.
        word: Steering,
    },
    /// It waits already.
    #[error("the update of service {name:?} is paused already: {why}")]
    Waits {
        /// The service.
        name: String,
        /// Why it does.
        why: String,
    },
    /// It does not wait.
    #[error("the update of service {name:?} is not paused: it goes on by itself")]
    GoesOn {
        /// The service.
        name: String,
    },
    /// Nobody asked it to wait: its tasks failed.
    #[error(
        "the update of service {name:?} was paused because {why}: --continue goes on and no longer counts these \
         failures, --abort goes back"
    )]
    Failed {
        /// The service.
        name: String,
        /// What failed.
        why: String,
    },
    /// It leads back itself.
    #[error("service {name:?} is being rolled back already: pause that, or update it to what you want")]
    GoesBack {
        /// The service.
        name: String,
    },
}

/// The service with that said to its rollout.
///
/// # Errors
/// When there is no rollout to which that could be said, and when there is nothing to go back to.
pub fn steer(request: &mut Request<'_>, id: ServiceId, word: Steering) -> Result<Planned, ReviseError> {
    let before = live(request.state, id)?;
    let name = || before.name.clone();
    let under_way = before.rollout.as_ref();
    let rollout = under_way
        .filter(|rollout| rollout.state != RolloutState::Completed)
        .ok_or_else(|| SteerError::NotUnderWay { name: name(), word })?;
    let waits = rollout.state == RolloutState::Paused;
    let why = || {
        rollout
            .reason
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    let steered = match word {
        Steering::Abort => return abort(request, before, rollout),
        Steering::Pause if waits => {
            return Err(SteerError::Waits {
                name: name(),
                why: why(),
            }
            .into());
        }
        Steering::Resume | Steering::Continue if !waits => {
            return Err(SteerError::GoesOn { name: name() }.into());
        }
        Steering::Resume if matches!(rollout.reason, Some(Reason::TooManyFailures { .. })) => {
            return Err(SteerError::Failed {
                name: name(),
                why: why(),
            }
            .into());
        }
        Steering::Pause => Rollout {
            state: RolloutState::Paused,
            ended_at: Some(request.now),
            reason: Some(Reason::Operator(format!("paused by {}", request.writer))),
            reason_before_pause: rollout.reason.clone(),
            ..rollout.clone()
        },
        Steering::Resume => on(rollout),
        Steering::Continue => Rollout {
            started_at: request.now,
            failed_slots: 0,
            ..on(rollout)
        },
    };
    let service = Service {
        rollout: Some(steered),
        ..Service::clone(before)
    };
    Ok(finish(before, service, Group::new()))
}

fn on(rollout: &Rollout) -> Rollout {
    Rollout {
        state: RolloutState::Running,
        ended_at: None,
        reason: rollout.reason_before_pause.clone(),
        reason_before_pause: None,
        ..rollout.clone()
    }
}

/// To the last content that ran everywhere, or to what the update started from. What is left is never the way back.
fn abort(
    request: &mut Request<'_>,
    before: &Arc<Service>,
    rollout: &Rollout,
) -> Result<Planned, ReviseError> {
    let name = || before.name.clone();
    if rollout.direction == Direction::Rollback {
        return Err(SteerError::GoesBack { name: name() }.into());
    }
    let wanted = request
        .state
        .revision(before.revision)
        .map(|revision| revision.digest);
    let older = [before.good_revision, Some(rollout.from)].into_iter().flatten();
    let mut older = older.filter_map(|id| request.state.revision(id));
    let older = older.find(|older| Some(older.digest) != wanted);
    let older: &Arc<Revision> = older.ok_or_else(|| ReviseError::NoPrevious(name()))?;
    let template = TaskTemplate::clone(&older.template);
    let service = Service::clone(before);
    go_back(request, before, service, (template, Leaves::Aborted))
}

#[cfg(test)]
#[path = "steer_test.rs"]
mod tests;
