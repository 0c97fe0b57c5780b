//! Create, update, roll back, scale, move and remove a service: from what was asked to what to propose.
//! Nothing is written here, and no task is touched: the leader does that when it sees the service.

use std::collections::BTreeMap;
use std::sync::Arc;

use shoal_proto::id::{RevisionId, ServiceId, StackId};
use shoal_proto::object::Meta;
use shoal_proto::reason::Reason;
use shoal_proto::service::{Mode, Revision, Service, ServiceSettings, ServiceSpec, TaskTemplate};
use shoal_proto::time::Timestamp;
use shoal_proto::update::{Direction, Rollout, RolloutState};

use super::resolve::{ResolveError, guard_uses, is_free, put_on_ingress, resolve};
use super::steer::SteerError;
use super::validate::{SpecError, validate, validate_change};
use super::{Effect, Planned, content_digest};
use crate::allocator::port::{self, PortError};
use crate::allocator::{NetworkFull, address};
use crate::ids::IdSource;
use crate::state::{Group, State};

/// Why a change of a service is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviseError {
    /// The specification is not valid.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// It names something that is not there.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A port cannot be had.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A network has no address left for its virtual IP.
    #[error(transparent)]
    Network(#[from] NetworkFull),
    /// The name is used.
    #[error("a service named {0:?} exists already: update it, or choose another name")]
    NameUsed(String),
    /// No such service, or only its tasks remain.
    #[error("service {0} does not exist or was removed")]
    Gone(ServiceId),
    /// Nothing to go back to.
    #[error("service {0:?} has no revision before this one to roll back to")]
    NoPrevious(String),
    /// No such number.
    #[error("service {name:?} has no revision {number}: see its history")]
    NoRevision {
        /// The service.
        name: String,
        /// What was asked for.
        number: u64,
    },
    /// It runs that already.
    #[error("service {name:?} wants the content of revision {number} already")]
    SameContent {
        /// The service.
        name: String,
        /// What was asked for.
        number: u64,
    },
    /// Its rollout cannot be told that.
    #[error(transparent)]
    Steer(#[from] SteerError),
    /// Only replicated services have a number of replicas.
    #[error("service {0:?} is not replicated and cannot be scaled")]
    NotReplicated(String),
}

/// Who asks, when, and whence new ids come.
#[derive(Debug)]
pub struct Request<'a> {
    /// The state as it is.
    pub state: &'a State,
    /// Source of ids.
    pub ids: &'a mut IdSource,
    /// Cluster time.
    pub now: Timestamp,
    /// The operator's name, kept with the settings it writes.
    pub writer: &'a str,
}

/// What a rollback takes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollbackScope {
    /// The content only.
    Content,
    /// The settings before the last update, too.
    ContentAndSettings,
}

/// A new service.
///
/// # Errors
/// Whatever is wrong with the specification, a name that is used, and a port that is taken.
pub fn create(
    request: &mut Request<'_>,
    mut spec: ServiceSpec,
    stack: Option<StackId>,
) -> Result<Planned, ReviseError> {
    validate(&spec)?;
    if !is_free(request.state, &spec.name) {
        return Err(ReviseError::NameUsed(spec.name));
    }
    resolve(request.state, &mut spec.template, &spec.settings)?;
    let id = request.ids.service(request.now);
    let mut settings = spec.settings;
    settings.ingress_ports = port::allocate(request.state, id, &settings.ingress_ports, &[])?;
    port::check_host_mode(request.state, id, &settings.ingress_ports, &spec.template)?;
    let revision = revision(request, id, 1, spec.template);
    let names = setting_names(&settings);
    let mut service = Service {
        id,
        meta: Meta::default(),
        name: spec.name,
        stack,
        settings,
        setting_writers: names
            .map(|name| (name.to_owned(), request.writer.to_owned()))
            .collect(),
        revision: revision.id,
        previous_revision: None,
        good_revision: None,
        last_revision_number: 1,
        previous_settings: None,
        rollout: None,
        removed_at: None,
        addresses: Vec::new(),
    };
    service.addresses = address::virtual_ips(request.state, &service, &revision.template, request.now)?;
    let mut group = Group::new();
    guard_uses(&mut group, &revision.template);
    group.put(revision).put(service.clone());
    Ok(Planned {
        service,
        group,
        effect: Effect::Rollout,
    })
}

