//! One deployment as one group: names become ids, changed content becomes a version, changed services are revised, and
//! what is as asked for stays untouched.
//!
//! Each step is tried on a copy of the state, so that the next one sees what it made: names, ports, networks.

use std::collections::{BTreeMap, BTreeSet};

use shoal_core::service::revise::{self, ReviseError};
use shoal_core::service::{Effect, Planned};
use shoal_core::state::{Change, Group, Guard, ObjectKey, Proposal, State};
use shoal_proto::id::{ConfigId, SecretId, ServiceId, StackId};
use shoal_proto::object::{Cause, Meta};
use shoal_proto::service::{Service, ServiceSettings, ServiceSpec};
use shoal_proto::stack::{ContentSpec, STACK_REVISIONS_MAX, Stack, StackRevision, StackSpec};
use shoal_proto::time::Timestamp;
use shoal_proto::wire;
use tonic::Status;

use super::content::{put_changed, put_new};
use super::content_id::ContentId;
use super::network;
use super::service::{asking, refused};
use crate::api::fault;
use crate::api::write::Plan;

/// What is asked for.
pub(super) struct StackOrder<'a> {
    pub(super) spec: &'a StackSpec,
    pub(super) prune: Prune,
    pub(super) writer: &'a str,
    pub(super) cause: &'a Cause,
}

/// What goes when the file no longer names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prune {
    Nothing,
    Services,
}

/// What to propose, and what happens to each thing, in the order of the file.
#[derive(Debug)]
pub(super) struct StackPlan {
    pub(super) group: Group,
    pub(super) changes: Vec<wire::StackChange>,
}

pub(super) fn deploy(plan: &mut Plan<'_>, order: &StackOrder<'_>) -> Result<StackPlan, Status> {
    let spec = order.spec;
    check_names(spec)?;
    let stored = plan.state.stack_named(&spec.name).cloned();
    let stack = stored
        .as_ref()
        .map_or_else(|| plan.ids.stack(plan.now), |stack| stack.id);
    let mut draft = Draft {
        scratch: plan.state.clone(),
        group: Group::new(),
        changes: Vec::new(),
        stack,
        now: plan.now,
        cause: order.cause.clone(),
    };
    draft.networks(plan, spec)?;
    draft.contents(plan, spec)?;
    let asked_before = stored
        .as_ref()
        .and_then(|stack| stack.revisions.last())
        .map(|last| &last.settings);
    for service in &spec.services {
        draft.service(plan, service, asked_before, order.writer)?;
    }
    if order.prune == Prune::Services {
        draft.prune(plan, spec, order.writer)?;
    }
    let asked = draft.asked(spec);
    let unchanged = draft.group.is_empty() && asked_before == Some(&asked);
    if !unchanged {
        let services = draft.services();
        let stack = stored
            .as_ref()
            .map_or_else(|| new_stack(stack, spec), |stack| Stack::clone(stack));
        draft
            .group
            .put(with_revision(stack, (services, asked), order.writer, plan.now));
    }
    Ok(StackPlan {
        group: draft.finish(),
        changes: draft.changes,
    })
}

/// The same name twice would be changed twice.
fn check_names(spec: &StackSpec) -> Result<(), Status> {
    let kinds: [(&str, Vec<&str>); 4] = [
        (
            "service",
            spec.services.iter().map(|one| one.name.as_str()).collect(),
        ),
        (
            "network",
            spec.networks.iter().map(|one| one.name.as_str()).collect(),
        ),
        (
            "secret",
            spec.secrets.iter().map(|one| one.name.as_str()).collect(),
        ),
        (
            "config",
            spec.configs.iter().map(|one| one.name.as_str()).collect(),
        ),
    ];
    for (kind, names) in kinds {
        let mut seen = BTreeSet::new();
        if let Some(twice) = names
            .iter()
            .find(|name| !seen.insert(shoal_core::state::fold_name(name)))
        {
            return Err(Status::invalid_argument(format!(
                "{kind} {twice:?} is in the stack twice"
            )));
        }
    }
    Ok(())
}

