#![doc = include_str!("../README.md")]

pub mod addresses;
pub mod api;
pub mod ca;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod health;
pub mod identity;
pub mod keeper;
pub mod leader;
pub mod local;
pub mod machine;
pub mod manager;
mod member;
pub mod observe;
pub mod peers;
pub mod raft;

#[cfg(test)]
mod testing;
