//! Credentials for a registry, kept in the cluster and used at every pull.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::object::Meta;

/// One per registry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    /// Version and cause.
    pub meta: Meta,
    /// `registry.example:5000`, or `docker.io`.
    pub host: String,
    /// Who.
    pub username: String,
    /// The password or token. Leaves a manager only inside the sealed log and to a node that pulls from there.
    pub password: String,
}

/// The password never shows in a log.
impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("meta", &self.meta)
            .field("host", &self.host)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}
