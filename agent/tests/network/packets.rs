//! What packets do on two nodes that were made what their views say: hosts and containers are network namespaces.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use shoal_agent::network::kernel::linux::Linux;
use shoal_agent::network::model::Bridging;
use shoal_agent::network::ours;
use shoal_agent::network::view::{EndpointState, Inside, Network, Outside, Secrecy, View};
use shoal_proto::id::{NetworkId, TaskId};
use shoal_proto::subnet::Subnet;
use shoal_proto::time::Timestamp;

use crate::alone::{Running, Space, until};
use crate::beside::{open, wall_in};
use crate::sample::{end, mend_at, node, published, service, subnet, view};

pub(crate) fn network(n: u8) -> NetworkId {
    NetworkId::new(Timestamp::from_ms(7), n.into())
}

pub(crate) fn address(n: u8, host: u8) -> Ipv4Addr {
    [10, 128, n * 16, host].into()
}

/// Two nodes and a client on one switch; network 1 with a task of service 1 and a plain container on each node, network
/// 2 with a plain container on the first.
pub(crate) struct Bed {
    pub(crate) switch: Space,
    pub(crate) nodes: Vec<Space>,
    pub(crate) client: Space,
    pub(crate) containers: BTreeMap<&'static str, Space>,
    pub(crate) tasks: Vec<Running>,
    pub(crate) dir: PathBuf,
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.dir);
    }
}

impl Bed {
    pub(crate) fn new(name: &str, bridging: Bridging) -> Self {
        let switch = Space::new();
        switch.run("ip link add switch type bridge && ip link set switch up");
        let mut bed = Self {
            switch,
            nodes: vec![Space::new(), Space::new()],
            client: Space::new(),
            containers: BTreeMap::new(),
            tasks: Vec::new(),
            dir: std::env::temp_dir().join(format!("shoal-packets-{}-{name}", std::process::id())),
        };
        for (at, last) in [(0, 11), (1, 12)] {
            let filtered = u8::from(bridging == Bridging::Filtered);
            bed.nodes[at].run(&format!(
                "sysctl -qw net.bridge.bridge-nf-call-iptables={filtered}"
            ));
            bed.plug(&bed.nodes[at], last);
            bed.bridges(at);
        }
        bed.plug(&bed.client, 99);
        bed.contain("task1", 0, 1, 101);
        bed.contain("task2", 1, 1, 102);
        bed.contain("caller1", 0, 1, 51);
        bed.contain("caller2", 1, 1, 52);
        bed.contain("stranger", 0, 2, 61);
        for task in ["task1", "task2"] {
            bed.serve(task);
        }
        bed
    }

    /// Connects a host to the switch.
    fn plug(&self, host: &Space, last: u8) {
        let host_pid = host.pid();
        self.switch.run(&format!(
            "ip link add p{last} type veth peer name eth0 netns {host_pid} && ip link set p{last} master switch up"
        ));
        host.run(&format!(
            "ip addr add 10.99.0.{last}/24 dev eth0 && ip link set eth0 up"
        ));
    }

    /// The networks' bridges on a node, as an Engine makes them.
    fn bridges(&self, at: usize) {
        for n in [1, 2] {
            let bridge = ours::bridge(network(n));
            let gateway = block(n, at).first();
            // One that is made without a link address changes it with its ports.
            let link = format!("02:42:0a:80:0{n}:0{at}");
            self.nodes[at].run(&format!(
                "ip link add {bridge} address {link} type bridge && ip addr add {gateway}/20 dev {bridge} && ip link set {bridge} up"
            ));
        }
    }

    /// A container on a node and a network.
    fn contain(&mut self, name: &'static str, at: usize, n: u8, host: u8) {
        let container = Space::new();
        let bridge = ours::bridge(network(n));
        let gateway = block(n, at).first();
        self.nodes[at].run(&format!(
            "ip link add v{host} mtu 1450 type veth peer name eth0 mtu 1450 netns {} && ip link set v{host} master {bridge} up",
            container.pid()
        ));
        container.run(&format!(
            "ip addr add {}/20 dev eth0 && ip link set eth0 up && ip route add default via {gateway}",
            address(n, host)
        ));
        self.containers.insert(name, container);
    }

