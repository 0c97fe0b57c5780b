//! What the operator sees: tables, data, progress, inspection in Docker's words.

pub mod diagnostic;
pub mod inspect;
mod inspect_template;
mod layout;
pub mod output;
pub mod plan;
pub mod ports;
pub mod progress;
pub mod table;
