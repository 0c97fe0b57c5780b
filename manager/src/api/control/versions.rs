//! Numbered versions of a secret's or config's bytes, which were uploaded before: the next one, and which are forgotten.

use std::collections::BTreeSet;

use shoal_core::state::{Group, Guard, State};
use shoal_proto::content::ContentVersion;
use shoal_proto::digest::Digest;
use shoal_proto::id::VersionId;
use shoal_proto::stack::ContentSpec;
use tonic::Status;

use super::content_id::ContentId;
use crate::api::write::Plan;

/// Whether bytes must be here already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bytes {
    Uploaded,
    /// For a plan, which writes nothing: they are not, and nobody knows how many.
    Promised,
}

/// Versions kept of one secret or config, besides those that a revision still names.
const VERSIONS_MAX: usize = 20;

/// The versions with a further one, if the bytes asked for are not the newest already.
pub(super) fn changed_versions<I: ContentId>(
    group: &mut Group,
    plan: &mut Plan<'_>,
    (stored, spec): (&[ContentVersion], &ContentSpec),
    bytes: Bytes,
) -> Result<Vec<ContentVersion>, Status> {
    let mut versions = stored.to_vec();
    let newest = stored.iter().max_by_key(|version| version.number);
    if newest.is_none_or(|newest| newest.digest != spec.digest) {
        let last = newest.map_or(0, |newest| newest.number);
        let size_bytes = match bytes {
            Bytes::Uploaded => {
                group.guard(Guard::HasBlob(spec.digest));
                uploaded_bytes::<I>(plan.state, spec.digest)?
            }
            Bytes::Promised => 0,
        };
        let version = ContentVersion {
            id: plan.ids.version(plan.now),
            number: last + 1,
            digest: spec.digest,
            size_bytes,
            created_at: plan.now,
        };
        add_version(plan.state, &mut versions, version);
    }
    Ok(versions)
}

/// How many bytes were uploaded under this digest.
fn uploaded_bytes<I: ContentId>(state: &State, digest: Digest) -> Result<u64, Status> {
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
    Ok(blob.total_bytes)
}

/// Adds a version, and forgets the oldest that no revision names once there are too many.
fn add_version(state: &State, versions: &mut Vec<ContentVersion>, version: ContentVersion) {
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
