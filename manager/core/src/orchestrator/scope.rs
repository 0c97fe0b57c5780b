//! What the slots of one service are judged by: its settings, the wanted revision, and where its tasks stand.
//! Reads only.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use shoal_proto::id::RevisionId;
use shoal_proto::node::Availability;
use shoal_proto::reason::{Obstacle, Reason};
use shoal_proto::service::{Mode, Revision, Service};
use shoal_proto::task::Task;
use shoal_proto::update::{Direction, Rollout, RolloutState, UpdatePolicy};

use super::content;
use super::evict::is_lost;
use crate::scheduler::filter::Request;
use crate::scheduler::volumes;
use crate::state::State;

/// One service as a step sees it.
#[derive(Debug)]
pub struct Scope<'a> {
    /// The state before the step.
    pub state: &'a State,
    /// The service.
    pub service: &'a Arc<Service>,
    /// The revision its tasks should have.
    pub wanted: &'a Arc<Revision>,
    requests: RefCell<BTreeMap<RevisionId, Option<Arc<Request<'a>>>>>,
    /// Whether tasks of a revision differ from what is wanted in their placement alone.
    akin: RefCell<BTreeMap<RevisionId, bool>>,
}

/// How a task stands with its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It has none yet, or all is well.
    Fine,
    /// The node is down: nobody knows what the task does.
    Lost(Reason),
    /// The node lives and the task should leave it.
    Leaving(Reason),
    /// The node is gone for good.
    Gone(Reason),
}

impl Standing {
    /// Whether the task may stay.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        *self == Self::Fine
    }
}

impl<'a> Scope<'a> {
    /// The service with its wanted revision; none when the state lacks either.
    #[must_use]
    pub fn of(state: &'a State, service: &'a Arc<Service>) -> Option<Self> {
        let wanted = state.revision(service.revision)?;
        Some(Self {
            state,
            service,
            wanted,
            requests: RefCell::default(),
            akin: RefCell::default(),
        })
    }

    /// Whether a task has the wanted content, under whatever number, or one that is as good where it is.
    #[must_use]
    pub fn is_current(&self, task: &Task) -> bool {
        self.is_content_wanted(task.plan.revision) || self.is_as_good(task)
    }

    /// Whether a task of another content may stay: only the placement differs, and its node meets the wanted one.
    fn is_as_good(&self, task: &Task) -> bool {
        let node = task.plan.node.and_then(|node| self.state.node(node));
        let Some(node) = node.filter(|_| self.is_akin(task.plan.revision)) else {
            return false;
        };
        let wanted = self.request(self.wanted.id);
        wanted.is_some_and(|wanted| content::may_stay(&wanted, node))
    }

    fn is_akin(&self, revision: RevisionId) -> bool {
        let mut akin = self.akin.borrow_mut();
        *akin.entry(revision).or_insert_with(|| {
            let found = self.state.revision(revision);
            found.is_some_and(|found| {
                content::differs_in_placement_alone(&found.template, &self.wanted.template)
            })
        })
    }

    /// Whether a revision has the wanted content.
    #[must_use]
    pub fn is_content_wanted(&self, revision: RevisionId) -> bool {
        revision == self.wanted.id
            || self
                .state
                .revision(revision)
                .is_some_and(|found| found.digest == self.wanted.digest)
    }

    /// Whether the service has one task per node.
    #[must_use]
    pub fn is_global(&self) -> bool {
        matches!(self.service.settings.mode, Mode::Global | Mode::GlobalJob)
    }

    /// The rollout, while it replaces slots.
    #[must_use]
    pub fn rolling(&self) -> Option<&'a Rollout> {
        self.service
            .rollout
            .as_ref()
            .filter(|rollout| rollout.state == RolloutState::Running)
    }

    /// Whether the rollout waits for the operator.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.service
            .rollout
            .as_ref()
            .is_some_and(|rollout| rollout.state == RolloutState::Paused)
    }

    /// The rules of the rollout under way, or of the next.
    #[must_use]
    pub fn policy(&self) -> &'a UpdatePolicy {
        policy_of(self.service)
    }

    /// What tasks of a revision ask of a node.
    #[must_use]
    pub fn request(&self, revision: RevisionId) -> Option<Arc<Request<'a>>> {
        let state = self.state;
        let mut requests = self.requests.borrow_mut();
        let request = requests.entry(revision).or_insert_with(|| {
            let found = state.revision(revision)?;
            Some(Arc::new(Request::of(
                self.service.id,
                found.digest,
                &found.template,
            )))
        });
        request.clone()
    }

    /// The first volume that keeps a task on its node, where one does: until the data is given up.
    #[must_use]
    pub fn bound_by(&self, task: &Task) -> Option<&'a str> {
        let slot = self.state.slot(task.plan.service, task.plan.slot)?;
        let at_home = slot.home.is_some() && slot.home == task.plan.node;
        let revision = self.state.revision(task.plan.revision).filter(|_| at_home)?;
        volumes::node_bound(&revision.template).next()
    }

    /// How a task stands with its node. A global task waits for its node: nothing else could take its place.
    #[must_use]
    pub fn standing(&self, task: &Task) -> Standing {
        let Some(id) = task.plan.node else {
            return Standing::Fine;
        };
        let Some(node) = self.state.node(id) else {
            return Standing::Gone(Reason::NodeRemoved(id));
        };
        if is_lost(node) {
            return if self.is_global() {
                Standing::Fine
            } else {
                Standing::Lost(Reason::NodeDown(id))
            };
        }
        if node.plan.availability == Availability::Drain || node.plan.removing_since.is_some() {
            return Standing::Leaving(Reason::NodeDrained(id));
        }
        let unmet = self
            .request(task.plan.revision)
            .filter(|_| !self.is_as_good(task))
            .and_then(|request| request.constraint(node));
        match unmet {
            Some(obstacle) => Standing::Leaving(Reason::NodeUnsuitable(id, obstacle)),
            None => Standing::Fine,
        }
    }

    /// Why a task that its data binds stays where it is although it should not.
    #[must_use]
    pub fn bound_reason(&self, task: &Task, volume: &str) -> Option<Reason> {
        let id = task.plan.node?;
        let here = match self.standing(task) {
            Standing::Lost(_) => Obstacle::NotReady,
            Standing::Leaving(Reason::NodeUnsuitable(_, obstacle)) => obstacle,
            Standing::Leaving(_) => Obstacle::Drained,
            Standing::Fine | Standing::Gone(_) => return None,
        };
        let others = self.state.nodes().filter(|node| node.id != id).count();
        let elsewhere = Obstacle::VolumeElsewhere {
            volume: volume.to_owned(),
            node: id,
        };
        let mut obstacles = vec![(here, 1)];
        if others > 0 {
            obstacles.insert(0, (elsewhere, u32::try_from(others).unwrap_or(u32::MAX)));
        }
        Some(Reason::NoSuitableNode(obstacles))
    }
}

/// The rules of a service's rollout under way, or of the next.
#[must_use]
pub fn policy_of(service: &Service) -> &UpdatePolicy {
    match service.rollout.as_ref().map(|rollout| rollout.direction) {
        Some(Direction::Rollback) => &service.settings.rollback,
        Some(Direction::Update) | None => &service.settings.update,
    }
}
