//! Sealing what encrypted networks send from node to node: WireGuard below a tunnel of its own. The kernel's where it has
//! one, otherwise a program of ours that outlives the agent. Nothing here decides what is encrypted; where this fails,
//! nothing is sent.

mod datagrams;
mod keep;
mod keys;
pub mod program;
pub(super) mod settings;
mod uapi;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use shoal_proto::tunnel_key::TunnelKey;

use super::model::Interface;

pub use keep::{Sealing, Told};
pub use keys::{KeyError, Keyring, PrivateKey};
pub use settings::{Change, Seen, SeenPeer, change};
pub use uapi::{UapiError, ask};

/// File of the node's keys, in the agent's directory.
pub const KEYS: &str = "tunnel.keys";

/// What this node's end should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The key in force.
    pub key: PrivateKey,
    /// Address at which other hosts reach this one.
    pub host: Ipv4Addr,
    /// Address inside.
    pub address: Interface,
    /// UDP port.
    pub port: u16,
    /// The other nodes.
    pub peers: BTreeMap<TunnelKey, Peer>,
}

/// Another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Where it listens.
    pub endpoint: SocketAddrV4,
    /// Its address inside, the only one that it may send from.
    pub address: Ipv4Addr,
}

/// Who seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// The kernel.
    Kernel,
    /// A program of ours.
    Program,
}

impl Means {
    /// As operators read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Program => "program",
        }
    }
}

/// How far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Who seals; none while nobody does.
    pub means: Option<Means>,
    /// Why nobody does, or not as it should be.
    pub problem: Option<String>,
}

/// Where the program that seals is found.
#[must_use]
pub fn socket() -> PathBuf {
    // Where `wg` looks for programs.
    PathBuf::from(format!("/run/wireguard/{}.sock", super::ours::WIREGUARD_DEVICE))
}
