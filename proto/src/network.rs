//! A network of the cluster.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{NetworkId, StackId};
use crate::object::Meta;

/// What an operator asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Unique in the cluster, ignoring case.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// As written: `overlay` or `bridge`; both are networks of the cluster.
    pub driver: String,
    /// Options of the driver, as written.
    pub driver_options: BTreeMap<String, String>,
    /// No way out.
    pub internal: bool,
    /// Containers started by hand may join.
    pub attachable: bool,
    /// `10.1.0.0/24`; empty lets the Engine choose.
    pub subnet: String,
    /// Address of the gateway; empty lets the Engine choose.
    pub gateway: String,
}

/// A network as the cluster holds it. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Never used again.
    pub id: NetworkId,
    /// Version and cause.
    pub meta: Meta,
    /// The stack it belongs to.
    pub stack: Option<StackId>,
    /// What was asked for.
    pub spec: NetworkSpec,
}
