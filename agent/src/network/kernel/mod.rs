//! The node's kernel as far as its network goes, in our words. Who decides what it should hold lies outside.

mod conntrack;
pub mod fake;
mod generic;
mod links;
pub mod linux;
mod looking;
mod messages;
pub mod nft;
pub mod program;
mod raw;
mod sealed;
mod sysctl;
mod tables;
mod watch;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use async_trait::async_trait;
use futures::future::join_all;

use tokio::sync::mpsc;

use super::model::{Found, Interface, Lane, Mac, Op, Route, Rule};
use super::side::Block;
use super::{beside, wireguard};

/// Steps that the kernel is asked for before the first of them is answered.
const AT_ONCE: usize = 64;

/// Why the kernel could not be looked at or changed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Netlink cannot be opened.
    #[error("the kernel's netlink socket cannot be opened: the agent needs root and a Linux kernel")]
    Open(#[source] std::io::Error),
    /// Netlink said no.
    #[error("the kernel refused: {what}")]
    Refused {
        /// The request in words.
        what: String,
        /// What it said.
        #[source]
        source: rtnetlink::Error,
    },
    /// The kernel was built without it, or its module is missing.
    #[error("this kernel has no {what}: {need}")]
    Lacks {
        /// What it cannot do.
        what: &'static str,
        /// What cannot be done therefore.
        need: &'static str,
    },
    /// A setting of the kernel can be neither read nor written.
    #[error("the setting {path} of the kernel")]
    Setting {
        /// Path below `/proc/sys`.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It does not say which connections there are.
    #[error("connections that the kernel tracks cannot be looked at")]
    Connections(#[source] std::io::Error),
    /// `nft` does not run.
    #[error("nft does not run: nftables 1.0.6 or newer must be installed")]
    NftMissing(#[source] std::io::Error),
    /// `nft` said no.
    #[error("nft refused: {words}")]
    Nft {
        /// Its own words.
        words: String,
    },
    /// `nft` took longer than it may.
    #[error("nft did not answer within {limit_ms} ms")]
    NftSlow {
        /// How long it had.
        limit_ms: u64,
    },
    /// `nft` listed what we do not understand.
    #[error("nft listed what is no ruleset: {what}")]
    NftListing {
        /// What is wrong with it.
        what: String,
    },
    /// Something that a step needs is not there.
    #[error("{what} is not there")]
    Missing {
        /// What.
        what: String,
    },
}

/// Something of ours changed, or may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// Devices: a glance tells.
    Links,
    /// Something is there.
    Came(Thing),
    /// Something is there no more.
    Went(Thing),
    /// Somebody else changed our table of nftables.
    Ruleset,
    /// Something was missed.
    Missed,
}

/// Something of ours that is told when it comes and goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thing {
    /// A route.
    Route(Route),
    /// A rule of policy routing.
    Rule(Rule),
    /// A permanent neighbour on a tunnel; its link address is not told when it goes.
    Neighbour(Lane, IpAddr, Option<Mac>),
    /// A forwarding entry of a tunnel.
    Forwarding(Lane, Mac, Ipv4Addr),
    /// An address of a tunnel.
    Address(Lane, Interface),
}

/// Tasks that connections must not lead to any more, by address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// They take no new ones: UDP, which knows no connections, goes elsewhere from now on.
    pub aside: BTreeSet<IpAddr>,
    /// They are no more: nothing goes there.
    pub gone: BTreeSet<IpAddr>,
}

/// Connections that lead to tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Led {
    /// The tasks, by address.
    pub to: BTreeSet<IpAddr>,
    /// The cluster's networks: a connection from within to within is a matter of those two tasks.
    pub within: BTreeSet<Block>,
}

/// A kernel.
#[async_trait]
pub trait Kernel: Send + Sync {
    /// Everything of ours, and what the node brings; `host` is the address at which other nodes reach this one.
    ///
    /// # Errors
    /// When some of it cannot be read.
    async fn look(&self, host: Option<Ipv4Addr>) -> Result<Found, KernelError>;

    /// Looks at devices and settings alone, which costs little, and corrects what was found before.
    ///
    /// # Errors
    /// When some of it cannot be read.
    async fn glance(&self, host: Option<Ipv4Addr>, found: &mut Found) -> Result<(), KernelError>;

    /// Sees to it that the host's firewalls let this through; with none, that nothing of ours is in them.
    async fn beside(&self, openings: Option<&beside::Openings>) -> beside::State;

    /// Sees to it that this node's end of WireGuard is so; with none, that there is none. `before` is the wish that was
    /// carried out last.
    async fn seal(
        &self,
        wish: Option<&wireguard::Wish>,
        before: Option<&wireguard::Wish>,
    ) -> wireguard::State;

    /// Carries out one step.
    ///
    /// # Errors
    /// When the kernel refuses; nothing was changed then.
    async fn apply(&self, op: &Op) -> Result<(), KernelError>;

    /// Ends connections that it tracks; answers how many.
    ///
    /// # Errors
    /// When it does not say which there are.
    async fn end_connections(&self, ended: &Ended) -> Result<usize, KernelError>;

    /// Counts TCP connections that lead to tasks through published ports.
    ///
    /// # Errors
    /// When it does not say which there are.
    async fn count_connections(&self, led: &Led) -> Result<usize, KernelError>;

    /// Tells what happens from now on, until the receiver is dropped.
    ///
    /// # Errors
    /// When it tells nobody.
    fn watch(&self) -> Result<mpsc::UnboundedReceiver<Sight>, KernelError>;
}

/// Carries out all steps, also after one that fails, and answers those that did.
pub async fn apply_all<'a>(kernel: &dyn Kernel, ops: &'a [Op]) -> Vec<(&'a Op, KernelError)> {
    let mut failed = Vec::new();
    for steps in ops.chunk_by(are_apart).flat_map(|alike| alike.chunks(AT_ONCE)) {
        let asked: Vec<_> = steps.iter().map(|op| kernel.apply(op)).collect();
        let answers = join_all(asked).await;
        let refused = steps
            .iter()
            .zip(answers)
            .filter_map(|(op, answer)| Some((op, answer.err()?)));
        failed.extend(refused);
    }
    failed
}

/// Whether two neighbouring steps need no order between them: there may be thousands of these.
fn are_apart(one: &Op, next: &Op) -> bool {
    matches!(
        (one, next),
        (Op::AddRoute(_), Op::AddRoute(_))
            | (Op::RemoveRoute(_), Op::RemoveRoute(_))
            | (Op::AddProxy(_), Op::AddProxy(_))
            | (Op::RemoveProxy(_), Op::RemoveProxy(_))
    )
}
