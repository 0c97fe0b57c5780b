#![doc = include_str!("../README.md")]

pub mod agent;
pub mod assignments;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod engine;
pub mod executor;
pub mod identity;
pub mod leave;
pub mod network;
pub mod reconcile;
pub mod reporter;
pub mod secrets;
pub mod session;
pub mod store;
pub mod sweeper;
pub mod task;
pub mod watcher;

#[cfg(test)]
mod testing;
