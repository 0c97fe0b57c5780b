#![doc = include_str!("../README.md")]

pub mod allocator;
pub mod dispatcher;
pub mod ids;
pub mod state;
pub mod step;

#[cfg(test)]
mod fixture;
