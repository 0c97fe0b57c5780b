#![doc = include_str!("../README.md")]

pub mod ca;
pub mod raft;
