//! Traffic for tests: a server that answers UDP datagrams and TCP lines with who it is, and a client that asks it. Uses
//! the standard library alone, so that the bed can build it as one static program for an image that holds nothing else.
//! `traffic serve [--udp PORT]… [--tcp PORT]…`,
//! `traffic ask (--udp ADDR | --tcp ADDR) [--count N] [--pause MS] [--wait MS] [--until FILE]`

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// Largest datagram that is asked or answered.
const DATAGRAM_MAX: usize = 65_507;
/// How long an answer may take, unless `--wait` says otherwise, milliseconds.
const WAIT_MS: u64 = 2_000;

const USAGE: &str = "usage: traffic serve [--udp PORT]... [--tcp PORT]...\n       traffic ask (--udp ADDR | --tcp ADDR) \
                     [--count N] [--pause MS] [--wait MS] [--until FILE]";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.split_first() {
        Some((verb, rest)) if verb == "serve" => options(rest).and_then(|given| serve(&given)),
        Some((verb, rest)) if verb == "ask" => options(rest).and_then(|given| ask(&given)),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(code) => code,
        Err(words) => {
            eprintln!("traffic: {words}");
            ExitCode::from(2)
        }
    }
}

/// Options by name, each with its values.
type Options = BTreeMap<String, Vec<String>>;

fn options(words: &[String]) -> Result<Options, String> {
    let mut given = Options::new();
    for pair in words.chunks(2) {
        let [name, value] = pair else {
            return Err(USAGE.to_owned());
        };
        let known = ["udp", "tcp", "count", "pause", "wait", "until"];
        let name = name.strip_prefix("--").filter(|name| known.contains(name));
        let name = name.ok_or_else(|| USAGE.to_owned())?;
        given.entry(name.to_owned()).or_default().push(value.clone());
    }
    Ok(given)
}

fn all<'a>(given: &'a Options, name: &str) -> &'a [String] {
    given.get(name).map_or(&[], Vec::as_slice)
}

fn number(given: &Options, name: &str, unless: u64) -> Result<u64, String> {
    match all(given, name).last() {
        Some(text) => text.parse().map_err(|_| format!("--{name} {text}: not a number")),
        None => Ok(unless),
    }
}

/// The host's name and the image's version, as `shoal/web` tells them.
fn who() -> String {
    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let version = std::env::var("VERSION").unwrap_or_default();
    format!("{} version {version}", name.trim())
}

fn serve(given: &Options) -> Result<ExitCode, String> {
    let mut servers = Vec::new();
    for port in all(given, "udp") {
        let socket = UdpSocket::bind(here(port)?).map_err(|e| format!("udp port {port}: {e}"))?;
        servers.push(thread::spawn(move || answer_datagrams(&socket)));
    }
    for port in all(given, "tcp") {
        let listener = TcpListener::bind(here(port)?).map_err(|e| format!("tcp port {port}: {e}"))?;
        servers.push(thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || answer_lines(stream));
            }
        }));
    }
    if servers.is_empty() {
        return Err(USAGE.to_owned());
    }
    for server in servers {
        server.join().map_err(|_| "a server has panicked".to_owned())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn here(port: &str) -> Result<SocketAddr, String> {
    let port: u16 = port.parse().map_err(|_| format!("{port}: not a port"))?;
    Ok((Ipv4Addr::UNSPECIFIED, port).into())
}

fn answer_datagrams(socket: &UdpSocket) {
    let (who, mut buffer) = (who(), vec![0; DATAGRAM_MAX]);
    loop {
        // A failed receive is the kernel's word about an earlier answer; the next datagram is another matter.
        let Ok((length, client)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let text = String::from_utf8_lossy(&buffer[..length]);
        let answer = format!("{who} {text}");
        if let Err(error) = socket.send_to(answer.as_bytes(), client) {
            eprintln!("traffic: answer to {client}: {error}");
        }
    }
}

fn answer_lines(stream: TcpStream) -> io::Result<()> {
    let (who, mut out) = (who(), stream.try_clone()?);
    for line in BufReader::new(stream).lines() {
        writeln!(out, "{who} {}", line?)?;
    }
    Ok(())
}

/// Asks one question after the other from one socket; a line for each: the answer, or `lost N: why`.
fn ask(given: &Options) -> Result<ExitCode, String> {
    let count = number(
        given,
        "count",
        if given.contains_key("until") { u64::MAX } else { 1 },
    )?;
    let pause = Duration::from_millis(number(given, "pause", 0)?);
    let wait = Duration::from_millis(number(given, "wait", WAIT_MS)?);
    let until = all(given, "until").last().map(Path::new);
    let mut asker = match (all(given, "udp"), all(given, "tcp")) {
        ([address], []) => Asker::udp(address, wait),
        ([], [address]) => Asker::tcp(address, wait),
        _ => return Err(USAGE.to_owned()),
    }?;
    let mut code = ExitCode::SUCCESS;
    for question in 1..=count {
        if until.is_some_and(Path::exists) {
            break;
        }
        match asker.ask(question) {
            Ok(answer) => println!("{answer}"),
            Err(error) => {
                println!("lost {question}: {error}");
                code = ExitCode::FAILURE;
            }
        }
        thread::sleep(pause);
    }
    Ok(code)
}

enum Asker {
    Udp(UdpSocket),
    Tcp(BufReader<TcpStream>),
}

impl Asker {
    fn udp(address: &str, wait: Duration) -> Result<Self, String> {
        let open = || -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect(resolved(address)?)?;
            socket.set_read_timeout(Some(wait))?;
            Ok(socket)
        };
        open().map(Self::Udp).map_err(|e| format!("{address}: {e}"))
    }

    fn tcp(address: &str, wait: Duration) -> Result<Self, String> {
        let open = || -> io::Result<TcpStream> {
            let stream = TcpStream::connect_timeout(&resolved(address)?, wait)?;
            stream.set_read_timeout(Some(wait))?;
            Ok(stream)
        };
        let stream = open().map_err(|e| format!("{address}: {e}"))?;
        Ok(Self::Tcp(BufReader::new(stream)))
    }

    fn ask(&mut self, question: u64) -> io::Result<String> {
        match self {
            Self::Udp(socket) => {
                socket.send(question.to_string().as_bytes())?;
                let mut buffer = vec![0; DATAGRAM_MAX];
                loop {
                    let length = socket.recv(&mut buffer)?;
                    let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    // The answer to a question that was given up already is nobody's.
                    if answer.split(' ').next_back() == Some(&question.to_string()) {
                        return Ok(answer);
                    }
                }
            }
            Self::Tcp(stream) => {
                writeln!(stream.get_mut(), "{question}")?;
                let mut answer = String::new();
                match stream.read_line(&mut answer)? {
                    0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    _ => Ok(answer.trim_end().to_owned()),
                }
            }
        }
    }
}

fn resolved(address: &str) -> io::Result<SocketAddr> {
    let mut found = address.to_socket_addrs()?;
    found
        .find(SocketAddr::is_ipv4)
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}
