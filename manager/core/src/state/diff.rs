//! What differs between two moments: found by skipping what they share, so it costs as much as changed.
//! Reads only.

use std::sync::Arc;

use shoal_proto::network::Network;
use shoal_proto::node::Node;
use shoal_proto::service::{Revision, Service, Slot};
use shoal_proto::task::Task;
use shoal_proto::volume::Volume;

use super::State;

/// An object as it was and as it is; none where it was not there.
pub type Difference<'a, T> = (Option<&'a Arc<T>>, Option<&'a Arc<T>>);

impl State {
    /// Nodes that differ.
    pub fn nodes_since<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = Difference<'a, Node>> {
        self.nodes.differences(&older.nodes)
    }

    /// Services that differ.
    pub fn services_since<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = Difference<'a, Service>> {
        self.services.differences(&older.services)
    }

    /// Revisions that differ.
    pub fn revisions_since<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = Difference<'a, Revision>> {
        self.revisions.differences(&older.revisions)
    }

    /// Slots that differ.
    pub fn slots_since<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = Difference<'a, Slot>> {
        self.slots.differences(&older.slots)
    }

    /// Tasks that differ.
    pub fn tasks_since<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = Difference<'a, Task>> {
        self.tasks.differences(&older.tasks)
    }

    /// Networks that differ.
    pub fn networks_since<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = Difference<'a, Network>> {
        self.networks.differences(&older.networks)
    }

    /// Volumes that differ.
    pub fn volumes_since<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = Difference<'a, Volume>> {
        self.volumes.differences(&older.volumes)
    }
}