/// The service as the specification says: settings in place, and a rollout where the content differs.
///
/// # Errors
/// Whatever is wrong with the specification, a change of the mode, and a port that is taken.
pub fn update(
    request: &mut Request<'_>,
    id: ServiceId,
    mut spec: ServiceSpec,
) -> Result<Planned, ReviseError> {
    let before = live(request.state, id)?;
    validate(&spec)?;
    validate_change(before, &spec)?;
    resolve(request.state, &mut spec.template, &spec.settings)?;
    let mut service = Service::clone(before);
    let mut settings = spec.settings;
    let (asked, kept) = (&settings.ingress_ports, &before.settings.ingress_ports);
    settings.ingress_ports = port::allocate(request.state, id, asked, kept)?;
    port::check_host_mode(request.state, id, &settings.ingress_ports, &spec.template)?;
    change_settings(request, &mut service, settings);
    service.addresses = address::virtual_ips(request.state, &service, &spec.template, request.now)?;
    let mut group = Group::new();
    let current = request.state.revision(before.revision);
    let paused = before
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.state == RolloutState::Paused);
    let same = current.is_some_and(|current| current.digest == content_digest(&spec.template));
    if !same {
        let number = before.last_revision_number + 1;
        let revision = revision(request, id, number, spec.template);
        guard_uses(&mut group, &revision.template);
        point_to(&mut service, &revision);
        service.rollout = Some(rollout(
            Direction::Update,
            before.revision,
            revision.id,
            request.now,
        ));
        group.put(revision);
    } else if paused {
        // Asked for again: the operator says go on.
        service.rollout = Some(rollout(
            Direction::Update,
            before.revision,
            before.revision,
            request.now,
        ));
    }
    Ok(finish(before, service, group))
}

/// Back to an older content, under a new number: to the revision before, or to the one of that number.
///
/// # Errors
/// When there is none, or it is what the service wants already.
pub fn rollback(
    request: &mut Request<'_>,
    id: ServiceId,
    to: Option<u64>,
    scope: RollbackScope,
) -> Result<Planned, ReviseError> {
    let before = live(request.state, id)?;
    let older = older_revision(request.state, before, to)?;
    let mut service = Service::clone(before);
    if scope == RollbackScope::ContentAndSettings
        && let Some(settings) = before.previous_settings.clone()
    {
        change_settings(request, &mut service, *settings);
    }
    let template = TaskTemplate::clone(&older.template);
    go_back(request, before, service, (template, Leaves::Asked))
}

/// Back to a content of old, under a new number, and to settings of old where they are given. What is as it was then
/// stays untouched.
///
/// # Errors
/// What does not go together, a change of the mode, and a port that is taken.
pub fn restore(
    request: &mut Request<'_>,
    id: ServiceId,
    mut template: TaskTemplate,
    settings: Option<ServiceSettings>,
) -> Result<Planned, ReviseError> {
    let before = live(request.state, id)?;
    let mut service = Service::clone(before);
    let spec = ServiceSpec {
        name: before.name.clone(),
        settings: settings.unwrap_or_else(|| before.settings.clone()),
        template: template.clone(),
    };
    validate(&spec)?;
    validate_change(before, &spec)?;
    let mut settings = spec.settings;
    let (asked, kept) = (&settings.ingress_ports, &before.settings.ingress_ports);
    settings.ingress_ports = port::allocate(request.state, id, asked, kept)?;
    port::check_host_mode(request.state, id, &settings.ingress_ports, &template)?;
    change_settings(request, &mut service, settings);
    put_on_ingress(request.state, &mut template, &service.settings);
    let current = request.state.revision(before.revision);
    if current.is_some_and(|current| current.digest == content_digest(&template)) {
        service.addresses = address::virtual_ips(request.state, &service, &template, request.now)?;
        return Ok(finish(before, service, Group::new()));
    }
    go_back(request, before, service, (template, Leaves::Asked))
}

