//! The node's network: what a node is told, what its kernel should hold for it, the steps between, and who takes them.

mod apply;
pub mod beside;
mod chains;
pub mod desired;
pub mod difference;
pub mod dns;
mod holder;
pub mod ipv6;
pub mod keeper;
pub mod kernel;
mod led;
pub mod model;
pub mod node;
pub mod ours;
mod ports;
pub mod probe;
pub(crate) mod routes;
pub mod ruleset;
pub mod settings;
pub mod side;
pub mod table;
mod table_difference;
pub mod view;
pub mod way_out;
pub mod wireguard;

#[cfg(test)]
mod testing;

pub use holder::holder;
pub use keeper::Keeper;
pub use kernel::Kernel;
pub use node::{NodeNetwork, Told};
