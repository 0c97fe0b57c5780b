#![doc = include_str!("../README.md")]

pub mod addresses;
pub mod api {
    //! Under construction: the doors.
    pub mod ca;
    mod fault;
}
pub mod ca;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod health;
pub mod identity;
pub mod local;
pub mod machine;
pub mod manager;
mod member;
pub mod peers;
pub mod raft;

#[cfg(test)]
mod testing;
