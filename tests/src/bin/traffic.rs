//! Traffic for tests: a server that answers UDP datagrams and TCP lines with who it is and who asked, a client that asks
//! it, and many clients at once that count what fails. Uses the standard library alone, so that the bed can build it as
//! one static program for an image that holds nothing else. `USAGE` says how to call it.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Largest datagram that is asked or answered.
const DATAGRAM_MAX: usize = 65_507;
/// How long an answer may take, unless `--wait` says otherwise, milliseconds.
const WAIT_MS: u64 = 2_000;

/// How long a client of `load` keeps a connection, unless `--keep` says otherwise, milliseconds.
const KEEP_MS: u64 = 500;
/// Failures that `load` tells in full; the others are only counted.
const TOLD_MAX: usize = 20;

const USAGE: &str = "usage: traffic serve [--udp PORT]... [--tcp PORT]... [--delay MS]
       traffic ask (--udp ADDR | --tcp ADDR) [--ipv6 yes] [--count N] [--pause MS] [--wait MS] [--until FILE] [--fresh yes]
                   [--from PORT]
       traffic load --tcp ADDR [--ipv6 yes] --until FILE [--clients N] [--rate PER_SECOND] [--keep MS] [--wait MS]
serve: answers `NAME version VERSION from CLIENT QUESTION`, after the delay
ask:   one question after the other from one socket, or from a fresh one each; a line for each answer or `lost N: why`;
       datagrams may come from a port of choice
load:  half of the clients with a connection for each question, half keep one for a while; nothing is tried again;
       prints `asked N failed M`";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.split_first() {
        Some((verb, rest)) if verb == "serve" => options(rest).and_then(|given| serve(&given)),
        Some((verb, rest)) if verb == "ask" => options(rest).and_then(|given| ask(&given)),
        Some((verb, rest)) if verb == "load" => options(rest).and_then(|given| load(&given)),
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
        let known = [
            "udp", "tcp", "ipv6", "count", "pause", "wait", "until", "fresh", "delay", "clients", "rate",
            "keep", "from",
        ];
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
    let delay = Duration::from_millis(number(given, "delay", 0)?);
    let mut servers = Vec::new();
    for port in all(given, "udp") {
        let socket = UdpSocket::bind(&here(port)?[..]).map_err(|e| format!("udp port {port}: {e}"))?;
        servers.push(thread::spawn(move || answer_datagrams(&socket)));
    }
    for port in all(given, "tcp") {
        let listener = TcpListener::bind(&here(port)?[..]).map_err(|e| format!("tcp port {port}: {e}"))?;
        servers.push(thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || answer_lines(stream, delay));
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

/// Addresses to serve on, the first that is to be had: of both kinds, and without IPv6 of one.
fn here(port: &str) -> Result<[SocketAddr; 2], String> {
    let port: u16 = port.parse().map_err(|_| format!("{port}: not a port"))?;
    Ok([
        (Ipv6Addr::UNSPECIFIED, port).into(),
        (Ipv4Addr::UNSPECIFIED, port).into(),
    ])
}

fn answer_datagrams(socket: &UdpSocket) {
    let (who, mut buffer) = (who(), vec![0; DATAGRAM_MAX]);
    loop {
        // A failed receive is the kernel's word about an earlier answer; the next datagram is another matter.
        let Ok((length, client)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let text = String::from_utf8_lossy(&buffer[..length]);
        let answer = format!("{who} from {} {text}", client.ip().to_canonical());
        if let Err(error) = socket.send_to(answer.as_bytes(), client) {
            eprintln!("traffic: answer to {client}: {error}");
        }
    }
}

fn answer_lines(stream: TcpStream, delay: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (who, client, mut out) = (
        who(),
        stream.peer_addr()?.ip().to_canonical(),
        stream.try_clone()?,
    );
    for line in BufReader::new(stream).lines() {
        let line = line?;
        thread::sleep(delay);
        // One write: a line that came in two parts would be an answer cut short.
        out.write_all(format!("{who} from {client} {line}\n").as_bytes())?;
    }
    Ok(())
}

fn ask(given: &Options) -> Result<ExitCode, String> {
    let count = number(
        given,
        "count",
        if given.contains_key("until") { u64::MAX } else { 1 },
    )?;
    let pause = Duration::from_millis(number(given, "pause", 0)?);
    let wait = Duration::from_millis(number(given, "wait", WAIT_MS)?);
    let until = all(given, "until").last().map(Path::new);
    let family = Family::of(given);
    let from = number(given, "from", 0)?;
    let from = u16::try_from(from).map_err(|_| format!("--from {from}: no port"))?;
    let open = || match (all(given, "udp"), all(given, "tcp")) {
        ([address], []) => Asker::udp(family.resolved(address)?, from, wait),
        ([], [address]) => Asker::tcp(family.resolved(address)?, wait),
        _ => Err(io::Error::other(USAGE)),
    };
    let mut kept = match all(given, "fresh") {
        [] => Some(open().map_err(|e| e.to_string())?),
        _ => None,
    };
    let mut code = ExitCode::SUCCESS;
    for question in 1..=count {
        if until.is_some_and(Path::exists) {
            break;
        }
        let answer = match &mut kept {
            Some(asker) => asker.ask(question),
            None => open().and_then(|mut asker| asker.ask(question)),
        };
        match answer {
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
    fn udp(address: SocketAddr, from: u16, wait: Duration) -> io::Result<Self> {
        let own: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, from).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, from).into(),
        };
        let socket = UdpSocket::bind(own)?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(wait))?;
        Ok(Self::Udp(socket))
    }

    fn tcp(address: SocketAddr, wait: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, wait)?;
        stream.set_read_timeout(Some(wait))?;
        stream.set_nodelay(true)?;
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
                stream.get_mut().write_all(format!("{question}\n").as_bytes())?;
                let mut answer = String::new();
                stream.read_line(&mut answer)?;
                let whole = answer.strip_suffix(&format!(" {question}\n"));
                whole.ok_or(io::ErrorKind::UnexpectedEof)?;
                Ok(answer.trim_end().to_owned())
            }
        }
    }
}