    /// Answers with the task's name and the caller's address.
    fn serve(&mut self, task: &'static str) {
        let scripts = self.dir.join(task).join("cgi-bin");
        std::fs::create_dir_all(&scripts).expect("directory");
        let who = scripts.join("who");
        let script =
            format!("#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n{task} %s\\n' \"$REMOTE_ADDR\"\n");
        std::fs::write(&who, script).expect("script");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&who, mode).expect("mode");
        let root = self.dir.join(task);
        let container = &self.containers[task];
        let running = container.start(&format!("busybox httpd -f -p 0.0.0.0:80 -h {}", root.display()));
        self.tasks.push(running);
        until("the task listens", || {
            ask(&self.containers[task], "127.0.0.1").is_ok()
        });
    }

    /// Makes both nodes what a cluster with these ready tasks says.
    pub(crate) fn settle(&self, ready: &[&str]) {
        self.settle_as(ready, cluster);
    }

    /// The same in a cluster of another kind.
    pub(crate) fn settle_as(&self, ready: &[&str], of: impl Fn(usize, &[&str]) -> View) {
        for (at, space) in self.nodes.iter().enumerate() {
            let view = of(at, ready);
            let host = Ipv4Addr::new(10, 99, 0, 11 + u8::try_from(at).expect("small"));
            space.within(async || {
                let kernel = Linux::open().expect("netlink");
                mend_at(&kernel, &view, host).await;
            });
        }
    }
}

pub(crate) fn block(n: u8, at: usize) -> Subnet {
    let at = u8::try_from(at).expect("small");
    subnet([10, 128, n * 16 + 8, at * 16], 28)
}

pub(crate) fn cluster(at: usize, ready: &[&str]) -> View {
    let mut view = view();
    view.node = node(u8::try_from(at).expect("small") + 1);
    view.peers.remove(&node(3));
    let carried = |n: u8| Network {
        name: format!("net{n}"),
        subnet: subnet(address(n, 0), 20),
        blocks: [(node(1), block(n, 0)), (node(2), block(n, 1))].into(),
        outside: Outside::Reachable,
        inside: Inside::Together,
        attachable: true,
        secrecy: Secrecy::Open,
        prefix: None,
    };
    view.networks = [1, 2].map(|n| (network(n), carried(n))).into();
    for (of, last) in [(1, 2), (3, 3)] {
        let service_of = published(network(1), address(1, last), &[(8_000 + of, None)]);
        view.services.insert(service(of), service_of);
    }
    let places = [
        ("task1", 101, 1, 1),
        ("task2", 102, 2, 1),
        ("caller1", 51, 1, 9),
        ("caller2", 52, 2, 9),
    ];
    for (name, host, on, of) in places {
        let mut end = end(service(of), network(1), address(1, host), node(on));
        if !ready.contains(&name) {
            end.state = EndpointState::Aside;
        }
        let id = TaskId::new(Timestamp::from_ms(1), host.into());
        view.endpoints.insert(id, end);
    }
    view
}

pub(crate) fn ask(from: &Space, at: &str) -> Result<String, String> {
    let call = format!("curl -gsS -m 2 http://{at}/cgi-bin/who");
    from.attempt(&format!(
        "{call} || {{ [ $? = 7 ] && echo refused >&2; exit 1; }}"
    ))
}

/// Calls often, each of which works: who answered, and whom they saw.
#[track_caller]
pub(crate) fn answers(from: &Space, at: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut who, mut saw) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..24 {
        let answer = ask(from, at).unwrap_or_else(|cried| panic!("{at}: {cried}"));
        let (task, caller) = answer.trim().split_once(' ').expect("two words");
        who.insert(task.to_owned());
        saw.insert(caller.to_owned());
    }
    (who, saw)
}

pub(crate) fn both() -> BTreeSet<String> {
    ["task1", "task2"].map(str::to_owned).into()
}

/// A story on hosts whose bridges leave the ruleset alone, and on others.
pub(crate) fn with_either_bridging(name: &str, story: impl Fn(Bed)) {
    for bridging in [Bridging::Plain, Bridging::Filtered] {
        println!("{bridging:?}");
        story(Bed::new(name, bridging));
    }
}

#[test]
fn a_virtual_ip_leads_to_all_tasks_from_everywhere_in_its_network() {
    with_either_bridging("vip", |bed| {
        bed.settle(&["task1", "task2"]);
        for (from, own) in [("caller1", address(1, 51)), ("caller2", address(1, 52))] {
            let (who, saw) = answers(&bed.containers[from], "10.128.16.2");
            assert_eq!((who, saw), (both(), [own.to_string()].into()), "{from}");
        }
        for from in ["task1", "task2"] {
            assert_eq!(
                answers(&bed.containers[from], "10.128.16.2").0,
                both(),
                "its own service too: {from}"
            );
        }
        for node in &bed.nodes {
            assert_eq!(answers(node, "10.128.16.2").0, both(), "from a node");
        }
        assert!(
            ask(&bed.containers["caller1"], "10.128.16.101").is_ok(),
            "a neighbour on the same node"
        );
        assert!(
            ask(&bed.containers["caller1"], "10.128.16.102").is_ok(),
            "one elsewhere"
        );
    });
}

