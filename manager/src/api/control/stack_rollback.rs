//! Back to an older revision of a stack, under a new number; and new tasks of the content that is. Both one transaction.

use std::collections::{BTreeMap, BTreeSet};

use shoal_core::ids::IdSource;
use shoal_core::service::Effect;
use shoal_core::service::revise::{self, RollbackScope};
use shoal_core::state::{ObjectKey, State, fold_name};
use shoal_proto::content::ContentVersion;
use shoal_proto::id::{ServiceId, VersionId};
use shoal_proto::network::ingress_network;
use shoal_proto::service::{NetworkTarget, ServiceSettings, ServiceSpec, TaskTemplate};
use shoal_proto::stack::{Stack, StackRevision};
use tonic::Status;

use super::stack_draft::{Asker, Draft, StackPlan, live_services};
use super::{stack_detail, stack_history};
use crate::api::refs;
use crate::api::write::Plan;

/// Where to go back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct RollbackOrder<'a> {
    pub(super) stack: &'a str,
    /// Zero: the revision before the newest.
    pub(super) to: u64,
    pub(super) scope: RollbackScope,
    pub(super) asker: Asker<'a>,
}

/// Each service gets the content it had then; one that is gone since is made again, one that came since is removed.
/// Settings stay as they are unless they are asked for.
pub(super) fn rollback(plan: &mut Plan<'_>, order: &RollbackOrder<'_>) -> Result<StackPlan, Status> {
    let stack = refs::stack(plan.state, order.stack)?;
    let target = stack_history::target(&stack, order.to)?;
    let mut draft = Draft::new(plan, order.asker, stack.id);
    let mut back = Back {
        stack: &stack,
        target,
        scope: order.scope,
        settings: BTreeMap::new(),
    };
    let mut wanted: Vec<(String, ServiceId)> = target
        .services
        .keys()
        .map(|id| (stack_detail::name(plan.state, target, *id), *id))
        .collect();
    wanted.sort();
    for (name, id) in &wanted {
        back.bring(&mut draft, plan, (name, *id))?;
    }
    let named: BTreeSet<String> = wanted.iter().map(|(name, _)| fold_name(name)).collect();
    draft.remove_others(plan.ids, &named)?;
    let (services, names) = draft.services();
    let newest = stack_history::find(&stack, 0)?;
    if draft.group.is_empty() && newest.services == services && newest.settings == back.settings {
        return Err(Status::failed_precondition(format!(
            "stack {} has the content of revision {} already",
            stack.name, target.number
        )));
    }
    let number = stack_history::next_number(&stack);
    let revision = StackRevision {
        number,
        created_at: plan.now,
        by: order.asker.writer.to_owned(),
        services,
        settings: back.settings,
        names,
        restores: Some(target.number),
    };
    stack_history::add(&mut draft.group, plan.state, Stack::clone(&stack), revision);
    Ok(draft.finish(number))
}

/// A rollback under way.
struct Back<'s> {
    stack: &'s Stack,
    target: &'s StackRevision,
    scope: RollbackScope,
    /// What counts from now on as asked for: what the newest file asked for, unless settings are brought back, too. Else
    /// the next deployment of that file would take its own number for an old one.
    settings: BTreeMap<ServiceId, ServiceSettings>,
}

impl Back<'_> {
    fn bring(
        &mut self,
        draft: &mut Draft<'_>,
        plan: &mut Plan<'_>,
        (name, id): (&str, ServiceId),
    ) -> Result<(), Status> {
        let then = stack_detail::service(plan.state, self.target, id).ok_or_else(|| {
            self.impossible(&format!(
                "what service {name} was made of then is not kept any more"
            ))
        })?;
        if let Some(missing) = missing(&draft.scratch, &then.template) {
            return Err(self.impossible(&format!("service {name} used {missing} then, which is gone")));
        }
        let ServiceSpec {
            settings, template, ..
        } = then.clone();
        let Some(live) = draft.scratch.service_named(name).cloned() else {
            draft.revise(plan.ids, (name, "created"), |request| {
                revise::create(request, then.clone(), Some(self.stack.id))
            })?;
            if let Some(made) = draft.scratch.service_named(name) {
                self.settings.insert(made.id, settings);
            }
            return Ok(());
        };
        draft.check_owner("service", name, live.stack)?;
        let asked = match self.scope {
            RollbackScope::Content => None,
            RollbackScope::ContentAndSettings => Some(settings.clone()),
        };
        let last = self
            .stack
            .revisions
            .last()
            .and_then(|last| last.settings.get(&live.id));
        let counts = asked.clone().or_else(|| last.cloned()).unwrap_or(settings);
        self.settings.insert(live.id, counts);
        let effect = draft.revise(plan.ids, (name, "updated"), |request| {
            revise::restore(request, live.id, template, asked)
        })?;
        if let (Effect::Rollout, Some(change)) = (effect, draft.changes.last_mut()) {
            "rolled back".clone_into(&mut change.what);
        }
        Ok(())
    }

    fn impossible(&self, why: &str) -> Status {
        Status::failed_precondition(format!(
            "stack {} cannot go back to revision {}: {why}",
            self.stack.name, self.target.number
        ))
    }
}

