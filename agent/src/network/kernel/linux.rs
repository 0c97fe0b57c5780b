//! The kernel of this host: routing through netlink, the ruleset through `nft`, settings through `/proc/sys`.
//! It touches nothing that is not ours by the names and numbers in `ours`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures::StreamExt as _;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage as Message;
use rtnetlink::packet_route::link::LinkMessage;

use rustix::io::Errno;
use tokio::sync::mpsc;

use super::links;
use super::messages::{self, Devices};
use super::program::Program;
use super::tables::OwnRuns;
use super::{Ended, Kernel, KernelError, Led, Sight, conntrack, nft, sysctl, tables, watch};
use crate::network::dns::{RESOLV_CONF, engine_resolver};
use crate::network::model::{Found, Lane, Local, Memory, Op};
use crate::network::settings::{sysctls, sysctls6};
use crate::network::{beside, wireguard};

/// The kernel of the network namespace in which the agent runs.
#[derive(Debug)]
pub struct Linux {
    handle: rtnetlink::Handle,
    connection: tokio::task::JoinHandle<()>,
    /// Indexes of the tunnels' devices since they were last looked up.
    devices: Mutex<Devices>,
    /// Indexes of our bridges, in the same way.
    bridges: Mutex<BTreeMap<String, u32>>,
    runs: OwnRuns,
    /// The program that seals, where the kernel cannot.
    pub(super) program: Program,
    /// Asked once.
    memory: tokio::sync::OnceCell<Memory>,
    /// Held alone for a list: the kernel answers no second one over the same socket.
    asking: tokio::sync::RwLock<()>,
}

impl Drop for Linux {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Linux {
    /// Opens a netlink socket. Must be called within a runtime.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn open() -> Result<Self, KernelError> {
        Self::open_with(Program::default())
    }

