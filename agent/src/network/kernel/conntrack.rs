//! Connections that the kernel tracks: those that lead to tasks which are no more, or take none any more, are ended.
//! Which tasks those are is decided elsewhere.
//!
//! Written by hand over a netlink socket: a dump, a comparison of addresses and the same tuple sent back is all that is
//! needed of the protocol.

use std::io;
use std::net::Ipv4Addr;

use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{Socket, SocketAddr};

use super::Ended;
use super::raw::{HEADERS, aligned, attribute, messages};

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
const PROTOCOL_NUMBER: u16 = 1;
const UDP: u8 = 17;
/// Written together with the kind of an attribute that holds others.
const NESTED: u16 = 0x8000;

/// Ends those connections; answers how many. Blocks.
pub(super) fn end(ended: &Ended) -> io::Result<usize> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&request(GET, DUMP, &[]), 0)?;
    let mut doomed = Vec::new();
    'dump: loop {
        let (bytes, _) = socket.recv_from_full()?;
        for (kind, body) in messages(&bytes) {
            match kind {
                DONE => break 'dump,
                ERROR => return Err(refusal(body)),
                _ if ends(body.get(4..).unwrap_or_default(), ended) => doomed.push(name(&body[4..])),
                _ => {}
            }
        }
    }
    for name in &doomed {
        // One that ended by itself meanwhile is no error, and no answer is asked for.
        socket.send(&request(DELETE, 0, name), 0)?;
    }
    Ok(doomed.len())
}

/// Whether a connection is one of those: the other side answers from the task's address, whatever the caller called.
fn ends(attributes: &[u8], ended: &Ended) -> bool {
    let Some(tuple) = attribute(attributes, REPLY) else {
        return false;
    };
    let source = attribute(tuple, ADDRESSES).and_then(|addresses| attribute(addresses, SOURCE));
    let source: Option<[u8; 4]> = source.and_then(|source| source.try_into().ok());
    let protocol = attribute(tuple, PROTOCOL).and_then(|protocol| attribute(protocol, PROTOCOL_NUMBER));
    let Some(source) = source.map(Ipv4Addr::from) else {
        return false;
    };
    let udp = protocol == Some(&[UDP]);
    ended.gone.contains(&source) || udp && ended.aside.contains(&source)
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