/// The first thing a template needs that is not there any more.
fn missing(state: &State, template: &TaskTemplate) -> Option<String> {
    let lacks = |versions: Option<&[ContentVersion]>, id: Option<VersionId>| {
        versions.is_none_or(|versions| id.is_some_and(|id| versions.iter().all(|one| one.id != id)))
    };
    for used in &template.networks {
        // Whether it needs the cluster's own is seen when it is made.
        if let NetworkTarget::Cluster(id) = &used.network
            && *id != ingress_network()
            && state.network(*id).is_none()
        {
            return Some(ObjectKey::Network(*id).to_string());
        }
    }
    for used in &template.container.secrets {
        let stored = used.secret.and_then(|id| state.secret(id));
        if lacks(stored.map(|secret| secret.versions.as_slice()), used.version) {
            return Some(format!("a version of secret {}", used.name));
        }
    }
    for used in &template.container.configs {
        let stored = used.config.and_then(|id| state.config(id));
        if lacks(stored.map(|config| config.versions.as_slice()), used.version) {
            return Some(format!("a version of config {}", used.name));
        }
    }
    None
}

/// New tasks of the same content for these services of a stack, by their full names or without the stack's; for all
/// where none is named.
pub(super) fn restart(
    plan: &mut Plan<'_>,
    (stack, services): (&str, &[String]),
    asker: Asker<'_>,
) -> Result<StackPlan, Status> {
    let stack = refs::stack(plan.state, stack)?;
    let live = live_services(plan.state, stack.id);
    let mut meant = Vec::new();
    for wanted in services {
        let full = fold_name(&format!("{}_{wanted}", stack.name));
        let is = |name: &str| fold_name(name) == fold_name(wanted) || fold_name(name) == full;
        let found = live.iter().find(|service| is(&service.name)).ok_or_else(|| {
            let names: Vec<&str> = live.iter().map(|service| service.name.as_str()).collect();
            Status::not_found(format!(
                "stack {} has no service {wanted:?}: it has {}",
                stack.name,
                names.join(", ")
            ))
        })?;
        if meant.iter().all(|one: &ServiceId| *one != found.id) {
            meant.push(found.id);
        }
    }
    let mut draft = Draft::new(plan, asker, stack.id);
    for service in &live {
        if services.is_empty() || meant.contains(&service.id) {
            restart_one(&mut draft, plan.ids, (&service.name, service.id))?;
        }
    }
    let newest = stack_history::find(&stack, 0)?.number;
    Ok(draft.finish(newest))
}

fn restart_one(
    draft: &mut Draft<'_>,
    ids: &mut IdSource,
    (name, id): (&str, ServiceId),
) -> Result<(), Status> {
    let gone = || Status::internal(format!("service {name} has no revision"));
    let service = draft.scratch.service(id).cloned().ok_or_else(gone)?;
    let revision = draft.scratch.revision(service.revision).ok_or_else(gone)?;
    let mut template = TaskTemplate::clone(&revision.template);
    template.force_update += 1;
    let spec = ServiceSpec {
        name: service.name.clone(),
        settings: service.settings.clone(),
        template,
    };
    draft.revise(ids, (name, "restarted"), |request| {
        revise::update(request, id, spec)
    })?;
    Ok(())
}

#[cfg(test)]
#[path = "stack_rollback_test.rs"]
mod tests;
