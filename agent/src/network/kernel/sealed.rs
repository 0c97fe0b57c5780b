//! The WireGuard device: made by the kernel where it can, by a program of ours otherwise, then told its key and its peers.
//! Everything is looked at first, so that nothing is said twice.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage as Message;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};

use shoal_proto::service::Protocol;

use super::generic::Generic;
use super::linux::{Linux, lacks};
use super::program::{ProgramError, TUN};
use super::{KernelError, links, messages};
use crate::network::desired::wireguard_mtu;
use crate::network::holder;
use crate::network::ours::WIREGUARD_DEVICE;
use crate::network::wireguard::{Change, Means, Seen, State, Wish, ask, change};

/// What is wrong without.
const NEED: &str = "what encrypted networks send stays on this node";

/// Why nothing can be sealed.
#[derive(Debug, thiserror::Error)]
enum SealError {
    /// A device of our name cannot be made or set.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The kernel's WireGuard does not do as it is told.
    #[error("the kernel's wireguard")]
    Generic(#[source] io::Error),
    /// There is no program, or it does not.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// Its port is another's.
    #[error(
        "UDP port {port}, on which sealed packets come, is taken by {holder}: stop it, or let it use another port"
    )]
    Port {
        /// Which.
        port: u16,
        /// By whom.
        holder: String,
    },
    /// There is nothing to seal with.
    #[error("this kernel has neither wireguard nor {TUN} (tun): {NEED}")]
    Nothing,
}

/// The device as it is.
struct There {
    index: u32,
    means: Means,
    mtu: u32,
    up: bool,
}

impl Linux {
    /// Makes it so. Where that fails nothing goes out.
    pub(super) async fn sealed(&self, wish: Option<&Wish>, before: Option<&Wish>) -> State {
        let done = match wish {
            Some(wish) => self.seal_with(wish, before).await.map(Some),
            None => self.unseal().await.map(|()| None),
        };
        match done {
            Ok(means) => State { means, problem: None },
            Err(error) => State {
                means: None,
                problem: Some(format!("encrypted networks: {}", words(&error))),
            },
        }
    }

    async fn unseal(&self) -> Result<(), SealError> {
        // A program's device goes with it.
        self.program.end().await?;
        let Some(there) = self.wireguard().await? else {
            return Ok(());
        };
        let what = "removal of the wireguard device";
        Ok(self.remove_link(there.index, what).await?)
    }

    async fn seal_with(&self, wish: &Wish, before: Option<&Wish>) -> Result<Means, SealError> {
        let mut there = self.wireguard().await?;
        if there.as_ref().is_some_and(|there| there.means == Means::Program)
            && ask(&self.program.socket, None).await.is_err()
        {
            // Whoever held it is hung or gone.
            self.unseal().await?;
            there = None;
        }
        let there = match there {
            Some(there) => there,
            None => self.make(wish.port).await?,
        };
        let (there, seen) = self.renewed(there, wish).await?;
        let means = there.means;
        let before = before.filter(|_| there.up);
        if let Some(change) = change(wish, &seen, before) {
            let done = self.settings(means, Some(change)).await;
            if done.is_err() && means == Means::Program {
                // It would say from now on that it is as it was told to be.
                self.unseal().await?;
            }
            done?;
        }
        self.raise(&there, wish).await?;
        Ok(means)
    }

    /// With another program, where this one would have to take another key or port: it opens its socket anew for that,
    /// finds the port held by what it has not let go of yet, and goes on without, or ends (gotatun 0.10).
    async fn renewed(&self, there: There, wish: &Wish) -> Result<(There, Seen), SealError> {
        let seen = self.settings(there.means, None).await?;
        let other = seen.key.is_some_and(|key| key != wish.key.public()) || seen.port != wish.port;
        if there.means == Means::Kernel || seen.key.is_none() || !other {
            return Ok((there, seen));
        }
        self.unseal().await?;
        let there = self.make(wish.port).await?;
        let seen = self.settings(there.means, None).await?;
        Ok((there, seen))
    }