/// Why a content is left for an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaves {
    /// The operator wants the older one; another rollback leads here again.
    Asked,
    /// Its update was ended; no rollback leads here again.
    Aborted,
}

/// A rollback to a content, of a service whose settings are as they are to be.
pub(super) fn go_back(
    request: &mut Request<'_>,
    before: &Arc<Service>,
    mut service: Service,
    (mut template, leaves): (TaskTemplate, Leaves),
) -> Result<Planned, ReviseError> {
    let number = before.last_revision_number + 1;
    put_on_ingress(request.state, &mut template, &service.settings);
    let again = revision(request, before.id, number, template);
    service.addresses = address::virtual_ips(request.state, &service, &again.template, request.now)?;
    let mut group = Group::new();
    guard_uses(&mut group, &again.template);
    point_to(&mut service, &again);
    let words = match leaves {
        Leaves::Asked => "rollback asked for by",
        Leaves::Aborted => "update aborted by",
    };
    if leaves == Leaves::Aborted {
        let content = |id| request.state.revision(id).map(|revision| revision.digest);
        let before_that = before.previous_revision;
        service.previous_revision = before_that.filter(|id| content(*id) != Some(again.digest));
    }
    let mut back = rollout(Direction::Rollback, before.revision, again.id, request.now);
    back.reason = Some(Reason::Operator(format!("{words} {}", request.writer)));
    service.rollout = Some(back);
    group.put(again);
    Ok(finish(before, service, group))
}

/// Another number of replicas; no other setting is touched.
///
/// # Errors
/// When the service has no number of replicas.
pub fn scale(request: &mut Request<'_>, id: ServiceId, replicas: u64) -> Result<Planned, ReviseError> {
    let before = live(request.state, id)?;
    let Mode::Replicated { .. } = before.settings.mode else {
        return Err(ReviseError::NotReplicated(before.name.clone()));
    };
    super::validate::check_replicas(replicas)?;
    let mut service = Service::clone(before);
    let settings = ServiceSettings {
        mode: Mode::Replicated { replicas },
        ..before.settings.clone()
    };
    change_settings(request, &mut service, settings);
    Ok(finish(before, service, Group::new()))
}

/// Takes the service away; the leader stops its tasks and forgets it with the last of them.
///
/// # Errors
/// When it is gone already.
pub fn remove(request: &mut Request<'_>, id: ServiceId) -> Result<Planned, ReviseError> {
    let before = live(request.state, id)?;
    let service = Service {
        removed_at: Some(request.now),
        ..Service::clone(before)
    };
    Ok(finish(before, service, Group::new()))
}

/// Gives up the data of the service's node-bound volumes, so that its tasks may go elsewhere and begin empty.
///
/// # Errors
/// When the service is gone.
pub fn rehome(request: &mut Request<'_>, id: ServiceId) -> Result<Planned, ReviseError> {
    let before = live(request.state, id)?;
    let mut group = Group::new();
    for volume in request.state.volumes_of_service(id) {
        group.delete(volume.clone());
    }
    for slot in request.state.slots_of(id).filter(|slot| slot.home.is_some()) {
        group.put(shoal_proto::service::Slot {
            home: None,
            ..(**slot).clone()
        });
    }
    Ok(Planned {
        service: Service::clone(before),
        group,
        effect: Effect::Settings,
    })
}

