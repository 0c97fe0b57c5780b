//! How a replacement may use the place of the task it replaces: that place is counted once for the pair.
//! Looks only; who takes which place is decided in `place`.

use shoal_proto::id::{NodeId, TaskId};
use shoal_proto::reason::Reason;
use shoal_proto::service::TaskTemplate;
use shoal_proto::task::Task;
use shoal_proto::update::UpdateOrder;

use super::volumes;
use crate::orchestrator::draft::Draft;
use crate::orchestrator::update::order_of;

/// Whether a replacement inherits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heir {
    /// Not at all.
    No,
    /// Before any other place.
    First(TaskId, NodeId),
    /// When there is no other place.
    Last(TaskId, NodeId),
}

impl Heir {
    /// The task it replaces, as far as its place may be taken over.
    #[must_use]
    pub fn of(draft: &Draft<'_>, template: &TaskTemplate, task: &Task) -> Self {
        let Some((old, Reason::Updated)) = &task.plan.replaces else {
            return Self::No;
        };
        let Some(old) = draft.task(*old).filter(|old| !old.status.state.is_terminal()) else {
            return Self::No;
        };
        let Some(node) = old.plan.node else {
            return Self::No;
        };
        let order = draft
            .service(task.plan.service)
            .map_or(UpdateOrder::StopFirst, |s| order_of(&s));
        let alone = volumes::is_exclusive(template);
        if order == UpdateOrder::StopFirst || alone || !old.plan.desired.wants_to_run() {
            return Self::First(old.id, node);
        }
        Self::Last(old.id, node)
    }

    /// The task whose place may be taken over.
    #[must_use]
    pub const fn old(self) -> Option<TaskId> {
        match self {
            Self::No => None,
            Self::First(old, _) | Self::Last(old, _) => Some(old),
        }
    }
}
