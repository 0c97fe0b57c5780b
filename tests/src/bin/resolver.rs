//! A resolver of names for tests: answers each question for addresses that comes by UDP with the one address it was given.
//! `resolver LISTEN ADDRESS`

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;

/// Largest question that is looked at.
const QUESTION_MAX: usize = 512;
/// The part of a message before its question.
const HEADER: usize = 12;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let given = match words.as_slice() {
        [listen, address] => listen.parse().ok().zip(address.parse().ok()),
        _ => None,
    };
    let Some((listen, address)) = given else {
        eprintln!("usage: resolver LISTEN ADDRESS");
        return ExitCode::from(2);
    };
    match serve(listen, address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("resolver: {listen}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(listen: SocketAddr, address: Ipv4Addr) -> std::io::Result<()> {
    let socket = UdpSocket::bind(listen)?;
    let mut buffer = [0; QUESTION_MAX];
    loop {
        let (length, asker) = socket.recv_from(&mut buffer)?;
        let Some(answer) = answer(&buffer[..length], address) else {
            continue;
        };
        socket.send_to(&answer, asker)?;
    }
}

/// The question again, with one record behind it; without, where another kind was asked for.
fn answer(query: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    let labels = query.get(HEADER..)?;
    let end = HEADER + labels.iter().position(|byte| *byte == 0)? + 5;
    let mut answer = query.get(..end)?.to_vec();
    let is_address = answer.get(end - 4..end - 2)? == [0, 1];
    answer[2..4].copy_from_slice(&[0x81, 0x80]);
    answer[6..HEADER].copy_from_slice(&[0, u8::from(is_address), 0, 0, 0, 0]);
    if is_address {
        // The question's name, an address, for five seconds, four bytes of it.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
