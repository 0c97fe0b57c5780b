use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket as Socket};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};

use super::super::forward::{read_framed, write_framed};
use super::super::testing::{add_network, add_service, add_task, address, gateway, without_virtual_ip};
use super::{Config, Dns};
use crate::network::view::View;

/// Patience with what takes a moment.
const DEADLINE: Duration = Duration::from_secs(20);

/// Names of one test: its network, so that tests beside each other have gateways of their own.
struct Bed {
    dns: Dns,
    n: u8,
    port: u16,
    resolv_conf: PathBuf,
    _folder: tempfile::TempDir,
}

impl Bed {
    /// Answers on network `n`, and asks the host's resolvers at a port, by default its own.
    async fn new(n: u8, resolver_port: Option<u16>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let resolv_conf = folder.path().join("resolv.conf");
        let port = free_port(gateway(n));
        let dns = Dns::start(Config {
            port,
            resolv_conf: resolv_conf.clone(),
            resolver_port: resolver_port.unwrap_or(port),
        });
        let bed = Self {
            dns,
            n,
            port,
            resolv_conf,
            _folder: folder,
        };
        bed.dns.show(Arc::new(cluster(n)));
        bed.wait_for("web.", 1).await;
        bed
    }

    fn resolvers(&self, addresses: &[Ipv4Addr]) {
        let lines = addresses.iter().map(|address| format!("nameserver {address}\n"));
        fs::write(&self.resolv_conf, lines.collect::<String>()).unwrap();
    }

