//! One deployment as one group: names become ids, changed content becomes a version, changed services are revised, and
//! what is as asked for stays untouched.

use std::collections::{BTreeMap, BTreeSet};

use shoal_core::service::revise;
use shoal_core::state::{Group, State, fold_name};
use shoal_proto::id::{ConfigId, RevisionId, SecretId, ServiceId, StackId};
use shoal_proto::object::Meta;
use shoal_proto::service::{IngressPort, Service, ServiceSettings, ServiceSpec, TaskTemplate};
use shoal_proto::stack::{ContentSpec, Stack, StackRevision, StackSpec};
use tonic::Status;

use super::content::{put_changed, put_new};
use super::content_id::ContentId;
use super::stack_draft::{Asker, Draft, StackPlan, Telling};
use super::versions::Bytes;
use super::{network, stack_history};
use crate::api::write::Plan;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct StackOrder<'a> {
    pub(super) spec: &'a StackSpec,
    pub(super) prune: Prune,
    pub(super) asker: Asker<'a>,
}

/// What goes when the file no longer names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prune {
    Nothing,
    Services,
}

pub(super) fn deploy(plan: &mut Plan<'_>, order: &StackOrder<'_>) -> Result<StackPlan, Status> {
    let spec = order.spec;
    check_names(spec)?;
    let stored = plan.state.stack_named(&spec.name).cloned();
    let stack = match stored {
        Some(stored) => Stack::clone(&stored),
        None => new_stack(plan.ids.stack(plan.now), spec),
    };
    let mut draft = Draft::new(plan, order.asker, stack.id);
    networks(&mut draft, plan, spec)?;
    contents(&mut draft, plan, spec)?;
    let last = stack.revisions.last();
    for wanted in &spec.services {
        service(&mut draft, plan, wanted, last)?;
    }
    if order.prune == Prune::Services {
        let named: BTreeSet<String> = spec.services.iter().map(|one| fold_name(&one.name)).collect();
        draft.remove_others(plan.ids, &named)?;
    }
    let settings = asked(&draft, spec, last);
    if draft.group.is_empty() && last.is_some_and(|last| last.settings == settings) {
        let newest = stack.revisions.last().map_or(0, |last| last.number);
        return Ok(draft.finish(newest));
    }
    let number = stack_history::next_number(&stack);
    let (services, names) = draft.services();
    let revision = StackRevision {
        number,
        created_at: plan.now,
        by: order.asker.writer.to_owned(),
        services,
        settings,
        names,
        restores: None,
    };
    stack_history::add(&mut draft.group, plan.state, stack, revision);
    Ok(draft.finish(number))
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
        if let Some(twice) = names.iter().find(|name| !seen.insert(fold_name(name))) {
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

fn networks(draft: &mut Draft<'_>, plan: &mut Plan<'_>, spec: &StackSpec) -> Result<(), Status> {
    for wanted in &spec.networks {
        let stored = draft.scratch.network_named(&wanted.name).cloned();
        if let Some(stored) = stored {
            draft.check_owner("network", &wanted.name, stored.stack)?;
            if stored.spec != *wanted {
                return Err(Status::failed_precondition(format!(
                    "network {} exists with other settings ({}), and a network never changes: remove it first, or \
                     give it another name",
                    wanted.name,
                    network::differences(&stored.spec, wanted).join(", ")
                )));
            }
            draft.note("network", &wanted.name, stored.id, "unchanged");
            continue;
        }
        let id = plan.ids.network(plan.now);
        let mut part = Group::new();
        part.put(network::made(
            &draft.scratch,
            id,
            Some(draft.stack),
            wanted.clone(),
        )?);
        draft.take(part)?;
        draft.note("network", &wanted.name, id, "created");
    }
    Ok(())
}

fn contents(draft: &mut Draft<'_>, plan: &mut Plan<'_>, spec: &StackSpec) -> Result<(), Status> {
    for wanted in &spec.secrets {
        content::<SecretId>(draft, plan, wanted)?;
    }
    for wanted in &spec.configs {
        content::<ConfigId>(draft, plan, wanted)?;
    }
    Ok(())
}

fn content<I: ContentId>(
    draft: &mut Draft<'_>,
    plan: &mut Plan<'_>,
    wanted: &ContentSpec,
) -> Result<(), Status> {
    let bytes = match draft.asker.telling {
        Telling::Outcome => Bytes::Uploaded,
        Telling::Plan => Bytes::Promised,
    };
    let mut part = Group::new();
    let (id, what) = match I::named(&draft.scratch, &wanted.name).cloned() {
        None => (
            put_new::<I>(&mut part, plan, (wanted, bytes), Some(draft.stack))?,
            "created",
        ),
        Some(stored) => {
            draft.check_owner(I::NAME, &wanted.name, stored.stack)?;
            let changed = put_changed(&mut part, plan, &stored, (wanted, bytes))?;
            (stored.id, if changed { "updated" } else { "unchanged" })
        }
    };
    draft.take(part)?;
    draft.note(I::NAME, &wanted.name, id, what);
    Ok(())
}

fn service(
    draft: &mut Draft<'_>,
    plan: &mut Plan<'_>,
    wanted: &ServiceSpec,
    last: Option<&StackRevision>,
) -> Result<(), Status> {
    let name = &wanted.name;
    let Some(stored) = draft.scratch.service_named(name).cloned() else {
        let stack = draft.stack;
        draft.revise(plan.ids, (name, "created"), |request| {
            revise::create(request, wanted.clone(), Some(stack))
        })?;
        return Ok(());
    };
    draft.check_owner("service", name, stored.stack)?;
    let before = last.and_then(|last| last.settings.get(&stored.id));
    let (settings, kept) = kept(&stored, &wanted.settings, before);
    let mut spec = ServiceSpec {
        settings,
        ..wanted.clone()
    };
    // That somebody had it restarted says nothing about what it is.
    let current = draft.scratch.revision(stored.revision);
    let restarts = current.map_or(0, |current| current.template.force_update);
    spec.template.force_update = spec.template.force_update.max(restarts);
    let deployed = last.and_then(|last| last.services.get(&stored.id));
    let drift = deployed.and_then(|deployed| drift(plan.state, &stored, *deployed));
    draft.revise(plan.ids, (name, "updated"), |request| {
        revise::update(request, stored.id, spec)
    })?;
    if let Some(change) = draft.changes.last_mut() {
        let writer = |name: &str| stored.setting_writers.get(name).cloned().unwrap_or_default();
        change.kept = kept
            .iter()
            .map(|name| ((*name).to_owned(), writer(name)))
            .collect();
        change.drifted_by = drift.as_ref().map(|meta| (&meta.cause).into());
        change.drifted_at_ms = drift.map_or(0, |meta| meta.created_at.as_ms());
    }
    Ok(())
}

/// What made a service run another content than its stack's newest revision says.
fn drift(state: &State, service: &Service, deployed: RevisionId) -> Option<Meta> {
    let (deployed, current) = (state.revision(deployed)?, state.revision(service.revision)?);
    let content = |template: &TaskTemplate| TaskTemplate {
        force_update: 0,
        ..template.clone()
    };
    let differs = content(&deployed.template) != content(&current.template);
    differs.then(|| current.meta.clone())
}

/// What counts as asked for, by the services' ids: what the file says, and what an older one said of those that this one
/// does not name.
fn asked(
    draft: &Draft<'_>,
    spec: &StackSpec,
    last: Option<&StackRevision>,
) -> BTreeMap<ServiceId, ServiceSettings> {
    let by_file: BTreeMap<String, &ServiceSettings> = spec
        .services
        .iter()
        .map(|one| (fold_name(&one.name), &one.settings))
        .collect();
    let of = |service: &Service| {
        let said = by_file.get(&fold_name(&service.name)).copied();
        said.or_else(|| last?.settings.get(&service.id)).cloned()
    };
    let live = draft.live_services();
    let asked = live.iter().filter_map(|service| Some((service.id, of(service)?)));
    asked.collect()
}

/// The file's settings, but for those that the file did not change and somebody else wrote since: they stay. And the names
/// of those that stay.
fn kept(
    stored: &Service,
    asked: &ServiceSettings,
    asked_before: Option<&ServiceSettings>,
) -> (ServiceSettings, Vec<&'static str>) {
    let Some(before) = asked_before else {
        return (asked.clone(), Vec::new());
    };
    let current = &stored.settings;
    let mut settings = asked.clone();
    let mut stay = Vec::new();
    macro_rules! keep {
        ($($field:ident as $name:literal),+) => {$(
            if asked.$field == before.$field && asked.$field != current.$field {
                settings.$field.clone_from(&current.$field);
                stay.push($name);
            }
        )+};
    }
    keep!(
        mode as "replicas",
        labels as "labels",
        update as "update",
        rollback as "rollback",
        restart as "restart",
        endpoint as "endpoint",
        ingress_ports as "ingress_ports",
        drain_ms as "drain"
    );
    let own = is_answer(&asked.ingress_ports, &current.ingress_ports);
    stay.retain(|name| *name != "ingress_ports" || !own);
    (settings, stay)
}

/// Whether ports are those that were asked for, with numbers where none was named.
fn is_answer(asked: &[IngressPort], given: &[IngressPort]) -> bool {
    let fits = |(asked, given): (&IngressPort, &IngressPort)| {
        let published_port = match asked.published_port {
            0 => given.published_port,
            named => named,
        };
        *given
            == IngressPort {
                published_port,
                ..asked.clone()
            }
    };
    asked.len() == given.len() && asked.iter().zip(given).all(fits)
}

#[cfg(test)]
#[path = "stack_plan_test.rs"]
mod tests;
