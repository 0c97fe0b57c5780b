#![doc = include_str!("../README.md")]

pub mod args;
pub mod data_dir;
pub mod health;
pub mod home;
pub mod kind;
pub mod local;
pub mod local_client;
pub mod order;
pub mod program;
pub mod socket;