    /// Asks from task 1 by UDP; none where nothing comes back.
    async fn ask(&self, message: Message) -> Option<Message> {
        let (to, from) = ((gateway(self.n), self.port), address(self.n, 1));
        let asking = spawn_blocking(move || {
            let socket = UdpSocket::bind((from, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket.connect(to).unwrap();
            socket.send(&message.to_vec().unwrap()).unwrap();
            let mut buffer = [0; 4_096];
            let length = socket.recv(&mut buffer).ok()?;
            Some(Message::from_vec(&buffer[..length]).unwrap())
        });
        asking.await.unwrap()
    }

    async fn ask_name(&self, name: &str) -> Option<Message> {
        self.ask(query(name)).await
    }

    /// The same by TCP, all on one connection.
    async fn ask_by_stream(&self, messages: Vec<Message>) -> Vec<Message> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address(self.n, 1), 0).into()).unwrap();
        let to = (gateway(self.n), self.port).into();
        let mut stream = socket.connect(to).await.unwrap();
        for message in &messages {
            write_framed(&mut stream, &message.to_vec().unwrap())
                .await
                .unwrap();
        }
        let mut answers = Vec::new();
        for _ in &messages {
            let answer = timeout(DEADLINE, read_framed(&mut stream)).await.unwrap();
            answers.push(Message::from_vec(&answer.unwrap()).unwrap());
        }
        answers
    }

    async fn wait_for(&self, name: &str, count: usize) {
        let end = Instant::now() + DEADLINE;
        loop {
            let got = self.ask_name(name).await;
            if got.as_ref().is_some_and(|got| got.answers.len() == count) {
                return;
            }
            assert!(Instant::now() < end, "{name}: {got:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// `web` (a virtual IP) and `many` (1,000 tasks) on network `n`.
fn cluster(n: u8) -> View {
    let mut view = super::super::testing::view();
    add_network(&mut view, n, "net");
    add_service(&mut view, 1, "web", &[(n, &[])]);
    add_task(&mut view, 1, 1, Some(1));
    add_service(&mut view, 2, "many", &[(n, &[])]);
    without_virtual_ip(&mut view, 2);
    for t in 1_000..2_000 {
        add_task(&mut view, t, 2, Some(t.into()));
    }
    view
}

/// A port of an address where nobody listens, by UDP nor by TCP.
fn free_port(address: Ipv4Addr) -> u16 {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.local_addr().unwrap().port()
}

fn query(name: &str) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    let name = Name::from_ascii(name).unwrap();
    message.queries.push(Query::query(name, RecordType::A));
    message
}

fn found(message: &Message) -> BTreeSet<Ipv4Addr> {
    let found = message.answers.iter().map(|record| match &record.data {
        RData::A(address) => address.0,
        other => panic!("{other:?}"),
    });
    found.collect()
}

/// What a resolver of the host does.
#[derive(Clone, Copy)]
enum Doing {
    Answers(Ipv4Addr),
    /// With that many addresses, by UDP a hint that it is too much.
    Much(u16),
    Fails,
    Silent,
    /// Answers others' questions first.
    Confused(Ipv4Addr),
}

/// A resolver at an address and a port, by UDP and TCP, until the test ends.
struct Resolver {
    /// Questions by UDP.
    asked: Arc<AtomicUsize>,
    jobs: [JoinHandle<()>; 2],
}

impl Resolver {
    async fn new(address: Ipv4Addr, port: u16, doing: Doing) -> Self {
        let socket = Socket::bind((address, port)).await.unwrap();
        let listener = TcpListener::bind((address, port)).await.unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let datagrams = tokio::spawn(take_datagrams(socket, doing, Arc::clone(&asked)));
        let streams = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                converse(stream, doing).await;
            }
        });
        Self {
            asked,
            jobs: [datagrams, streams],
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn take_datagrams(socket: Socket, doing: Doing, asked: Arc<AtomicUsize>) {
    let mut buffer = [0; 4_096];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        asked.fetch_add(1, Ordering::Relaxed);
        for reply in replies(&buffer[..length], doing, true) {
            socket.send_to(&reply, from).await.unwrap();
        }
    }
}

async fn converse(mut stream: TcpStream, doing: Doing) {
    while let Ok(message) = read_framed(&mut stream).await {
        for reply in replies(&message, doing, false) {
            write_framed(&mut stream, &reply).await.unwrap();
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.jobs.iter().for_each(JoinHandle::abort);
    }
}

fn replies(message: &[u8], doing: Doing, by_datagram: bool) -> Vec<Vec<u8>> {
    let asked = Message::from_vec(message).unwrap();
    let mut reply = Message::response(asked.metadata.id, asked.metadata.op_code);
    reply.queries = asked.queries.clone();
    let name = asked.queries[0].name().clone();
    let mut add = |address: Ipv4Addr| {
        let data = RData::A(A(address));
        reply.answers.push(Record::from_rdata(name.clone(), 60, data));
    };
    match doing {
        Doing::Silent => return Vec::new(),
        Doing::Answers(address) | Doing::Confused(address) => add(address),
        Doing::Much(_) if by_datagram => reply.metadata.truncation = true,
        Doing::Much(count) => (0..count).for_each(|n| add(Ipv4Addr::from_bits(0xc000_0200 + u32::from(n)))),
        Doing::Fails => reply.metadata.response_code = ResponseCode::ServFail,
    }
    let reply = reply.to_vec().unwrap();
    let mut others = reply.clone();
    others[0] ^= 0xff;
    let mut another = reply.clone();
    another[13] ^= 1;
    match doing {
        Doing::Confused(_) => vec![others, another, message.to_vec(), reply],
        _ => vec![reply],
    }
}

#[tokio::test]
async fn names_are_answered_by_udp_and_tcp() {
    let bed = Bed::new(31, None).await;
    let by_datagram = bed.ask_name("web.").await.unwrap();
    assert_eq!(found(&by_datagram), BTreeSet::from([address(31, 201)]));
    let two = bed.ask_by_stream(vec![query("WEB."), query("tasks.web.")]).await;
    assert_eq!(found(&two[0]), BTreeSet::from([address(31, 201)]));
    assert_eq!(found(&two[1]), BTreeSet::from([address(31, 1)]));
}

#[tokio::test]
async fn a_thousand_tasks_are_told_in_part_by_udp_and_all_by_tcp() {
    let bed = Bed::new(32, None).await;
    let plain = bed.ask_name("many.").await.unwrap();
    assert!(plain.metadata.truncation && (20..40).contains(&plain.answers.len()));
    let mut large = query("tasks.many.");
    let mut edns = Edns::new();
    edns.set_max_payload(1_232);
    large.edns = Some(edns);
    let large = bed.ask(large).await.unwrap();
    assert!(large.metadata.truncation && (60..80).contains(&large.answers.len()));
    assert_ne!(found(&plain), found(&large));
    let all = bed.ask_by_stream(vec![query("tasks.many.")]).await;
    assert!(!all[0].metadata.truncation);
    assert_eq!(found(&all[0]).len(), 1_000);
}

#[tokio::test]
async fn a_view_counts_at_once_and_doors_follow_its_networks() {
    let bed = Bed::new(33, None).await;
    let mut view = cluster(33);
    add_task(&mut view, 2, 1, Some(2));
    bed.dns.show(Arc::new(view.clone()));
    bed.wait_for("tasks.web.", 2).await;
    add_network(&mut view, 34, "another");
    bed.dns.show(Arc::new(view.clone()));
    let here = || UdpSocket::bind((gateway(34), bed.port));
    let end = Instant::now() + DEADLINE;
    while here().is_ok() {
        assert!(Instant::now() < end);
        sleep(Duration::from_millis(10)).await;
    }
    bed.dns.show(Arc::new(cluster(33)));
    while here().is_err() {
        assert!(Instant::now() < end);
        sleep(Duration::from_millis(10)).await;
    }
    bed.wait_for("web.", 1).await;
}

#[tokio::test]
async fn a_port_that_is_held_is_named_and_taken_when_it_is_free() {
    let bed = Bed::new(35, None).await;
    let held = UdpSocket::bind((gateway(36), bed.port)).unwrap();
    let mut view = cluster(35);
    add_network(&mut view, 36, "another");
    bed.dns.show(Arc::new(view));
    let mut problems = bed.dns.problems();
    let some = timeout(DEADLINE, problems.wait_for(|problems| !problems.is_empty()));
    let said = some.await.unwrap().unwrap()[&gateway(36)].clone();
    assert!(
        said.contains(&format!("port {} of 127.36.128.0 (udp) is held by", bed.port)),
        "{said}"
    );
    bed.wait_for("web.", 1).await;
    drop(held);
    let none = timeout(DEADLINE, problems.wait_for(|problems| problems.is_empty()));
    none.await.unwrap().unwrap();
}

#[tokio::test]
async fn outside_names_are_asked_of_the_hosts_resolvers() {
    let (a, b) = (address(37, 51), address(37, 52));
    let port = free_port(a);
    let bed = Bed::new(37, Some(port)).await;
    let _one = Resolver::new(a, port, Doing::Answers([192, 0, 2, 1].into())).await;
    let _other = Resolver::new(b, port, Doing::Confused([192, 0, 2, 2].into())).await;
    // Nobody to ask yet; a change of the file counts soon.
    let none = bed.ask_name("example.org.").await.unwrap();
    assert_eq!(none.metadata.response_code, ResponseCode::ServFail);
    bed.resolvers(&[a]);
    bed.wait_for("example.org.", 1).await;
    let asked = query("Example.ORG.");
    let answer = bed.ask(asked.clone()).await.unwrap();
    assert_eq!(answer.metadata.id, asked.metadata.id);
    assert_eq!(found(&answer), BTreeSet::from([[192, 0, 2, 1].into()]));
    let by_stream = bed.ask_by_stream(vec![asked]).await;
    assert_eq!(found(&by_stream[0]), BTreeSet::from([[192, 0, 2, 1].into()]));
    bed.resolvers(&[b]);
    let end = Instant::now() + DEADLINE;
    while found(&bed.ask_name("example.org.").await.unwrap()) != BTreeSet::from([[192, 0, 2, 2].into()]) {
        assert!(Instant::now() < end);
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_asked_for_again_by_tcp() {
    let resolver = address(38, 51);
    let port = free_port(resolver);
    let bed = Bed::new(38, Some(port)).await;
    let _one = Resolver::new(resolver, port, Doing::Much(500)).await;
    bed.resolvers(&[resolver]);
    let hint = bed.ask_name("example.org.").await.unwrap();
    assert!(hint.metadata.truncation && hint.answers.is_empty());
    let all = bed.ask_by_stream(vec![query("example.org.")]).await;
    assert_eq!(all[0].answers.len(), 500);
}

#[tokio::test]
async fn a_resolver_that_is_dead_fails_or_hangs_is_passed_over() {
    let [dead, failing, silent, good] = [51, 52, 53, 54].map(|host| address(39, host));
    let port = free_port(dead);
    let bed = Bed::new(39, Some(port)).await;
    let _failing = Resolver::new(failing, port, Doing::Fails).await;
    let hanging = Resolver::new(silent, port, Doing::Silent).await;
    let _good = Resolver::new(good, port, Doing::Answers([192, 0, 2, 1].into())).await;
    bed.resolvers(&[dead, failing, good]);
    assert_eq!(bed.ask_name("example.org.").await.unwrap().answers.len(), 1);
    bed.resolvers(&[silent, good]);
    sleep(Duration::from_millis(1_100)).await;
    assert_eq!(bed.ask_name("example.org.").await.unwrap().answers.len(), 1);
    // From then on it comes last: nobody waits for it again.
    assert_eq!(hanging.asked(), 1);
    assert_eq!(bed.ask_name("example.org.").await.unwrap().answers.len(), 1);
    assert_eq!(hanging.asked(), 1);
}

#[tokio::test]
async fn without_an_answer_it_is_said_before_who_asks_gives_up() {
    let [failing, silent] = [51, 52].map(|host| address(40, host));
    let port = free_port(failing);
    let bed = Bed::new(40, Some(port)).await;
    let _failing = Resolver::new(failing, port, Doing::Fails).await;
    let _silent = Resolver::new(silent, port, Doing::Silent).await;
    bed.resolvers(&[failing, silent]);
    let refusal = bed.ask_name("example.org.").await.unwrap();
    assert_eq!(refusal.metadata.response_code, ResponseCode::ServFail);
    bed.resolvers(&[silent]);
    sleep(Duration::from_millis(1_100)).await;
    // Who asks waits for 5 s.
    let given_up = bed.ask_name("example.org.").await.unwrap();
    assert_eq!(given_up.metadata.response_code, ResponseCode::ServFail);
    // Names of the cluster are answered meanwhile.
    bed.wait_for("web.", 1).await;
}

#[tokio::test]
async fn it_does_not_ask_itself() {
    let own = gateway(41);
    let bed = Bed::new(41, None).await;
    bed.resolvers(&[own]);
    let answer = bed.ask_name("example.org.").await.unwrap();
    // It would refuse: it does not know itself as one of its containers.
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn one_container_cannot_take_all_that_is_under_way() {
    let silent = address(42, 51);
    let port = free_port(silent);
    let bed = Bed::new(42, Some(port)).await;
    let _silent = Resolver::new(silent, port, Doing::Silent).await;
    bed.resolvers(&[silent]);
    let socket = UdpSocket::bind((address(42, 1), 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.connect((gateway(42), bed.port)).unwrap();
    let mut refused = 0;
    let end = Instant::now() + Duration::from_secs(3);
    // The first 128 wait for a resolver; those after them are told at once.
    for _ in 0..140 {
        socket.send(&query("example.org.").to_vec().unwrap()).unwrap();
    }
    while refused < 12 {
        assert!(Instant::now() < end, "{refused}");
        sleep(Duration::from_millis(10)).await;
        let mut buffer = [0; 512];
        while socket.recv(&mut buffer).is_ok() {
            refused += 1;
        }
    }
    bed.wait_for("web.", 1).await;
}
