#![doc = include_str!("../README.md")]

pub mod bed;
pub mod cluster;
