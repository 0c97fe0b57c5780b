//! Living beside the host's firewall: what of ours would be dropped by rules of others is let through by named rules in
//! the chains where that counts, kept there, told, and taken away when the node leaves. Nothing is opened to anybody but
//! the cluster's nodes and our own containers; published ports are opened only as far as they were translated.

mod door;
mod fence;
mod iptables;
mod keep;
mod mend;
mod native;
mod openings;

pub use keep::{Beside, State};
pub use mend::mend;
pub use openings::Openings;
