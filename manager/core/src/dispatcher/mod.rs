//! Between the state and the agents: what each node must run, what to answer its reports, and whether it lives.
//! Pure: sessions and sockets are the manager's.

pub mod assignment;
pub mod content;
pub mod difference;
pub mod liveness;
pub mod report;
pub mod seen;
pub mod view;
