#![doc = include_str!("../README.md")]

pub mod dispatcher;
pub mod ids;
pub mod state;
pub mod step;