    /// Says the change, if there is one, and how all is set then.
    async fn settings(&self, means: Means, said: Option<Change>) -> Result<Seen, SealError> {
        if means == Means::Program {
            let asked = ask(&self.program.socket, said.as_ref()).await;
            return Ok(asked.map_err(ProgramError::from)?);
        }
        let asked = tokio::task::spawn_blocking(move || {
            let kernel = Generic::open()?;
            said.map_or(Ok(()), |change| kernel.set(&change))?;
            kernel.look()
        });
        let seen = asked.await.map_err(io::Error::other).flatten();
        seen.map_err(SealError::Generic)
    }

    async fn make(&self, port: u16) -> Result<There, SealError> {
        // A program whose device was removed goes on for a moment, and holds the port meanwhile.
        self.program.end().await?;
        // The program would go on without it.
        if UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_err() {
            let holder = holder(Protocol::Udp, port);
            return Err(SealError::Port { port, holder });
        }
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(WIREGUARD_DEVICE.to_owned()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Wireguard)]),
        ];
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        let made = self
            .change(Message::NewLink(message), flags, "a wireguard device")
            .await;
        match made.map_err(|error| lacks(error, "wireguard", NEED)) {
            Ok(()) => {}
            Err(KernelError::Lacks { .. }) if !Path::new(TUN).exists() => return Err(SealError::Nothing),
            Err(KernelError::Lacks { .. }) => self.program.start().await?,
            Err(error) => return Err(error.into()),
        }
        let what = || format!("device {WIREGUARD_DEVICE}");
        let there = self.wireguard().await?;
        Ok(there.ok_or_else(|| KernelError::Missing { what: what() })?)
    }

    /// Address, largest packet, up.
    async fn raise(&self, there: &There, wish: &Wish) -> Result<(), SealError> {
        let mtu = wireguard_mtu(self.underlay_mtu(wish.host).await?);
        if there.mtu != mtu {
            let message = Message::SetLink(links::sized(there.index, mtu));
            self.change(message, 0, "the wireguard device's largest packet")
                .await?;
        }
        let addresses = self.addresses_of(there.index).await?;
        for other in addresses.iter().filter(|other| **other != wish.address) {
            let message = Message::DelAddress(messages::address(there.index, *other));
            self.change(message, 0, "removal of the wireguard device's address")
                .await?;
        }
        if !addresses.contains(&wish.address) {
            let message = Message::NewAddress(messages::address(there.index, wish.address));
            let flags = NLM_F_CREATE | NLM_F_EXCL;
            self.change(message, flags, "the wireguard device's address")
                .await?;
        }
        if !there.up {
            let message = Message::SetLink(links::raised(there.index));
            self.change(message, 0, "the wireguard device").await?;
        }
        Ok(())
    }

    async fn underlay_mtu(&self, host: Ipv4Addr) -> Result<u32, KernelError> {
        let links = self.links().await?;
        let addresses = self.addresses().await?;
        let holder = addresses.holders.get(&host.into());
        Ok(holder
            .and_then(|index| links.mtus.get(index))
            .copied()
            .unwrap_or_default())
    }

    async fn wireguard(&self) -> Result<Option<There>, KernelError> {
        let found = self
            .dump(Message::GetLink(LinkMessage::default()), "devices")
            .await?;
        Ok(found.into_iter().find_map(|message| match message {
            Message::NewLink(link) if links::name(&link) == Some(WIREGUARD_DEVICE) => Some(There {
                index: link.header.index,
                means: match links::kind(&link) {
                    Some(InfoKind::Wireguard) => Means::Kernel,
                    _ => Means::Program,
                },
                mtu: links::mtu(&link),
                up: link.header.flags.contains(LinkFlags::Up),
            }),
            _ => None,
        }))
    }
}

/// An error with its causes, in one line.
fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
