//! One transaction about a stack while it is put together. Each part is tried on a copy of the state, so that the next
//! one sees what it made: names, ports, networks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shoal_core::ids::IdSource;
use shoal_core::service::revise::{self, ReviseError};
use shoal_core::service::{Effect, Planned};
use shoal_core::state::{Change, Group, Guard, ObjectKey, Proposal, State};
use shoal_proto::id::{RevisionId, ServiceId, StackId};
use shoal_proto::object::Cause;
use shoal_proto::service::{Service, ServiceSpec, TaskTemplate};
use shoal_proto::time::Timestamp;
use shoal_proto::wire;
use tonic::Status;

use super::service::refused;
use super::stack_detail;
use crate::api::fault;
use crate::api::write::Plan;

/// How much is told of what is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    /// What happened to each thing.
    Outcome,
    /// And how each service is and would be: nothing is written, and bytes need not be there.
    Plan,
}

/// Who asks, and how much is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) writer: &'a str,
    pub(super) cause: &'a Cause,
    pub(super) telling: Telling,
}

/// What to propose, and what is answered once it is done.
#[derive(Debug)]
pub(super) struct StackPlan {
    pub(super) group: Group,
    pub(super) answer: wire::StackDeployed,
}

/// What was decided so far, and the state as it would be then.
pub(super) struct Draft<'a> {
    pub(super) scratch: State,
    pub(super) group: Group,
    pub(super) changes: Vec<wire::StackChange>,
    pub(super) stack: StackId,
    pub(super) asker: Asker<'a>,
    before: &'a State,
    now: Timestamp,
    told: Vec<Arc<TaskTemplate>>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(plan: &Plan<'a>, asker: Asker<'a>, stack: StackId) -> Self {
        Self {
            scratch: plan.state.clone(),
            group: Group::new(),
            changes: Vec::new(),
            stack,
            asker,
            before: plan.state,
            now: plan.now,
            told: Vec::new(),
        }
    }

    /// Takes a part over, tried on the copy first.
    pub(super) fn take(&mut self, part: Group) -> Result<(), Status> {
        if part.is_empty() {
            return Ok(());
        }
        let proposal = Proposal::new(self.now, self.asker.cause.clone(), vec![part.clone()]);
        let applied = self.scratch.apply(self.scratch.index() + 1, &proposal);
        for result in &applied.results {
            result.as_ref().map_err(fault::conflict)?;
        }
        self.group.guards.extend(part.guards);
        self.group.changes.extend(part.changes);
        Ok(())
    }

    pub(super) fn note(&mut self, kind: &str, name: &str, id: impl ToString, what: &str) {
        let (kind, name, what) = (kind.to_owned(), name.to_owned(), what.to_owned());
        self.changes.push(wire::StackChange {
            kind,
            name,
            id: id.to_string(),
            what,
            ..wire::StackChange::default()
        });
    }

    /// Plans a change of one service on the copy, takes it over and notes `what` happened, unless nothing did.
    pub(super) fn revise(
        &mut self,
        ids: &mut IdSource,
        (name, what): (&str, &str),
        change: impl FnOnce(&mut revise::Request<'_>) -> Result<Planned, ReviseError>,
    ) -> Result<Effect, Status> {
        let planned = change(&mut revise::Request {
            state: &self.scratch,
            ids,
            now: self.now,
            writer: self.asker.writer,
        });
        let planned = planned.map_err(|error| {
            let status = refused(error);
            Status::new(status.code(), format!("service {name}: {}", status.message()))
        })?;
        let Planned {
            service,
            group,
            effect,
        } = planned;
        self.take(group)?;
        let what = if effect == Effect::Unchanged {
            "unchanged"
        } else {
            what
        };
        self.note("service", &service.name, service.id, what);
        if self.asker.telling == Telling::Plan && effect != Effect::Unchanged {
            self.tell_how(service.id, effect);
        }
        Ok(effect)
    }

    /// Adds to the last change how its service is and would be.
    fn tell_how(&mut self, id: ServiceId, effect: Effect) {
        let stored = self.before.service(id);
        let before = stored.and_then(|stored| spec_of(self.before, stored));
        let live = self.scratch.service(id).filter(|one| one.removed_at.is_none());
        let after = live.and_then(|live| spec_of(&self.scratch, live));
        for (_, template) in [&before, &after].into_iter().flatten() {
            self.told.push(template.clone());
        }
        if let Some(change) = self.changes.last_mut() {
            change.rolls = effect == Effect::Rollout && before.is_some() && after.is_some();
            change.before = before.map(|(spec, _)| spec);
            change.after = after.map(|(spec, _)| spec);
        }
    }

    /// A thing of this name that is not the stack's is not taken over.
    pub(super) fn check_owner(&self, kind: &str, name: &str, owner: Option<StackId>) -> Result<(), Status> {
        if owner == Some(self.stack) {
            return Ok(());
        }
        let whose = match owner.and_then(|owner| self.scratch.stack(owner)) {
            Some(stack) => format!("belongs to stack {}", stack.name),
            None => "belongs to no stack".to_owned(),
        };
        Err(Status::already_exists(format!(
            "{kind} {name} exists already and {whose}: choose another name, or remove it"
        )))
    }

    /// Removes the services of the stack that are not among these names, which are folded.
    pub(super) fn remove_others(
        &mut self,
        ids: &mut IdSource,
        named: &BTreeSet<String>,
    ) -> Result<(), Status> {
        for service in self.live_services() {
            if named.contains(&shoal_core::state::fold_name(&service.name)) {
                continue;
            }
            self.revise(ids, (&service.name, "removed"), |request| {
                revise::remove(request, service.id)
            })?;
        }
        Ok(())
    }

    pub(super) fn live_services(&self) -> Vec<Arc<Service>> {
        live_services(&self.scratch, self.stack)
    }

    /// What each service of the stack is to run, and its name.
    pub(super) fn services(&self) -> (BTreeMap<ServiceId, RevisionId>, BTreeMap<ServiceId, String>) {
        let live = self.live_services();
        let runs = live.iter().map(|service| (service.id, service.revision));
        let named = live.iter().map(|service| (service.id, service.name.clone()));
        (runs.collect(), named.collect())
    }

    /// The whole, with the number of the stack's newest revision once it is done.
    pub(super) fn finish(mut self, revision: u64) -> StackPlan {
        let names = stack_detail::names(&self.scratch, self.told.iter().map(AsRef::as_ref));
        let answer = wire::StackDeployed {
            id: self.stack.to_string(),
            revision,
            changes: std::mem::take(&mut self.changes),
            names: (self.asker.telling == Telling::Plan).then_some(names),
            ..wire::StackDeployed::default()
        };
        StackPlan {
            group: self.whole(),
            answer,
        }
    }

    /// Guards of the parts speak of a state in which the parts before were written: those about things that this very
    /// group makes go without saying.
    fn whole(self) -> Group {
        let mut group = self.group;
        let made: BTreeSet<ObjectKey> = group
            .changes
            .iter()
            .filter_map(|change| match change {
                Change::Put(object) if object.meta().version == 0 => Some(object.key()),
                _ => None,
            })
            .collect();
        group
            .guards
            .retain(|guard| !matches!(guard, Guard::Exists(key) if made.contains(key)));
        group
    }
}

/// Services of a stack that were not removed.
pub(super) fn live_services(state: &State, stack: StackId) -> Vec<Arc<Service>> {
    let services = state.stack_members(stack).filter_map(|key| match key {
        ObjectKey::Service(id) => state.service(*id),
        _ => None,
    });
    services
        .filter(|service| service.removed_at.is_none())
        .cloned()
        .collect()
}

/// A service as somebody could ask for it, and what its tasks are made of.
fn spec_of(state: &State, service: &Service) -> Option<(wire::ServiceSpec, Arc<TaskTemplate>)> {
    let template = state.revision(service.revision)?.template.clone();
    let spec = ServiceSpec {
        name: service.name.clone(),
        settings: service.settings.clone(),
        template: TaskTemplate::clone(&template),
    };
    Some(((&spec).into(), template))
}