/// Which addresses of a name are called.
#[derive(Clone, Copy)]
enum Family {
    /// The first of IPv4, where there is one.
    Any,
    /// The first of IPv6, and no others.
    Ipv6,
}

impl Family {
    fn of(given: &Options) -> Self {
        if given.contains_key("ipv6") {
            Self::Ipv6
        } else {
            Self::Any
        }
    }

    fn resolved(self, address: &str) -> io::Result<SocketAddr> {
        let found: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
        let first = |wanted: fn(&SocketAddr) -> bool| found.iter().copied().find(wanted);
        let found = match self {
            Self::Any => first(SocketAddr::is_ipv4).or_else(|| first(SocketAddr::is_ipv6)),
            Self::Ipv6 => first(SocketAddr::is_ipv6),
        };
        found.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }
}

/// What all clients of a load share.
struct Load {
    address: String,
    family: Family,
    wait: Duration,
    /// Time from one question of a client to its next.
    pause: Duration,
    keep: Duration,
    until: PathBuf,
    asked: AtomicU64,
    failed: Mutex<Vec<String>>,
}

/// A connection of a load, and what is worth telling when it fails.
struct Held {
    asker: Asker,
    /// The port that it comes from.
    port: u16,
    /// Before the first packet: who answers is chosen then.
    since: Instant,
    since_ms: u128,
    connected_in: Duration,
    answers: u32,
    last: String,
}

fn load(given: &Options) -> Result<ExitCode, String> {
    let ([address], [until]) = (all(given, "tcp"), all(given, "until")) else {
        return Err(USAGE.to_owned());
    };
    let (clients, rate) = (
        number(given, "clients", 8)?.max(2),
        number(given, "rate", 100)?.max(1),
    );
    let load = Load {
        address: address.clone(),
        family: Family::of(given),
        wait: Duration::from_millis(number(given, "wait", WAIT_MS)?),
        pause: Duration::from_micros(1_000_000 * clients / rate),
        keep: Duration::from_millis(number(given, "keep", KEEP_MS)?),
        until: until.into(),
        asked: AtomicU64::new(0),
        failed: Mutex::default(),
    };
    thread::scope(|scope| {
        for client in 0..clients {
            let load = &load;
            scope.spawn(move || {
                load.run(if client % 2 == 0 {
                    Duration::ZERO
                } else {
                    load.keep
                })
            });
        }
    });
    let failed = load
        .failed
        .into_inner()
        .map_err(|_| "a client has panicked".to_owned())?;
    for words in failed.iter().take(TOLD_MAX) {
        println!("failed: {words}");
    }
    println!("asked {} failed {}", load.asked.into_inner(), failed.len());
    Ok(if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Load {
    /// One client: asks at its pace, from connections that live for `keep`.
    fn run(&self, keep: Duration) {
        let mut held: Option<Held> = None;
        let mut due = Instant::now();
        while !self.until.exists() {
            held.take_if(|held| held.since.elapsed() >= keep);
            let question = self.asked.fetch_add(1, Ordering::Relaxed);
            let (begun, begun_ms) = (Instant::now(), now_ms());
            if let Err(error) = self.ask(&mut held, question) {
                let took = begun.elapsed();
                let words = format!(
                    "asked at {begun_ms} {}, failed after {took:?}: {error}",
                    tell(held)
                );
                self.failed.lock().map(|mut failed| failed.push(words)).ok();
                held = None;
            }
            due = (due + self.pause).max(Instant::now());
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }

    fn ask(&self, held: &mut Option<Held>, question: u64) -> io::Result<()> {
        let held = match held {
            Some(held) => held,
            None => held.insert(Held::open(self.family.resolved(&self.address)?, self.wait)?),
        };
        held.last = held.asker.ask(question)?;
        held.answers += 1;
        Ok(())
    }
}

impl Held {
    fn open(address: SocketAddr, wait: Duration) -> io::Result<Self> {
        let (since, since_ms) = (Instant::now(), now_ms());
        let asker = Asker::tcp(address, wait)?;
        let port = match &asker {
            Asker::Tcp(stream) => stream.get_ref().local_addr()?.port(),
            Asker::Udp(socket) => socket.local_addr()?.port(),
        };
        Ok(Self {
            asker,
            port,
            since,
            since_ms,
            connected_in: since.elapsed(),
            answers: 0,
            last: "nobody".to_owned(),
        })
    }
}

fn tell(held: Option<Held>) -> String {
    let Some(held) = held else {
        return "for a connection".to_owned();
    };
    format!(
        "from port {}, opened at {} in {:?}, {:?} old at the failure, {} answers, the last: {}",
        held.port,
        held.since_ms,
        held.connected_in,
        held.since.elapsed(),
        held.answers,
        held.last
    )
}

/// Milliseconds since 1970, as logs tell time.
#[expect(
    clippy::disallowed_methods,
    reason = "a failure is looked up in the logs of the daemons"
)]
fn now_ms() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis())
}
