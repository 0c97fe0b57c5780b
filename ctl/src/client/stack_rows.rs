//! What the cluster answers about stacks, as rows of domain types.

use std::collections::BTreeMap;

use shoal_proto::object::Cause;
use shoal_proto::service::ServiceSpec;
use shoal_proto::stack::StackRevision;
use shoal_proto::time::Timestamp;
use shoal_proto::wire;

use super::rows::{read, read_some};

/// What a deployment, a rollback or a restart did, or would do.
#[derive(Debug, Clone)]
pub struct StackDeployed {
    /// The stack's id.
    pub id: String,
    /// Number of its revision.
    pub revision: u64,
    /// Raft index of the write.
    pub index: u64,
    /// What happened to each thing.
    pub changes: Vec<StackChange>,
    /// To be shown.
    pub warnings: Vec<String>,
    /// Of a plan: what ids in its specs stand for.
    pub names: SpecNames,
}

/// What happened to one thing.
#[derive(Debug, Clone, Default)]
pub struct StackChange {
    /// service, network, secret, config.
    pub kind: String,
    /// Its full name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// created, updated, unchanged, removed, rolled back, restarted.
    pub what: String,
    /// Of a plan: a service as it is.
    pub before: Option<ServiceSpec>,
    /// Of a plan: a service as it would be.
    pub after: Option<ServiceSpec>,
    /// Of a plan: its tasks would be replaced.
    pub rolls: bool,
    /// Settings that stay as somebody wrote them, with the writer.
    pub kept: BTreeMap<String, String>,
    /// Who made it run another content than the newest revision says, and when.
    pub drift: Option<(Cause, Timestamp)>,
}

/// What ids inside of specs stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecNames {
    /// Names of networks by id.
    pub networks: BTreeMap<String, String>,
    /// Numbers of versions of secrets and configs by id.
    pub versions: BTreeMap<String, u64>,
}

/// One revision of a stack in full.
#[derive(Debug, Clone)]
pub struct StackRevisionDetail {
    /// The stack's name.
    pub name: String,
    /// The stack's id.
    pub id: String,
    /// The revision.
    pub revision: StackRevision,
    /// Its services by name.
    pub services: Vec<ServiceSpec>,
    /// Services whose content is not kept any more.
    pub lost: Vec<String>,
    /// What ids in the services stand for.
    pub names: SpecNames,
    /// Number of the newest revision.
    pub newest: u64,
}

impl SpecNames {
    fn read(names: Option<wire::SpecNames>) -> Self {
        let names = names.unwrap_or_default();
        Self {
            networks: names.networks,
            versions: names.versions,
        }
    }
}

pub(super) fn deployed(answer: wire::StackDeployed) -> anyhow::Result<StackDeployed> {
    Ok(StackDeployed {
        id: answer.id,
        revision: answer.revision,
        index: answer.index,
        changes: answer
            .changes
            .into_iter()
            .map(change)
            .collect::<anyhow::Result<_>>()?,
        warnings: answer.warnings,
        names: SpecNames::read(answer.names),
    })
}

fn change(change: wire::StackChange) -> anyhow::Result<StackChange> {
    let drifted_at = Timestamp::from_ms(change.drifted_at_ms);
    let cause = change.drifted_by.map(read).transpose()?;
    Ok(StackChange {
        kind: change.kind,
        name: change.name,
        id: change.id,
        what: change.what,
        before: change.before.map(read).transpose()?,
        after: change.after.map(read).transpose()?,
        rolls: change.rolls,
        kept: change.kept,
        drift: cause.map(|cause| (cause, drifted_at)),
    })
}

pub(super) fn revision_detail(answer: wire::StackRevisionDetail) -> anyhow::Result<StackRevisionDetail> {
    Ok(StackRevisionDetail {
        name: answer.name,
        id: answer.id,
        revision: read_some(answer.revision, "revision")?,
        services: answer
            .services
            .into_iter()
            .map(read)
            .collect::<anyhow::Result<_>>()?,
        lost: answer.lost,
        names: SpecNames::read(answer.names),
        newest: answer.newest,
    })
}