fn new_stack(id: StackId, spec: &StackSpec) -> Stack {
    Stack {
        id,
        meta: Meta::default(),
        name: spec.name.clone(),
        revisions: Vec::new(),
        removed_at: None,
    }
}

type Asked = BTreeMap<ServiceId, ServiceSettings>;

fn with_revision(
    mut stack: Stack,
    (services, settings): (BTreeMap<ServiceId, shoal_proto::id::RevisionId>, Asked),
    by: &str,
    now: Timestamp,
) -> Stack {
    let number = stack.revisions.last().map_or(0, |last| last.number) + 1;
    stack.revisions.push(StackRevision {
        number,
        created_at: now,
        by: by.to_owned(),
        services,
        settings,
    });
    let surplus = stack.revisions.len().saturating_sub(STACK_REVISIONS_MAX);
    stack.revisions.drain(..surplus);
    stack
}

/// What was decided so far, and the state as it would be then.
struct Draft {
    scratch: State,
    group: Group,
    changes: Vec<wire::StackChange>,
    stack: StackId,
    now: Timestamp,
    cause: Cause,
}

impl Draft {
    /// Takes a part over, tried on the copy first.
    fn take(&mut self, part: Group) -> Result<(), Status> {
        if part.is_empty() {
            return Ok(());
        }
        let proposal = Proposal::new(self.now, self.cause.clone(), vec![part.clone()]);
        let applied = self.scratch.apply(self.scratch.index() + 1, &proposal);
        for result in &applied.results {
            result.as_ref().map_err(fault::conflict)?;
        }
        self.group.guards.extend(part.guards);
        self.group.changes.extend(part.changes);
        Ok(())
    }

    fn note(&mut self, kind: &str, name: &str, id: impl ToString, what: &str) {
        let (kind, name, what) = (kind.to_owned(), name.to_owned(), what.to_owned());
        self.changes.push(wire::StackChange {
            kind,
            name,
            id: id.to_string(),
            what,
        });
    }

    fn networks(&mut self, plan: &mut Plan<'_>, spec: &StackSpec) -> Result<(), Status> {
        for wanted in &spec.networks {
            let stored = self.scratch.network_named(&wanted.name).cloned();
            if let Some(stored) = stored {
                self.check_owner("network", &wanted.name, stored.stack)?;
                if stored.spec != *wanted {
                    return Err(Status::failed_precondition(format!(
                        "network {} exists with other settings ({}), and a network never changes: remove it first, or \
                         give it another name",
                        wanted.name,
                        network::differences(&stored.spec, wanted).join(", ")
                    )));
                }
                self.note("network", &wanted.name, stored.id, "unchanged");
                continue;
            }
            let id = plan.ids.network(plan.now);
            let mut part = Group::new();
            part.put(network::made(
                &self.scratch,
                id,
                Some(self.stack),
                wanted.clone(),
            )?);
            self.take(part)?;
            self.note("network", &wanted.name, id, "created");
        }
        Ok(())
    }

    fn contents(&mut self, plan: &mut Plan<'_>, spec: &StackSpec) -> Result<(), Status> {
        for wanted in &spec.secrets {
            self.content::<SecretId>(plan, wanted)?;
        }
        for wanted in &spec.configs {
            self.content::<ConfigId>(plan, wanted)?;
        }
        Ok(())
    }

    fn content<I: ContentId>(&mut self, plan: &mut Plan<'_>, wanted: &ContentSpec) -> Result<(), Status> {
        let mut part = Group::new();
        let (id, what) = match I::named(&self.scratch, &wanted.name).cloned() {
            None => (
                put_new::<I>(&mut part, plan, wanted, Some(self.stack))?,
                "created",
            ),
            Some(stored) => {
                self.check_owner(I::NAME, &wanted.name, stored.stack)?;
                (stored.id, what(put_changed(&mut part, plan, &stored, wanted)?))
            }
        };
        self.take(part)?;
        self.note(I::NAME, &wanted.name, id, what);
        Ok(())
    }

