//! Connections that the kernel tracks: those that lead to tasks which are no more, or take none any more, are ended.
//! Which tasks those are is decided elsewhere.
//!
//! Written by hand over a netlink socket: a dump, a comparison of addresses and the same tuple sent back is all that is
//! needed of the protocol.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{Socket, SocketAddr};

use super::raw::{HEADERS, attribute, messages, write};
use super::{Ended, Led};
use crate::network::side::Family;

/// Subsystem of connection tracking in the upper byte of a message's type.
const SUBSYSTEM: u16 = 1;
const GET: u16 = SUBSYSTEM << 8 | 1;
const DELETE: u16 = SUBSYSTEM << 8 | 2;
const DONE: u16 = 3;
const ERROR: u16 = 2;
const REQUEST: u16 = 0x01;
const DUMP: u16 = 0x300;
/// `AF_UNSPEC`: of any family.
const ANY: u8 = 0;
/// Attributes of a connection: its tuple from the caller's side and from the other, its number, its zone.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const NUMBER: u16 = 12;
const ZONE: u16 = 18;
/// Attributes of a tuple, and below them.
const ADDRESSES: u16 = 1;
const PROTOCOL: u16 = 2;
const SOURCE: u16 = 1;
const DESTINATION: u16 = 2;
/// The same of IPv6.
const SOURCE6: u16 = 3;
const DESTINATION6: u16 = 4;
const PROTOCOL_NUMBER: u16 = 1;
const UDP: u8 = 17;
/// Attributes of what is known beside, down to the state of a TCP connection.
const STATES: u16 = 4;
const OF_TCP: u16 = 1;
const STATE: u16 = 1;
/// Both sides have said that they are done.
const OVER: u8 = 7;
/// Addresses for which the kernel is asked one by one; each question walks along all connections.
const PICKED_MAX: usize = 4;
/// Which connections a list is to hold, and below it the parts of the other side's tuple that they are picked by.
const FILTER: u16 = 25;
const FILTER_BY_REPLY: u16 = 2;
const BY_SOURCE: u32 = 1;
/// From the first packet to the last before the end is agreed on (`SYN_SENT` to `CLOSE_WAIT`).
const ALIVE: std::ops::RangeInclusive<u8> = 1..=5;
/// Written together with the kind of an attribute that holds others.
const NESTED: u16 = 0x8000;

/// Ends those connections; answers how many. Blocks.
pub(super) fn end(ended: &Ended) -> io::Result<usize> {
    let ending = open()?;
    let mut count = 0;
    let to = ended.gone.union(&ended.aside).copied().collect();
    each(&to, |tracked| {
        if tracked.ends(ended) {
            count += 1;
            // One that ended by itself meanwhile is no error, and no answer is asked for.
            let family = family(tracked.answers);
            ending.send(&request((DELETE, family), 0, &name(tracked.attributes)), 0)?;
        }
        Ok(())
    })?;
    Ok(count)
}

/// How many TCP connections from outside of the cluster's networks, or through published ports, lead to those tasks.
/// Blocks.
pub(super) fn count(led: &Led) -> io::Result<usize> {
    let mut count = 0;
    each(&led.to, |tracked| {
        count += usize::from(tracked.is_led(led));
        Ok(())
    })?;
    Ok(count)
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// Calls for each connection that leads to one of these, and for others: the kernel picks out those of a few addresses,
/// an old one (before Linux 5.8) lists all.
fn each(to: &BTreeSet<IpAddr>, mut see: impl FnMut(&Tracked) -> io::Result<()>) -> io::Result<()> {
    let socket = open()?;
    if to.len() > PICKED_MAX {
        socket.send(&request((GET, ANY), DUMP, &[]), 0)?;
        return list(&socket, see);
    }
    for address in to {
        let question = request((GET, family(*address)), DUMP, &leading_to(*address));
        socket.send(&question, 0)?;
        let mut see = |tracked: &Tracked| {
            if tracked.answers == *address {
                return see(tracked);
            }
            Ok(())
        };
        list(&socket, &mut see)?;
    }
    Ok(())
}

fn list(socket: &Socket, mut see: impl FnMut(&Tracked) -> io::Result<()>) -> io::Result<()> {
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        for (kind, body) in messages(&bytes) {
            match kind {
                DONE => return Ok(()),
                ERROR => return Err(refusal(body)),
                _ => Tracked::read(body.get(4..).unwrap_or_default())
                    .iter()
                    .try_for_each(&mut see)?,
            }
        }
    }
}

