//! Names over a real kernel: what a container sends to port 53 of its gateway finds the agent's port, by UDP and TCP,
//! beside a resolver of the host that holds port 53 on all addresses.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use shoal_agent::network::desired::desired;
use shoal_agent::network::difference::difference;
use shoal_agent::network::dns::{Config, Dns, PORT};
use shoal_agent::network::kernel::linux::Linux;
use shoal_agent::network::kernel::{Kernel as _, apply_all};
use shoal_agent::network::ours;
use shoal_agent::network::view::{Outside, View};
use shoal_proto::id::TaskId;
use shoal_proto::time::Timestamp;
use tokio::task::spawn_blocking;

use crate::alone::{Space, alone, run, until};
use crate::sample::{HOST, end, host, mend, network, node, published, service, view};

/// Of the sample's first node on its network.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 128, 128, 16);
const VIRTUAL_IP: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 7);
pub(crate) const TASK: Ipv4Addr = Ipv4Addr::new(10, 128, 8, 1);

/// The service `web` with the task `TASK` on this node.
pub(crate) fn cluster() -> View {
    let mut view = view();
    let mut web = published(network(), VIRTUAL_IP, &[]);
    "web".clone_into(&mut web.name);
    web.aliases.insert(network(), vec!["www".to_owned()]);
    view.services.insert(service(1), web);
    let task = TaskId::new(Timestamp::from_ms(1), 1);
    let end = end(service(1), network(), TASK, node(1));
    view.endpoints.insert(task, end);
    view
}

/// A container on the network's bridge.
pub(crate) fn container(port: &str, address: Ipv4Addr) -> Space {
    let container = Space::new();
    let (bridge, pid) = (ours::bridge(network()), container.pid());
    run(&format!(
        "ip link add {port} type veth peer name eth0 netns {pid} && ip link set {port} master {bridge} up"
    ));
    container.run(&format!(
        "ip addr add {address}/16 dev eth0 && ip link set eth0 up && ip route add default via {GATEWAY}"
    ));
    container
}

/// A question about the addresses of a name, and what came back by TCP.
fn ask_by_stream(name: &str) -> Vec<u8> {
    let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).expect("a label"));
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let length = u16::try_from(query.len()).expect("short").to_be_bytes();
    let mut stream = TcpStream::connect((GATEWAY, 53)).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a socket");
    stream.write_all(&[&length[..], &query].concat()).expect("sent");
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("an answer");
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer).expect("all of it");
    answer
}

#[test]
fn port_53_of_a_gateway_is_the_agents_for_containers_alone() {
    alone(async || {
        host();
        // It shares with nobody, whatever the agent asks for.
        let _datagrams = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)).expect("port 53 by UDP");
        let theirs = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 53)).expect("port 53 by TCP");
        let view = cluster();
        let container = Arc::new(container("task1", TASK));
        let kernel = Linux::open().expect("netlink");
        mend(&kernel, &view).await;
        let dns = Dns::start(Config::default());
        dns.show(Arc::new(view));
        let asking = Arc::clone(&container);
        let asked = spawn_blocking(move || {
            let ask = |name: &str| asking.attempt(&format!("busybox nslookup -type=a {name} {GATEWAY}"));
            until("an answer", || ask("web").is_ok());
            for (name, address) in [("web", VIRTUAL_IP), ("WWW.", VIRTUAL_IP), ("tasks.web", TASK)] {
                let told = ask(name).unwrap_or_else(|cried| panic!("{name}: {cried}"));
                assert!(told.contains(&format!("Address: {address}")), "{name}: {told}");
            }
            let answer = asking.within(async || ask_by_stream("tasks.web"));
            assert!(answer.ends_with(&TASK.octets()), "{answer:?}");
        });
        asked.await.expect("it asks");
        assert_eq!(*dns.problems().borrow(), [].into());
        // The host's own calls of that port are not touched, nor was the resolver ever called.
        let own = TcpStream::connect((GATEWAY, 53)).expect("the host's resolver");
        let (_, caller) = theirs.accept().expect("it is called");
        assert_eq!(caller, own.local_addr().expect("bound"));
        assert!(TcpStream::connect((GATEWAY, PORT)).is_ok());
    });
}

#[test]
fn a_container_started_by_hand_finds_services_by_the_hosts_resolver() {
    alone(async || {
        host();
        let mut view = cluster();
        let network = view.networks.get_mut(&network()).expect("the sample's");
        network.outside = Outside::Reachable;
        let (hand, task) = (
            container("hand", [10, 128, 128, 20].into()),
            container("task1", TASK),
        );
        let kernel = Linux::open().expect("netlink");
        let mut found = kernel.look(Some(HOST)).await.expect("it looks");
        found.local.resolver = Some([198, 51, 100, 53].into());
        let ops = difference(&desired(&view, &found.local), &found);
        let failed = apply_all(&kernel, &ops).await;
        assert!(failed.is_empty(), "{failed:?}");
        let dns = Dns::start(Config::default());
        dns.show(Arc::new(view));
        let asked = spawn_blocking(move || {
            let ask = |container: &Space, whom: &str| {
                container.attempt(&format!("timeout 3 busybox nslookup -type=a web {whom}"))
            };
            until("an answer", || ask(&hand, "198.51.100.53").is_ok());
            let told = ask(&hand, "198.51.100.53").expect("an answer");
            assert!(told.contains(&format!("Address: {VIRTUAL_IP}")), "{told}");
            // Whom else it asks, and whom tasks ask for when the agent is silent, is left alone: nobody here.
            assert!(ask(&hand, "198.51.100.54").is_err());
            assert!(ask(&task, "198.51.100.53").is_err());
        });
        asked.await.expect("it asks");
    });
}

#[test]
fn a_door_waits_for_the_address_of_its_bridge() {
    alone(async || {
        let dns = Dns::start(Config::default());
        let view = cluster();
        dns.show(Arc::new(view.clone()));
        spawn_blocking(|| until("a door", || run("ss -Hlnut").contains("10.128.128.16:4753")))
            .await
            .expect("it looks");
        host();
        let container = Arc::new(container("task1", TASK));
        let kernel = Linux::open().expect("netlink");
        mend(&kernel, &view).await;
        let ask = |container: &Space| container.attempt(&format!("busybox nslookup -type=a web {GATEWAY}"));
        let asking = Arc::clone(&container);
        spawn_blocking(move || until("an answer", || ask(&asking).is_ok()))
            .await
            .expect("it asks");
        // The Engine may make its bridge anew.
        let bridge = ours::bridge(network());
        run(&format!(
            "ip link del {bridge} && ip link add {bridge} type bridge && ip addr add {GATEWAY}/16 dev {bridge}
             ip link set {bridge} up && ip link set task1 master {bridge}"
        ));
        container.run("ip neigh flush all");
        mend(&kernel, &view).await;
        spawn_blocking(move || until("an answer again", || ask(&container).is_ok()))
            .await
            .expect("it asks");
    });
}
