//! The node's ports, owned by the agent from the first day: an ingress port is never published through the Engine.
//!
//! Connections are spread over the running tasks of a service on this node. The routed overlay will add the tasks of
//! other nodes; until then each network of the cluster is a bridge of the node, made by the Engine's side.

mod balancer;
pub mod dns;
mod holder;
mod port;
pub mod routes;
mod tcp;
mod udp;

pub use balancer::{Balancer, DRAIN_MAX_MS};
pub use holder::holder;
pub use routes::{Backend, PortKey, Route, routes};
