#![doc = include_str!("../README.md")]

pub mod assignments;
pub mod clock;
pub mod engine;
pub mod reconcile;
pub mod task;

#[cfg(test)]
mod testing;
