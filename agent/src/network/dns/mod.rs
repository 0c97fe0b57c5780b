//! Names of the cluster for the containers of this node, answered from the node's view; all others are asked of the
//! host's resolvers. Nothing here changes the kernel: what containers send to port 53 of their gateway comes to our
//! `PORT` by a rule of the ruleset, so that a resolver of the host that listens everywhere is not in the way, nor we in
//! its way.

mod desk;
mod door;
mod doors;
mod forward;
mod kept;
mod limits;
mod message;
mod names;
mod resolvers;
mod table;

#[cfg(test)]
mod testing;

pub use door::DoorError;
pub use doors::{Config, Dns, Problems};
pub use names::{Answer, Kind, Names, Question};
pub use resolvers::{RESOLV_CONF, container_resolvers, engine_resolver, reachable};

/// Where questions arrive, on each gateway: not among the ports that the kernel gives to others for the asking.
pub const PORT: u16 = 4_753;
