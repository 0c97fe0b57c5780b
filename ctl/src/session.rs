//! What the commands of one run share: which cluster is meant.

use crate::client::{Cluster, Freshness, Target};

/// Which cluster the command is for; connected to when first needed, so that what is wrong with a file is said offline.
#[derive(Debug, Clone)]
pub struct Session {
    /// A manager's address, where one was named.
    pub host: Option<String>,
    /// A context's name, where one was named.
    pub context: Option<String>,
    /// How old an answer may be.
    pub freshness: Freshness,
}

impl Session {
    /// Connects to the cluster.
    ///
    /// # Errors
    /// When none is known or no manager answers.
    pub async fn cluster(&self) -> anyhow::Result<Cluster> {
        let target = Target::find(self.host.as_deref(), self.context.as_deref())?;
        Cluster::connect(target, self.freshness).await
    }
}