/// Attributes of a request for connections that are answered from there.
fn leading_to(address: IpAddr) -> Vec<u8> {
    let mut source = Vec::new();
    match address {
        IpAddr::V4(address) => write(&mut source, SOURCE, &address.octets()),
        IpAddr::V6(address) => write(&mut source, SOURCE6, &address.octets()),
    }
    let mut tuple = Vec::new();
    write(&mut tuple, ADDRESSES | NESTED, &source);
    let mut by = Vec::new();
    write(&mut by, FILTER_BY_REPLY, &BY_SOURCE.to_ne_bytes());
    let mut attributes = Vec::new();
    write(&mut attributes, REPLY | NESTED, &tuple);
    write(&mut attributes, FILTER | NESTED, &by);
    attributes
}

/// A connection.
struct Tracked<'a> {
    attributes: &'a [u8],
    /// Who called, and what address.
    caller: IpAddr,
    called: IpAddr,
    /// Who answers, whatever was called.
    answers: IpAddr,
    protocol: u8,
}

impl<'a> Tracked<'a> {
    /// None for one that is of neither family.
    fn read(attributes: &'a [u8]) -> Option<Self> {
        let original = attribute(attributes, ORIGINAL)?;
        let reply = attribute(attributes, REPLY)?;
        let address = |tuple, side, side6| {
            let addresses = attribute(tuple, ADDRESSES)?;
            if let Some(bytes) = attribute(addresses, side) {
                let bytes: [u8; 4] = bytes.try_into().ok()?;
                return Some(IpAddr::V4(Ipv4Addr::from(bytes)));
            }
            let bytes: [u8; 16] = attribute(addresses, side6)?.try_into().ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        };
        Some(Self {
            attributes,
            caller: address(original, SOURCE, SOURCE6)?,
            called: address(original, DESTINATION, DESTINATION6)?,
            answers: address(reply, SOURCE, SOURCE6)?,
            protocol: *attribute(attribute(original, PROTOCOL)?, PROTOCOL_NUMBER)?.first()?,
        })
    }

    /// One that is over stays: the kernel forgets it when its port is used again. That may be while this runs, and the new
    /// connection has the name of the old one.
    fn ends(&self, ended: &Ended) -> bool {
        let datagrams = self.protocol == UDP;
        let leads = ended.gone.contains(&self.answers) || datagrams && ended.aside.contains(&self.answers);
        leads && self.state() != Some(OVER)
    }

    fn is_led(&self, led: &Led) -> bool {
        let within = |address| led.within.iter().any(|subnet| subnet.contains(address));
        led.to.contains(&self.answers)
            && self.state().is_some_and(|state| ALIVE.contains(&state))
            && !(within(self.caller) && within(self.called))
    }

    /// Of a TCP connection.
    fn state(&self) -> Option<u8> {
        let states = attribute(self.attributes, STATES)?;
        let state = attribute(attribute(states, OF_TCP)?, STATE)?;
        state.first().copied()
    }
}

/// By what a connection is named to the kernel.
fn name(attributes: &[u8]) -> Vec<u8> {
    let mut name = Vec::new();
    for (kind, nested) in [(ORIGINAL, NESTED), (NUMBER, 0), (ZONE, 0)] {
        if let Some(value) = attribute(attributes, kind) {
            write(&mut name, kind | nested, value);
        }
    }
    name
}

/// `AF_INET` and `AF_INET6`.
fn family(of: IpAddr) -> u8 {
    match Family::of(of) {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

fn request((kind, family): (u16, u8), flags: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADERS + attributes.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((REQUEST | flags).to_ne_bytes());
    // Sequence and port: one request at a time.
    message.extend([0; 8]);
    message.extend([family, 0, 0, 0]);
    message.extend(attributes);
    message
}

fn refusal(body: &[u8]) -> io::Error {
    let code = body.get(..4).and_then(|code| code.try_into().ok());
    io::Error::from_raw_os_error(-code.map_or(0, i32::from_ne_bytes))
}