#[test]
fn a_published_port_answers_on_every_node_and_tasks_see_the_client() {
    with_either_bridging("mesh", |bed| {
        bed.settle(&["task1", "task2"]);
        for at in ["10.99.0.11:8001", "10.99.0.12:8001"] {
            let seen = answers(&bed.client, at);
            assert_eq!(seen, (both(), ["10.99.0.99".to_owned()].into()), "{at}");
        }
        for node in &bed.nodes {
            for at in ["127.0.0.1:8001", "10.99.0.11:8001", "10.99.0.12:8001"] {
                assert_eq!(answers(node, at).0, both(), "from a node: {at}");
            }
        }
        let stranger = &bed.containers["stranger"];
        assert_eq!(
            answers(stranger, "10.99.0.11:8001").0,
            both(),
            "from another network"
        );
        bed.settle(&["task2"]);
        for at in ["10.99.0.11:8001", "10.99.0.12:8001"] {
            assert_eq!(answers(&bed.client, at).0, ["task2".to_owned()].into(), "{at}");
        }
    });
}

#[test]
fn a_connection_to_a_task_is_forgotten_soon_after_its_end() {
    with_either_bridging("forget", |bed| {
        bed.settle(&["task1", "task2"]);
        answers(&bed.client, "10.99.0.11:8001");
        answers(&bed.nodes[1], "127.0.0.1:8001");
        for node in &bed.nodes {
            // The kernel's own time is two minutes.
            until("the last connection to be forgotten", || {
                !node.run("cat /proc/net/nf_conntrack").contains("TIME_WAIT")
            });
        }
    });
}

#[test]
fn what_has_no_ready_task_refuses_at_once() {
    with_either_bridging("refuse", |bed| {
        bed.settle(&[]);
        let calls = [
            (&bed.containers["caller1"], "10.128.16.2"),
            (&bed.containers["caller2"], "10.128.16.3"),
            (&bed.nodes[0], "10.128.16.2"),
            (&bed.nodes[0], "127.0.0.1:8001"),
            (&bed.client, "10.99.0.11:8001"),
            (&bed.client, "10.99.0.12:8003"),
        ];
        for (from, at) in calls {
            let cried = ask(from, at).expect_err("nobody is there");
            assert!(cried.contains("refused"), "{at}: {cried}");
        }
    });
}

#[test]
fn networks_and_what_lies_outside_reach_no_task_by_address() {
    with_either_bridging("apart", |bed| {
        bed.settle(&["task1", "task2"]);
        bed.client.run("ip route add 10.128.0.0/9 via 10.99.0.11");
        for from in [&bed.containers["stranger"], &bed.client] {
            for at in ["10.128.16.101", "10.128.16.102", "10.128.16.2"] {
                let cried = ask(from, at).expect_err("it is apart");
                assert!(!cried.contains("refused"), "{at}: {cried}");
            }
        }
        assert!(ask(&bed.containers["caller1"], "10.128.16.101").is_ok());
    });
}

#[test]
fn firewalls_on_the_nodes_let_the_cluster_through_and_nobody_else() {
    with_either_bridging("walls", |bed| {
        bed.settle(&["task1", "task2"]);
        bed.nodes.iter().for_each(wall_in);
        assert!(ask(&bed.client, "10.99.0.11:8001").is_err(), "the firewall works");
        for (at, node) in bed.nodes.iter().enumerate() {
            open(node, &cluster(at, &["task1", "task2"]), "DOCKER-USER");
        }
        for from in ["caller1", "caller2", "task1", "task2"] {
            assert_eq!(answers(&bed.containers[from], "10.128.16.2").0, both(), "{from}");
        }
        for at in ["10.99.0.11:8001", "10.99.0.12:8001"] {
            let seen = answers(&bed.client, at);
            assert_eq!(seen, (both(), ["10.99.0.99".to_owned()].into()), "{at}");
        }
        let stranger = &bed.containers["stranger"];
        assert_eq!(
            answers(stranger, "10.99.0.11:8001").0,
            both(),
            "from another network"
        );
        bed.client.run("ip route add 10.128.0.0/9 via 10.99.0.11");
        for from in [stranger, &bed.client] {
            assert!(ask(from, "10.128.16.101").is_err(), "by address");
        }
    });
}