    /// The same, with another program that seals.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn open_with(program: Program) -> Result<Self, KernelError> {
        let (connection, handle, _messages) = rtnetlink::new_connection().map_err(KernelError::Open)?;
        Ok(Self {
            handle,
            connection: tokio::spawn(connection),
            devices: Mutex::default(),
            bridges: Mutex::default(),
            runs: OwnRuns::default(),
            program,
            memory: tokio::sync::OnceCell::new(),
            asking: tokio::sync::RwLock::default(),
        })
    }

    async fn ask(&self, message: Message, flags: u16, what: &str) -> Result<Vec<Message>, KernelError> {
        let refused = |source| KernelError::Refused {
            what: what.to_owned(),
            source,
        };
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        let mut answers = self.handle.clone().request(request).map_err(refused)?;
        let mut found = Vec::new();
        while let Some(answer) = answers.next().await {
            match answer.payload {
                NetlinkPayload::InnerMessage(message) => found.push(message),
                NetlinkPayload::Error(error) if error.code.is_some() => {
                    return Err(refused(rtnetlink::Error::NetlinkError(error)));
                }
                _ => {}
            }
        }
        Ok(found)
    }

    pub(super) async fn change(&self, message: Message, flags: u16, what: &str) -> Result<(), KernelError> {
        let _beside_others = self.asking.read().await;
        self.ask(message, NLM_F_ACK | flags, what).await.map(drop)
    }

    pub(super) async fn dump(&self, message: Message, what: &str) -> Result<Vec<Message>, KernelError> {
        let _alone = self.asking.write().await;
        self.ask(message, NLM_F_DUMP, what).await
    }

    async fn index(&self, name: &str) -> Result<u32, KernelError> {
        let question = Message::GetLink(links::named(name));
        let _beside_others = self.asking.read().await;
        let answers = self.ask(question, 0, &format!("device {name}")).await?;
        let index = answers.iter().find_map(|answer| match answer {
            Message::NewLink(link) => Some(link.header.index),
            _ => None,
        });
        index.ok_or_else(|| KernelError::Missing {
            what: format!("device {name}"),
        })
    }

    /// Index of a tunnel's device.
    async fn device(&self, lane: Lane) -> Result<u32, KernelError> {
        if let Some(known) = self.known().get(&lane) {
            return Ok(*known);
        }
        let index = self.index(lane.device()).await?;
        self.known().insert(lane, index);
        Ok(index)
    }

    pub(super) fn known(&self) -> std::sync::MutexGuard<'_, Devices> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Index of a bridge of ours.
    async fn bridge(&self, name: &str) -> Result<u32, KernelError> {
        let known = self.bridges().get(name).copied();
        match known {
            Some(known) => Ok(known),
            None => self.index(name).await,
        }
    }

    pub(super) fn bridge_at(&self, index: u32) -> Option<String> {
        let bridges = self.bridges();
        let mut bridges = bridges.iter();
        bridges.find_map(|(name, is)| (*is == index).then(|| name.clone()))
    }

    fn bridges(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u32>> {
        self.bridges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the node says on a bridge.
    async fn apply_to_bridge(&self, op: &Op, what: &str) -> Result<(), KernelError> {
        let (message, flags) = match op {
            Op::AddAsking(bridge) => {
                let message = messages::address(self.bridge(bridge).await?, messages::asking());
                (Message::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
            }
            Op::RemoveAsking(bridge) => {
                let message = messages::address(self.bridge(bridge).await?, messages::asking());
                (Message::DelAddress(message), 0)
            }
            Op::AddProxy(proxy) => {
                let message = messages::proxy(self.bridge(&proxy.bridge).await?, proxy.address);
                (Message::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
            }
            Op::RemoveProxy(proxy) => {
                let message = messages::proxy(self.bridge(&proxy.bridge).await?, proxy.address);
                (Message::DelNeighbour(message), 0)
            }
            _ => return Ok(()),
        };
        self.change(message, flags, what).await
    }

    async fn apply_to_device(&self, op: &Op) -> Result<(), KernelError> {
        let what = format!("{op:?}");
        let lane = match op {
            Op::MakeDevice(lane, device) => {
                self.known().remove(lane);
                let message = Message::NewLink(links::tunnel(*lane, device));
                let made = self.change(message, NLM_F_CREATE | NLM_F_EXCL, &what).await;
                return made.map_err(|error| lacks(error, "vxlan", "other nodes' tasks are out of reach"));
            }
            Op::SetPort(port, how) => {
                let message = Message::NewLink(links::set_port(self.index(port).await?, *how));
                return self.change(message, 0, &what).await;
            }
            Op::RemoveDevice(lane) => return self.remove_tunnel(*lane, &what).await,
            Op::AddRoute(route) | Op::RemoveRoute(route) => route.lane,
            Op::SetMtu(lane, _) | Op::RaiseDevice(lane) => *lane,
            Op::AddAddress(lane, _) | Op::RemoveAddress(lane, _) => *lane,
            Op::SetNeighbour(lane, ..) | Op::RemoveNeighbour(lane, _) => *lane,
            Op::AddForwarding(lane, ..) | Op::RemoveForwarding(lane, ..) => *lane,
            Op::AddRule(_) | Op::RemoveRule(_) | Op::SetSysctl(..) | Op::Ruleset(..) => return Ok(()),
            _ => return self.apply_to_bridge(op, &what).await,
        };
        let index = self.device(lane).await?;
        let (message, flags) = match op {
            Op::SetMtu(_, mtu) => (Message::SetLink(links::sized(index, *mtu)), 0),
            Op::RaiseDevice(_) => (Message::SetLink(links::raised(index)), 0),
            Op::AddAddress(_, address) => {
                let message = messages::address(index, *address);
                (Message::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
            }
            Op::RemoveAddress(_, address) => (Message::DelAddress(messages::address(index, *address)), 0),
            Op::SetNeighbour(_, address, link) => {
                let message = messages::neighbour(index, *address, Some(*link));
                (Message::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
            }
            Op::RemoveNeighbour(_, address) => {
                let message = messages::neighbour(index, *address, None);
                (Message::DelNeighbour(message), 0)
            }
            Op::AddForwarding(_, link, host) => {
                let message = messages::forwarding(index, *link, *host);
                (Message::NewNeighbour(message), NLM_F_CREATE | NLM_F_APPEND)
            }
            Op::RemoveForwarding(_, link, host) => {
                let message = messages::forwarding(index, *link, *host);
                (Message::DelNeighbour(message), 0)
            }
            Op::AddRoute(route) => {
                let message = messages::route(index, *route);
                (Message::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
            }
            Op::RemoveRoute(route) => (Message::DelRoute(messages::route(index, *route)), 0),
            _ => return Ok(()),
        };
        self.change(message, flags, &what).await
    }

    async fn remove_tunnel(&self, lane: Lane, what: &str) -> Result<(), KernelError> {
        let removal = async {
            let index = self.device(lane).await?;
            self.known().remove(&lane);
            self.remove_link(index, what).await
        };
        gone(removal.await)
    }

    /// A device goes, or has gone since it was looked at: the program's goes with it, and with that the tunnel over it.
    pub(super) async fn remove_link(&self, index: u32, what: &str) -> Result<(), KernelError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        gone(self.change(Message::DelLink(message), 0, what).await)
    }
}

#[async_trait]
impl Kernel for Linux {
    async fn look(&self, host: Option<Ipv4Addr>) -> Result<Found, KernelError> {
        let mut found = Found::default();
        self.glance(host, &mut found).await?;
        found.rulesets = nft::look(&self.runs).await?;
        let addresses = self.addresses().await?;
        for (lane, address) in addresses.of_lanes {
            found.end_mut(lane).addresses.insert(address);
        }
        let asking = addresses.asking.into_iter();
        found.asking = asking.filter_map(|index| self.bridge_at(index)).collect();
        self.look_at_neighbours(&mut found).await?;
        self.look_at_routing(&mut found).await?;
        Ok(found)
    }

    async fn glance(&self, host: Option<Ipv4Addr>, found: &mut Found) -> Result<(), KernelError> {
        let links = self.links().await?;
        let devices = links.devices.iter();
        *self.known() = devices.map(|(lane, (index, _))| (*lane, *index)).collect();
        let before = std::mem::replace(&mut *self.bridges(), links.indexes);
        // What lay on a bridge went with it, also where another has its name by now.
        let same = |bridge: &String| before.get(bridge) == self.bridges().get(bridge);
        found.proxies.retain(|proxy| same(&proxy.bridge));
        found.asking.retain(same);
        let addresses = self.addresses().await?;
        let holder = host.and_then(|host| addresses.holders.get(&IpAddr::V4(host)));
        let underlay_mtu = holder.and_then(|index| links.mtus.get(index));
        found.local = Local {
            bridges: links.bridges,
            underlay_mtu: underlay_mtu.copied().unwrap_or_default(),
            wireguard: links.wireguard,
            bridging: sysctl::bridging()?,
            resolver: Some(engine_resolver(Path::new(RESOLV_CONF))),
            deaf: self.deaf(holder.copied(), &links.names).await?,
            memory: *self.memory.get_or_try_init(|| nft::memory(&self.runs)).await?,
        };
        for lane in Lane::ALL {
            found.end_mut(lane).device = links.devices.get(&lane).map(|(_, device)| *device);
        }
        found.ports = links.ports;
        let mut settings = sysctls(&found.local, &Lane::ALL);
        settings.extend(sysctls6(&found.local, &Lane::ALL, found.local.bridges.keys()));
        found.sysctls = sysctl::read(settings.keys())?;
        Ok(())
    }

    async fn beside(&self, openings: Option<&beside::Openings>) -> beside::State {
        beside::mend(openings, sysctl::bridging().unwrap_or_default()).await
    }

    async fn seal(
        &self,
        wish: Option<&wireguard::Wish>,
        before: Option<&wireguard::Wish>,
    ) -> wireguard::State {
        self.sealed(wish, before).await
    }

    async fn end_connections(&self, ended: &Ended) -> Result<usize, KernelError> {
        let ended = ended.clone();
        connections(move || conntrack::end(&ended)).await
    }

    async fn count_connections(&self, led: &Led) -> Result<usize, KernelError> {
        let led = led.clone();
        connections(move || conntrack::count(&led)).await
    }

    fn watch(&self) -> Result<mpsc::UnboundedReceiver<Sight>, KernelError> {
        let (sights_to, sights) = mpsc::unbounded_channel();
        watch::start(sights_to.clone())?;
        tables::start(self.runs.clone(), sights_to)?;
        Ok(sights)
    }

    async fn apply(&self, op: &Op) -> Result<(), KernelError> {
        match op {
            Op::SetSysctl(path, value) => sysctl::write(path, value),
            Op::Ruleset(family, changes) => nft::apply(*family, changes, &self.runs).await,
            Op::AddRule(rule) => {
                let message = Message::NewRule(messages::rule(rule));
                let flags = NLM_F_CREATE | NLM_F_EXCL;
                let made = self.change(message, flags, &format!("{op:?}")).await;
                made.map_err(|error| {
                    lacks(
                        error,
                        "policy routing",
                        "clients from outside get no answer from here",
                    )
                })
            }
            Op::RemoveRule(rule) => {
                let message = Message::DelRule(messages::rule(rule));
                self.change(message, 0, &format!("{op:?}")).await
            }
            _ => self.apply_to_device(op).await,
        }
    }
}

/// Asks about tracked connections, off the runtime's threads.
async fn connections(
    ask: impl FnOnce() -> std::io::Result<usize> + Send + 'static,
) -> Result<usize, KernelError> {
    let asked = tokio::task::spawn_blocking(ask).await;
    let asked = asked.map_err(std::io::Error::other).flatten();
    asked.map_err(KernelError::Connections)
}

/// Names what the kernel cannot do where that is why it refused.
pub(super) fn lacks(error: KernelError, what: &'static str, need: &'static str) -> KernelError {
    match refusal(&error) {
        Some(Errno::OPNOTSUPP | Errno::AFNOSUPPORT) => KernelError::Lacks { what, need },
        _ => error,
    }
}

/// What is not there is removed already.
fn gone(removal: Result<(), KernelError>) -> Result<(), KernelError> {
    removal.or_else(|error| match refusal(&error) {
        Some(Errno::NODEV) => Ok(()),
        _ => Err(error),
    })
}

fn refusal(error: &KernelError) -> Option<Errno> {
    match error {
        KernelError::Refused {
            source: rtnetlink::Error::NetlinkError(refusal),
            ..
        } => Errno::from_io_error(&refusal.to_io()),
        _ => None,
    }
}