pub(super) fn live(state: &State, id: ServiceId) -> Result<&Arc<Service>, ReviseError> {
    let found = state.service(id).filter(|service| service.removed_at.is_none());
    found.ok_or(ReviseError::Gone(id))
}

fn revision(request: &mut Request<'_>, service: ServiceId, number: u64, template: TaskTemplate) -> Revision {
    Revision {
        id: request.ids.revision(request.now),
        meta: Meta::default(),
        service,
        number,
        digest: content_digest(&template),
        template: Arc::new(template),
    }
}

fn older_revision(state: &State, service: &Service, to: Option<u64>) -> Result<Revision, ReviseError> {
    let name = || service.name.clone();
    let older = match to {
        Some(number) => state
            .revisions_of(service.id)
            .find(|revision| revision.number == number)
            .ok_or_else(|| ReviseError::NoRevision { name: name(), number })?,
        None => {
            let previous = service.previous_revision.and_then(|id| state.revision(id));
            previous.ok_or_else(|| ReviseError::NoPrevious(name()))?
        }
    };
    let wanted = state.revision(service.revision);
    if wanted.is_some_and(|wanted| wanted.digest == older.digest) {
        return Err(ReviseError::SameContent {
            name: name(),
            number: older.number,
        });
    }
    Ok(Revision::clone(older))
}

fn point_to(service: &mut Service, revision: &Revision) {
    service.previous_revision = Some(service.revision);
    service.revision = revision.id;
    service.last_revision_number = revision.number;
}

fn rollout(direction: Direction, from: RevisionId, to: RevisionId, now: Timestamp) -> Rollout {
    Rollout {
        direction,
        state: RolloutState::Running,
        from,
        to,
        started_at: now,
        ended_at: None,
        batch_done_at: None,
        failed_slots: 0,
        reason: None,
        reason_before_pause: None,
    }
}

/// Writes the settings and, with each that differs, who wrote it last.
fn change_settings(request: &Request<'_>, service: &mut Service, settings: ServiceSettings) {
    let before = as_values(&service.settings);
    let changed: Vec<&str> = as_values(&settings)
        .into_iter()
        .filter(|(name, value)| before.get(name) != Some(value))
        .map(|(name, _)| name)
        .collect();
    for name in &changed {
        service
            .setting_writers
            .insert((*name).to_owned(), request.writer.to_owned());
    }
    if !changed.is_empty() {
        service.previous_settings = Some(Box::new(std::mem::replace(&mut service.settings, settings)));
    }
}

/// Each setting by its name, as something that can be compared.
fn as_values(settings: &ServiceSettings) -> BTreeMap<&'static str, String> {
    let ServiceSettings {
        mode,
        labels,
        update,
        rollback,
        restart,
        endpoint,
        ingress_ports,
        drain_ms,
    } = settings;
    BTreeMap::from([
        ("replicas", format!("{mode:?}")),
        ("labels", format!("{labels:?}")),
        ("update", format!("{update:?}")),
        ("rollback", format!("{rollback:?}")),
        ("restart", format!("{restart:?}")),
        ("endpoint", format!("{endpoint:?}")),
        ("ingress_ports", format!("{ingress_ports:?}")),
        ("drain", format!("{drain_ms:?}")),
    ])
}

fn setting_names(settings: &ServiceSettings) -> impl Iterator<Item = &'static str> + use<> {
    as_values(settings).into_keys()
}

pub(super) fn finish(before: &Arc<Service>, service: Service, mut group: Group) -> Planned {
    let effect = if service.revision != before.revision || service.rollout != before.rollout {
        Effect::Rollout
    } else if service == **before {
        Effect::Unchanged
    } else {
        Effect::Settings
    };
    if effect != Effect::Unchanged {
        group.put(service.clone());
    }
    Planned {
        service,
        group,
        effect,
    }
}

#[cfg(test)]
#[path = "revise_test.rs"]
mod tests;
