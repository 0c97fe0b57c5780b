#![doc = include_str!("../README.md")]

pub mod assignments;
pub mod clock;
pub mod engine;
pub mod network;
pub mod reconcile;
pub mod reporter;
pub mod secrets;
pub mod store;
pub mod task;

#[cfg(test)]
mod testing;
