#![doc = include_str!("../README.md")]

pub mod allocator;
pub mod dispatcher;
pub mod ids;
pub mod invariants;
pub mod leader;
pub mod orchestrator;
pub mod scheduler;
pub mod service;
pub mod simulate;
pub mod state;
pub mod step;
pub mod why;

#[cfg(test)]
mod fixture;
