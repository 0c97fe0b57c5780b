#![doc = include_str!("../README.md")]

pub mod flags;
pub mod values;
