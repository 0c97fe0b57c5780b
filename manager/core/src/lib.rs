#![doc = include_str!("../README.md")]

pub mod ids;
pub mod state;
pub mod step;
