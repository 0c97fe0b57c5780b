//! A real Docker Engine of its own for this crate's tests: what containers see, and what a node lives through.

mod bed;
mod failures;
mod health;
mod keys;
mod life;
mod mounts;
mod network;
mod node;
mod pull;
