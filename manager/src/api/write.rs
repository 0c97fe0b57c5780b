//! Writes: plan against the newest state, propose as one group, plan again when the state moved meanwhile.
//!
//! Every writing call carries a request id; a repeat gets the first answer.

use std::sync::{Arc, PoisonError};

use shoal_core::ids::IdSource;
use shoal_core::state::{Conflict, Group, GroupResult, ObjectKey, Proposal, State, Written};
use shoal_proto::id::RequestId;
use shoal_proto::identity::Caller;
use shoal_proto::object::{Cause, Kind};
use shoal_proto::time::Timestamp;
use shoal_proto::wire::{self, Invalid};
use tonic::{Request, Status};

use super::{Api, fault};
use crate::machine::Reply;

/// Times a write is planned anew because something changed between reading and writing.
const ATTEMPTS_MAX: usize = 8;

/// Who asks, under which request id, and what for.
#[derive(Debug, Clone)]
pub(crate) struct Intent {
    pub(crate) request: RequestId,
    pub(crate) cause: Cause,
    extent: Extent,
}

/// Whether an intent is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Full,
    /// Refused where it would be, and not written.
    Plan,
}

impl Intent {
    /// `action` in the words of the command line: `service update web`.
    pub(crate) fn new(caller: &Caller, request_id: &str, action: String) -> Result<Self, Status> {
        let request = request_id.parse().map_err(|error| match request_id {
            "" => Invalid::new("request_id", "is missing: every writing call carries one"),
            _ => Invalid::new("request_id", format!("{error}")),
        })?;
        Ok(Self {
            request,
            cause: Cause {
                actor: caller.actor(),
                action,
            },
            extent: Extent::Full,
        })
    }

    /// The same, where the caller may ask for no more than a refusal.
    pub(crate) const fn only_planned_if(mut self, dry_run: bool) -> Self {
        if dry_run {
            self.extent = Extent::Plan;
        }
        self
    }

    /// The name under which the operator is remembered as a writer.
    pub(crate) fn writer(&self) -> String {
        match &self.cause.actor {
            shoal_proto::object::Actor::Operator(name) => name.clone(),
            shoal_proto::object::Actor::Node(node) => format!("node {node}"),
            shoal_proto::object::Actor::Leader => "leader".to_owned(),
        }
    }
}

/// Who calls, and what was asked.
pub(crate) fn open<T>(request: Request<T>) -> Result<(Caller, T), Status> {
    let caller = Caller::from_request(&request)?.clone();
    Ok((caller, request.into_inner()))
}

/// What a write may use while it is planned.
pub(crate) struct Plan<'a> {
    pub(crate) state: &'a State,
    pub(crate) ids: &'a mut IdSource,
    pub(crate) now: Timestamp,
}

/// Whether the state that a write is planned against is known to be the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Newest {
    Assumed,
    Confirmed,
}

/// What was written, or nothing where nothing had to be.
pub(crate) struct Outcome {
    pub(crate) index: u64,
    pub(crate) written: Vec<Written>,
    /// At or after the write.
    pub(crate) state: Arc<State>,
}

