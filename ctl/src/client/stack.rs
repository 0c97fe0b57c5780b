//! Calls about stacks.

use shoal_proto::stack::{Stack, StackSpec};
use shoal_proto::wire;

use super::rows::{Created, StackDeployed, StackRow, created, read, read_some};
use super::{Cluster, Credential};
use crate::clock::request_id;

impl Cluster {
    /// Deploys a stack: all of it or nothing.
    ///
    /// # Errors
    /// When the cluster refuses; then nothing has changed.
    pub async fn deploy_stack(
        &mut self,
        spec: &StackSpec,
        prune: bool,
        credentials: Vec<Credential>,
    ) -> anyhow::Result<StackDeployed> {
        let request = wire::DeployStackRequest {
            request_id: request_id(),
            spec: Some(spec.into()),
            prune,
            credentials: credentials.into_iter().map(Into::into).collect(),
        };
        let answer = self.call(request, async |c, r| c.deploy_stack(r).await).await?;
        let change = |c: wire::StackChange| (c.kind, c.name, c.id, c.what);
        Ok(StackDeployed {
            id: answer.id,
            revision: answer.revision,
            index: answer.index,
            changes: answer.changes.into_iter().map(change).collect(),
            warnings: answer.warnings,
        })
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
