//! The node's network: what a node is told, what its kernel should hold for it, and the steps between.
//!
//! Until the managers hand out addresses, an ingress port is spread over the tasks of this node by `balancer`; it is
//! never published through the Engine. The routed overlay below takes its place.

mod apply;
mod balancer;
mod chains;
pub mod desired;
pub mod difference;
pub mod dns;
mod holder;
pub mod keeper;
pub mod kernel;
pub mod model;
pub mod ours;
mod port;
mod ports;
pub mod routes;
pub mod ruleset;
pub mod table;
mod table_difference;
mod tcp;
mod udp;
pub mod view;

#[cfg(test)]
mod testing;

pub use balancer::{Balancer, DRAIN_MAX_MS};
pub use holder::holder;
pub use routes::{Backend, PortKey, Route, routes};
