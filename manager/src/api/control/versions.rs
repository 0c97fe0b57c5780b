//! Numbered versions of a secret's or config's bytes, which were uploaded before: the next one, and which are forgotten.

use std::collections::BTreeSet;

use shoal_core::ids::IdSource;
use shoal_core::state::{Group, Guard, State};
use shoal_proto::content::ContentVersion;
use shoal_proto::digest::Digest;
use shoal_proto::id::VersionId;
use shoal_proto::stack::ContentSpec;
use shoal_proto::time::Timestamp;
use tonic::Status;

use super::content_id::ContentId;
use crate::api::write::Plan;

/// Versions kept of one secret or config, besides those that a revision still names.
const VERSIONS_MAX: usize = 20;

/// The versions with a further one, if the bytes asked for are not the newest already.
pub(super) fn changed_versions<I: ContentId>(
    group: &mut Group,
    plan: &mut Plan<'_>,
    (stored, spec): (&[ContentVersion], &ContentSpec),
) -> Result<Vec<ContentVersion>, Status> {
    let mut versions = stored.to_vec();
    let newest = stored.iter().max_by_key(|version| version.number);
    if newest.is_none_or(|newest| newest.digest != spec.digest) {
        let last = newest.map_or(0, |newest| newest.number);
        let version = next_version::<I>(plan.state, spec.digest, last, (plan.ids, plan.now))?;
        add_version(group, plan.state, &mut versions, version);
    }
    Ok(versions)
}

/// The next version, of bytes that must be here.
fn next_version<I: ContentId>(
    state: &State,
    digest: Digest,
    last_number: u64,
    made: (&mut IdSource, Timestamp),
) -> Result<ContentVersion, Status> {
    let (ids, now) = made;
    let kind = I::NAME;
    let blob = state.blob(&digest).filter(|blob| blob.is_complete());
    let blob = blob.ok_or_else(|| {
        Status::failed_precondition(format!(
            "the content {digest} of the {kind} is not uploaded: upload it first"
        ))
    })?;
    if blob.total_bytes > I::BYTES_MAX as u64 {
        let text = format!(
            "the {kind} has {} bytes: at most {} are taken",
            blob.total_bytes,
            I::BYTES_MAX
        );
        return Err(Status::resource_exhausted(text));
    }
    Ok(ContentVersion {
        id: ids.version(now),
        number: last_number + 1,
        digest,
        size_bytes: blob.total_bytes,
        created_at: now,
    })
}

/// Adds a version, and forgets the oldest that no revision names once there are too many.
fn add_version(
    group: &mut Group,
    state: &State,
    versions: &mut Vec<ContentVersion>,
    version: ContentVersion,
) {
    group.guard(Guard::HasBlob(version.digest));
    versions.push(version);
    let surplus = versions.len().saturating_sub(VERSIONS_MAX);
    if surplus == 0 {
        return;
    }
    let named = named_versions(state);
    let mut left = surplus;
    let newest = versions.last().map(|version| version.id);
    versions.retain(|version| {
        let goes = left > 0 && Some(version.id) != newest && !named.contains(&version.id);
        left -= usize::from(goes);
        !goes
    });
}

fn named_versions(state: &State) -> BTreeSet<VersionId> {
    let containers = state.revisions().map(|revision| &revision.template.container);
    containers
        .flat_map(|container| {
            let secrets = container.secrets.iter().filter_map(|used| used.version);
            secrets.chain(container.configs.iter().filter_map(|used| used.version))
        })
        .collect()
}

/// The bytes of the newest version.
pub(super) fn newest_bytes(state: &State, versions: &[ContentVersion]) -> Result<Vec<u8>, Status> {
    let newest = versions.iter().max_by_key(|version| version.number);
    let newest = newest.ok_or_else(|| Status::internal("it has no version"))?;
    let blob = state.blob(&newest.digest).filter(|blob| blob.is_complete());
    let blob =
        blob.ok_or_else(|| Status::internal(format!("the bytes of version {} are missing", newest.id)))?;
    Ok(blob.bytes.0.to_vec())
}
