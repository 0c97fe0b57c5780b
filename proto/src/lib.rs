#![doc = include_str!("../README.md")]

pub mod cluster;
pub mod config;
pub mod container;
pub mod content;
pub mod digest;
pub mod id;
pub mod limits;
pub mod network;
pub mod node;
pub mod object;
pub mod reason;
pub mod registry;
pub mod resources;
pub mod secret;
pub mod service;
pub mod stack;
pub mod task;
pub mod time;
pub mod update;
pub mod volume;

#[cfg(feature = "tls")]
pub mod identity;
#[cfg(feature = "wire")]
pub mod wire;
