//! Whether somebody else changed our table of nftables, as the kernel tells it. What changed is not read here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use super::raw::{attribute, messages};
use super::{KernelError, Sight};
use crate::network::ours::TABLE;

/// The group of nfnetlink to which changes of nftables are told (`NFNLGRP_NFTABLES`).
const GROUP: u32 = 7;
/// Subsystem of nftables in the upper byte of a message's type.
const SUBSYSTEM: u16 = 10;
/// Ends a transaction and says who made it (`NFT_MSG_NEWGEN`).
const NEW_GENERATION: u16 = 15;
/// The attribute that names the table, in all kinds of messages that are about one.
const OF_TABLE: u16 = 1;
/// Process that made a transaction (`NFTA_GEN_PROC_PID`).
const OF_PROCESS: u16 = 2;
/// `NFPROTO_IPV4` and `NFPROTO_IPV6`.
const FAMILIES: [u8; 2] = [2, 10];
/// Our own runs of `nft` that are remembered.
const OWN_MAX: usize = 64;
/// Largest message that is taken in.
const BUFFER_BYTES: usize = 1 << 16;

/// Processes of `nft` that we started. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnRuns(Arc<Mutex<VecDeque<u32>>>);

impl OwnRuns {
    pub(super) fn add(&self, process: u32) {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.push_back(process);
        if runs.len() > OWN_MAX {
            runs.pop_front();
        }
    }

    fn has(&self, process: u32) -> bool {
        let runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.contains(&process)
    }
}

/// Watches until the receiver is gone.
pub(super) fn start(own: OwnRuns, sights: UnboundedSender<Sight>) -> Result<JoinHandle<()>, KernelError> {
    let mut socket = TokioSocket::new(NETLINK_NETFILTER).map_err(KernelError::Open)?;
    let opened = socket.socket_mut().bind(&SocketAddr::new(0, 0));
    let opened = opened.and_then(|()| socket.socket_mut().add_membership(GROUP));
    opened.map_err(KernelError::Open)?;
    Ok(tokio::spawn(async move {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        let mut touched = false;
        loop {
            buffer.clear();
            let sight = match socket.recv(&mut buffer).await {
                Ok(_) => stranger(&buffer, &own, &mut touched).then_some(Sight::Ruleset),
                // More was told than could be kept.
                Err(_) => Some(Sight::Ruleset),
            };
            if sight.is_some_and(|sight| sights.send(sight).is_err()) || sights.is_closed() {
                return;
            }
        }
    }))
}

/// Whether a transaction that touched our table, and that somebody else made, ends in these messages.
fn stranger(bytes: &[u8], own: &OwnRuns, touched: &mut bool) -> bool {
    let mut by_stranger = false;
    for (kind, body) in messages(bytes) {
        let (Some(family), Some(attributes)) = (body.first(), body.get(4..)) else {
            continue;
        };
        if kind == SUBSYSTEM << 8 | NEW_GENERATION {
            let process = attribute(attributes, OF_PROCESS).and_then(|value| value.try_into().ok());
            let ours = process.is_some_and(|value| own.has(u32::from_be_bytes(value)));
            by_stranger |= std::mem::take(touched) && !ours;
        } else if kind >> 8 == SUBSYSTEM && FAMILIES.contains(family) {
            let table = attribute(attributes, OF_TABLE);
            *touched |= table.is_some_and(|name| name.strip_suffix(&[0]) == Some(TABLE.as_bytes()));
        }
    }
    by_stranger
}
