#![doc = include_str!("../README.md")]

pub mod cli;
pub mod client;
mod clock;
pub mod command;
pub mod complete;
pub mod compose;
pub mod context;
pub mod exit;
pub mod flags;
mod image;
mod novelty;
pub mod plan;
pub mod progress;
mod registry_auth;
pub mod render;
pub mod session;
pub mod values;
pub mod wait;
