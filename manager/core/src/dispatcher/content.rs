//! Which bytes a node may see: those of the versions that its tasks use while they have not ended.

use shoal_proto::container::ContainerSpec;
use shoal_proto::content::ContentVersion;
use shoal_proto::digest::Digest;
use shoal_proto::id::{NodeId, VersionId};

use crate::state::State;

/// One version of a secret or config that a task uses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContentRef {
    /// Which version.
    pub version: VersionId,
    /// Of its bytes.
    pub digest: Digest,
    /// How many bytes.
    pub size_bytes: u64,
}

/// All versions of secrets and configs that a container uses and the state has, in order.
#[must_use]
pub fn contents_of(state: &State, container: &ContainerSpec) -> Vec<ContentRef> {
    let secrets = container.secrets.iter().filter_map(|used| {
        let secret = state.secret(used.secret?)?;
        version(&secret.versions, used.version?)
    });
    let configs = container.configs.iter().filter_map(|used| {
        let config = state.config(used.config?)?;
        version(&config.versions, used.version?)
    });
    let mut found: Vec<_> = secrets.chain(configs).collect();
    found.sort();
    found.dedup();
    found
}

/// The digest of a version's bytes, if a task on this node uses it and has not ended.
#[must_use]
pub fn may_fetch(state: &State, node: NodeId, version: VersionId) -> Option<Digest> {
    state
        .tasks_on_node(node)
        .filter(|task| !task.status.state.is_terminal() && task.plan.desired.wants_to_run())
        .filter_map(|task| state.template_of(task))
        .flat_map(|template| contents_of(state, &template.container))
        .find(|content| content.version == version)
        .map(|content| content.digest)
}

fn version(versions: &[ContentVersion], id: VersionId) -> Option<ContentRef> {
    let found = versions.iter().find(|version| version.id == id)?;
    Some(ContentRef {
        version: id,
        digest: found.digest,
        size_bytes: found.size_bytes,
    })
}
