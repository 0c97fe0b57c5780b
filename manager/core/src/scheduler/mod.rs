//! The scheduler: gives tasks a node, or says why there is none. Several tasks of one revision are placed
//! together, each choice counted before the next. It never moves a task that has a node.

pub mod constraint;
pub mod explain;
pub mod filter;
pub mod heir;
pub mod node_view;
mod nodes;
mod place;
pub mod spread;
pub mod volumes;

pub use nodes::Nodes;
pub use place::{needs_node, place};
