//! Calls about stacks.

use shoal_proto::stack::{Stack, StackSpec};
use shoal_proto::wire;

use super::rows::{Created, StackRow, created, read, read_some};
use super::service::Rollback;
use super::stack_rows::{StackDeployed, StackRevisionDetail, deployed, revision_detail};
use super::{Cluster, Credential};
use crate::clock::request_id;

/// Whether a change of a stack is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// It is.
    Full,
    /// Only told in full: nothing is written.
    Plan,
}

/// How a stack is deployed.
#[derive(Clone)]
pub struct DeployOrder {
    /// Remove services that the spec does not name.
    pub prune: bool,
    /// For the registries of its images.
    pub credentials: Vec<Credential>,
    /// Whether it is carried out.
    pub extent: Extent,
}

impl Cluster {
    /// Deploys a stack: all of it or nothing.
    ///
    /// # Errors
    /// When the cluster refuses; then nothing has changed.
    pub async fn deploy_stack(
        &mut self,
        spec: &StackSpec,
        order: DeployOrder,
    ) -> anyhow::Result<StackDeployed> {
        let request = wire::DeployStackRequest {
            request_id: request_id(),
            spec: Some(spec.into()),
            prune: order.prune,
            credentials: order.credentials.into_iter().map(Into::into).collect(),
            dry_run: order.extent == Extent::Plan,
        };
        deployed(self.call(request, async |c, r| c.deploy_stack(r).await).await?)
    }

    /// Brings an older revision's content back.
    ///
    /// # Errors
    /// When there is none, or the cluster cannot; then nothing has changed.
    pub async fn rollback_stack(
        &mut self,
        wanted: &str,
        back: Rollback,
        extent: Extent,
    ) -> anyhow::Result<StackDeployed> {
        let request = wire::RollbackStackRequest {
            request_id: request_id(),
            r#ref: wanted.to_owned(),
            to_revision: back.to_revision,
            settings: back.settings,
            dry_run: extent == Extent::Plan,
        };
        deployed(self.call(request, async |c, r| c.rollback_stack(r).await).await?)
    }

    /// Replaces the tasks of a stack's services by new ones of the same content; of all where none is named.
    ///
    /// # Errors
    /// When there is no such stack or service.
    pub async fn restart_stack(
        &mut self,
        wanted: &str,
        services: Vec<String>,
    ) -> anyhow::Result<StackDeployed> {
        let request = wire::RestartStackRequest {
            request_id: request_id(),
            r#ref: wanted.to_owned(),
            services,
        };
        deployed(self.call(request, async |c, r| c.restart_stack(r).await).await?)
    }

    /// One revision of a stack in full; zero: the newest.
    ///
    /// # Errors
    /// When there is no such stack or revision.
    pub async fn stack_revision(&mut self, wanted: &str, number: u64) -> anyhow::Result<StackRevisionDetail> {
        let request = wire::GetStackRevisionRequest {
            r#ref: wanted.to_owned(),
            stale: self.freshness.is_stale(),
            revision: number,
        };
        let answer = self.call(request, async |c, r| c.get_stack_revision(r).await);
        revision_detail(answer.await?)
    }

    /// Stacks.
    ///
    /// # Errors
    /// For an unknown filter, or when no manager answers.
    pub async fn stacks(&mut self, filters: Vec<String>) -> anyhow::Result<Vec<StackRow>> {
        let request = wire::ListRequest {
            filters,
            stale: self.freshness.is_stale(),
        };
        let answer = self.call(request, async |c, r| c.list_stacks(r).await).await?;
        let row = |r: wire::StackRow| {
            Ok(StackRow {
                stack: read_some(r.stack, "stack")?,
                services: r.services,
            })
        };
        answer.stacks.into_iter().map(row).collect()
    }

    /// One stack.
    ///
    /// # Errors
    /// When there is none.
    pub async fn stack(&mut self, wanted: &str) -> anyhow::Result<Stack> {
        let request = wire::GetRequest {
            r#ref: wanted.to_owned(),
            stale: self.freshness.is_stale(),
        };
        read(self.call(request, async |c, r| c.get_stack(r).await).await?)
    }

    /// Removes a stack with its services, networks, secrets and configs; volumes stay.
    ///
    /// # Errors
    /// When there is none.
    pub async fn remove_stack(&mut self, wanted: &str) -> anyhow::Result<Created> {
        let request = wire::RemoveRequest {
            request_id: request_id(),
            r#ref: wanted.to_owned(),
        };
        let done = self.call(request, async |c, r| c.remove_stack(r).await).await?;
        Ok(created(wanted.to_owned(), done.index, done.warnings))
    }
}
