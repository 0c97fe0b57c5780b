#![doc = include_str!("../README.md")]

pub mod addresses;
pub mod api;
pub mod ca;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod identity;
pub mod keeper;
pub mod leader;
pub mod machine;
pub mod manager;
mod member;
pub mod observe;
pub mod peers;
mod place;
pub mod raft;
mod watchman;

#[cfg(test)]
#[path = "house_test.rs"]
mod testing;