    /// A thing of this name that is not the stack's is not taken over.
    fn check_owner(&self, kind: &str, name: &str, owner: Option<StackId>) -> Result<(), Status> {
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

    fn service(
        &mut self,
        plan: &mut Plan<'_>,
        wanted: &ServiceSpec,
        asked_before: Option<&Asked>,
        writer: &str,
    ) -> Result<(), Status> {
        let stored = self.scratch.service_named(&wanted.name).cloned();
        let mut plan = Plan {
            state: &self.scratch,
            ids: plan.ids,
            now: plan.now,
        };
        let mut asking = asking(&mut plan, writer);
        let (planned, what) = match stored {
            None => (
                revise::create(&mut asking, wanted.clone(), Some(self.stack)),
                "created",
            ),
            Some(stored) => {
                self.check_owner("service", &wanted.name, stored.stack)?;
                let before = asked_before.and_then(|asked| asked.get(&stored.id));
                let spec = ServiceSpec {
                    settings: kept(&stored, &wanted.settings, before),
                    ..wanted.clone()
                };
                (revise::update(&mut asking, stored.id, spec), "updated")
            }
        };
        let planned = planned.map_err(|error| named(&wanted.name, error))?;
        let what = if planned.effect == Effect::Unchanged {
            "unchanged"
        } else {
            what
        };
        let Planned { service, group, .. } = planned;
        self.take(group)?;
        self.note("service", &wanted.name, service.id, what);
        Ok(())
    }

    fn prune(&mut self, plan: &mut Plan<'_>, spec: &StackSpec, writer: &str) -> Result<(), Status> {
        let named: BTreeSet<String> = spec
            .services
            .iter()
            .map(|one| shoal_core::state::fold_name(&one.name))
            .collect();
        for service in self.live_services() {
            if named.contains(&shoal_core::state::fold_name(&service.name)) {
                continue;
            }
            let mut plan = Plan {
                state: &self.scratch,
                ids: plan.ids,
                now: plan.now,
            };
            let planned = revise::remove(&mut asking(&mut plan, writer), service.id).map_err(refused)?;
            self.take(planned.group)?;
            self.note("service", &service.name, service.id, "removed");
        }
        Ok(())
    }

    fn live_services(&self) -> Vec<std::sync::Arc<Service>> {
        let services = self
            .scratch
            .stack_members(self.stack)
            .filter_map(|key| match key {
                ObjectKey::Service(id) => self.scratch.service(*id),
                _ => None,
            });
        services
            .filter(|service| service.removed_at.is_none())
            .cloned()
            .collect()
    }

    /// What each service of the stack is to run.
    fn services(&self) -> BTreeMap<ServiceId, shoal_proto::id::RevisionId> {
        self.live_services()
            .iter()
            .map(|service| (service.id, service.revision))
            .collect()
    }

    /// What the file asks for, by the services' ids.
    fn asked(&self, spec: &StackSpec) -> Asked {
        let asked = spec.services.iter().filter_map(|wanted| {
            let service = self.scratch.service_named(&wanted.name)?;
            Some((service.id, wanted.settings.clone()))
        });
        asked.collect()
    }

    /// Guards of the parts speak of a state in which the parts before were written: those about things that this very
    /// group makes go without saying.
    fn finish(&mut self) -> Group {
        let mut group = std::mem::take(&mut self.group);
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

const fn what(changed: bool) -> &'static str {
    if changed { "updated" } else { "unchanged" }
}

fn named(name: &str, error: ReviseError) -> Status {
    let status = refused(error);
    Status::new(status.code(), format!("service {name}: {}", status.message()))
}

/// The file's settings, but for those that the file did not change and somebody else wrote since: they stay.
fn kept(
    stored: &Service,
    asked: &ServiceSettings,
    asked_before: Option<&ServiceSettings>,
) -> ServiceSettings {
    let Some(before) = asked_before else {
        return asked.clone();
    };
    let current = &stored.settings;
    let mut settings = asked.clone();
    macro_rules! keep {
        ($($field:ident),+) => {$(
            if asked.$field == before.$field {
                settings.$field.clone_from(&current.$field);
            }
        )+};
    }
    keep!(
        mode,
        labels,
        update,
        rollback,
        restart,
        endpoint,
        ingress_ports,
        drain_ms
    );
    settings
}

#[cfg(test)]
#[path = "stack_plan_test.rs"]
mod tests;