impl Api {
    /// Plans and writes one group, whole or not at all. An empty group writes nothing and is fine.
    pub(crate) async fn write(
        &self,
        intent: &Intent,
        mut plan: impl FnMut(&mut Plan<'_>) -> Result<Group, Status> + Send,
    ) -> Result<Outcome, Status> {
        let mut last = None;
        let mut newest = Newest::Assumed;
        for _ in 0..ATTEMPTS_MAX {
            let state = self.inner.machine.state();
            if let Some(answer) = state.answer(intent.request) {
                return self.outcome(answer.index, &answer.results);
            }
            let now = self.inner.leader.now();
            let planned = self.planned(&mut plan, &state, now);
            let carried_out = intent.extent == Extent::Full;
            let writes = carried_out && planned.as_ref().is_ok_and(|group| !group.is_empty());
            if !writes && newest == Newest::Assumed {
                // Guards see to a write; a refusal, or that there is nothing to do, must be true of the newest state.
                self.inner
                    .raft
                    .read_barrier()
                    .await
                    .map_err(|error| fault::read(&error))?;
                newest = Newest::Confirmed;
                continue;
            }
            let group = planned?;
            if group.is_empty() || !carried_out {
                let (index, written) = (state.index(), Vec::new());
                return Ok(Outcome {
                    index,
                    written,
                    state,
                });
            }
            let proposal = Proposal::new(now, intent.cause.clone(), vec![group]).with_request(intent.request);
            let reply = self.propose(&proposal).await?;
            match reply.results.first() {
                Some(Err(conflict)) if is_passing(conflict) => last = Some(conflict.clone()),
                _ => return self.outcome(reply.index, &reply.results),
            }
        }
        let conflict = last.expect("a write is planned again eight times only for conflicts");
        Err(fault::conflict_in(&self.inner.machine.state(), &conflict))
    }

    fn planned(
        &self,
        plan: &mut (impl FnMut(&mut Plan<'_>) -> Result<Group, Status> + Send),
        state: &State,
        now: Timestamp,
    ) -> Result<Group, Status> {
        let mut ids = self.inner.ids.lock().unwrap_or_else(PoisonError::into_inner);
        plan(&mut Plan {
            state,
            ids: &mut ids,
            now,
        })
    }

    /// Writes one entry and reads the machine's answer.
    pub(crate) async fn propose(&self, proposal: &Proposal) -> Result<Reply, Status> {
        let entry = proposal.to_bytes().map_err(|error| fault::encode(&error))?;
        let (_, answer) = self
            .inner
            .raft
            .propose(entry)
            .await
            .map_err(|error| fault::propose(&error))?;
        rmp_serde::from_slice(&answer)
            .map_err(|error| Status::internal(format!("the machine's answer cannot be read: {error}")))
    }

    fn outcome(&self, index: u64, results: &[GroupResult]) -> Result<Outcome, Status> {
        let state = self.inner.machine.state();
        let mut written = Vec::new();
        for result in results {
            let result = result.as_ref();
            written.extend(
                result
                    .map_err(|found| fault::conflict_in(&state, found))?
                    .iter()
                    .cloned(),
            );
        }
        Ok(Outcome {
            index,
            written,
            state,
        })
    }

    /// A fresh id source, for the few places that make ids outside a write.
    pub(crate) fn with_ids<R>(&self, make: impl FnOnce(&mut IdSource) -> R) -> R {
        make(&mut self.inner.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Outcome {
    /// The first written object of a kind.
    pub(crate) fn first(&self, kind: Kind) -> Option<&Written> {
        self.written.iter().find(|written| written.key.kind() == kind)
    }

    pub(crate) fn done(&self) -> wire::Done {
        wire::Done {
            index: self.index,
            warnings: Vec::new(),
        }
    }

    /// The answer to a creation.
    pub(crate) fn created(&self, kind: Kind) -> Result<wire::Created, Status> {
        let written = self
            .first(kind)
            .ok_or_else(|| Status::internal("the creation wrote nothing"))?;
        Ok(wire::Created {
            id: id_of(&written.key),
            index: self.index,
            warnings: Vec::new(),
        })
    }
}

/// An object's id, or a registry's host.
pub(crate) fn id_of(key: &ObjectKey) -> String {
    match key {
        ObjectKey::Cluster => "cluster".to_owned(),
        ObjectKey::Node(id) => id.to_string(),
        ObjectKey::Service(id) => id.to_string(),
        ObjectKey::Revision(id) => id.to_string(),
        ObjectKey::Slot(service, slot) => format!("{service}.{slot}"),
        ObjectKey::Task(id) => id.to_string(),
        ObjectKey::Network(id) => id.to_string(),
        ObjectKey::Secret(id) => id.to_string(),
        ObjectKey::Config(id) => id.to_string(),
        ObjectKey::Volume(id) => id.to_string(),
        ObjectKey::Stack(id) => id.to_string(),
        ObjectKey::Registry(host) => host.clone(),
    }
}

/// Whether another plan may fare better: something moved, or an automatic port, address or subnet went to somebody else.
const fn is_passing(conflict: &Conflict) -> bool {
    matches!(
        conflict,
        Conflict::Version { .. }
            | Conflict::Missing(_)
            | Conflict::PortTaken { .. }
            | Conflict::AddressTaken { .. }
            | Conflict::SubnetTaken { .. }
    )
}

/// The version a caller saw must still be there; zero stands for whatever is there.
pub(crate) fn check_version(what: &str, seen: u64, found: u64) -> Result<(), Status> {
    if seen == 0 || seen == found {
        return Ok(());
    }
    Err(Status::aborted(format!(
        "{what} is at version {found}, not {seen}: read it again"
    )))
}
