//! Connections that the kernel tracks: those that lead to tasks which are no more, or take none any more, are ended.
//! Which tasks those are is decided elsewhere.
//!
//! Written by hand over a netlink socket: a dump, a comparison of addresses and the same tuple sent back is all that is
//! needed of the protocol.

use std::io;
use std::net::Ipv4Addr;

use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{Socket, SocketAddr};

use super::raw::{HEADERS, aligned, attribute, messages};
use super::{Ended, Led};

/// Subsystem of connection tracking in the upper byte of a message's type.
const SUBSYSTEM: u16 = 1;
const GET: u16 = SUBSYSTEM << 8 | 1;
const DELETE: u16 = SUBSYSTEM << 8 | 2;
const DONE: u16 = 3;
const ERROR: u16 = 2;
const REQUEST: u16 = 0x01;
const DUMP: u16 = 0x300;
/// `AF_INET`.
const FAMILY: u8 = 2;
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
const PROTOCOL_NUMBER: u16 = 1;
const UDP: u8 = 17;
/// Attributes of what is known beside, down to the state of a TCP connection.
const STATES: u16 = 4;
const OF_TCP: u16 = 1;
const STATE: u16 = 1;
/// From the first packet to the last before the end is agreed on (`SYN_SENT` to `CLOSE_WAIT`).
const ALIVE: std::ops::RangeInclusive<u8> = 1..=5;
/// Written together with the kind of an attribute that holds others.
const NESTED: u16 = 0x8000;

/// Ends those connections; answers how many. Blocks.
pub(super) fn end(ended: &Ended) -> io::Result<usize> {
    let mut doomed = Vec::new();
    let socket = each(|tracked| {
        if tracked.ends(ended) {
            doomed.push(name(tracked.attributes));
        }
    })?;
    for name in &doomed {
        // One that ended by itself meanwhile is no error, and no answer is asked for.
        socket.send(&request(DELETE, 0, name), 0)?;
    }
    Ok(doomed.len())
}

/// How many TCP connections from outside of the cluster's networks, or through published ports, lead to those tasks.
/// Blocks.
pub(super) fn count(led: &Led) -> io::Result<usize> {
    let mut count = 0;
    each(|tracked| count += usize::from(tracked.is_led(led)))?;
    Ok(count)
}

/// Calls for each connection that there is; answers the socket, ready for requests.
fn each(mut see: impl FnMut(&Tracked)) -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&request(GET, DUMP, &[]), 0)?;
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        for (kind, body) in messages(&bytes) {
            match kind {
                DONE => return Ok(socket),
                ERROR => return Err(refusal(body)),
                _ => Tracked::read(body.get(4..).unwrap_or_default())
                    .iter()
                    .for_each(&mut see),
            }
        }
    }
}

/// A connection.
struct Tracked<'a> {
    attributes: &'a [u8],
    /// Who called, and what address.
    caller: Ipv4Addr,
    called: Ipv4Addr,
    /// Who answers, whatever was called.
    answers: Ipv4Addr,
    protocol: u8,
}

impl<'a> Tracked<'a> {
    /// None for one that is not of IPv4.
    fn read(attributes: &'a [u8]) -> Option<Self> {
        let original = attribute(attributes, ORIGINAL)?;
        let reply = attribute(attributes, REPLY)?;
        let address = |tuple, side| {
            let addresses = attribute(tuple, ADDRESSES)?;
            let bytes: [u8; 4] = attribute(addresses, side)?.try_into().ok()?;
            Some(Ipv4Addr::from(bytes))
        };
        Some(Self {
            attributes,
            caller: address(original, SOURCE)?,
            called: address(original, DESTINATION)?,
            answers: address(reply, SOURCE)?,
            protocol: *attribute(attribute(original, PROTOCOL)?, PROTOCOL_NUMBER)?.first()?,
        })
    }

    fn ends(&self, ended: &Ended) -> bool {
        let datagrams = self.protocol == UDP;
        ended.gone.contains(&self.answers) || datagrams && ended.aside.contains(&self.answers)
    }

    fn is_led(&self, led: &Led) -> bool {
        let state = attribute(self.attributes, STATES).and_then(|states| attribute(states, OF_TCP));
        let state = state.and_then(|state| attribute(state, STATE));
        let within = |address| led.within.iter().any(|subnet| subnet.contains(address));
        led.to.contains(&self.answers)
            && state.is_some_and(|state| ALIVE.contains(&state[0]))
            && !(within(self.caller) && within(self.called))
    }
}

/// By what a connection is named to the kernel.
fn name(attributes: &[u8]) -> Vec<u8> {
    let mut name = Vec::new();
    for (kind, nested) in [(ORIGINAL, NESTED), (NUMBER, 0), (ZONE, 0)] {
        if let Some(value) = attribute(attributes, kind) {
            let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
            name.extend(length.to_ne_bytes());
            name.extend((kind | nested).to_ne_bytes());
            name.extend(value);
            name.resize(aligned(name.len()), 0);
        }
    }
    name
}

fn request(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADERS + attributes.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((REQUEST | flags).to_ne_bytes());
    // Sequence and port: one request at a time.
    message.extend([0; 8]);
    message.extend([FAMILY, 0, 0, 0]);
    message.extend(attributes);
    message
}

fn refusal(body: &[u8]) -> io::Error {
    let code = body.get(..4).and_then(|code| code.try_into().ok());
    io::Error::from_raw_os_error(-code.map_or(0, i32::from_ne_bytes))
}
